from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

import napari_sdseg
from napari_sdseg import finetune, segment
from napari_sdseg.cli import app


@pytest.fixture
def stack():
    rng = np.random.default_rng(0)
    labels = np.zeros((6, 36, 40), np.uint8)
    labels[1:5, 8:24, 10:30] = 1
    image = (rng.normal(200, 30, labels.shape) + 300.0 * labels).astype(np.uint16)
    return image, labels


@pytest.fixture
def files(stack, tmp_path):
    image, labels = stack
    tifffile.imwrite(tmp_path / "image.tif", image)
    tifffile.imwrite(tmp_path / "labels.tif", labels)
    return tmp_path


def run(*words):
    return CliRunner().invoke(app, [str(w) for w in words])


def test_arrays_and_files_give_the_same_model(stack, files, random_starts):
    options = {"annotated": [1, 3], "steps": 2, "device": "cpu", "precision": "float32"}
    model = random_starts / "thing"
    said = []
    made = finetune(model, *stack, progress=lambda a, b: said.append((a, b)), **options)
    assert said == [(1, 2), (2, 2)]
    again = finetune(model, files / "image.tif", str(files / "labels.tif"), **options)
    assert (segment(stack[0], made) == segment(stack[0], again)).all()


def test_the_public_name_is_lazy():
    assert "finetune" in dir(napari_sdseg)
    assert napari_sdseg.finetune is finetune


def test_the_command_keeps_a_model_by_name(files, random_starts, tmp_path, monkeypatch):
    monkeypatch.setenv("SDSEG_MODELS", str(tmp_path / "models"))
    words = [
        "finetune", "--image", files / "image.tif", "--labels", files / "labels.tif", "--model",
        random_starts / "thing", "--annotated", "1,3", "--steps", 2, "--device", "cpu", "--out", "mine",
    ]  # fmt: skip
    done = run(*words, "--classes", "square")
    assert done.exit_code == 0, done.output
    card = json.loads((tmp_path / "models" / "mine" / "card.json").read_text())
    assert card["name"] == "mine"
    assert card["parent"] == "thing"
    assert card["classes"][0]["name"] == "square"
    assert run("segment", files / "image.tif", "--model", "mine", "--device", "cpu").exit_code == 0
    taken = run(*words)
    assert taken.exit_code != 0
    assert "mine" in str(taken.exception)
    assert run(*words, "--overwrite").exit_code == 0


def test_the_command_says_what_is_missing(files, random_starts):
    model, image = random_starts / "thing", files / "image.tif"
    common = ["finetune", "--model", model, "--out", files / "made" / "m", "--steps", 1]
    for words, said in (
        (["--image", image, "--labels", files / "none.tif"], "no such file"),
        (["--image", image, "--labels", files / "labels.tif", "--annotated", "x"], "10,30,50"),
        (["--image", image, "--image", image, "--labels", image], "1 for 2 images"),
    ):
        done = run(*common, *words)
        assert done.exit_code != 0
        assert said in str(done.exception)
    assert not (files / "made").exists()
