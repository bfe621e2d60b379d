from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from napari_sdseg import segment
from napari_sdseg.cli import app
from original_sdseg import Original
from sdseg import load_model
from sdseg.convert import convert, read_tensors
from sdseg.convert.original import source_of
from sdseg.errors import InputError, ModelFormatError, ModelNotFoundError
from sdseg.models import build
from sdseg.pipeline import clean_latent
from sdseg.training.losses import latent_losses


def config(classes: int | None = None, autoencoder: dict | None = None, **unet: object) -> dict:
    """Return the yaml of a small model, as the original's are laid out."""
    encoder = {
        "double_z": True, "z_channels": 4, "resolution": 64, "in_channels": 3, "out_ch": 3, "ch": 32,
        "ch_mult": [1, 1, 2], "num_res_blocks": 1, "attn_resolutions": [], "dropout": 0.0,
        **(autoencoder or {}),
    }  # fmt: skip
    network = {
        "image_size": 16, "in_channels": 8, "out_channels": 4, "model_channels": 32,
        "attention_resolutions": [1], "num_res_blocks": 2, "channel_mult": [1, 2], "num_heads": 4,
        "use_scale_shift_norm": True, "resblock_updown": True, "dropout": 0.2, **unet,
    }  # fmt: skip
    if classes is not None:
        network["num_classes"] = classes
    params = {
        "linear_start": 0.0015, "linear_end": 0.0155, "timesteps": 1000, "num_classes": classes or 2,
        "conditioning_key": "concat" if classes is None else "class_embed", "scale_by_std": True,
        "unet_config": {"params": network},
        "first_stage_config": {"params": {"embed_dim": 4, "ddconfig": encoder}},
        "cond_stage_config": {"params": {**encoder, "embed_dim": 4, "dropout": 0.2}},
    }  # fmt: skip
    return {"model": {"target": "ldm.models.diffusion.SDSeg.SDSeg", "params": params}}


