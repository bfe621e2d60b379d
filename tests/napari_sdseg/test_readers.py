"""Files opened in napari: what kind of layer, and where it lies."""

from __future__ import annotations

import json

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from npe2 import DynamicPlugin, PluginManager, PluginManifest

from napari_sdseg.readers import FILE_KEY, get_reader, read_layers
from sdseg.errors import InputError

sitk = pytest.importorskip("SimpleITK")

#: x, y, z, in degrees: a series that is tilted about all three.
TILTS = (12.0, -7.0, 20.0)
SAGITTAL = (0, 0, 1, 1, 0, 0, 0, -1, 0)


def oblique():
    angles = np.deg2rad(TILTS)
    return tuple(sitk.Euler3DTransform((0, 0, 0), *angles.tolist()).GetMatrix())


def volume(direction=(1, 0, 0, 0, 1, 0, 0, 0, 1), dtype=np.int16, shape=(4, 6, 8), low=-1000):
    data = np.arange(np.prod(shape)).reshape(shape).astype(dtype) * 10 + low
    image = sitk.GetImageFromArray(data.astype(dtype))
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((-120.5, 33.0, -700.25))
    image.SetDirection(direction)
    return image


def series(folder, image):
    """Write a volume as a DICOM series, with its positions and orientation."""
    folder.mkdir()
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    turn = image.GetDirection()
    along = [turn[i] for i in (0, 3, 6, 1, 4, 7)]
    for k in range(image.GetDepth()):
        plane = image[:, :, k]
        for tag, value in {
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0008|0018": f"1.2.3.{k + 1}",
            "0008|0060": "CT",
            "0020|000d": "1.2.9",
            "0020|000e": "1.2.3",
            "0020|0013": str(k),
            "0020|0032": "\\".join(f"{v:.9g}" for v in image.TransformIndexToPhysicalPoint((0, 0, k))),
            "0020|0037": "\\".join(f"{v:.12g}" for v in along),
            "0018|0050": str(image.GetSpacing()[2]),
            "0018|0088": str(image.GetSpacing()[2]),
            "0028|1052": "0",
            "0028|1053": "1",
        }.items():
            plane.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"slice{k:03}.dcm"))
        writer.Execute(plane)
    return folder


@pytest.fixture
def ours(monkeypatch):
    """napari with this plugin and no other."""
    manager = PluginManager()
    manager.register(PluginManifest.from_distribution("napari-sdseg"))
    monkeypatch.setattr(PluginManager, "instance", lambda: manager)
    return manager


def opened(path):
    viewer = ViewerModel()
    return viewer.open(str(path), plugin="napari-sdseg")


def lies_as_itk_says(layer, image, order=(0, 1, 2), atol=1e-4):
    """Compare the corners and some inner pixels."""
    for index in [(0, 0, 0), (3, 0, 0), (0, 5, 0), (0, 0, 7), (2, 3, 4)]:
        there = image.TransformIndexToPhysicalPoint([int(i) for i in reversed(index)])
        here = layer.data_to_world(tuple(index[a] for a in order))
        np.testing.assert_allclose(here, there[::-1], atol=atol)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha", ".mhd"])
