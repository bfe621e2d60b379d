from __future__ import annotations

import numpy as np
import pytest
import zarr

from sdseg import files
from sdseg.axes import plan
from sdseg.card import Card
from sdseg.errors import InputError

TCZYX = [
    {"name": "t", "type": "time", "unit": "second"},
    {"name": "c", "type": "channel"},
    *({"name": n, "type": "space", "unit": "micrometer"} for n in "zyx"),
]


def stack(shape=(6, 70, 90), dtype=np.uint16, high=200):
    return np.random.default_rng(0).integers(0, high, shape, dtype)


def image(path, data, axes, version="0.5", levels=2, scale=None, translation=None, whole=None):
    """Write an OME-Zarr image as another program would."""
    zarr_format = 2 if version == "0.4" else 3
    root = zarr.open_group(str(path), mode="w", zarr_format=zarr_format)
    datasets = []
    for k in range(levels):
        pixels = data[..., :: 2**k, :: 2**k]
        array = root.create_array(
            str(k),
            shape=pixels.shape,
            dtype=pixels.dtype,
            chunks=(1,) * (data.ndim - 2) + pixels.shape[-2:],
        )
        array[...] = pixels
        sizes = list(scale or [1.0] * data.ndim)
        sizes[-2:] = [s * 2**k for s in sizes[-2:]]
        moves = [{"type": "scale", "scale": sizes}]
        if translation:
            moves.append({"type": "translation", "translation": translation})
        datasets.append({"path": str(k), "coordinateTransformations": moves})
    multiscale = {"axes": axes, "datasets": datasets}
    if whole:
        multiscale["coordinateTransformations"] = whole
    if version == "0.5":
        root.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale]}
    else:
        root.attrs["multiscales"] = [{**multiscale, "version": version}]
    return path


def planes(labels):
    return (((*i, slice(None), slice(None)), labels[i]) for i in np.ndindex(labels.shape[:-2]))


def attributes(path):
    return dict(zarr.open_group(str(path), mode="r", use_consolidated=False).attrs)


def multiscale(path):
    found = attributes(path)
    return found.get("ome", found)["multiscales"][0]


def opened(path):
    """Open with the reference implementation."""
    pytest.importorskip("ome_zarr")
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    location = parse_url(str(path), mode="r")
    assert location is not None
    return list(Reader(location)())


# ---------------------------------------------------------------------- reading


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_axes_units_and_transforms_are_read(tmp_path, version):
    data = stack((2, 3, 4, 20, 30))
    path = image(
        tmp_path / "a.zarr", data, TCZYX, version, scale=[2, 1, 4, 0.5, 0.5],
        translation=[0, 0, 1, 2, 3], whole=[{"type": "scale", "scale": [1, 1, 0.5, 1, 1]}],
    )  # fmt: skip
    picture = files.read(path)
    assert isinstance(picture.data, zarr.Array)
    assert np.array_equal(picture.data[1, 2, 3], data[1, 2, 3])
    assert (picture.axes, picture.channel_axis) == ("TCZYX", 1)
    assert (picture.spacing, picture.unit) == ((2.0, 0.5, 0.5), "um")
    assert picture.geometry["scale"] == [2, 1, 2, 0.5, 0.5]
    assert picture.geometry["translation"] == [0, 0, 0.5, 2, 3]
    coarse = files.read(path, level=1)
    assert coarse.data.shape == (2, 3, 4, 10, 15)
    assert coarse.spacing == (2.0, 1.0, 1.0)
    for level in (2, -1):
        with pytest.raises(
            InputError, match=r"a\.zarr: level -?\d is not there; it has 2 levels, 0 to 1"
        ):
            files.read(path, level=level)


def test_units_of_axes_are_made_one(tmp_path):
    axes = [
        {"name": n, "type": "space", "unit": u}
        for n, u in zip("zyx", ["micrometer", "nanometer", "nanometer"], strict=True)
    ]
    path = image(tmp_path / "a.zarr", stack((3, 8, 9)), axes, scale=[2, 300, 300])
    picture = files.read(path)
    assert picture.spacing == pytest.approx((2000, 300, 300))
    assert picture.unit == "nm"


def test_two_channels_are_no_colours(tmp_path):
    picture = files.read(image(tmp_path / "a.zarr", stack((1, 2, 3, 8, 9)), TCZYX))
    assert picture.channel_axis is None


