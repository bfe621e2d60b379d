"""Labels lie on their image, whatever its transform, and say how they were made."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sdseg import layers
from sdseg import Card
from sdseg.axes import plan
from sdseg.card import ClassInfo

napari_layers = pytest.importorskip("napari.layers")

CLASSES = Card("organs", classes=(ClassInfo("liver", "#aa0000"), ClassInfo("bone", "#00bb00")),
               coding="multiclass", version="3")  # fmt: skip
NUCLEI = Card("nuclei", classes=(ClassInfo("nucleus"),), coding="instances")

angles = st.floats(-170, 170)
numbers = st.floats(-5, 5)


def rotation(ndim, pairs):
    matrix = np.eye(ndim)
    for a, b, angle in pairs:
        turn, c, s = np.eye(ndim), np.cos(np.radians(angle)), np.sin(np.radians(angle))
        turn[a, a], turn[b, b], turn[a, b], turn[b, a] = c, c, -s, s
        matrix = matrix @ turn
    return matrix


@st.composite
def images(draw, mixed):
    """An Image layer with every transform field set, and the channel axis in its data (or None)."""
    ndim = draw(st.integers(2, 4))
    channel = draw(st.integers(0, ndim - 1)) if ndim > 2 and draw(st.booleans()) else None
    others = [a for a in range(ndim) if mixed or a != channel]
    shape = [3 if a == channel else 9 for a in range(ndim)]

    def keep(matrix):
        if channel is not None and not mixed:
            off = [a for a in range(ndim) if a != channel]
            matrix[channel, off] = matrix[off, channel] = 0
        return matrix

    shear = np.eye(ndim)
    shear[np.triu_indices(ndim, 1)] = [draw(numbers) / 5 for _ in range(ndim * (ndim - 1) // 2)]
    if draw(st.booleans()):
        shear = shear.T  # napari keeps lower triangles in another form
    affine = np.eye(ndim + 1)
    affine[:-1, :-1] += keep(np.array([[draw(numbers) / 10 for _ in range(ndim)] for _ in range(ndim)]))
    affine[:-1, -1] = [draw(numbers) for _ in range(ndim)]
    pairs = [(a, b, draw(angles)) for a, b in itertools.pairwise(others)]
    layer = napari_layers.Image(
        np.zeros(shape, np.uint8),
        rgb=False,
        scale=[draw(st.floats(0.1, 10)) for _ in range(ndim)],
        translate=[draw(numbers) for _ in range(ndim)],
        rotate=rotation(ndim, pairs),
        shear=keep(shear),
        affine=affine,
        units=("micrometer",) * ndim,
        axis_labels=tuple("tzyx"[-ndim:]),
    )
    return layer, channel


@pytest.mark.parametrize("mixed", [False, True], ids=["channel apart", "channel mixed in"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_data_to_world_is_the_images(mixed, data):
    layer, channel = data.draw(images(mixed))
    work = plan(layer.data.shape, np.uint8, NUCLEI, channel_axis=channel)
    kept = [a for a in range(layer.ndim) if a != channel]
    labels = napari_layers.Labels(np.zeros(work.output_shape, np.uint8), **layers.geometry(layer, work))
    for point in np.vstack([np.zeros(len(kept)), np.eye(len(kept)) * 7, np.arange(len(kept)) + 1.5]):
        whole = np.zeros(layer.ndim)
        whole[kept] = point
        np.testing.assert_allclose(
            labels.data_to_world(point), np.array(layer.data_to_world(whole))[kept], atol=1e-6
        )
    np.testing.assert_allclose(labels.scale, layer.scale[kept])
    np.testing.assert_allclose(labels.translate, layer.translate[kept])
    assert labels.units == tuple(layer.units[a] for a in kept)
    assert labels.axis_labels == tuple(layer.axis_labels[a] for a in kept)


def test_fields_without_a_channel_axis_are_the_images_own():
    layer = napari_layers.Image(np.zeros((5, 9, 9)), rotate=rotation(3, [(1, 2, 30)]), scale=[3, 1, 1])
    fields = layers.geometry(layer, plan((5, 9, 9), float, NUCLEI))
    np.testing.assert_array_equal(fields["rotate"], layer.rotate)
    assert fields["affine"] is not layer.affine


def test_rgb_layers_have_no_channel_axis_to_take_out():
    layer = napari_layers.Image(np.zeros((8, 9, 3), np.uint8), rgb=True, scale=(2, 3))
    assert layer.rgb
    data, channel_axis = layers.image_array(layer)
    assert (data.shape, channel_axis) == ((8, 9, 3), 2)
    fields = layers.geometry(layer, plan(data.shape, data.dtype, NUCLEI, channel_axis=channel_axis))
    np.testing.assert_array_equal(fields["scale"], (2, 3))


def test_multiscale_is_taken_at_its_finest_level():
    levels = [np.zeros((32, 32)), np.zeros((16, 16))]
    data, channel_axis = layers.image_array(napari_layers.Image(levels, multiscale=True))
    assert data is levels[0]
    assert channel_axis is None


def test_a_lazy_image_stays_lazy():
    da = pytest.importorskip("dask.array")
    lazy = da.zeros((4, 16, 16), chunks=(1, 16, 16))
    data, _ = layers.image_array(napari_layers.Image(lazy))
    assert isinstance(data, da.Array)


def test_classes_get_names_and_colours_from_the_card():
    kwargs = layers.labels_kwargs(CLASSES, source="scan", settings={"seed": 4})
    layer = napari_layers.Labels(np.array([[0, 1], [2, 2]], np.uint8), **kwargs)
    assert layer.name == "scan - organs"
    np.testing.assert_allclose(layer.get_color(1), [2 / 3, 0, 0, 1], atol=1e-3)
    np.testing.assert_allclose(layer.get_color(2), [0, 0.7333, 0, 1], atol=1e-3)
    assert list(layer.features["name"]) == ["background", "liver", "bone"]
    assert "name: bone" in layer.get_status((1, 1), world=True)["value"]


def test_instances_keep_naparis_colours_and_are_named_when_counted():
    kwargs = layers.labels_kwargs(NUCLEI, source="cells", instances=True)
    assert "colormap" not in kwargs
    layer = napari_layers.Labels(np.array([[0, 1], [7, 7]], np.uint32), **kwargs)
    layer.features = layers.instance_features(NUCLEI, 7)
    assert "name: nucleus" in layer.get_status((1, 1), world=True)["value"]


def test_metadata_says_how_it_was_made():
    image = napari_layers.Image(np.zeros((3, 9, 20, 20)), name="scan")
    work = plan(image.data.shape, float, CLASSES, axis=1, channel_axis=0)
    layer = layers.make_labels(np.zeros(work.output_shape, np.uint8), image, work, CLASSES,
                               settings={"seed": 4})  # fmt: skip
    made = layer.metadata[layers.METADATA_KEY]
    assert made["model"] == "organs"
    assert made["version"] == "3"
    assert made["source"] == "scan"
    assert made["settings"] == {"instances": False, "axis": 1, "channel_axis": 0, "seed": 4}
    assert made["software"].startswith("napari-sdseg ")
    layer.name = "anything"
    assert layers.is_ours(layer)
    assert not layers.is_ours(image)


def test_import_is_light():
    code = "import sys, napari_sdseg.layers;print({'napari', 'torch', 'qtpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def pyramid(**transform):
    """Return a multiscale Image layer of three levels, and its finest array."""
    fine = np.random.default_rng(0).integers(0, 4000, (6, 64, 80)).astype(np.uint16)
    return napari_layers.Image(
        [fine, fine[:, ::2, ::2], fine[:, ::4, ::4]], multiscale=True, **transform
    ), fine


def test_a_level_on_request():
    layer, fine = pyramid()
    assert np.array_equal(layers.image_array(layer)[0], fine)
    assert layers.image_array(layer, 2)[0].shape == (6, 16, 20)
    with pytest.raises(ValueError, match=r"level: 3 asked for, the layer .* has 3"):
        layers.image_array(layer, 3)


def test_labels_of_a_level_cover_the_image_exactly():
    """The corners of what is drawn, half a pixel beyond the outer pixels' middles, coincide."""
    turn = rotation(3, [(1, 2, 30)])
    layer, fine = pyramid(scale=(2.0, 0.5, 0.25), translate=(1, 2, 3), rotate=turn)
    for level, shape in ((0, (6, 64, 80)), (1, (6, 32, 40)), (2, (6, 16, 20))):
        labels = napari_layers.Labels(np.zeros(shape, np.uint8), **layers.geometry(layer, level=level))
        for corner in itertools.product((0, 1), repeat=3):
            ours = labels.data_to_world([c * n - 0.5 for c, n in zip(corner, shape, strict=True)])
            theirs = layer.data_to_world([c * n - 0.5 for c, n in zip(corner, fine.shape, strict=True)])
            np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_a_layers_pixel_size_is_known_where_it_says_something():
    array = np.zeros((4, 5, 20, 30))
    plain = napari_layers.Image(array)
    assert layers.image_spacing(plain) == (None, None)
    scaled = napari_layers.Image(array, scale=(9, 2, 0.5, 0.5), units=("s", "um", "um", "um"))
    spacing, unit = layers.image_spacing(scaled)
    assert spacing == (2.0, 0.5, 0.5)
    assert unit in ("um", "micrometer")
    assert layers.image_spacing(napari_layers.Image(array, scale=(1, 3, 1, 1)))[0] == (3.0, 1.0, 1.0)
    rgb = napari_layers.Image(np.zeros((5, 20, 30, 3)), rgb=True, scale=(4, 1, 1))
    assert layers.image_spacing(rgb)[0] == (4.0, 1.0, 1.0)
    assert layers.image_spacing(scaled, channel_axis=1)[0] == (9.0, 0.5, 0.5)
    layer, _ = pyramid(scale=(2.0, 0.5, 0.25))
    assert layers.image_spacing(layer, level=1)[0] == (2.0, 1.0, 0.5)