@pytest.mark.parametrize("direction", [(-1, 0, 0, 0, -1, 0, 0, 0, 1), oblique()], ids=["flip", "tilt"])
def test_volumes_lie_where_itk_says(tmp_path, ours, suffix, direction):
    image = volume(direction)
    path = tmp_path / f"scan.1{suffix}"
    sitk.WriteImage(image, str(path))
    (layer,) = opened(path)
    assert isinstance(layer, Image)
    assert layer.name == "scan.1"
    np.testing.assert_array_equal(layer.data, sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(layer.scale, (2.5, 0.8, 0.7), rtol=1e-6)
    np.testing.assert_allclose(layer.translate, (-700.25, 33.0, -120.5), rtol=1e-6)
    assert [str(u) for u in layer.units] == ["millimeter"] * 3
    assert layer.axis_labels == ("z", "y", "x")
    assert layer.metadata[FILE_KEY]["path"] == str(path)
    lies_as_itk_says(layer, image)


def test_a_straight_volume_has_no_rotation(tmp_path):
    sitk.WriteImage(volume(), str(tmp_path / "a.mha"))
    ((_, kwargs, _),) = read_layers(tmp_path / "a.mha")
    assert "rotate" not in kwargs
    assert "affine" not in kwargs


@pytest.mark.parametrize("tilted", [False, True])
def test_a_dicom_series_is_opened_by_its_folder(tmp_path, ours, tilted):
    image = volume(oblique()) if tilted else volume()
    (layer,) = opened(series(tmp_path / "CT abdomen", image))
    assert layer.name == "CT abdomen"
    np.testing.assert_array_equal(layer.data, sitk.GetArrayFromImage(image))
    lies_as_itk_says(layer, image)
    assert tuple(layer.contrast_limits) == (-160, 240)


def test_a_sagittal_series_is_shown_plane_by_plane(tmp_path, ours):
    """Its axes are put into the order of the world's; else napari cuts single pixels out of it."""
    image = volume(SAGITTAL)
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"))
    viewer = ViewerModel()
    (layer,) = viewer.open(str(tmp_path / "a.nrrd"), plugin="napari-sdseg")
    order = layer.metadata[FILE_KEY]["order"]
    assert order == (1, 2, 0)
    assert layer.data.shape == (6, 8, 4)
    lies_as_itk_says(layer, image, order)
    viewer.dims.set_current_step(0, 2)
    assert layer._slice.image.view.shape == (8, 4)


@pytest.mark.parametrize(
    ("values", "limits"),
    [
        ((-1024, 1500), (-160, 240)),
        ((-3024, 3000), (-160, 240)),
        ((0, 1500), None),
        ((-40, 300), None),
        ((-30000, 30000), None),
    ],
)
def test_only_hounsfield_units_get_a_window(tmp_path, values, limits):
    data = np.linspace(*values, 4 * 40 * 40).reshape(4, 40, 40).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(data), str(tmp_path / "a.nii"))
    ((_, kwargs, _),) = read_layers(tmp_path / "a.nii")
    assert kwargs.get("contrast_limits") == limits


@pytest.mark.parametrize(
    ("name", "dtype", "kind"),
    [
        ("ct_labels.nii.gz", np.uint8, Labels),
        ("Seg.nrrd", np.int16, Labels),
        ("liver-MASK.mha", np.uint16, Labels),
        ("liver-mask.mha", np.float32, Image),
        ("ct.nii.gz", np.uint8, Image),
    ],
)
def test_labels_are_known_by_name_and_type(tmp_path, ours, name, dtype, kind):
    image = volume(oblique(), dtype, low=0)
    sitk.WriteImage(image, str(tmp_path / name))
    (layer,) = opened(tmp_path / name)
    assert type(layer) is kind
    lies_as_itk_says(layer, image)


def test_time_colours_and_components(tmp_path, ours):
    moving = np.zeros((3, 4, 6, 8), np.int16)
    image = sitk.GetImageFromArray(moving, isVector=False)
    image.SetSpacing((1.0, 2.0, 3.0, 4.0))
    sitk.WriteImage(image, str(tmp_path / "moving.nii"))
    (layer,) = opened(tmp_path / "moving.nii")
    assert layer.data.shape == moving.shape
    assert layer.axis_labels == ("t", "z", "y", "x")
    np.testing.assert_allclose(layer.scale, (4, 3, 2, 1))
    assert [str(u) for u in layer.units] == ["second", *["millimeter"] * 3]

    colours = np.zeros((4, 6, 8, 3), np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(colours, isVector=True), str(tmp_path / "rgb.nrrd"))
    (layer,) = opened(tmp_path / "rgb.nrrd")
    assert layer.rgb
    assert layer.ndim == 3
    field = np.zeros((4, 6, 8, 3), np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(field, isVector=True), str(tmp_path / "field.nrrd"))
    layers = opened(tmp_path / "field.nrrd")
    assert [x.data.shape for x in layers] == [(4, 6, 8)] * 3


# -- OME-Zarr ------------------------------------------------------------------------------------


def ome(path, data, axes, scale, levels=2, units=None):
    """Write an image of OME-Zarr 0.5, each level half the one before in y and x."""
    import zarr

    zarr.open_group(str(path), mode="w", zarr_format=3)
    datasets = []
    for k in range(levels):
        small = data[..., :: 2**k, :: 2**k]
        array = zarr.create_array(str(path / str(k)), shape=small.shape, dtype=small.dtype)
        array[...] = small
        sizes = [s * 2**k if a in "yx" else s for a, s in zip(axes, scale, strict=True)]
        moves = [{"type": "scale", "scale": sizes}]
        moves.append({"type": "translation", "translation": [float(a in "yx") for a in axes]})
        datasets.append({"path": str(k), "coordinateTransformations": moves})
    kinds = {"t": "time", "c": "channel"}
    listed = [{"name": a, "type": kinds.get(a, "space")} for a in axes]
    for axis in listed:
        if axis["type"] == "space":
            axis["unit"] = "micrometer"
    group = json.loads((path / "zarr.json").read_text())
    image = {"axes": listed, "datasets": datasets, "name": "x"}
    group["attributes"] = {"ome": {"version": "0.5", "multiscales": [image]}}
    (path / "zarr.json").write_text(json.dumps(group))