def test_a_folder_of_another_name_and_a_plain_array(tmp_path):
    image(tmp_path / "folder", stack((8, 9)), TCZYX[3:])
    assert files.read(tmp_path / "folder").axes == "YX"
    for zarr_format in (2, 3):
        path = tmp_path / f"array{zarr_format}"
        zarr.save_array(str(path), stack(), zarr_format=zarr_format)
        assert np.array_equal(files.read(path).data, stack())
        with pytest.raises(InputError, match="level 1"):
            files.read(path, level=1)
    assert np.array_equal(files.read(tmp_path / "folder" / "0").data, stack((8, 9)))


def test_one_image_within_a_group(tmp_path):
    root = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    image(tmp_path / "a.zarr" / "0", stack((8, 9)), TCZYX[3:], "0.4")
    assert files.read(tmp_path / "a.zarr").axes == "YX"
    assert files.is_image(tmp_path / "a.zarr")
    image(tmp_path / "a.zarr" / "1", stack((8, 9)), TCZYX[3:], "0.4")
    with pytest.raises(InputError, match="holds 2 images"):
        files.read(tmp_path / "a.zarr")


def test_what_is_wrong_with_a_folder_is_said(tmp_path):
    empty = tmp_path / "empty.zarr"
    empty.mkdir()
    with pytest.raises(InputError, match=r"empty\.zarr holds no Zarr metadata"):
        files.read(empty)
    zarr.open_group(str(tmp_path / "group.zarr"), mode="w")
    with pytest.raises(InputError, match=r"group\.zarr is a Zarr group without an image"):
        files.read(tmp_path / "group.zarr")
    path = image(tmp_path / "a.zarr", stack((8, 9)), TCZYX[3:], levels=1)
    (path / "0").rename(path / "gone")
    with pytest.raises(InputError, match=r"a\.zarr: its array 0 is missing"):
        files.read(path)
    (path / "gone").rename(path / "0")
    (path / "0" / "zarr.json").write_text("{")
    with pytest.raises(InputError, match=r"a\.zarr cannot be read, it may be damaged"):
        files.read(path)
    (path / "zarr.json").write_text('{"node')
    with pytest.raises(InputError, match=r"a\.zarr cannot be read, it may be damaged"):
        files.read(path)
    image(path, stack((8, 9)), TCZYX[2:])
    with pytest.raises(InputError, match=r"a\.zarr: names 3 axes, its array has 2"):
        files.read(path)
    image(path, stack((8, 9)), TCZYX[3:], whole=[{"type": "affine"}])
    with pytest.raises(InputError, match=r"a\.zarr: its transformation 'affine'"):
        files.read(path)


@pytest.mark.parametrize("compressed", [True, False])
def test_a_chunk_cut_off_fails_when_it_is_read(tmp_path, compressed):
    array = zarr.create_array(
        str(tmp_path / "a.zarr"),
        data=stack(),
        chunks=(1, 70, 90),
        compressors="auto" if compressed else None,
    )
    assert array.shape == (6, 70, 90)
    chunk = tmp_path / "a.zarr" / "c" / "3" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:50])
    data = files.read(tmp_path / "a.zarr").data
    assert np.array_equal(data[2], stack()[2])
    with pytest.raises(Exception, match=r"."):
        data[3]


# ---------------------------------------------------------------------- labels alone


def test_the_pyramid_lies_on_the_image(tmp_path):
    labels = stack((3, 700, 301), np.uint32, 70_000)
    path = files.write_planes(
        tmp_path / "a.zarr",
        planes(labels),
        labels.shape,
        labels.dtype,
        spacing=(2.0, 0.5, 0.25),
        unit="um",
    )
    found = multiscale(path)
    assert [d["path"] for d in found["datasets"]] == ["0", "1", "2"]
    assert [a["unit"] for a in found["axes"]] == ["micrometer"] * 3
    for k, dataset in enumerate(found["datasets"]):
        level = zarr.open_array(str(path / str(k)), mode="r")
        assert np.array_equal(level[...], labels[:, :: 2**k, :: 2**k])
        assert level.chunks == (1, *level.shape[1:])
        assert level.metadata.dimension_names == ("z", "y", "x")
        # A pixel of the level lies where the pixel it was taken from does.
        (move,) = dataset["coordinateTransformations"]
        assert move["scale"] == [2.0, 0.5 * 2**k, 0.25 * 2**k]
    back = files.read(path)
    assert (back.axes, back.spacing, back.unit) == ("ZYX", (2.0, 0.5, 0.25), "um")


