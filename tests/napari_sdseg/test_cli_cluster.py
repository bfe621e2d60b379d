"""The command on a cluster of real processes."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
import tifffile

from napari_sdseg import segment
from sdseg import files

pytestmark = pytest.mark.slow


@pytest.fixture
def command(same_threads):
    def run(*arguments):
        words = [sys.executable, "-m", "napari_sdseg.cli", "segment", *map(str, arguments)]
        return subprocess.run(words, capture_output=True, text=True, timeout=200, env=same_threads)

    return run


@pytest.fixture
def film(tmp_path):
    image = np.random.default_rng(0).integers(0, 4000, (2, 7, 40, 48)).astype(np.uint16)
    path = tmp_path / "film.ome.tif"
    tifffile.imwrite(path, image, metadata={"axes": "TZYX"}, photometric="minisblack")
    return path, image


def test_processes_of_this_machine_give_the_same_labels(command, random_models, film, tmp_path):
    path, image = film
    dots = random_models / "dots"
    settings = ["--model", dots, "--instances", "--axis", 1]
    done = command(path, *settings, "--workers", 2, "--out", tmp_path / "l.ome.zarr")
    assert done.returncode == 0, done.stderr
    wanted = segment(image, dots, instances=True, axis=1)
    assert np.array_equal(files.read(tmp_path / "l.ome.zarr").data[...], wanted)
    assert f"{wanted.max()} objects" in done.stdout


def test_a_running_cluster_is_used(command, random_models, film, tmp_path):
    distributed = pytest.importorskip("distributed")
    path, image = film
    organs = random_models / "organs"
    with distributed.LocalCluster(
        n_workers=1, processes=True, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        done = command(path, "--model", organs, "--axis", 1, "--scheduler", cluster.scheduler_address)
    assert done.returncode == 0, done.stderr
    labels = files.read(tmp_path / "film_labels.ome.tif")
    assert labels.axes == "TZYX"
    assert np.array_equal(labels.data, segment(image, organs, axis=1))


def test_nobody_at_the_address_is_one_line(command, random_models, film):
    done = command(film[0], "--model", random_models / "dots", "--scheduler", "tcp://127.0.0.1:9")
    assert done.returncode == 1
    assert re.search(r"error: scheduler: nobody answers at 'tcp://127\.0\.0\.1:9'", done.stderr)
    assert "Traceback" not in done.stderr
