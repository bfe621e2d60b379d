from __future__ import annotations

import json
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file

from sdseg import Card, list_models, load_model
from sdseg.atomic import atomic_folder, recover
from sdseg.errors import InputError, InputTypeError, ModelFormatError, ModelNotFoundError

IMAGES = torch.rand(1, 3, 64, 64) * 2 - 1


def test_saving_and_loading_is_bit_equal(random_models, tmp_path):
    model = load_model(random_models / "dots", device="cpu", precision="float32")
    again = load_model(model.save(tmp_path / "copy"), device="cpu", precision="float32")
    said = "".join(p.read_text() for p in (tmp_path / "copy").rglob("*.json"))
    assert str(random_models) not in said  # no path of the machine it was made on
    assert again.card == model.card
    assert torch.equal(model.pipeline(IMAGES).probability, again.pipeline(IMAGES).probability)


def test_half_precision_halves_the_file_and_leaves_the_model_alone(random_models, tmp_path):
    model = load_model(random_models / "dots", device="cpu", precision="float32")
    before = model.pipeline(IMAGES).probability
    model.save(tmp_path / "full")
    model.save(tmp_path / "half", half=True)
    sizes = [
        (tmp_path / d / "unet" / "diffusion_pytorch_model.safetensors").stat().st_size
        for d in ("full", "half")
    ]
    assert sizes[1] < 0.65 * sizes[0]
    tensors = load_file(tmp_path / "half" / "unet" / "diffusion_pytorch_model.safetensors")
    assert {t.dtype for t in tensors.values()} == {torch.float16}
    assert torch.equal(model.pipeline(IMAGES).probability, before)
    half = load_model(tmp_path / "half", device="cpu", precision="float32")
    torch.testing.assert_close(half.pipeline(IMAGES).probability, before, atol=0.1, rtol=0)


def test_users_models_are_found_by_name_and_hide_bundled_ones(random_models, monkeypatch):
    monkeypatch.setenv("SDSEG_MODELS", str(random_models))
    found = {m.name: m for m in list_models()}
    assert found["dots"].origin == "user"
    assert found["dots"].card.summary == "Dots, for tests."
    assert load_model("dots").card.name == "dots"


def test_a_model_that_is_changed_on_disk_is_read_again(random_models, tmp_path):
    place = tmp_path / "m"
    shutil.copytree(random_models / "dots", place)
    first = load_model(place)
    assert load_model(place) is first
    card = json.loads((place / "card.json").read_text())
    (place / "card.json").write_text(json.dumps({**card, "summary": "New."}))
    assert load_model(place).card.summary == "New."


def test_what_is_missing_is_said(tmp_path, random_models, monkeypatch):
    monkeypatch.setenv("SDSEG_MODELS", str(random_models))
    with pytest.raises(ModelNotFoundError, match=r"no model 'nukes'.*dots.*organs"):
        load_model("nukes")
    with pytest.raises(ModelNotFoundError, match=r"no card\.json"):
        load_model(tmp_path)
    with pytest.raises(InputTypeError, match="int"):
        load_model(3)
    with pytest.raises(InputError, match="'cuda:99'"):
        load_model(random_models / "dots", device="cuda:99")
    with pytest.raises(InputError, match="float8"):
        load_model(random_models / "dots", precision="float8")


def test_hub_ids_go_to_the_hub_and_offline_is_a_sentence(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotFoundError, match="hub"):
        load_model("nobody/nothing-here")


def test_damaged_models_are_refused_with_their_file(random_models, tmp_path):
    place = tmp_path / "m"
    shutil.copytree(random_models / "dots", place)
    (place / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"rubbish")
    with pytest.raises(ModelFormatError, match="cannot be loaded"):
        load_model(place)
    (place / "card.json").write_text("{")
    with pytest.raises(ModelFormatError, match="not valid JSON"):
        load_model(place)


class _Bomb:
    def __reduce__(self):
        return exec, ("import pathlib; pathlib.Path(__import__('os').environ['FUSE']).touch()",)


def test_only_tensors_are_loaded_never_code(random_models, tmp_path, monkeypatch):
    """A pickle in the place of the weights, and a class of somebody else's, are both refused."""
    fuse = tmp_path / "fuse"
    monkeypatch.setenv("FUSE", str(fuse))
    pickle.loads(pickle.dumps(_Bomb()))
    assert fuse.exists()  # the bomb works
    fuse.unlink()

    place = tmp_path / "pickled"
    shutil.copytree(random_models / "dots", place)
    weights = place / "unet" / "diffusion_pytorch_model.safetensors"
    weights.unlink()
    weights.with_suffix(".bin").write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(ModelFormatError):
        load_model(place)

    place = tmp_path / "imported"
    shutil.copytree(random_models / "dots", place)
    index = json.loads((place / "model_index.json").read_text())
    for name, wanted in (("unet", ["os", "system"]), ("extra", ["antigravity", "x"])):
        (place / "model_index.json").write_text(json.dumps({**index, name: wanted}))
        with pytest.raises(ModelFormatError):
            load_model(place)
    assert not fuse.exists()


def test_a_loaded_model_can_be_moved_without_touching_the_first(random_models):
    first = load_model(random_models / "dots", device="cpu", precision="float32")
    assert load_model(first) is first
    second = load_model(first, precision="bfloat16")
    assert (first.precision, second.precision) == ("float32", "bfloat16")
    assert first.pipeline.unet.dtype == torch.float32
    assert "as asked" in second.device_note


def test_cards_survive_json_and_newer_entries():
    card = Card("x", scores={"Dice": 0.9}, parent="y")
    assert Card.from_dict(json.loads(json.dumps(card.to_dict()))) == card
    assert Card.from_dict({**card.to_dict(), "from the future": 1}) == card


def test_folders_appear_whole_or_not_at_all(tmp_path):
    target = tmp_path / "t"

    def fail_half_way():
        with atomic_folder(target) as fresh:
            (fresh / "half").touch()
            raise KeyError

    with pytest.raises(KeyError):
        fail_half_way()
    assert not list(tmp_path.iterdir())
    for text in ("one", "two"):
        with atomic_folder(target) as fresh:
            (fresh / "a").write_text(text)
    assert (target / "a").read_text() == "two"
    target.rename(tmp_path / ".t.old")  # as a kill between the two renames leaves it
    (tmp_path / ".t.1234.new").mkdir()
    assert recover(target)
    assert [p.name for p in tmp_path.iterdir()] == ["t"]


def test_a_denoiser_of_noise_keeps_float32(random_models, trained):
    """Its rounding is multiplied by 38.7 in the single step; one of the clean latent's is not."""
    import torch

    noise = load_model(random_models / "dots", device="cpu", precision="bfloat16").pipeline
    clean = load_model(trained / "denoiser" / "best", device="cpu", precision="bfloat16").pipeline
    assert noise.scheduler.config.prediction_type == "epsilon"
    assert (noise.unet.dtype, noise.vae.dtype) == (torch.float32, torch.bfloat16)
    assert clean.scheduler.config.prediction_type == "sample"
    assert (clean.unet.dtype, clean.vae.dtype) == (torch.bfloat16, torch.bfloat16)