PAPER = config(
    9, {"ch": 128, "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "resolution": 256},
    image_size=32, model_channels=192, channel_mult=[1, 2, 2, 4, 4], num_heads=8,
    attention_resolutions=[1, 2, 4, 8],
)  # fmt: skip
#: What the original can do besides: other head rules and orders, attention anywhere, no scale-shift.
ODD = config(
    4, {"ch": 64, "ch_mult": [1, 1], "num_res_blocks": 2},
    num_heads=-1, num_head_channels=16, use_new_attention_order=True, use_scale_shift_norm=False,
    channel_mult=[1, 2, 3], attention_resolutions=[2], num_res_blocks=1,
)  # fmt: skip
CASES = {"binary": config(), "conditioned": config(4), "odd": ODD}
SCALE = 0.1267


def write(folder: Path, values: dict, **besides: object) -> tuple[Path, Path, dict[str, Original]]:
    """Write a checkpoint with random weights, in the original's layout; return its networks too."""
    torch.manual_seed(0)
    raw = Original(values).eval()
    for p in raw.parameters():
        p.data += 0.05 * torch.randn_like(p)  # norms too, or a mix-up of theirs would not be seen
    averaged = copy.deepcopy(raw)
    state = dict(raw.state_dict())
    for name, p in averaged.model.diffusion_model.named_parameters():
        p.data += 0.02 * torch.randn_like(p)
        state["model_ema." + f"diffusion_model.{name}".replace(".", "")] = p.data
    state |= {
        "model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(7),
        "first_stage_model.loss.logvar": torch.zeros(()), "scale_factor": torch.tensor(SCALE),
        "betas": torch.linspace(0.0015**0.5, 0.0155**0.5, 1000, dtype=torch.float64).float() ** 2,
    }  # fmt: skip
    state["alphas_cumprod"] = (1 - state["betas"].double()).cumprod(0).float()
    checkpoint, settings = folder / "model.ckpt", folder / "model.yaml"
    torch.save({"epoch": 3, "global_step": 1234, "state_dict": state, **besides}, checkpoint)
    settings.write_text(yaml.safe_dump(values))
    return checkpoint, settings, {"averaged": averaged, "raw": raw}


@pytest.fixture(scope="module", params=CASES)
def written(request, tmp_path_factory):
    return write(tmp_path_factory.mktemp(request.param), CASES[request.param])


@torch.no_grad()
def differences(pipe, original, classes: int | None) -> dict[str, float]:
    g = torch.Generator().manual_seed(3)
    image = torch.rand(2, 3, 64, 64, generator=g) * 2 - 1
    mask = torch.rand(2, 1, 64, 64, generator=g).round().repeat(1, 3, 1, 1) * 2 - 1
    condition = original.cond_stage_model(image)
    noise = torch.randn(condition.shape, generator=g)
    mean, log_variance = original.first_stage_model.moments(mask)
    posterior = pipe.vae.encode(mask).latent_dist
    off = {
        "condition": pipe.vision_encoder(image) - condition,
        "mean": posterior.mean - mean,
        "log variance": posterior.logvar - log_variance,
    }
    clean, alphas = mean * SCALE, pipe.scheduler.alphas_cumprod.float()
    for number in range(classes or 1):
        ids = None if classes is None else torch.full((2,), number)
        for t in (torch.tensor([999, 999]), torch.tensor([20, 500])):
            a = alphas[t].reshape(-1, 1, 1, 1)
            noisy = noise if t[0] == 999 else a.sqrt() * clean + (1 - a).sqrt() * noise
            both = torch.cat([noisy, condition], 1)
            said = original.model.diffusion_model(both, t, ids)
            ours = pipe.unet(both, t, class_labels=ids).sample
            off[f"eps {number} {t[0]}"] = ours - said
            estimate = (noisy - (1 - a).sqrt() * said) / a.sqrt()
            found = clean_latent(ours, noisy, alphas[t], "epsilon")
            off[f"clean {number} {t[0]}"] = (found - estimate) / 50
            if t[0] != 999:
                wanted = [
                    (noise - said).abs().mean((1, 2, 3)),
                    (clean - estimate).abs().mean((1, 2, 3)),
                ]
                losses = latent_losses(clean, found, alphas[t])
                for name, one, two in zip(("noise", "latent"), losses, wanted, strict=True):
                    off[f"{name} loss {number}"] = one / two - 1
            drawn = original.first_stage_model.decode(estimate / SCALE)
            off[f"mask {number} {t[0]}"] = (pipe.vae.decode(found / SCALE).sample - drawn) / 50
    return {k: float(v.abs().max()) for k, v in off.items()}


@pytest.mark.parametrize("weights", ["averaged", "raw"])
def test_a_converted_checkpoint_computes_what_the_original_does(written, weights, tmp_path):
    checkpoint, settings, originals = written
    model = convert(checkpoint, settings, raw=weights == "raw")
    count = model.pipeline.class_count
    fresh = differences(model.pipeline, originals[weights], count)
    assert max(fresh.values()) < 1e-4, fresh
    model.save(tmp_path / "m")
    again = load_model(tmp_path / "m", device="cpu", precision="float32")
    loaded = differences(again.pipeline, originals[weights], count)
    assert max(loaded.values()) < 1e-4, loaded
    other = differences(
        again.pipeline, originals["raw" if weights == "averaged" else "averaged"], count
    )
    assert max(other.values()) > 1e-2  # what is compared is not always right
    assert again.card.coding == ("binary" if count is None else "conditioned")
    assert again.pipeline.vae.config.scaling_factor == pytest.approx(SCALE)
    assert not list((tmp_path / "m").rglob("*.bin"))


def test_in_float64_nothing_differs_even_where_rounding_is_multiplied(tmp_path):
    """Groups of a single value, at a deepest level of 1 x 1, multiply float32's rounding by 316."""
    values = config(4, channel_mult=[1, 1, 1])
    checkpoint, settings, originals = write(tmp_path, values)
    ours = torch.nn.Module.to(convert(checkpoint, settings).pipeline.unet, torch.float64)
    theirs = originals["averaged"].model.diffusion_model.double()
    both = torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t, ids = torch.tensor([999, 20]), torch.tensor([0, 3])
    with torch.no_grad():
        off = ours(both, t, class_labels=ids).sample - theirs(both, t, ids)
    assert off.abs().max() < 1e-6  # the published softmax is float32 always


def test_every_name_of_the_published_sizes_is_known():
    with torch.device("meta"):
        theirs = dict(Original(PAPER).state_dict())
        parts = dict(
            zip(("vae", "vision_encoder", "unet"), build("paper", num_class_embeds=9), strict=True)
        )
    used = []
    for name, network in parts.items():
        find = source_of(name, network)
        for key, tensor in network.state_dict().items():
            source = find(key)
            used.append((source.key, source.part))
            whole = 3 * tensor.numel() if source.part is not None else tensor.numel()
            assert theirs[source.key].numel() == whole, key
    assert len(set(used)) == len(used)
    assert {key for key, _ in used} == set(theirs)
    assert len(theirs) == 521 + 248 + 108


def test_the_number_of_heads_is_the_yamls(tmp_path):
    """The weights fit any; only the outputs tell."""
    checkpoint, settings, originals = write(tmp_path, config())
    other = tmp_path / "two.yaml"
    other.write_text(yaml.safe_dump(config(num_heads=2)))
    good, bad = convert(checkpoint, settings), convert(checkpoint, other)
    assert differences(good.pipeline, originals["averaged"], None)["eps 0 999"] < 1e-4
    assert differences(bad.pipeline, originals["averaged"], None)["eps 0 999"] > 1e-3


@pytest.mark.parametrize(
    ("change", "raw", "said"),
    [
        ({"model_channels": 64}, True, r"model\.diffusion_model\.input_blocks\.0\.0.*\(32, 8, 3, 3\)"),
        ({"num_res_blocks": 1}, True, r"input_blocks\.3\.0\.in_layers"),
        ({"num_res_blocks": 3}, True, r"input_blocks\.3\.1"),
        ({"attention_resolutions": [1, 2]}, True, r"has no .*input_blocks\.4\.1\.norm\.weight"),
        ({"attention_resolutions": []}, True, r"input_blocks\.1\.1\.norm\.weight.*no place"),
        ({"classes": 3}, False, "has no model_ema.diffusion_modellabel_embweight"),
        ({"autoencoder": {"ch": 64}}, False, r"first_stage_model\.encoder\.conv_in\.weight"),
        ({"autoencoder": {"num_res_blocks": 2}}, False, r"first_stage_model.encoder.down.0.block.1"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(change, raw, said, tmp_path):
    checkpoint, settings, _ = write(tmp_path, config())
    settings.write_text(yaml.safe_dump(config(**change)))
    with pytest.raises(ModelFormatError, match=said):
        convert(checkpoint, settings, raw=raw)


def test_classes_without_a_place_and_schedules_that_differ_are_named(tmp_path):
    checkpoint, settings, _ = write(tmp_path, config(4))
    settings.write_text(yaml.safe_dump(config()))
    with pytest.raises(ModelFormatError, match=r"label_emb\.weight, for which there is no place"):
        convert(checkpoint, settings, raw=True)
    values = config(4)
    values["model"]["params"]["linear_end"] = 0.02
    settings.write_text(yaml.safe_dump(values))
    with pytest.raises(ModelFormatError, match="alphas_cumprod"):
        convert(checkpoint, settings)
    settings.write_text(yaml.safe_dump(config(4)))
    with pytest.raises(InputError, match=r"draws 3.*got 2: liver, bone"):
        convert(checkpoint, settings, classes=["liver", "bone"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"resblock_updown": False}, "resblock_updown is False; only True"),
        ({"model_channels": 48}, "multiples of 32"),
        ({"num_heads": None}, "num_heads is None; need a positive integer"),
        ({"num_heads": 5}, "must divide"),
        ({"in_channels": 7}, "in_channels is 7; the two encoders make it 8"),
        ({"autoencoder": {"attn_resolutions": [16]}}, "attn_resolutions"),
    ],
)
def test_yamls_that_cannot_be_are_named(change, said, tmp_path):
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config(**change)))
    with pytest.raises(ModelFormatError, match=said):
        convert(tmp_path / "none.ckpt", tmp_path / "c.yaml")