def test_small_and_large_planes(tmp_path):
    files.write_labels(tmp_path / "small.zarr", stack((2, 8, 9), np.uint8))
    assert len(multiscale(tmp_path / "small.zarr")["datasets"]) == 1
    files.write_labels(tmp_path / "large.zarr", np.zeros((1, 1500, 20), np.uint8))
    assert zarr.open_array(str(tmp_path / "large.zarr" / "0"), mode="r").chunks == (1, 1024, 20)


def test_planes_along_another_axis(tmp_path):
    labels = stack((300, 4, 310), np.uint8)
    source = (((slice(None), n, slice(None)), labels[:, n]) for n in (0, 2))
    files.write_planes(tmp_path / "a.zarr", source, labels.shape, labels.dtype)
    fine, coarse = (files.read(tmp_path / "a.zarr", level=k).data for k in range(2))
    labels[:, [1, 3]] = 0
    assert np.array_equal(fine, labels)
    assert np.array_equal(coarse, labels[::2, :, ::2])
    assert fine.chunks == (300, 1, 310)


def test_names_and_colours(tmp_path):
    files.write_planes(
        tmp_path / "a.zarr",
        [],
        (4, 30, 40),
        np.uint8,
        names=["nucleus", "dirt"],
        colors=["#ff8000", (1, 2, 3, 4)],
    )
    assert attributes(tmp_path / "a.zarr")["ome"]["image-label"] == {
        "colors": [
            {"label-value": 1, "rgba": [255, 128, 0, 255]},
            {"label-value": 2, "rgba": [1, 2, 3, 4]},
        ],
        "properties": [
            {"label-value": 1, "class": "nucleus"},
            {"label-value": 2, "class": "dirt"},
        ],
    }


def test_what_a_plan_yields_is_written(tmp_path):
    work = plan((2, 5, 40, 50), np.uint8, Card(name="a"), axis=0)
    labels = stack(work.output_shape, np.uint8)
    for name in ("a.zarr", "a.tif", "a.npy"):
        source = ((index, labels[index]) for _, index in work.indices())
        files.write_planes(tmp_path / name, source, work.output_shape, labels.dtype)
        assert np.array_equal(files.read(tmp_path / name).data, labels)


def test_an_image_is_never_replaced(tmp_path):
    path = image(tmp_path / "a.zarr", stack((8, 9)), TCZYX[3:])
    with pytest.raises(InputError, match="does not hold labels"):
        files.write_labels(path, np.zeros((8, 9), np.uint8))
    (tmp_path / "b.zarr").mkdir()
    (tmp_path / "b.zarr" / "thesis.doc").touch()
    with pytest.raises(InputError, match="does not hold labels"):
        files.write_labels(tmp_path / "b.zarr", np.zeros((8, 9), np.uint8))


def test_labels_are_replaced_when_asked(tmp_path):
    files.write_labels(tmp_path / "a.zarr", np.ones((8, 9), np.uint8))
    with pytest.raises(FileExistsError, match=r"a\.zarr exists"):
        files.write_planes(tmp_path / "a.zarr", [], (8, 9), np.uint8)
    files.write_planes(tmp_path / "a.zarr", [], (8, 9), np.uint8, overwrite=True)
    assert not files.read(tmp_path / "a.zarr").data[...].any()
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


@pytest.mark.parametrize(
    ("axes", "names"),
    [("TYX", "tyx"), ("ZTYX", "tzyx"), ("TZYX", "tzyx"), ("QYX", "zyx"), (None, "zyx")],
)
def test_axes_of_other_formats(tmp_path, axes, names):
    shape = (2, 3, 8, 9)[-len(names) :]
    like = files.Picture(np.zeros(shape), axes=axes)
    files.write_labels(tmp_path / "a.zarr", np.zeros(shape, np.uint8), like)
    assert [a["name"] for a in multiscale(tmp_path / "a.zarr")["axes"]] == list(names)


