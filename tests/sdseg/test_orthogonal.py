from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from sdseg import load_model, scratch
from sdseg.errors import InputError
from sdseg.orthogonal import count, turned
from sdseg.stack import plan, segment_planes


@pytest.fixture(scope="module")
def model(random_models):
    return load_model(random_models / "organs", device="cpu", precision="float32")


@pytest.fixture(scope="module")
def volume():
    return (np.random.default_rng(0).random((6, 20, 24)) * 255).astype(np.uint8)


def probabilities(image, model, **options):
    out = None
    for plane in segment_planes(image, model, **options):
        if out is None:
            work = plan(image.shape, image.dtype, model.card, axis=options.get("axis"))
            out = np.zeros((len(plane.probability), *work.output_shape), np.float32)
        out[:, *plane.index] = plane.probability
    return out


def test_it_is_the_mean_of_three_directions(volume, model):
    each = [probabilities(volume, model, axis=a, limits=(0, 255)) for a in range(3)]
    found = probabilities(volume, model, axis=0, orthogonal=True, limits=(0, 255))
    np.testing.assert_allclose(found, np.mean(each, axis=0), atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_sliced_axis_changes_nothing_but_the_order(volume, model, axis):
    wanted = probabilities(volume, model, axis=0, orthogonal=True, limits=(0, 255))
    found = probabilities(volume, model, axis=axis, orthogonal=True, limits=(0, 255))
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("kind", ["dask", "film", "colour", "file"])
def test_every_image_gives_what_the_plain_array_gives(volume, model, kind, monkeypatch):
    wanted = probabilities(volume, model, axis=0, orthogonal=True, limits=(0, 255))
    options = {"orthogonal": True, "limits": (0, 255)}
    if kind == "dask":
        found = probabilities(da.from_array(volume, chunks=(1, 20, 24)), model, axis=0, **options)
    elif kind == "film":
        film = da.from_array(np.stack([volume[::-1], volume]), chunks=(1, 1, 20, 24))
        planes = list(segment_planes(film, model, axis=1, **options))
        found = np.stack([p.probability for p in planes[6:]], axis=1)
        # the noise of a plane depends on its number in the whole, so only the first film is equal
        first = list(segment_planes(film[:1], model, axis=1, **options))
        for a, b in zip(planes, first, strict=False):
            np.testing.assert_allclose(a.probability, b.probability, atol=1e-6)
        assert found.shape == wanted.shape
        return
    elif kind == "colour":
        rgb = da.from_array(np.repeat(volume[..., None], 3, axis=-1), chunks=(1, 20, 24, 3))
        planes = list(segment_planes(rgb, model, axis=0, channel_axis=3, **options))
        found = np.stack([p.probability for p in planes], axis=1)
    else:
        monkeypatch.setattr(scratch, "LARGEST", 1)
        found = probabilities(da.from_array(volume), model, axis=0, **options)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_stability_and_progress_count_all_directions(volume, model):
    seen = []
    done = list(
        segment_planes(
            volume, model, axis=0, orthogonal=True, samples=2, planes=[1, 4],
            progress=lambda *at: seen.append(at),
        )
    )  # fmt: skip
    assert [p.index[0] for p in done] == [1, 4]
    assert all(p.stability.shape == p.probability.shape for p in done)
    assert seen == [(i, 46) for i in range(1, 47)]  # 20 + 24 across, and the two asked for


def test_anisotropy_is_respected(model):
    work = plan((5, 40, 40), np.uint8, model.card, spacing=(4.0, 1.0, 1.0), unit="um")
    assert work.zoom == (1.0, 1.0)
    across = turned(work, model.card, np.uint8)
    assert [t.axis for t in across] == [1, 2]
    assert [t.zoom for t in across] == [(4.0, 1.0), (4.0, 1.0)]
    assert count(work) == 85
    film = plan((2, 5, 40, 40), np.uint8, model.card, axis=1)
    assert count(film) == 170


def test_what_has_no_three_directions_is_refused(model):
    with pytest.raises(InputError, match="orthogonal: the image is a single plane"):
        list(segment_planes(np.zeros((20, 20)), model, orthogonal=True))
    with pytest.raises(InputError, match="orthogonal: axis 0 is none of the last three"):
        list(segment_planes(np.zeros((2, 9, 20, 20)), model, axis=0, orthogonal=True))


def test_scratch_arrays_are_zeros_wherever_they_lie(monkeypatch):
    small = scratch.zeros((3, 4), np.uint8)
    monkeypatch.setattr(scratch, "LARGEST", 1)
    large = scratch.zeros((30, 40), np.float32)
    assert not isinstance(small, np.memmap)
    assert isinstance(large, np.memmap)
    assert not large.any()
    large[3] = 7
    assert large.sum() == 280


def test_a_full_disk_is_said_before_the_work(monkeypatch):
    import errno
    import os

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(scratch, "LARGEST", 1)
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)  # not there on every system
    with pytest.raises(OSError, match=r"no room for .* set TMPDIR"):
        scratch.zeros((30, 40), np.float32)