def test_an_ome_zarr_image_comes_as_a_pyramid_with_its_labels(tmp_path, ours):
    from sdseg.files import write_planes

    path = tmp_path / "cells.ome.zarr"
    data = np.random.default_rng(0).integers(0, 900, (3, 64, 80)).astype(np.uint16)
    ome(path, data, "zyx", (2.0, 0.5, 0.5))
    labels = (data > 500).astype(np.uint8) * 2
    planes = (((z, slice(None), slice(None)), labels[z]) for z in range(3))
    write_planes(
        path / "labels" / "nuclei",
        planes,
        labels.shape,
        np.uint8,
        names=["dim", "bright"],
        colors=["#112233", "#ff8000"],
    )
    image, nuclei = opened(path)
    assert image.multiscale
    assert [level.shape for level in image.data] == [(3, 64, 80), (3, 32, 40)]
    assert not isinstance(image.data[0], np.ndarray), "it is read as it is looked at"
    np.testing.assert_array_equal(np.asarray(image.data[0]), data)
    assert nuclei.name == "cells - nuclei"
    assert isinstance(nuclei, Labels)
    assert isinstance(nuclei.data, np.ndarray), "napari lets only arrays be painted"
    np.testing.assert_array_equal(nuclei.data, labels)
    for layer in (image, nuclei):
        np.testing.assert_allclose(layer.data_to_world((1, 10, 20)), (2.0, 6.0, 11.0))
        assert [str(u) for u in layer.units] == ["micrometer"] * 3
    assert list(nuclei.features["name"]) == ["background", "dim", "bright"]
    np.testing.assert_allclose(nuclei.get_color(2)[:3], (1, 128 / 255, 0), atol=1e-3)


def test_channels_of_ome_zarr_become_layers(tmp_path, ours):
    ome(tmp_path / "two.zarr", np.zeros((2, 3, 16, 16), np.uint8), "czyx", (1, 2, 0.5, 0.5))
    layers = opened(tmp_path / "two.zarr")
    assert len(layers) == 2
    assert layers[0].data[0].shape == (3, 16, 16)
    np.testing.assert_allclose(layers[1].scale, (2, 0.5, 0.5))
    ome(tmp_path / "one.zarr", np.zeros((1, 3, 16, 16), np.uint8), "czyx", (1, 2, 0.5, 0.5), levels=1)
    (layer,) = opened(tmp_path / "one.zarr")
    assert layer.data.shape == (3, 16, 16)
    assert not layer.multiscale


def test_a_plain_zarr_array(tmp_path, ours):
    import zarr

    zarr.create_array(str(tmp_path / "a.zarr"), shape=(4, 8, 8), dtype=np.uint8)
    (layer,) = opened(tmp_path / "a.zarr")
    assert layer.data.shape == (4, 8, 8)


# -- what is not ours ----------------------------------------------------------------------------


def test_other_readers_get_their_turn(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "a.tif").write_bytes(b"")
    (folder / "notes.txt").write_text("-")
    plate = tmp_path / "plate.zarr"
    plate.mkdir()
    (plate / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    for path in (folder, plate, tmp_path / "missing.nii", tmp_path):
        assert get_reader(str(path)) is None
    assert get_reader([str(folder / "a.tif"), str(folder / "notes.txt")]) is None


def test_damaged_files_are_said_in_a_sentence(tmp_path, ours):
    (tmp_path / "bad.nii.gz").write_bytes(b"rubbish")
    with pytest.raises(InputError, match=r"bad\.nii\.gz cannot be read"):
        opened(tmp_path / "bad.nii.gz")


def test_a_dynamic_plugin_beside_it_is_asked_when_we_decline(tmp_path, ours):
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "x.txt").write_text("-")
    other = DynamicPlugin("other", plugin_manager=ours)
    with other:

        @other.contribute.reader(filename_patterns=["*"], accepts_directories=True)
        def theirs(path):
            return lambda _: [(np.zeros((4, 4)), {"name": "theirs"}, "image")]

        from npe2.io_utils import read

        ((_, kwargs, _),) = read([str(folder)], stack=False)
        assert kwargs["name"] == "theirs"