# ---------------------------------------------------------------------- labels in an image


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("consolidated", [True, False])
@pytest.mark.filterwarnings("ignore:Consolidated metadata:UserWarning")
def test_labels_go_into_their_image(tmp_path, version, consolidated):
    data = stack((2, 3, 4, 40, 50))
    path = image(
        tmp_path / "a.zarr",
        data,
        TCZYX,
        version,
        levels=3,
        scale=[2, 1, 4, 0.5, 0.5],
        translation=[0, 0, 1, 2, 3],
    )
    if consolidated:
        zarr.consolidate_metadata(str(path))
    picture = files.read(path)
    labels = stack((2, 4, 40, 50), np.uint8)
    for name in ("nuclei", "cells"):
        files.write_planes(
            path / "labels" / name,
            planes(labels),
            labels.shape,
            labels.dtype,
            picture,
            names=["nucleus"],
        )
    files.write_planes(
        path / "labels" / "nuclei", planes(labels), labels.shape, labels.dtype, overwrite=True
    )
    group = zarr.open_group(str(path), mode="r")
    listed = dict(group["labels"].attrs)
    assert listed.get("ome", listed)["labels"] == ["nuclei", "cells"]
    assert np.array_equal(group["labels/cells/0"][...], labels)
    found = multiscale(path / "labels" / "nuclei")
    assert found["axes"] == [a for a in TCZYX if a["name"] != "c"]
    assert len(found["datasets"]) == 3  # as many as the image has, says the specification
    assert found["datasets"][1]["coordinateTransformations"] == [
        {"type": "scale", "scale": [2, 4, 1, 1]},
        {"type": "translation", "translation": [0, 1, 2, 3]},
    ]
    kept = attributes(path / "labels" / "cells")
    kept = kept.get("ome", kept)["image-label"]
    assert kept["source"] == {"image": "../../"}
    back = files.read(path / "labels" / "cells")
    assert (back.axes, back.spacing, back.unit) == ("TZYX", (4, 0.5, 0.5), "um")
    assert np.array_equal(files.read(path).data, data)
    assert not [
        p for p in path.rglob(".*") if p.name not in (".zattrs", ".zgroup", ".zarray", ".zmetadata")
    ]


@pytest.mark.parametrize("level", [0, 1])
def test_labels_of_a_coarser_level_lie_on_it(tmp_path, level):
    path = image(tmp_path / "a.zarr", stack((1, 3, 4, 40, 50)), TCZYX, scale=[1, 1, 4, 0.5, 0.5])
    picture = files.read(path, level=level)
    shape = (1, *picture.data.shape[2:])
    for like, name in ((picture, "a"), (None, "b")):
        files.write_labels(path / "labels" / name, np.zeros(shape, np.uint8), like)
        assert files.read(path / "labels" / name).spacing == picture.spacing


def test_labels_that_fit_no_level_are_refused(tmp_path):
    path = image(tmp_path / "a.zarr", stack((4, 40, 50)), TCZYX[2:])
    with pytest.raises(InputError, match=r"fit none of its levels"):
        files.write_labels(path / "labels" / "a", np.zeros((4, 41, 50), np.uint8))
    assert not (path / "labels").exists()
    with pytest.raises(InputError, match="cannot begin"):
        files.check_writable(path / "labels" / ".a", 3)
    with pytest.raises(InputError, match="two to five axes"):
        files.check_writable(path / "labels" / "a", 6)
    assert files.check_writable(path / "labels" / "a", 3) == ".zarr"
    with pytest.raises(InputError, match="cannot be written as a file of that kind"):
        files.check_writable(tmp_path / "nowhere.zarr" / "labels" / "a", 3)


def test_damaged_metadata_is_noticed_before_the_work(tmp_path):
    path = image(tmp_path / "a.zarr", stack((4, 40, 50)), TCZYX[2:])
    (path / "labels").mkdir()
    (path / "labels" / "zarr.json").write_text("{")
    with pytest.raises(InputError, match=r"labels: its metadata is damaged"):
        files.check_writable(path / "labels" / "a", 3)
    (path / "zarr.json").write_text("{")
    with pytest.raises(InputError, match=r"a\.zarr: its metadata is damaged"):
        files.check_writable(path / "labels" / "a", 3)
    with pytest.raises(InputError, match="does not hold labels"):
        files.check_writable(path, 3)