def test_missing_and_damaged_files_are_said(tmp_path):
    checkpoint, settings, _ = write(tmp_path, config())
    with pytest.raises(ModelNotFoundError, match=r"config: .*no\.yaml"):
        convert(checkpoint, tmp_path / "no.yaml")
    with pytest.raises(ModelNotFoundError, match=r"checkpoint: .*no\.ckpt"):
        convert(tmp_path / "no.ckpt", settings)
    settings.write_text("model: [")
    with pytest.raises(ModelFormatError, match="not valid yaml"):
        convert(checkpoint, settings)
    whole = checkpoint.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"rubbish", b""):
        checkpoint.write_bytes(damaged)
        with pytest.raises(ModelFormatError, match=r"model\.ckpt"):
            read_tensors(checkpoint)
    torch.save({"epoch": 3}, checkpoint)
    with pytest.raises(ModelFormatError, match="no table of weights"):
        read_tensors(checkpoint)
    (tmp_path / "x.safetensors").write_bytes(b"rubbish")
    with pytest.raises(ModelFormatError, match="safetensors"):
        read_tensors(tmp_path / "x.safetensors")


class _Bomb:
    def __reduce__(self):
        return exec, ("import pathlib; pathlib.Path(__import__('os').environ['FUSE']).touch()",)


