"""A folder of images: skipped when finished, reported when broken, never half-written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile
from PIL import Image
from typer.testing import CliRunner

from napari_sdseg import segment
from napari_sdseg.cli import app
from sdseg import files


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")


@pytest.fixture
def dots(random_models):
    return str(random_models / "dots")


@pytest.fixture
def folder(tmp_path):
    """Return a folder with a stack, a picture, two images of one stem, a broken file and a text."""
    place = tmp_path / "in"
    place.mkdir()
    rng = np.random.default_rng(0)
    stack = rng.integers(0, 4000, (3, 40, 48)).astype(np.uint16)
    tifffile.imwrite(place / "a.tif", stack, photometric="minisblack")
    np.save(place / "b.npy", stack[0])
    Image.fromarray(rng.integers(0, 255, (40, 50, 3), np.uint8)).save(place / "b.png")
    (place / "broken.tif").write_bytes(b"II*\0rubbish")
    (place / "notes.txt").write_text("not an image")
    return place


def run(*arguments):
    return CliRunner().invoke(app, ["segment", *map(str, arguments)])


def report(out):
    read = json.loads((out / "report.json").read_text())
    return read, {entry["image"]: entry for entry in read["files"]}


def test_one_broken_file_does_not_stop_the_rest(folder, dots, tmp_path):
    out = tmp_path / "out"
    done = run(folder, "--out", out, "--model", dots, "--instances")
    assert done.exit_code == 1
    assert "broken.tif" in done.output
    assert "3 done, 1 failed" in done.output
    assert sorted(p.name for p in out.iterdir()) == [
        "a_labels.tif", "b_npy_labels.npy", "b_png_labels.png", "report.json",
    ]  # fmt: skip
    whole, entries = report(out)
    assert {name: e["status"] for name, e in entries.items()} == {
        "a.tif": "done", "b.npy": "done", "b.png": "done", "broken.tif": "failed",
    }  # fmt: skip
    assert "broken.tif" in entries["broken.tif"]["error"]
    assert entries["a.tif"]["planes"] == 3
    assert whole["settings"]["instances"] is True
    wanted = segment(files.read(folder / "a.tif").data, dots, instances=True)
    assert np.array_equal(files.read(out / "a_labels.tif").data, wanted)
    assert entries["a.tif"]["found"] == {"objects": wanted.max()}


def test_finished_files_are_skipped_and_repaired_ones_done(folder, dots, tmp_path):
    out = tmp_path / "out"
    run(folder, "--out", out, "--model", dots)
    before = (out / "a_labels.tif").stat().st_mtime_ns
    (out / "b_png_labels.png").unlink()
    tifffile.imwrite(folder / "broken.tif", np.zeros((30, 30), np.uint8))
    done = run(folder, "--out", out, "--model", dots)
    assert done.exit_code == 0, done.output
    assert "2 done, 2 skipped" in done.output
    assert (out / "a_labels.tif").stat().st_mtime_ns == before
    _, entries = report(out)
    assert entries["a.tif"]["planes"] == 3, "what is known of a skipped file stays in the report"
    assert entries["broken.tif"]["status"] == "done"
    assert "error" not in entries["broken.tif"]


def test_labels_of_other_settings_are_not_taken_for_finished(folder, dots, tmp_path):
    out = tmp_path / "out"
    run(folder, "--out", out, "--model", dots)
    done = subprocess.run(
        [sys.executable, "-m", "napari_sdseg.cli", "segment", folder, "--out", out, "--model", dots,
         "--seed", "1"], capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert "labels made with another seed" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    again = run(folder, "--out", out, "--model", dots, "--seed", 1, "--overwrite")
    assert "3 done, 1 failed" in again.output
    assert report(out)[0]["settings"]["seed"] == 1


def test_the_format_of_all_labels_may_be_chosen(folder, dots, tmp_path):
    done = run(folder, "--out", tmp_path / "out", "--model", dots, "--format", ".ome.zarr")
    assert "3 done" in done.output
    labels = files.read(tmp_path / "out" / "a_labels.ome.zarr")
    assert np.array_equal(labels.data[...], segment(files.read(folder / "a.tif").data, dots))


def test_labels_among_the_images_are_not_taken_for_images(folder, dots):
    for status in ("3 done, 1 failed", "1 failed, 3 skipped"):
        done = run(folder, "--out", folder, "--model", dots)
        assert status in done.output
    assert len(list(folder.glob("*_labels*"))) == 3


def test_a_folder_needs_images_and_a_place(folder, dots, tmp_path):
    (tmp_path / "empty").mkdir()
    for arguments, said in (
        ([tmp_path / "empty", "--out", tmp_path / "out"], "holds no image"),
        ([folder], "name a folder for their labels"),
        ([folder, "--out", folder / "a.tif"], "is a file"),
        ([folder / "a.tif", "--format", ".tif"], "--format"),
        ([folder / "a.tif", "--planes", "one"], "--planes: got 'one'"),
        ([folder / "a.tif", "--spacing", "fine"], "--spacing: got 'fine'"),
        ([folder / "a.tif", "--min-size", "5"], "only objects have sizes"),
    ):
        done = run(*arguments, "--model", dots)
        assert done.exit_code == 1
        assert said in str(done.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_killed_at_any_moment_nothing_half_written_is_taken_for_finished(dots, tmp_path, same_threads):
    place, out = tmp_path / "in", tmp_path / "out"
    place.mkdir()
    stack = np.random.default_rng(0).integers(0, 4000, (30, 64, 64)).astype(np.uint16)
    for name in ("a.tif", "b.tif", "c.tif"):
        tifffile.imwrite(place / name, stack, photometric="minisblack")
    words = [sys.executable, "-m", "napari_sdseg.cli", "segment", place, "--model", dots, "--out"]
    subprocess.run(
        [*words, tmp_path / "undisturbed"], check=True, capture_output=True, env=same_threads
    )
    wanted = files.read(tmp_path / "undisturbed" / "a_labels.tif").data
    words.append(out)
    killed = 0
    for attempt in range(12):
        work = subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=same_threads
        )
        started = time.monotonic()
        # later every time, and once there are results at moments in between
        while work.poll() is None and time.monotonic() - started < 2.0 + 0.7 * attempt:
            time.sleep(0.05)
        if work.poll() is None:
            os.kill(work.pid, signal.SIGKILL)
            killed += 1
        code = work.wait()
        for path in out.glob("[!.]*_labels.*"):
            assert np.array_equal(files.read(path).data, wanted), f"{path} is not whole"
        if (out / "report.json").exists():
            json.loads((out / "report.json").read_text())
        if code == 0:
            break
    assert code == 0
    assert killed
    assert len(list(out.glob("[!.]*_labels.tif"))) == 3
