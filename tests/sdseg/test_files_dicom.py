from __future__ import annotations

import math

import numpy as np
import pytest

from sdseg import files
from sdseg.errors import InputError

sitk = pytest.importorskip("SimpleITK")

SPACING, ORIGIN = (0.7, 0.7, 2.5), (10.0, -20.0, 30.0)


def tilted():
    a, b = 0.3, 0.2
    about_x = np.array([[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]])
    about_z = np.array([[math.cos(b), -math.sin(b), 0], [math.sin(b), math.cos(b), 0], [0, 0, 1]])
    return about_x @ about_z


def volume(shape=(7, 8, 9), direction=None):
    data = np.arange(math.prod(shape), dtype=np.int16).reshape(shape)
    image = sitk.GetImageFromArray(data)
    image.SetSpacing(SPACING)
    image.SetOrigin(ORIGIN)
    image.SetDirection((tilted() if direction is None else direction).ravel())
    return image


def series(folder, image, uid="1.2.3.4", title="thorax", name="{:03}.dcm"):
    folder.mkdir(exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    d = np.reshape(image.GetDirection(), (3, 3))
    for i in range(image.GetSize()[2]):
        plane = image[:, :, i]
        place = image.TransformIndexToPhysicalPoint((0, 0, i))
        for key, value in {
            "0008|0060": "CT",
            "0008|103e": title,
            "0008|0018": f"{uid}.{i}",
            "0020|000d": "1.2.3",
            "0020|000e": uid,
            "0020|0013": str(i + 1),
            "0020|0032": "\\".join(f"{v:.8f}" for v in place),
            "0020|0037": "\\".join(f"{v:.8f}" for v in (*d[:, 0], *d[:, 1])),
        }.items():
            plane.SetMetaData(key, value)
        # ITK chooses the format by the suffix.
        writer.SetImageIO("GDCMImageIO")
        writer.SetFileName(str(folder / name.format(i)))
        writer.Execute(plane)
    return folder


@pytest.mark.parametrize("name", ["{:03}.dcm", "IM{:05}"])
def test_a_series_is_a_volume(tmp_path, name):
    image = volume()
    picture = files.read(series(tmp_path / "ct", image, name=name))
    assert np.array_equal(picture.data, sitk.GetArrayFromImage(image))
    assert picture.spacing == pytest.approx((2.5, 0.7, 0.7))
    assert (picture.unit, picture.channel_axis) == ("mm", None)
    assert picture.geometry["origin"] == pytest.approx(ORIGIN)
    assert picture.geometry["direction"] == pytest.approx(image.GetDirection(), abs=1e-6)
    assert files.is_image(tmp_path / "ct")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_its_labels_lie_where_it_does(tmp_path, suffix):
    image = volume()
    picture = files.read(series(tmp_path / "ct", image))
    labels = (picture.data % 5).astype(np.uint8)
    path = files.write_planes(
        tmp_path / f"labels{suffix}",
        (((z, slice(None), slice(None)), labels[z]) for z in range(7)),
        labels.shape,
        labels.dtype,
        picture,
    )
    written = sitk.ReadImage(str(path))
    index = (3, 4, 5)
    assert written.TransformIndexToPhysicalPoint(index) == pytest.approx(
        image.TransformIndexToPhysicalPoint(index), abs=1e-4
    )
    assert np.array_equal(sitk.GetArrayFromImage(written), labels)


def test_a_single_file(tmp_path):
    series(tmp_path / "ct", volume())
    picture = files.read(tmp_path / "ct" / "003.dcm")
    assert np.array_equal(picture.data, sitk.GetArrayFromImage(volume())[3:4])
    assert files.is_image(tmp_path / "ct" / "003.dcm")


def test_two_series_are_listed(tmp_path):
    series(tmp_path / "ct", volume(), name="a{}.dcm")
    series(tmp_path / "ct", volume((4, 8, 9)), uid="1.2.3.5", title="abdomen", name="b{}.dcm")
    with pytest.raises(InputError) as error:
        files.read(tmp_path / "ct")
    said = str(error.value)
    assert "holds 2 DICOM series: thorax (1.2.3.4), 7 slices; abdomen (1.2.3.5), 4 slices." in said
    assert "Put each in a folder of its own" in said


def test_a_slice_that_is_missing_is_noticed(tmp_path):
    # ITK would spread the others evenly over the gap.
    folder = series(tmp_path / "ct", volume())
    (folder / "003.dcm").unlink()
    with pytest.raises(
        InputError, match=r"ct: its 6 slices lie .* 5 mm between slices 3 and 4,.* 2\.5 mm"
    ):
        files.read(folder)


@pytest.mark.parametrize("length", [0, 200, 700])
def test_damaged_slices(tmp_path, length):
    folder = series(tmp_path / "ct", volume())
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match=r"ct.*damaged") as error:
        files.read(folder)
    assert "\n" not in str(error.value)


