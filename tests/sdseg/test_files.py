from __future__ import annotations

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


def test_micrometres_become_millimetres_where_the_format_has_no_others(tmp_path):
    files.write_labels(
        tmp_path / "a.nii", np.zeros((3, 4, 5), np.uint8), spacing=(2.0, 1.0, 1.0), unit="um"
    )
    assert files.read(tmp_path / "a.nii").spacing == pytest.approx((2e-3, 1e-3, 1e-3))


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
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((20, 30, 3), np.uint8), photometric="rgb")
    assert files.read(tmp_path / "rgb.tif").channel_axis == 2


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
