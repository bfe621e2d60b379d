from __future__ import annotations

import pytest
import torch
from diffusers.models.attention_processor import Attention

from sdseg.errors import InputError
from sdseg.models import PRESETS, Denoiser, VisionEncoder, build


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_paper_preset_is_the_published_architecture_to_the_parameter():
    with torch.device("meta"):
        vae, vision_encoder, unet = build("paper")
    assert count(unet) == 294_973_828
    assert count(vae) == 83_653_863
    assert count(vision_encoder) == 34_163_628
    assert len(unet.state_dict()) == 604
    assert sum(isinstance(m, Attention) for m in unet.modules()) == 21
    assert {m.heads for m in unet.modules() if isinstance(m, Attention)} == {8}


def test_tiny_fits_the_wheel_in_half_precision():
    with torch.device("meta"):
        parts = build("tiny", mask_channels=2)
    assert sum(map(count, parts)) * 2 < 25 * 2**20


@pytest.mark.parametrize("preset", [p for p in PRESETS if p != "paper"])
def test_presets_give_back_the_latent_shape(preset):
    vae, vision_encoder, unet = build(preset, mask_channels=2)
    f = PRESETS[preset].factor
    condition = vision_encoder(torch.zeros(1, 3, 64, 64))
    assert condition.shape == (1, PRESETS[preset].condition_channels, 64 // f, 64 // f)
    noisy = torch.zeros(1, PRESETS[preset].latent_channels, 64 // f, 64 // f)
    assert unet(torch.cat([noisy, condition], 1), 999).sample.shape == noisy.shape
    assert vae.decode(noisy).sample.shape == (1, 2, 64, 64)


def small_denoiser(num_heads: int | None) -> Denoiser:
    torch.manual_seed(0)
    return Denoiser(
        in_channels=8, out_channels=4, num_heads=num_heads, sample_size=16,
        down_block_types=("AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("ResnetUpsampleBlock2D", "AttnUpBlock2D"),
        block_out_channels=(32, 64), layers_per_block=1, attention_head_dim=8,
        norm_num_groups=8, attn_norm_num_groups=8,
    ).eval()  # fmt: skip


def test_head_count_survives_save_and_load(tmp_path):
    ours = small_denoiser(2)
    ours.save_pretrained(tmp_path)
    again = Denoiser.from_pretrained(tmp_path).eval()
    heads = {m.heads for m in again.modules() if isinstance(m, Attention)}
    x = torch.randn(2, 8, 16, 16)
    with torch.no_grad():
        assert heads == {2}
        assert torch.equal(ours(x, 7).sample, again(x, 7).sample)


def test_head_count_changes_what_is_computed():
    x = torch.randn(2, 8, 16, 16)
    with torch.no_grad():
        fixed, by_width = small_denoiser(2)(x, 7).sample, small_denoiser(None)(x, 7).sample
    assert not torch.allclose(fixed, by_width, atol=1e-4)


def test_dropout_is_kept_in_the_vision_encoders_config(tmp_path):
    encoder = VisionEncoder(block_out_channels=(8, 16), norm_num_groups=4, dropout=0.2)
    encoder.save_pretrained(tmp_path)
    again = VisionEncoder.from_pretrained(tmp_path)
    rates = {m.p for m in again.modules() if isinstance(m, torch.nn.Dropout)}
    assert again.config.dropout == 0.2
    assert 0.2 in rates
    again.train()
    x = torch.randn(1, 3, 16, 16)
    assert not torch.equal(again(x), again(x))
    again.eval()
    assert torch.equal(again(x), again(x))


def test_unknown_preset_is_named():
    with pytest.raises(InputError, match=r"'huge'.*tiny, small, paper"):
        build("huge")
