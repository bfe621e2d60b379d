from __future__ import annotations

import sys

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from sdseg import files
from sdseg.errors import InputError


@given(
    labels=hnp.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        hnp.array_shapes(min_dims=2, max_dims=3, min_side=2, max_side=9),
    ),
    suffix=st.sampled_from(files.LABEL_SUFFIXES),
)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_labels_come_back_as_they_were(tmp_path, labels, suffix):
    # A stem a format: ITK, asked for a.nii.gz, reads the pixels of an a.nii that lies beside it.
    path = tmp_path / f"labels_{suffix.replace('.', '')}{suffix}"
    if suffix == ".png" and labels.ndim == 3:
        with pytest.raises(InputError, match="single plane"):
            files.write_labels(path, labels)
        return
    files.write_labels(path, labels)
    back = files.read(path)
    assert np.array_equal(back.data, labels)
    assert back.data.dtype == labels.dtype
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_objects_keep_32_bits(tmp_path):
    labels = np.array([[0, 70_000], [3, 2**31]], np.uint32)
    for name in ("a.tif", "a.npy", "a.nrrd"):
        files.write_labels(tmp_path / name, labels)
        assert np.array_equal(files.read(tmp_path / name).data, labels)
    with pytest.raises(InputError, match="65535"):
        files.write_labels(tmp_path / "a.png", labels)


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".nii.gz", ".nrrd", ".mha"])
def test_spacing_comes_back(tmp_path, suffix):
    labels = np.zeros((3, 4, 5), np.uint8)
    files.write_labels(tmp_path / f"a{suffix}", labels, spacing=(2.0, 0.5, 0.25), unit="mm")
    picture = files.read(tmp_path / f"a{suffix}")
    assert picture.spacing == pytest.approx((2.0, 0.5, 0.25))
    assert picture.unit == "mm"


@pytest.mark.parametrize(("unit", "scale"), [("nm", 1e-6), ("um", 1e-3), ("mm", 1), (None, 1)])
def test_units_become_millimetres_where_the_format_has_no_others(tmp_path, unit, scale):
    files.write_labels(
        tmp_path / "a.nrrd", np.zeros((3, 4, 5), np.uint8), spacing=(2.0, 1.0, 1.0), unit=unit
    )
    assert files.read(tmp_path / "a.nrrd").spacing == pytest.approx((2 * scale, scale, scale))


def test_axes_and_channels_are_honoured(tmp_path):
    data = np.zeros((4, 3, 20, 30), np.uint16)
    tifffile.imwrite(
        tmp_path / "zc.tif",
        data,
        imagej=True,
        metadata={"axes": "ZCYX", "spacing": 3.0, "unit": "um"},
        resolution=(2, 2),
    )
    picture = files.read(tmp_path / "zc.tif")
    assert (picture.axes, picture.channel_axis) == ("ZCYX", 1)
    assert (picture.spacing, picture.unit) == ((3.0, 0.5, 0.5), "um")
    files.write_labels(tmp_path / "labels.tif", data[:, 0], picture)
    labels = files.read(tmp_path / "labels.tif")
    assert (labels.axes, labels.spacing, labels.unit) == ("ZYX", (3.0, 0.5, 0.5), "um")
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((20, 30, 3), np.uint8), photometric="rgb")
    assert files.read(tmp_path / "rgb.tif").channel_axis == 2


def test_labels_of_a_film_are_a_film(tmp_path):
    tifffile.imwrite(
        tmp_path / "t.tif", np.zeros((4, 20, 30), np.uint16), imagej=True, metadata={"axes": "TYX"}
    )
    picture = files.read(tmp_path / "t.tif")
    files.write_labels(tmp_path / "labels.tif", np.zeros((4, 20, 30), np.uint8), picture)
    assert files.read(tmp_path / "labels.tif").axes == "TYX"


