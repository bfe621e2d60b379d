from __future__ import annotations

import contextlib
import math

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


@pytest.mark.filterwarnings("ignore:image. NaN or infinite pixels")
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


ODD_DTYPES = [*DTYPES, np.complex64, "U3", "M8[s]", object, np.longdouble]


@pytest.mark.filterwarnings("ignore:image. NaN or infinite pixels")
@given(st.data())
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_asked_there_is_a_result_or_a_documented_error(model, data):
    """Any shape, dtype, layout and axes: labels of the right shape and dtype, or a clear refusal."""
    shape = tuple(data.draw(st.lists(st.sampled_from([0, 1, 2, 3, 4, 7, 20]), max_size=5)))
    if math.prod(shape) > 6000:
        shape = shape[:3]
    image = np.zeros(shape, data.draw(st.sampled_from(ODD_DTYPES)))
    if data.draw(st.booleans()) and image.ndim:
        image = image[::-1].T
    axes = st.none() | st.integers(-6, 6)
    options = {
        "axis": data.draw(axes),
        "channel_axis": data.draw(axes),
        "planes": data.draw(st.none() | st.integers(-9, 9) | st.just(slice(0, 2)) | st.just([])),
        "spacing": data.draw(st.none() | st.floats() | st.lists(st.floats(0.1, 9), max_size=4)),
        "placement": data.draw(st.sampled_from([None, "tile", "fit", "other"])),
        "instances": data.draw(st.booleans()),
    }
    with contextlib.suppress(ValueError, TypeError):  # the documented ones, MemoryError apart
        labels = segment(image, model, **options)
        _is_right(labels, image, options)


def _is_right(labels, image, options):
    less = [tuple(np.delete(image.shape, a)) for a in range(image.ndim)]
    assert labels.shape in (image.shape, *less)
    assert labels.dtype == (np.uint32 if options["instances"] else np.uint8)


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
    with pytest.raises(InputError, match="orthogonal"):
        segment(da.from_array(stack), model, orthogonal=True)


@pytest.mark.parametrize("sizes", [{}, {"min_size": 30, "max_size": 4000}])
def test_lazy_objects_are_the_objects(model, stack, sizes):
    lazy = segment(da.from_array(stack, chunks=(2, 20, 50)), model, instances=True, **sizes)
    assert (lazy.shape, lazy.dtype) == (stack.shape, np.uint32)
    wanted = segment(stack, model, instances=True, **sizes)
    assert np.array_equal(lazy.compute(scheduler="synchronous"), wanted)


def test_lazy_probabilities(organs, stack):
    lazy = segment(da.from_array(stack, chunks=(2, 20, 50)), organs, samples=2, return_probability=True)
    for ours, theirs in zip(
        lazy, segment(stack, organs, samples=2, return_probability=True), strict=True
    ):
        assert isinstance(ours, da.Array)
        assert np.array_equal(ours.compute(scheduler="synchronous"), theirs)


def test_objects_of_a_size(model, stack):
    every = segment(stack, model, instances=True)
    sizes = np.bincount(every.ravel())[1:]
    low, high = np.quantile(sizes, [0.3, 0.8]).astype(int)
    kept = segment(stack, model, instances=True, min_size=int(low), max_size=int(high))
    left = np.bincount(kept.ravel())[1:]
    assert sorted(left) == sorted(sizes[(sizes >= low) & (sizes <= high)])
    with pytest.raises(InputError, match="min_size, max_size: only objects have sizes"):
        segment(stack, model, min_size=5)


def test_results_go_where_they_are_wanted(model, stack, tmp_path):
    from sdseg import files

    wanted = segment(stack, model)
    held = zarr.create_array(
        tmp_path / "held.zarr", shape=stack.shape, dtype=np.uint8, chunks=(1, 40, 50)
    )
    assert segment(stack, model, out=held) is held
    assert np.array_equal(held[:], wanted)
    for name in ("a.ome.tif", "a.ome.zarr", "a.npy"):
        path = segment(da.from_array(stack), model, out=tmp_path / name)
        assert path == tmp_path / name
        assert np.array_equal(np.asarray(files.read(path).data[...]), wanted)
    objects = segment(stack, model, instances=True, min_size=40, out=tmp_path / "b.ome.tif")
    assert np.array_equal(
        np.asarray(files.read(objects).data[...]), segment(stack, model, instances=True, min_size=40)
    )


def test_what_results_cannot_go_into_is_refused_before_the_work(model, stack, tmp_path):
    (tmp_path / "a.tif").write_text("precious")
    with pytest.raises(FileExistsError, match=r"a\.tif exists"):
        segment(stack, model, out=tmp_path / "a.tif")
    assert (tmp_path / "a.tif").read_text() == "precious"
    with pytest.raises(InputError, match="out: need a path, or an array of shape"):
        segment(stack, model, out=np.zeros((3, 4), np.uint8))
    with pytest.raises(InputError, match="out: dtype uint8 cannot hold labels of uint32"):
        segment(stack, model, instances=True, out=np.zeros(stack.shape, np.uint8))
    with pytest.raises(InputError, match="return_probability"):
        segment(stack, model, out=tmp_path / "b.tif", return_probability=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tif"]


def test_a_level_of_a_multiscale_layer(model, stack):
    layers = pytest.importorskip("napari.layers")
    image = layers.Image([stack, stack[:, ::2, ::2]], multiscale=True, scale=(2, 1, 1))
    whole, coarse = segment(image, model), segment(image, model, level=1)
    assert whole.data.shape == stack.shape
    assert np.array_equal(coarse.data, segment(stack[:, ::2, ::2], model))
    assert coarse.scale.tolist() == [2, 2, 2]
    with pytest.raises(InputError, match="level: 1 given, but only"):
        segment(stack, model, level=1)
    with pytest.raises(InputError, match="level"):
        segment(image, model, level=-1)


def test_three_directions(organs, stack):
    labels, probability = segment(stack, organs, orthogonal=True, return_probability=True)
    assert labels.shape == stack.shape
    assert probability.shape == (2, *stack.shape)
    seen = []
    segment(stack, organs, orthogonal=True, progress=lambda *at: seen.append(at))
    assert seen[-1] == (95, 95)
    layers = pytest.importorskip("napari.layers")
    image = layers.Image(stack, scale=(4, 1, 1))
    assert not np.array_equal(segment(image, organs, orthogonal=True).data, labels), "anisotropy"


def test_spacing_makes_planes_square(model, stack):
    across = segment(stack, model, axis=2, spacing=(4, 1, 1))
    assert across.shape == stack.shape
    assert not np.array_equal(across, segment(stack, model, axis=2))
    assert np.array_equal(segment(stack, model, spacing=(4, 1, 1)), segment(stack, model))
    layers = pytest.importorskip("napari.layers")
    image = layers.Image(stack, scale=(4, 1, 1))
    assert np.array_equal(segment(image, model, axis=2).data, across)
