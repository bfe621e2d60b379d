"""Published weights to start from, in small files of their layouts that the tests write."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
import yaml
from diffusers import AutoencoderKL
from safetensors.torch import save_file
from typer.testing import CliRunner

from blob_models import small_recipe
from napari_sdseg.cli import app
from original_sdseg import Original
from sdseg import Card, Trainer, load_model
from sdseg.errors import ModelFormatError, ModelNotFoundError
from sdseg.models import build
from sdseg.models.presets import Preset
from sdseg.training.initial import find_autoencoder, start_autoencoder, start_denoiser

SIZES = {
    "latent_channels": 4, "condition_channels": 4, "autoencoder": (32, 32, 64),
    "vision_encoder": (32, 32, 64), "denoiser": (32, 64), "autoencoder_layers": 1, "vision_layers": 1,
    "denoiser_layers": 1, "groups": 32, "dropout": 0.0, "denoiser_attention": 1, "heads": 4,
    "mid_attention": True, "mask_channels": 3,
}  # fmt: skip
ENCODER = {
    "ch": 32,
    "ch_mult": [1, 1, 2],
    "num_res_blocks": 1,
    "z_channels": 4,
    "in_channels": 3,
    "out_ch": 3,
}
UNET = {
    "in_channels": 4, "out_channels": 4, "model_channels": 32, "channel_mult": [1, 2], "num_heads": 4,
    "num_res_blocks": 1, "attention_resolutions": [1], "use_scale_shift_norm": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def original() -> Original:
    torch.manual_seed(5)
    parts = {
        "unet_config": {"params": UNET},
        "first_stage_config": {"params": {"ddconfig": ENCODER}},
        "cond_stage_config": {"params": {**ENCODER, "embed_dim": 4}},
    }
    return Original({"model": {"params": parts}}).eval()


@pytest.fixture(scope="module")
def sources(original, tmp_path_factory):
    """Return kl-f8's layout, Stable Diffusion's (of today and of its first release), LSUN-churches'."""
    folder = tmp_path_factory.mktemp("sources")
    first = original.first_stage_model.state_dict()
    rest = {"loss.discriminator.main.0.weight": torch.zeros(3)}
    torch.save({"state_dict": {**first, **rest}, "global_step": 246803}, folder / "kl-f8.ckpt")
    churches = {
        f"model.diffusion_model.{k}": v for k, v in original.model.diffusion_model.state_dict().items()
    }
    averaged = {
        "model_ema." + k.removeprefix("model.").replace(".", ""): v + 1 for k, v in churches.items()
    }
    kept = {f"first_stage_model.{k}": v for k, v in first.items()}
    torch.save({"state_dict": {**churches, **averaged, **kept}}, folder / "lsun.ckpt")
    vae = build(Preset(**SIZES))[0]
    start_autoencoder(vae, folder / "kl-f8.ckpt")
    vae.save_pretrained(folder / "sd" / "vae")
    old = folder / "old-sd" / "vae"
    old.mkdir(parents=True)
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = {}
    for key, value in vae.state_dict().items():
        for new, before in names.items():
            key = key.replace(f"attentions.0.{new}.", f"attentions.0.{before}.")
        renamed[key] = value.contiguous()
    save_file(renamed, old / "diffusion_pytorch_model.safetensors")
    (old / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKL"}))
    return folder


@pytest.mark.parametrize("name", ["kl-f8.ckpt", "lsun.ckpt", "sd", "sd/vae", "old-sd"])
def test_every_layout_of_the_autoencoder_is_read(name, sources, original):
    vae = build(Preset(**SIZES))[0].eval()
    start_autoencoder(vae, find_autoencoder(sources / name))
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        mean, _ = original.first_stage_model.moments(x)
        posterior = vae.encode(x).latent_dist
        torch.testing.assert_close(posterior.mean, mean, atol=1e-4, rtol=1e-4)
        drawn = original.first_stage_model.decode(mean)
        torch.testing.assert_close(vae.decode(mean).sample, drawn, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("classes", [None, 3])
def test_a_denoiser_of_photographs_starts_as_what_it_was(classes, sources, original):
    _, vision_encoder, unet = build(Preset(**SIZES), num_class_embeds=classes)
    if classes:
        before = unet.class_embedding.weight.clone()
    start_denoiser(unet.eval(), vision_encoder, sources / "lsun.ckpt")
    g = torch.Generator().manual_seed(0)
    noisy, image = (torch.randn(2, 4, 16, 16, generator=g) for _ in range(2))
    t = torch.tensor([3, 999])
    if classes:
        assert torch.equal(unet.class_embedding.weight, before)
        torch.nn.init.zeros_(unet.class_embedding.weight)
    with torch.no_grad():
        ours = unet(
            torch.cat([noisy, image], 1), t, class_labels=torch.tensor([0, 1]) if classes else None
        ).sample
        torch.testing.assert_close(ours, original.model.diffusion_model(noisy, t), atol=1e-4, rtol=1e-4)
    assert (unet.conv_in.weight[:, 4:] == 0).all()
    assert all(p.requires_grad for p in unet.parameters())


@pytest.mark.parametrize("coding", ["binary", "conditioned"])
def test_training_starts_from_them(coding, sources, blob_data, tmp_path):
    recipe = dataclasses.replace(
        small_recipe(steps=3), preset=SIZES, card=Card("blobs", coding=coding, size=64, overlap=16),
        init_autoencoder=str(sources / "kl-f8.ckpt"), init_denoiser=str(sources / "lsun.ckpt"),
    )  # fmt: skip
    still = dataclasses.replace(recipe.denoiser, learning_rate=1e-12)
    updates = list(Trainer(dataclasses.replace(recipe, denoiser=still), blob_data, tmp_path).run())
    assert {u.stage for u in updates} == {"data", "denoiser"}
    assert any("frozen" in (u.message or "") for u in updates)
    pipe = load_model(tmp_path / "denoiser" / "last", device="cpu", precision="float32").pipeline
    published = AutoencoderKL.from_pretrained(sources / "sd" / "vae")
    for key, value in published.state_dict().items():
        assert torch.equal(pipe.vae.state_dict()[key], value), key
    encoder = pipe.vision_encoder.encoder.state_dict()
    for key, value in published.encoder.state_dict().items():
        torch.testing.assert_close(encoder[key], value, atol=1e-6, rtol=0)
    assert pipe.vae.config.scaling_factor not in (1.0, 0.18215)
    assert pipe.unet.conv_in.weight[:, :4].abs().max() > 0
    assert pipe.unet.conv_in.weight[:, 4:].abs().max() < 1e-9
    again = Trainer(dataclasses.replace(recipe, denoiser=still), blob_data, tmp_path)
    assert not any(u.message and "frozen" in u.message for u in again.run())  # resumed: nothing to do


def test_a_model_of_one_class_is_what_several_start_from(sources, blob_data, tmp_path):
    """The published way to several classes: the binary model first, then class embeddings."""
    parts = build(Preset(**SIZES))
    start_denoiser(parts[2], parts[1], sources / "lsun.ckpt")
    recipe = dataclasses.replace(
        small_recipe(steps=2), preset=SIZES, card=Card("blobs", coding="binary", size=64, overlap=16),
        init_autoencoder=str(sources / "sd"),
    )  # fmt: skip
    for _ in Trainer(recipe, blob_data, tmp_path).run():
        pass
    place = tmp_path / "denoiser" / "last"
    binary = load_model(place, device="cpu", precision="float32").pipeline
    _, vision_encoder, unet = build(Preset(**SIZES), num_class_embeds=4)
    start_denoiser(unet, vision_encoder, place)
    for network, start in ((unet, binary.unet), (vision_encoder, binary.vision_encoder)):
        for key, value in start.state_dict().items():
            assert torch.equal(network.state_dict()[key], value), key


@pytest.mark.parametrize(
    ("option", "said"),
    [("init_autoencoder", r"kl-f8\.zip.*vae"), ("init_denoiser", r"lsun_churches\.zip")],
)
def test_what_is_missing_is_said_with_what_to_download(option, said, blob_data, tmp_path):
    recipe = dataclasses.replace(small_recipe(), **{option: str(tmp_path / "nowhere.ckpt")})
    with pytest.raises(ModelNotFoundError, match=rf"{option}: .*nowhere\.ckpt.*{said}"):
        Trainer(recipe, blob_data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_offline_a_hub_id_is_a_sentence(monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotFoundError, match=r"nobody/no-such.*kl-f8\.zip"):
        find_autoencoder("nobody/no-such")


def test_sizes_that_differ_are_named(sources):
    wide = build(Preset(**{**SIZES, "autoencoder": (32, 64, 64)}))
    with pytest.raises(ModelFormatError, match=r"encoder\.down\.1\.block\.0\.conv1\.weight has shape"):
        start_autoencoder(wide[0], sources / "kl-f8.ckpt")
    deep = build(Preset(**{**SIZES, "denoiser_layers": 2}))
    with pytest.raises(ModelFormatError, match=r"model\.diffusion_model\.input_blocks"):
        start_denoiser(deep[2], deep[1], sources / "lsun.ckpt")


def test_the_command_passes_them_on(sources, blob_data, tmp_path):
    recipe = tmp_path / "recipe.toml"
    sizes = "\n".join(f"{k} = {json.dumps(v)}" for k, v in SIZES.items())
    recipe.write_text(
        f'mixed_precision = "no"\n[preset]\n{sizes}\n[card]\nname = "x"\nsize = 64\n'
        "[denoiser]\ncrop = 64\nbatch = 2\n[autoencoder]\ncrop = 64\n"
    )
    words = [
        "train",
        "--recipe",
        recipe,
        "--data",
        blob_data,
        "--out",
        tmp_path / "run",
        "--steps",
        "1",
    ]
    words += ["--init-autoencoder", sources / "sd", "--init-denoiser", sources / "lsun.ckpt"]
    done = CliRunner().invoke(app, [str(w) for w in words])
    assert done.exit_code == 0, done.output
    written = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert written["init_denoiser"].endswith("lsun.ckpt")
    assert yaml.safe_load((tmp_path / "run" / "recipe.json").read_text())["init_autoencoder"].endswith(
        "sd"
    )