@pytest.mark.parametrize("suffix", [".ome.tif", ".zarr"])
@pytest.mark.parametrize("axes", ["TCZYX", "TZCYX", "TZYX", "ZCYX", "TYX", "YX"])
def test_axes_and_spacing_go_from_format_to_format(tmp_path, axes, suffix):
    lengths = {"T": 2, "C": 3, "Z": 4, "Y": 20, "X": 30}
    meta = {"axes": axes, "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5}
    if "Z" in axes:
        meta["PhysicalSizeZ"] = 2.0
    data = np.zeros([lengths[a] for a in axes], np.uint16)
    tifffile.imwrite(tmp_path / "a.ome.tif", data, metadata=meta, photometric="minisblack")
    picture = files.read(tmp_path / "a.ome.tif")
    left = axes.replace("C", "")
    labels = np.zeros([lengths[a] for a in left], np.uint8)
    path = files.write_labels(tmp_path / f"one{suffix}", labels, picture)
    for like, name in ((picture, "again.zarr"), (files.read(path), "again.tif")):
        found = files.read(files.write_labels(tmp_path / name, labels, like))
        assert (found.axes, found.data.shape, found.unit) == (left, labels.shape, "um")
        assert found.spacing == ((2.0, 0.5, 0.25) if "Z" in axes else (0.5, 0.25))


def test_labels_of_an_axis_taken_for_channels(tmp_path):
    picture = files.Picture(np.zeros((3, 20, 30)), axes="ZYX", spacing=(2.0, 0.5, 0.25), unit="um")
    for name in ("a.tif", "a.zarr"):
        files.write_labels(tmp_path / name, np.zeros((20, 30), np.uint8), picture)
        found = files.read(tmp_path / name)
        assert (found.axes, found.spacing) == ("YX", (0.5, 0.25))


def test_only_some_formats_have_levels(tmp_path):
    for name in ("a.png", "a.npy", "a.tif", "a.zarr", "a.nrrd"):
        files.write_labels(tmp_path / name, np.zeros((8, 9), np.uint8))
        with pytest.raises(InputError, match=r"level 1 is not there; it has 1 level, 0"):
            files.read(tmp_path / name, level=1)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_four_axes_stay_axes(tmp_path, suffix):
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(np.zeros((2, 5, 6, 3), np.int16), isVector=False)
    image.SetSpacing((0.5, 0.5, 2.0, 3.0))
    image.SetOrigin((1.0, 2.0, 3.0, 0.0))
    sitk.WriteImage(image, str(tmp_path / f"a{suffix}"))
    picture = files.read(tmp_path / f"a{suffix}")
    labels = np.arange(180, dtype=np.uint8).reshape(2, 5, 6, 3)
    files.write_labels(tmp_path / f"labels{suffix}", labels, picture)
    back = files.read(tmp_path / f"labels{suffix}")
    assert np.array_equal(back.data, labels)
    assert back.channel_axis is None
    assert back.spacing == picture.spacing == (3.0, 2.0, 0.5, 0.5)
    assert back.geometry["origin"] == pytest.approx((1.0, 2.0, 3.0, 0.0))


def test_flat_pictures(tmp_path):
    rng = np.random.default_rng(0)
    grey, rgb = rng.integers(0, 255, (9, 8), np.uint8), rng.integers(0, 255, (9, 8, 3), np.uint8)
    for mode, array, channel in (("L", grey, None), ("RGB", rgb, 2)):
        Image.fromarray(array, mode).save(tmp_path / "a.png")
        picture = files.read(tmp_path / "a.png")
        assert np.array_equal(picture.data, array)
        assert picture.channel_axis == channel
    Image.fromarray(rgb).quantize(8).save(tmp_path / "p.png")
    assert files.read(tmp_path / "p.png").data.shape == (9, 8, 3)
    Image.fromarray(rgb).convert("CMYK").save(tmp_path / "inks.jpg")
    assert files.read(tmp_path / "inks.jpg").data.shape == (9, 8, 3)
    Image.fromarray(grey).convert("LA").save(tmp_path / "la.png")
    assert np.array_equal(files.read(tmp_path / "la.png").data, grey)


def test_arrays_are_mapped_not_read(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((5, 6)))
    assert isinstance(files.read(tmp_path / "a.npy").data, np.memmap)


def test_a_pickled_array_is_never_opened(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(InputError, match=r"a\.npy"):
        files.read(tmp_path / "a.npy")


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.npy", "a.nii.gz", "a.mha"])
def test_damaged_files_are_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"a\."):
        files.read(tmp_path / name)


def test_a_missing_codec_is_no_damage(tmp_path, monkeypatch):
    Image.fromarray(np.zeros((9, 8), np.uint16)).save(tmp_path / "a.tif", compression="tiff_lzw")

    def missing(*args, **kwargs):
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", missing)
    with pytest.raises(InputError, match=r"a\.tif.*pip install imagecodecs") as error:
        files.read(tmp_path / "a.tif")
    assert "damaged" not in str(error.value)


def test_what_cannot_be_written_is_said_beforehand(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="single plane"):
        files.check_writable(tmp_path / "a.png", 3)
    assert files.check_writable(tmp_path / "a.png", 2) == ".png"
    assert files.check_writable(tmp_path / "new" / "a.tif", 3) == ".tif"
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(InputError, match=r"pip install \"napari-sdseg\[medical\]\""):
        files.check_writable(tmp_path / "a.nii.gz", 3)
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(InputError, match="cannot be written to"):
        files.check_writable(tmp_path / "new" / "a.tif", 3)


def test_missing_unknown_and_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        files.read(tmp_path / "nowhere.tif")
    (tmp_path / "a.doc").touch()
    with pytest.raises(InputError, match=r"\.tif"):
        files.read(tmp_path / "a.doc")
    with pytest.raises(InputError, match="folder"):
        files.read(tmp_path)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    files.write_labels(path, np.ones((3, 3), np.uint8))

    def full(*args, **kwargs):
        path.with_name(".half").touch()
        raise OSError("No space left on device")

    monkeypatch.setattr(tifffile, "imwrite", full)
    with pytest.raises(OSError, match="No space"):
        files.write_labels(path, np.zeros((3, 3), np.uint8))
    assert files.read(path).data.all()
