from __future__ import annotations

import threading
import zlib

import numpy as np
import pytest
import tifffile

from sdseg import files
from sdseg.errors import InputError
from sdseg.files import _tiff


def stack(shape=(6, 70, 90), dtype=np.uint16):
    return np.random.default_rng(0).integers(0, 200, shape, dtype)


def written(path, data, **options):
    tifffile.imwrite(path, data, photometric="minisblack", **options)
    return path


@pytest.fixture
def lazily(monkeypatch):
    """Have files of any size read as large ones are."""
    monkeypatch.setattr(_tiff, "_WHOLE_BELOW", 0)


def check_indexing(data, expected):
    assert (data.shape, data.dtype, data.ndim) == (expected.shape, expected.dtype, expected.ndim)
    for key in (
        2,
        -1,
        (3, slice(5, 9)),
        (slice(None), 4),
        (slice(1, 5, 2), slice(None), slice(3, 80, 7)),
    ):
        assert np.array_equal(np.asarray(data[key]), expected[key])
    assert np.array_equal(np.asarray(data), expected)


def test_contiguous_pixels_are_mapped(tmp_path, lazily):
    data = stack()
    for byteorder in "<>":
        path = written(tmp_path / "a.tif", data, byteorder=byteorder)
        found = files.read(path).data
        assert isinstance(found, np.memmap)
        assert np.array_equal(found, data)


@pytest.mark.parametrize(
    "options",
    [{"rowsperstrip": 16}, {"tile": (32, 32)}, {"rowsperstrip": 70, "predictor": True}],
    ids=["strips", "tiles", "planes"],
)
def test_compressed_pixels_are_read_as_they_are_indexed(tmp_path, lazily, options):
    data = stack()
    picture = files.read(written(tmp_path / "a.tif", data, compression="zlib", **options))
    assert isinstance(picture.data, _tiff.LazyTiff)
    check_indexing(picture.data, data)
    assert len(picture.data) == 6


def test_colours_read_lazily(tmp_path, lazily):
    data = stack((4, 30, 40, 3), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="rgb", compression="zlib")
    picture = files.read(tmp_path / "a.tif")
    assert picture.channel_axis == 3
    check_indexing(picture.data, data)


def test_one_plane_decodes_one_page(tmp_path, lazily, monkeypatch):
    path = written(tmp_path / "a.tif", stack((40, 64, 64)), compression="zlib", rowsperstrip=64)
    decoded, decompress = [], zlib.decompress
    monkeypatch.setattr(zlib, "decompress", lambda *args: decoded.append(1) or decompress(*args))
    data = files.read(path).data
    decoded.clear()
    data[17]
    assert len(decoded) == 1


def test_large_files_do_not_fill_the_memory(tmp_path):
    # 400 MB of pixels in a file of less than one.
    shape = (100, 1024, 2048)
    zeros = np.zeros(shape[1:], np.uint16)
    pages = (zeros + n for n in range(shape[0]))
    path = written(
        tmp_path / "a.tif", pages, shape=shape, dtype=np.uint16, compression="zlib", rowsperstrip=1024
    )
    before = rss()
    data = files.read(path).data
    assert data[70].min() == data[70].max() == 70
    assert rss() - before < 100e6


