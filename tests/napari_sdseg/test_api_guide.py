from __future__ import annotations

import numpy as np
import pytest

from napari_sdseg import segment


@pytest.fixture
def stack():
    image = np.random.default_rng(1).integers(0, 255, (7, 32, 32), np.uint8)
    labels = np.zeros(image.shape, np.uint8)
    labels[[1, 5], 5:20, 6:30] = 1
    return image, labels


def test_painted_planes_come_back_and_the_guide_is_not_touched(stack, random_models):
    image, labels = stack
    before = labels.copy()
    found = segment(image, random_models / "organs", guide=labels, device="cpu")
    assert (found[[1, 5]] == before[[1, 5]]).all()
    assert (labels == before).all()
    named = segment(image, random_models / "organs", guide=labels, annotated=[5], device="cpu")
    assert (named[5] == before[5]).all()


def test_what_does_not_fit_is_said(stack, random_models):
    image, labels = stack
    model = random_models / "organs"
    with pytest.raises(ValueError, match="guide: labels: shape"):
        segment(image, model, guide=labels[:3])
    with pytest.raises(ValueError, match="give guide=labels"):
        segment(image, model, annotated=[1])
    import dask.array as da

    with pytest.raises(ValueError, match="not for a dask array"):
        segment(da.from_array(image), model, guide=labels)


def test_the_command_guides_too(stack, random_models, tmp_path):
    import tifffile
    from typer.testing import CliRunner

    from napari_sdseg.cli import app

    image, labels = stack
    tifffile.imwrite(tmp_path / "a.tif", image)
    tifffile.imwrite(tmp_path / "painted.tif", labels)
    model = str(random_models / "organs")
    options = ["--guide", str(tmp_path / "painted.tif"), "--annotated", "1,5", "--device", "cpu"]
    done = CliRunner().invoke(app, ["segment", str(tmp_path / "a.tif"), "--model", model, *options])
    assert done.exit_code == 0, done.output
    found = tifffile.imread(tmp_path / "a_labels.tif")
    wanted = segment(image, model, guide=labels, annotated=[1, 5], device="cpu")
    assert (found == wanted).all()
