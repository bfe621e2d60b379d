from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import tifffile
import torch
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_sdseg import segment
from sdseg import load_model
from sdseg.errors import InputError


@pytest.fixture(scope="module")
def model(random_models):
    return load_model(random_models / "dots", device="cpu", precision="float32")


@pytest.fixture(scope="module")
def organs(random_models):
    return load_model(random_models / "organs", device="cpu", precision="float32")


@pytest.fixture(scope="module")
def stack():
    return (np.random.default_rng(0).random((5, 40, 50)) * 4000).astype(np.uint16)


DTYPES = [bool, np.uint8, ">u2", np.int16, np.int64, np.float16, ">f4", np.float64]


@given(st.data())
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_labels_have_the_images_shape(model, data):
    dtype = data.draw(st.sampled_from(DTYPES))
    shape = data.draw(st.lists(st.integers(1, 40), min_size=2, max_size=2))
    lead = data.draw(st.lists(st.integers(1, 3), max_size=2))
    image = data.draw(hnp.arrays(dtype, (*lead, *shape), fill=st.nothing()))
    if data.draw(st.booleans()):
        image = np.asfortranarray(image)
    image.flags.writeable = False
    axis = data.draw(st.none() | st.integers(0, len(lead) - 1)) if lead else None
    labels = segment(image, model, axis=axis, channel_axis=None)
    # A last axis of 3 or 4 behind longer ones is taken for colours, and said so.
    assert labels.shape in (image.shape, image.shape[:-1])
    assert labels.dtype == np.uint8


def test_the_same_image_in_every_wrapping_gives_the_same_labels(model, stack, tmp_path):
    wanted = segment(stack, model)
    tifffile.imwrite(tmp_path / "s.tif", stack)
    np.save(tmp_path / "s.npy", stack)
    held = zarr.array(stack, chunks=(1, 40, 50))
    wrapped = {
        "big-endian": stack.astype(">u2"), "fortran": np.asfortranarray(stack), "zarr": held,
        "torch": torch.from_numpy(stack.astype(np.int32)), "tiff": tmp_path / "s.tif",
        "text path": str(tmp_path / "s.tif"), "npy": tmp_path / "s.npy", "list": stack.tolist(),
    }  # fmt: skip
    for name, image in wrapped.items():
        assert np.array_equal(segment(image, model), wanted), name


@pytest.mark.parametrize("chunks", [(1, 40, 50), (2, 13, 50), (5, 40, 7)])
def test_dask_in_lazy_dask_out_with_the_same_labels(model, stack, chunks):
    lazy = segment(da.from_array(stack, chunks=chunks), model)
    assert isinstance(lazy, da.Array)
    assert (lazy.shape, lazy.dtype) == (stack.shape, np.uint8)
    assert np.array_equal(lazy.compute(scheduler="synchronous"), segment(stack, model))


def test_dask_reads_only_what_is_needed(model, stack):
    touched = set()

    def load(block, block_info=None):
        touched.add(block_info[0]["chunk-location"][0])
        return block

    many = np.repeat(stack, 20, axis=0)
    source = da.from_array(many, chunks=(1, 40, 50))
    lazy = segment(source.map_blocks(load, dtype=many.dtype, meta=many[:0]), model)
    assert not touched
    part = lazy[7].compute(scheduler="synchronous")
    assert np.array_equal(part, segment(many, model, planes=7)[7])
    assert len(touched) <= 17  # the plane, and the sample that brightness limits come from


def test_dask_colours_and_other_axes(model, stack):
    colours = np.stack([stack] * 3, axis=1)
    lazy = segment(da.from_array(colours, chunks=(1, 3, 20, 20)), model, channel_axis=1)
    assert np.array_equal(
        lazy.compute(scheduler="synchronous"), segment(colours, model, channel_axis=1)
    )
    lazy = segment(da.from_array(stack, chunks=(2, 40, 10)), model, axis=2)
    assert np.array_equal(lazy.compute(scheduler="synchronous"), segment(stack, model, axis=2))


def test_planes_leave_the_rest_empty(model, stack):
    part = segment(stack, model, planes=slice(1, 3))
    assert np.array_equal(part[1:3], segment(stack, model)[1:3])
    assert not part[[0, 3, 4]].any()


def test_probability_and_stability_come_along(model, organs, stack):
    labels, probability = segment(stack, model, return_probability=True)
    assert (probability.shape, probability.dtype) == ((2, *stack.shape), np.float32)
    assert np.array_equal(labels > 0, probability[0] > 0.5)
    labels, probability, stability = segment(stack, organs, samples=2, return_probability=True)
    assert stability.shape == probability.shape == (2, *stack.shape)
    assert set(np.unique(labels)) <= {0, 1, 2}


def test_objects_on_request(model, stack):
    objects = segment(stack, model, instances=True)
    assert objects.dtype == np.uint32


def test_progress_is_told(model, stack):
    said = []
    segment(stack, model, progress=lambda done, total: said.append((done, total)))
    assert said == [(i, 5) for i in range(1, 6)]


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (np.zeros((0, 5)), ValueError), (np.zeros(9), ValueError),
        (np.zeros((9, 9), complex), TypeError),
        (np.empty((9, 9), object), TypeError), ("no-such-file.tif", FileNotFoundError),
        (None, TypeError), (3, TypeError), (b"bytes", TypeError), (np.array(["a", "b"]), TypeError),
    ],
)  # fmt: skip
def test_bad_images_are_refused(model, image, error):
    with pytest.raises(error):
        segment(image, model)


def test_what_a_lazy_result_cannot_do_is_said(model, stack):
    lazy = da.from_array(stack)
    with pytest.raises(InputError, match="instances"):
        segment(lazy, model, instances=True)
    with pytest.raises(InputError, match="return_probability"):
        segment(lazy, model, return_probability=True)