def test_the_list_changes_after_the_labels(tmp_path):
    path = image(tmp_path / "a.zarr", stack((4, 40, 50)), TCZYX[2:])
    labels = np.ones((4, 40, 50), np.uint8)

    def failing():
        yield (0, slice(None), slice(None)), labels[0]
        assert not (path / "labels" / "b").exists()
        raise ValueError("the networks failed")

    with pytest.raises(ValueError, match="networks"):
        files.write_planes(path / "labels" / "b", failing(), labels.shape, labels.dtype)
    assert not (path / "labels").exists()
    files.write_labels(path / "labels" / "a", labels)
    before = (path / "labels" / "zarr.json").read_text()
    with pytest.raises(ValueError, match="networks"):
        files.write_planes(path / "labels" / "b", failing(), labels.shape, labels.dtype)
    assert [p.name for p in sorted((path / "labels").iterdir())] == ["a", "zarr.json"]
    assert (path / "labels" / "zarr.json").read_text() == before


def test_a_list_that_cannot_be_written_leaves_no_labels(tmp_path, monkeypatch):
    from sdseg.files import _pyramid

    path = image(tmp_path / "a.zarr", stack((4, 40, 50)), TCZYX[2:])

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_pyramid, "_list", full)
    with pytest.raises(OSError, match=r"labels/a could not be written: No space left on device"):
        files.write_labels(path / "labels" / "a", np.ones((4, 40, 50), np.uint8))
    assert not (path / "labels").exists()


# ---------------------------------------------------------------------- as others read it


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_the_reference_reader_lays_labels_over_the_image(tmp_path, version):
    data = stack((2, 3, 4, 40, 50))
    path = image(
        tmp_path / "a.zarr",
        data,
        TCZYX,
        version,
        scale=[2, 1, 4, 0.5, 0.5],
        translation=[0, 0, 1, 2, 3],
    )
    labels = stack((2, 4, 40, 50), np.uint8)
    files.write_planes(
        path / "labels" / "nuclei", planes(labels), labels.shape, labels.dtype, files.read(path),
        names=["nucleus"], colors=["#ff8000"],
    )  # fmt: skip
    nodes = opened(path)
    (pixels,) = [n for n in nodes if n.zarr.basename() == "a.zarr"]
    (found,) = [n for n in nodes if n.zarr.basename() == "nuclei"]
    assert np.array_equal(found.data[0].compute(), labels)
    assert len(found.data) == len(pixels.data)
    for mine, theirs in zip(
        found.metadata["coordinateTransformations"],
        pixels.metadata["coordinateTransformations"],
        strict=True,
    ):
        for one, other in zip(mine, theirs, strict=True):
            kind = one["type"]
            assert one[kind] == [v for i, v in enumerate(other[kind]) if i != 1]
    assert [a["name"] for a in found.metadata["axes"]] == list("tzyx")
    assert found.metadata["properties"] == {1: {"class": "nucleus"}}
    assert found.metadata["color"] == {1: pytest.approx([1, 128 / 255, 0, 1])}


@pytest.mark.parametrize("suffix", [".zarr", ".ome.zarr"])
def test_the_reference_reader_opens_labels_alone(tmp_path, suffix):
    labels = stack((3, 300, 310), np.uint32, 70_000)
    files.write_labels(tmp_path / f"a{suffix}", labels, spacing=(2.0, 0.5, 0.5), unit="um")
    (found,) = opened(tmp_path / f"a{suffix}")
    assert [d.shape for d in found.data] == [(3, 300, 310), (3, 150, 155)]
    assert np.array_equal(found.data[0].compute(), labels)
    assert found.metadata["coordinateTransformations"][0] == [
        {"type": "scale", "scale": [2.0, 0.5, 0.5]}
    ]
    assert [a["unit"] for a in found.metadata["axes"]] == ["micrometer"] * 3


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_the_metadata_keeps_to_the_specification(tmp_path, version):
    models = pytest.importorskip("ome_zarr_models")
    path = image(tmp_path / "a.zarr", stack((4, 40, 50)), TCZYX[2:], version)
    files.write_planes(
        path / "labels" / "a", [], (4, 40, 50), np.uint8, names=["nucleus"], colors=["#ff8000"]
    )
    files.write_labels(tmp_path / "alone.zarr", np.ones((4, 40, 50), np.uint8))
    if version == "0.4":
        from ome_zarr_models.v04.image_label import ImageLabelAttrs

        ImageLabelAttrs.model_validate(attributes(path / "labels" / "a"))
        return
    for place in (path / "labels" / "a", tmp_path / "alone.zarr"):
        found = models.open_ome_zarr(zarr.open_group(str(place), mode="r"))
        assert type(found).__name__ == "ImageLabel"
        assert found.ome_zarr_version == "0.5"
