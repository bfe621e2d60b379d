"""The published data sets on the command line: checked, trained on, evaluated."""

from __future__ import annotations

import csv
import json

import pytest
from typer.testing import CliRunner

from napari_sdseg.cli import app
from published_sets import copy, small, some, toml

SETS = ("btcv", "sts3d", "refuge2-cup", "refuge2-disc", "cvc", "kvasir")


def run(*words):
    return CliRunner().invoke(app, [str(w) for w in words])


def test_sets_are_listed():
    listed = run("data").output
    assert all(name in listed for name in SETS)


def test_check_says_what_is_missing_and_where_it_is_to_be_had(tmp_path):
    copy("cvc", tmp_path, [str(i) for i in range(1, 11)])
    (tmp_path / "Ground Truth" / "4.png").unlink()
    done = run("data", "check", "cvc", "--root", tmp_path)
    assert done.exit_code == 1
    assert "9 of 478" in done.output
    assert "no image for: 11, 12, 13" in done.output
    assert "no mask for: 4, 11, 12" in done.output
    assert "https://www.kaggle.com/datasets/balraj98/cvcclinicdb" in done.output
    empty = tmp_path / "empty"
    empty.mkdir()
    done = run("data", "check", "btcv", "--root", empty)
    assert done.exit_code == 1
    assert "Abdomen/RawData/Training/img/" in done.output
    assert "imgNAME.nii.gz" in done.output
    assert "syn3193805" in done.output


def test_check_of_a_whole_set_ends_well(tmp_path):
    copy("sts3d", tmp_path, [f"Teeth_{i:04}_0000" for i in range(1, 13)])
    done = run("data", "check", "sts3d", "--root", tmp_path, "--every")
    assert done.exit_code == 0, done.output
    assert "complete (every file was opened)" in done.output


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_every_set_goes_from_its_own_files_to_a_table(name, tmp_path, monkeypatch):
    """The shipped recipe, shrunk, on a small copy of the set: train, evaluate both ways, compare."""
    from sdseg import Recipe

    root = copy(name, tmp_path / "set", some(name))
    recipe = tmp_path / f"{name}.toml"
    recipe.write_text(toml(small(Recipe.read(name)).to_dict()))
    monkeypatch.chdir(tmp_path)
    done = run("train", "--recipe", recipe, "--root", root)  # out: runs/NAME
    assert done.exit_code == 0, done.output
    assert "denoiser 4/4" in done.output
    best = tmp_path / "runs" / name / "denoiser" / "best"

    on = ["evaluate", best, root, "--set", name, "--partial"]
    done = run(*on, "--json", tmp_path / "s.json", "--csv", tmp_path / "s.csv", "--stability", 2)
    assert done.exit_code == 0, done.output
    for said in ("dice", "iou", "hd95", "assd", "95 %", "PSNR"):
        assert said in done.output
    written = json.loads((tmp_path / "s.json").read_text())
    assert written["summary"] == written["sound"]
    assert written["summary"]["cases"] == 2
    assert 0 <= written["published"]["dice"] <= 1
    assert 0 <= written["square"]["iou"] <= 1
    assert set(written["stability"]) == {"independent", "shared"}
    with (tmp_path / "s.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [r["name"] for r in rows] == [c["name"] for c in written["cases"]] == some(name)[-2:]
    drawn = Recipe.read(name).card.classes[0].name
    assert {f"dice {drawn}", f"published dice {drawn}", f"hd95 {drawn}", "unit"} <= set(rows[0])

    done = run(*on, "--protocol", "published", "--json", tmp_path / "p.json")
    assert done.exit_code == 0, done.output
    published = json.loads((tmp_path / "p.json").read_text())
    assert published["protocol"] == "published"
    assert published["summary"] == published["published"]


@pytest.mark.slow
def test_stability_writes_figures_and_pictures(tmp_path):
    from PIL import Image

    from sdseg import Recipe, Trainer

    root = copy("cvc", tmp_path / "set", some("cvc"))
    for _ in Trainer(small(Recipe.read("cvc")), root, tmp_path / "run").run():
        pass
    done = run(
        "stability", tmp_path / "run" / "denoiser" / "best", root, "--set", "cvc", "--partial",
        "--samples", 3, "--out", tmp_path / "pictures", "--json", tmp_path / "s.json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "Dice of the worst" in done.output
    assert "LPIPS" in done.output
    figures = json.loads((tmp_path / "s.json").read_text())
    assert figures["independent"]["samples"] == 3
    pictures = sorted((tmp_path / "pictures" / "shared").iterdir())
    assert [p.name for p in pictures] == ["611_0000.png", "612_0000.png"]
    assert Image.open(pictures[0]).size == (96, 32)  # image, mean, spread


def test_mistakes_are_said_before_a_model_is_loaded(tmp_path):
    done = run("evaluate", "no-such-model", tmp_path)
    assert "images is missing" in str(done.exception)
    done = run("data", "check", "isic", "--root", tmp_path)
    assert "use one of btcv" in str(done.exception)
    done = run("train", "--recipe", "cvc", "--root", tmp_path)
    assert "data check cvc" in str(done.exception)