def test_one_slice_cut_off(tmp_path):
    folder = series(tmp_path / "ct", volume())
    whole = (folder / "003.dcm").read_bytes()
    (folder / "003.dcm").write_bytes(whole[:-20])
    with pytest.raises(InputError, match=r"/ct"):
        files.read(folder)


def test_other_folders_are_no_series(tmp_path):
    with pytest.raises(InputError, match="is a folder, and neither OME-Zarr nor a DICOM series"):
        files.read(tmp_path)
    (tmp_path / "notes").write_text("x" * 200)
    (tmp_path / "a.tif").touch()
    (tmp_path / "b.tif").touch()
    (tmp_path / "one.dcm").touch()
    assert not files.is_image(tmp_path)
    assert [p.name for p in files.images_in(tmp_path)] == ["a.tif", "b.tif", "one.dcm"]


def test_finding_images_opens_none_of_them(tmp_path, monkeypatch):
    for n in range(300):
        (tmp_path / f"{n:03}.tif").touch()
    opened = []
    monkeypatch.setattr("builtins.open", lambda *a, **k: opened.append(a))
    assert len(files.images_in(tmp_path)) == 300
    assert opened == []


def test_images_of_a_folder(tmp_path):
    import zarr

    files.write_labels(tmp_path / "b.zarr", np.ones((8, 9), np.uint8))
    files.write_labels(tmp_path / "a_labels.tif", np.ones((8, 9), np.uint8))
    series(tmp_path / "ct", volume((2, 8, 9)))
    zarr.open_group(str(tmp_path / "group.zarr"), mode="w")
    for name in (".hidden.tif", "notes.txt", "fake.zarr"):
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged.zarr").mkdir()
    (tmp_path / "damaged.zarr" / "zarr.json").write_text("{")
    found = [p.name for p in files.images_in(tmp_path)]
    assert found == ["a_labels.tif", "b.zarr", "ct", "damaged.zarr"]
    assert files.images_in(tmp_path / "ct") == [tmp_path / "ct"]
    with pytest.raises(FileNotFoundError, match="nowhere"):
        files.images_in(tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError, match="notes"):
        files.images_in(tmp_path / "notes.txt")


def test_without_simpleitk_it_says_what_to_install(tmp_path, monkeypatch):
    folder = series(tmp_path / "ct", volume())
    monkeypatch.setitem(__import__("sys").modules, "SimpleITK", None)
    with pytest.raises(InputError, match=r"pip install \"napari-sdseg\[medical\]\""):
        files.read(folder)


def test_an_upright_volume_keeps_its_place_in_zarr_and_back(tmp_path):
    image = volume(direction=np.eye(3))
    sitk.WriteImage(image, str(tmp_path / "a.nii.gz"))
    picture = files.read(tmp_path / "a.nii.gz")
    labels = (picture.data % 5).astype(np.uint8)
    files.write_labels(tmp_path / "a.zarr", labels, picture)
    within = files.read(tmp_path / "a.zarr")
    assert within.geometry["translation"] == pytest.approx(ORIGIN[::-1])
    assert within.spacing == pytest.approx((2.5, 0.7, 0.7))
    files.write_labels(tmp_path / "b.nrrd", labels, within)
    written = sitk.ReadImage(str(tmp_path / "b.nrrd"))
    assert written.TransformIndexToPhysicalPoint((3, 4, 5)) == pytest.approx(
        image.TransformIndexToPhysicalPoint((3, 4, 5)), abs=1e-4
    )


def test_a_tilted_volume_keeps_its_spacing_in_zarr(tmp_path):
    sitk.WriteImage(volume(), str(tmp_path / "a.mha"))
    picture = files.read(tmp_path / "a.mha")
    files.write_labels(tmp_path / "a.zarr", (picture.data % 5).astype(np.uint8), picture)
    within = files.read(tmp_path / "a.zarr")
    assert within.spacing == pytest.approx((2.5, 0.7, 0.7))
    assert within.geometry["translation"] == [0, 0, 0]
