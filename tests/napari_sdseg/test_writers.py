"""Labels layers saved from napari and opened again."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from npe2 import PluginManager, PluginManifest
from scipy.spatial.transform import Rotation

from napari_sdseg.writers import write_labels
from sdseg import files
from sdseg.errors import SDSegError

pytest.importorskip("SimpleITK")

POINTS = [(0, 0, 0), (3, 0, 0), (0, 19, 0), (0, 0, 23), (1.5, 10, 7)]
TILT = Rotation.from_euler("xyz", (10, -20, 5), degrees=True).as_matrix()


@pytest.fixture(autouse=True)
def ours(monkeypatch):
    manager = PluginManager()
    manager.register(PluginManifest.from_distribution("napari-sdseg"))
    monkeypatch.setattr(PluginManager, "instance", lambda: manager)


@pytest.fixture
def said(monkeypatch):
    warnings = []
    monkeypatch.setattr("napari.utils.notifications.show_warning", warnings.append)
    return warnings


def layer(dtype=np.uint16, **fields):
    data = np.random.default_rng(0).integers(0, 300, (4, 20, 24)).astype(dtype)
    place = {"scale": (2.5, 0.8, 0.7), "translate": (-700.25, 33.0, -120.5), "units": ("mm",) * 3}
    return Labels(data, name="labels", **{**place, **fields})


def again(path):
    (back,) = ViewerModel().open(str(path), plugin="napari-sdseg")
    assert isinstance(back, Labels)
    return back


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha", ".ome.zarr", ".zarr"])
@pytest.mark.parametrize("unit", ["mm", "um"])
def test_what_is_saved_comes_back(tmp_path, said, suffix, unit):
    original = layer(units=(unit,) * 3)
    path = str(tmp_path / f"a_labels{suffix}")
    assert original.save(path, plugin="napari-sdseg") == [path]
    back = again(path)
    np.testing.assert_array_equal(back.data, original.data)
    assert back.data.dtype == original.data.dtype
    assert back.axis_labels == ("z", "y", "x")
    # the medical formats are in millimetres
    factor = 1.0 if unit == "mm" or suffix.endswith("zarr") else 1e-3
    assert back.units[0] == (original.units[0] if factor == 1 else layer().units[0])
    np.testing.assert_allclose(back.scale, np.multiply(original.scale, factor), rtol=1e-6)
    np.testing.assert_allclose(back.translate, np.multiply(original.translate, factor), rtol=1e-6)
    for point in POINTS:
        here = np.multiply(original.data_to_world(point), factor)
        np.testing.assert_allclose(back.data_to_world(point), here, rtol=1e-6, atol=1e-4 * factor)
    assert not said


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize(
    "turn",
    [
        {"rotate": TILT},
        {"rotate": np.diag([-1.0, 1.0, -1.0])},
        {"scale": (2.5, -0.8, 0.7)},
        {"affine": np.block([[TILT, np.ones((3, 1))], [np.zeros((1, 3)), 1]])},
    ],
    ids=["tilt", "flip", "negative scale", "affine"],
)
def test_medical_formats_keep_every_rotation(tmp_path, said, suffix, turn):
    original = layer(**turn)
    viewer = ViewerModel()
    viewer.add_layer(original)
    viewer.layers.save(str(tmp_path / f"labels{suffix}"), plugin="napari-sdseg")
    back = again(tmp_path / f"labels{suffix}")
    np.testing.assert_array_equal(back.data, original.data)
    for point in POINTS:
        np.testing.assert_allclose(
            back.data_to_world(point), original.data_to_world(point), rtol=1e-6, atol=2e-4
        )
    assert not said


def test_labels_lie_on_the_scan_they_were_drawn_on(tmp_path):
    """A sagittal file: its axes are reordered for the viewer, and put back when saved."""
    import SimpleITK as sitk

    scan = sitk.GetImageFromArray(np.arange(4 * 6 * 8, dtype=np.int16).reshape(4, 6, 8))
    scan.SetSpacing((0.5, 0.6, 3.0))
    scan.SetOrigin((10, 20, 30))
    scan.SetDirection((0, 0, 1, 1, 0, 0, 0, -1, 0))
    path = tmp_path / "mask.nii.gz"
    sitk.WriteImage(scan, str(path))
    original = again(path)
    assert original.data.shape == (6, 8, 4)
    original.save(str(path), plugin="napari-sdseg")
    back = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(scan))
    for got, wanted in (
        (back.GetSpacing(), scan.GetSpacing()),
        (back.GetOrigin(), scan.GetOrigin()),
        (back.GetDirection(), scan.GetDirection()),
    ):
        np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_ome_zarr_turns_axes_round_rather_than_their_scale(tmp_path, said):
    original = layer(rotate=np.diag([1.0, -1.0, -1.0]))
    original.save(str(tmp_path / "a.ome.zarr"), plugin="napari-sdseg")
    back = again(tmp_path / "a.ome.zarr")
    np.testing.assert_array_equal(back.data, original.data[:, ::-1, ::-1])
    np.testing.assert_allclose(back.data_to_world((1, 0, 0)), original.data_to_world((1, 19, 23)))
    assert not said


def test_classes_keep_their_colours_and_names_in_ome_zarr(tmp_path):
    colors = {None: "transparent", 0: "transparent", 1: "#e69f00", 2: "#56b4e9"}
    table = {"index": [0, 1, 2], "name": ["background", "liver", "bone"]}
    original = layer(colormap=DirectLabelColormap(color_dict=colors), features=table)
    original.data = original.data % 3
    original.save(str(tmp_path / "a.ome.zarr"), plugin="napari-sdseg")
    back = again(tmp_path / "a.ome.zarr")
    np.testing.assert_allclose(back.get_color(2), original.get_color(2), atol=1e-6)
    assert list(back.features["name"]) == table["name"]


@pytest.mark.parametrize("suffix", [".ome.tif", ".ome.tiff"])
def test_ome_tiff_keeps_the_pixel_size_and_says_what_it_leaves_out(tmp_path, said, suffix):
    path = tmp_path / f"a{suffix}"
    layer(units=("um",) * 3, translate=(0, 0, 0)).save(str(path), plugin="napari-sdseg")
    assert not said
    back = files.read(path)
    np.testing.assert_array_equal(back.data, layer().data)
    assert back.spacing == (2.5, 0.8, 0.7)
    assert back.unit == "um"
    layer().save(str(path), plugin="napari-sdseg")
    assert len(said) == 1
    assert ".nii.gz keeps them" in said[0]


def test_two_and_four_axes(tmp_path):
    flat = Labels(np.arange(48).reshape(6, 8), scale=(0.5, 0.25), translate=(3, 4), units=("um",) * 2)
    moving = Labels(np.zeros((2, 3, 6, 8), np.uint8), scale=(7, 2, 0.5, 0.5), units=("s", *("um",) * 3))
    for name, original, factor in (
        ("flat", flat, 1e-3), ("moving", moving, np.array([1, *[1e-3] * 3]))
    ):  # fmt: skip
        for suffix in (".nii.gz", ".nrrd", ".ome.zarr"):
            original.save(str(tmp_path / f"{name}_seg{suffix}"), plugin="napari-sdseg")
            back = again(tmp_path / f"{name}_seg{suffix}")
            np.testing.assert_array_equal(back.data, original.data)
            scale = original.scale * (1 if "zarr" in suffix else factor)
            np.testing.assert_allclose(back.scale, scale, rtol=1e-6)
            assert str(back.units[0]) == {"flat": str(back.units[1]), "moving": "second"}[name]


def test_odd_data(tmp_path):
    """Signed and lazy labels, and a pyramid, of which the finest level is written."""
    import dask.array as da

    data = np.random.default_rng(0).integers(0, 70_000, (4, 20, 24))
    for n, made in enumerate(
        [Labels(data), Labels(da.from_array(data)), Labels([data, data[:, ::2, ::2]], multiscale=True)]
    ):
        made.save(str(tmp_path / f"seg{n}.nrrd"), plugin="napari-sdseg")
        back = again(tmp_path / f"seg{n}.nrrd")
        np.testing.assert_array_equal(back.data, data)
        assert back.data.dtype == np.uint32


def test_what_cannot_be_written_is_said(tmp_path):
    with pytest.raises(SDSegError, match="only 0 and above"):
        Labels(np.full((4, 4), -1)).save(str(tmp_path / "a.nrrd"), plugin="napari-sdseg")
    with pytest.raises(SDSegError, match="sheared"):
        layer(shear=(0.1, 0, 0)).save(str(tmp_path / "a.nii.gz"), plugin="napari-sdseg")
    with pytest.raises(SDSegError, match="cannot be written as"):
        write_labels(str(tmp_path / "a.mhd"), np.zeros((4, 4), np.uint8), {})
    assert not list(tmp_path.iterdir())


def test_a_name_without_an_ending_becomes_nifti(tmp_path):
    assert layer().save(str(tmp_path / "mask"), plugin="napari-sdseg") == [
        str(tmp_path / "mask.nii.gz")
    ]
    again(tmp_path / "mask.nii.gz")