def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_other_threads_may_read(tmp_path, lazily):
    data = stack((30, 64, 64))
    lazy = files.read(written(tmp_path / "a.tif", data, compression="zlib")).data
    wrong = []

    def work(planes):
        wrong.extend(i for i in planes if not np.array_equal(lazy[i], data[i]))

    threads = [threading.Thread(target=work, args=(p,)) for p in (range(30), range(29, -1, -1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_file_is_closed_with_the_last_reference(tmp_path, lazily):
    data = files.read(written(tmp_path / "a.tif", stack(), compression="zlib")).data
    close = data.close
    assert close.alive
    del data
    assert not close.alive


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_levels_of_a_pyramid(tmp_path, monkeypatch, lazy, compression):
    if lazy:
        monkeypatch.setattr(_tiff, "_WHOLE_BELOW", 0)
    data, options = stack((3, 65, 90)), {"compression": compression, "photometric": "minisblack"}
    meta = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.0}
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as file:
        file.write(data, subifds=1, metadata=meta, **options)
        file.write(data[:, ::2, ::2], subfiletype=1, **options)
    for level, size in ((0, 0.5), (1, 1.0)):
        picture = files.read(tmp_path / "a.ome.tif", level=level)
        assert np.array_equal(picture.data, data[:, :: level + 1, :: level + 1])
        assert picture.spacing == (2.0, size, size)
        assert picture.axes == "ZYX"
    for level in (2, -1):
        with pytest.raises(
            InputError, match=r"a\.ome\.tif: level -?\d is not there; it has 2 levels, 0 to 1"
        ):
            files.read(tmp_path / "a.ome.tif", level=level)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_file_cut_off_is_damaged(tmp_path, monkeypatch, lazy, part, compression):
    # tifffile gives the planes before the cut, as if there were no others.
    if lazy:
        monkeypatch.setattr(_tiff, "_WHOLE_BELOW", 0)
    path = written(tmp_path / "a.tif", stack(), compression=compression)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(InputError, match=r"a\.tif cannot be read, it may be damaged: ") as error:
        files.read(path)
    assert "\n" not in str(error.value)


def planes(labels, order):
    return [((*i, slice(None), slice(None)), labels[i]) for i in order]


def test_planes_are_streamed(tmp_path):
    labels = stack((5, 40, 50), np.uint8)
    alive = []

    def source():
        for n in range(5):
            alive.append([p.name for p in tmp_path.iterdir() if p.stat().st_size])
            yield (n, slice(None), slice(None)), labels[n]

    path = files.write_planes(tmp_path / "a.tif", source(), labels.shape, labels.dtype)
    assert np.array_equal(files.read(path).data, labels)
    assert alive[-1] != []  # something had been written when the last plane was asked for
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


def test_planes_that_do_not_come_are_zero(tmp_path):
    labels = stack((2, 5, 20, 30), np.uint8)
    order = [(0, 1), (0, 4), (1, 0)]
    files.write_planes(tmp_path / "a.tif", planes(labels, order), labels.shape, labels.dtype)
    back = files.read(tmp_path / "a.tif")
    expected = np.zeros_like(labels)
    for i in order:
        expected[i] = labels[i]
    assert np.array_equal(back.data, expected)
    assert back.axes == "TZYX"
    files.write_planes(tmp_path / "none.tif", [], labels.shape, labels.dtype)
    assert not files.read(tmp_path / "none.tif").data.any()


@pytest.mark.parametrize("order", ["swapped", "backwards"])
def test_planes_may_come_in_another_order(tmp_path, order):
    labels = stack((3, 4, 20, 30), np.uint8)
    listed = {
        "swapped": [(t, z) for z in range(4) for t in range(3)],
        "backwards": [*np.ndindex(3, 4)][::-1],
    }[order]
    files.write_planes(tmp_path / "a.ome.tif", planes(labels, listed), labels.shape, labels.dtype)
    assert np.array_equal(files.read(tmp_path / "a.ome.tif").data, labels)
    assert [p.name for p in tmp_path.iterdir()] == ["a.ome.tif"]


def test_planes_along_another_axis(tmp_path):
    labels = stack((6, 20, 30), np.uint16)
    source = (((slice(None), n, slice(None)), labels[:, n]) for n in range(20))
    files.write_planes(tmp_path / "a.tif", source, labels.shape, labels.dtype)
    assert np.array_equal(files.read(tmp_path / "a.tif").data, labels)


def test_files_above_4_gb_are_bigtiff(tmp_path, monkeypatch):
    options = {}
    monkeypatch.setattr(
        tifffile, "imwrite", lambda path, data, **kwargs: (options.update(kwargs), path.touch())
    )
    files.write_planes(tmp_path / "a.tif", [], (5000, 1000, 1000), np.uint8)
    assert options["bigtiff"] is True
    files.write_planes(tmp_path / "b.tif", [], (50, 1000, 1000), np.uint8)
    assert options["bigtiff"] is False