def test_a_hostile_checkpoint_is_refused_and_nothing_of_it_runs(tmp_path, monkeypatch):
    fuse = tmp_path / "fuse"
    monkeypatch.setenv("FUSE", str(fuse))
    pickle.loads(pickle.dumps(_Bomb()))
    assert fuse.exists()  # the bomb works
    fuse.unlink()
    tensors, path = {"a": torch.zeros(3)}, tmp_path / "hostile.ckpt"
    for content in (
        {"state_dict": tensors, "callbacks": _Bomb()},
        {"state_dict": {**tensors, "b": _Bomb()}},
    ):
        for new in (True, False):
            torch.save(content, path, _use_new_zipfile_serialization=new)
            with pytest.raises(ModelFormatError, match=r"refused and nothing of it was run.*exec"):
                read_tensors(path)
    path.write_bytes(pickle.dumps({"state_dict": {"a": _Bomb()}}))
    with pytest.raises(ModelFormatError):
        read_tensors(path)
    assert not fuse.exists()


def test_what_lightning_leaves_is_left_out_and_never_imported(tmp_path, monkeypatch):
    """Before 1.5 it kept its callbacks' states under their classes."""
    name = "pytorch_lightning.callbacks.model_checkpoint"
    module = types.ModuleType(name)
    kind = type("ModelCheckpoint", (), {"__module__": name})
    module.ModelCheckpoint = kind
    with monkeypatch.context() as there:
        for part in ("pytorch_lightning", "pytorch_lightning.callbacks"):
            there.setitem(sys.modules, part, types.ModuleType(part))
        there.setitem(sys.modules, name, module)
        checkpoint, settings, _ = write(
            tmp_path, config(), callbacks={kind: {"best": np.float64(3.0), "made": kind()}},
            optimizer_states=[{"state": {0: {"exp_avg": torch.zeros(3)}}}],
        )  # fmt: skip
    assert name not in sys.modules
    assert "model.diffusion_model.out.2.weight" in read_tensors(checkpoint)
    assert convert(checkpoint, settings).card.name == "model"
    assert name not in sys.modules


MEMORY = """
import resource, sys
from sdseg.convert import convert
import diffusers.models.unets.unet_2d, numpy
from sdseg import SDSegPipeline
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
convert(sys.argv[1], sys.argv[2]).save(sys.argv[3])
print(peak() - before)
"""


def test_converting_needs_no_memory_for_the_optimiser(tmp_path):
    adam = [{"state": {k: {"exp_avg": torch.ones(2**25)} for k in range(4)}}]  # 512 MiB
    checkpoint, settings, _ = write(tmp_path, config(), optimizer_states=adam)
    assert checkpoint.stat().st_size > 2**29
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, checkpoint, settings, tmp_path / "m"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    written = sum(f.stat().st_size for f in (tmp_path / "m").rglob("*") if f.is_file())
    assert written < 20 * 2**20
    assert float(done.stdout) < 200


def test_the_command_converts_and_what_it_makes_segments(tmp_path):
    checkpoint, settings, _ = write(tmp_path, config(4))
    out = tmp_path / "organs"
    words = ["convert", checkpoint, "--config", settings, "--out", out, "--classes", "a, b,c"]
    done = CliRunner().invoke(app, [str(w) for w in words])
    assert done.exit_code == 0, done.output
    assert "conditioned: a, b, c" in " ".join(done.output.split())
    model = load_model(out, device="cpu", precision="float32")
    assert (model.card.name, model.card.size, model.card.placement) == ("organs", 64, "fit")
    image = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    labels = segment(image, model)
    assert labels.shape == (70, 90)
    assert set(np.unique(labels)) <= {0, 1, 2, 3}
    again = CliRunner().invoke(app, [str(w) for w in words])
    assert isinstance(again.exception, FileExistsError)
