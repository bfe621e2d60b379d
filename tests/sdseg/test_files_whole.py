"""What is written appears whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest

from sdseg import files
from sdseg.errors import InputError

SHAPE = (6, 300, 400)
TARGETS = [
    "a.tif",
    "a.ome.tif",
    "a.npy",
    "a.nii",
    "a.nii.gz",
    "a.nrrd",
    "a.mha",
    "a.zarr",
    "a.ome.zarr",
]

SETUP = """
import os, resource, signal, sys
import numpy as np
from sdseg import files
labels = np.random.default_rng(0).integers(0, 60000, (6, 300, 400)).astype(np.uint32)
def planes():
    for n in range(6):
        yield (n, slice(None), slice(None)), labels[n]
        at(n)
"""

FULL = (
    SETUP
    + """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
at = lambda n: None
for path in sys.argv[1:]:
    try:
        files.write_planes(path, planes(), labels.shape, labels.dtype)
    except OSError as error:
        print(error)
    else:
        print("written", path)
"""
)

KILLED = (
    SETUP
    + """
def at(n):
    if n == 3:
        print("here", flush=True)
        signal.pause()
files.write_planes(sys.argv[1], planes(), labels.shape, labels.dtype)
"""
)


def python(code, *args):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        stdout=subprocess.PIPE,
        text=True,
        stderr=subprocess.DEVNULL,
    )


def names(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of a file")
def test_a_full_disk_leaves_nothing(tmp_path):
    pytest.importorskip("SimpleITK")
    paths = [tmp_path / t for t in TARGETS] + [tmp_path / "new" / "folder" / "a.tif"]
    said, _ = python(FULL, *paths).communicate(timeout=60)
    lines = said.splitlines()
    assert len(lines) == len(paths), said
    for line, path in zip(lines, paths, strict=True):
        assert line.startswith(f"{path} could not be written: "), line
        assert line.endswith(("File too large", "the disk may be full"))
    assert names(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
@pytest.mark.parametrize("target", ["a.tif", "a.nii.gz", "a.zarr"])
def test_a_kill_leaves_nothing_that_looks_finished(tmp_path, target):
    path = tmp_path / target
    process = python(KILLED, path)
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not path.exists()
    assert all(n.startswith(".") for n in names(tmp_path))
    assert files.images_in(tmp_path) == []
    for left in tmp_path.iterdir():
        if left.is_dir():
            assert not files.is_image(left)
    labels = np.ones(SHAPE, np.uint8)
    files.write_labels(path, labels)
    assert np.array_equal(files.read(path).data, labels)
    # What it left goes once it is certain that nobody works on it.
    left = [p for p in tmp_path.iterdir() if p != path]
    for each in left:
        os.utime(each, (time.time() - 90_000,) * 2)
    files.write_labels(path, labels)
    assert names(tmp_path) == [target]


def test_the_old_folder_comes_back_after_a_kill_between_two_renames(tmp_path):
    path = files.write_labels(tmp_path / "a.zarr", np.ones((8, 9), np.uint8))
    path.rename(tmp_path / ".a.zarr.old")
    with pytest.raises(FileExistsError):
        files.write_planes(path, [], (8, 9), np.uint8)
    assert files.read(path).data[...].all()


@pytest.mark.parametrize("error", [ValueError("no"), OSError(5, "of the image"), KeyboardInterrupt()])
@pytest.mark.parametrize("target", ["a.tif", "a.npy", "a.nrrd", "a.zarr"])
def test_what_fails_on_the_way_leaves_nothing(tmp_path, target, error):
    def failing():
        yield (0, slice(None), slice(None)), np.ones((8, 9), np.uint8)
        raise error

    for path in (tmp_path / target, tmp_path / "new" / target):
        with pytest.raises(type(error)) as raised:
            files.write_planes(path, failing(), (4, 8, 9), np.uint8)
        assert raised.value is error
    assert names(tmp_path) == []
    path = files.write_labels(tmp_path / target, np.ones((4, 8, 9), np.uint8))
    with pytest.raises(type(error)):
        files.write_planes(path, failing(), (4, 8, 9), np.uint8, overwrite=True)
    assert names(tmp_path) == [target]
    assert np.asarray(files.read(path).data).all()


@pytest.mark.parametrize("target", ["a.tif", "a.npy", "a.zarr"])
def test_a_generator_is_closed(tmp_path, target):
    closed = []

    def planes():
        try:
            for n in range(4):
                yield (n, slice(None), slice(None)), np.ones((8, 9), np.uint8)
        finally:
            closed.append(True)

    files.write_planes(tmp_path / target, planes(), (4, 8, 9), np.uint8)
    assert closed == [True]
    source = planes()
    next(source)
    with pytest.raises(InputError, match=r"is no plane of labels of shape \(1, 8, 9\)"):
        files.write_planes(tmp_path / target, source, (1, 8, 9), np.uint8, overwrite=True)
    assert closed == [True, True]


@pytest.mark.parametrize("target", ["a.tif", "a.zarr"])
def test_memory_does_not_grow_with_the_stack(tmp_path, target):
    shape, plane = (60, 512, 512), np.zeros((512, 512), np.uint32)  # 60 planes of 1 MB
    files.write_labels(tmp_path / target, plane)  # what is imported on the way does not count
    source = (((n, slice(None), slice(None)), plane + np.uint32(n)) for n in range(60))
    tracemalloc.start()
    try:
        files.write_planes(tmp_path / target, source, shape, np.uint32, overwrite=True)
        assert tracemalloc.get_traced_memory()[1] < 15e6
    finally:
        tracemalloc.stop()
    assert (np.asarray(files.read(tmp_path / target).data[41]) == 41).all()


def test_a_plane_of_another_shape_is_refused(tmp_path):
    for plane in (np.ones((1, 9), np.uint8), np.ones(9, np.uint8)):
        with pytest.raises(InputError, match=r"has shape .*, not \(8, 9\)"):
            files.write_planes(
                tmp_path / "a.npy", [((0, slice(None), slice(None)), plane)], (4, 8, 9), np.uint8
            )


def test_the_image_itself_is_not_overwritten(tmp_path):
    path = files.write_labels(tmp_path / "a.tif", np.ones((8, 9), np.uint8))
    with pytest.raises(InputError, match="is the image itself"):
        files.write_labels(path, np.zeros((8, 9), np.uint8), files.read(path))
    with pytest.raises(FileExistsError, match=r"a\.tif exists; give another name"):
        files.write_planes(path, [], (8, 9), np.uint8)
    (tmp_path / "folder.tif").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        files.write_labels(tmp_path / "folder.tif", np.zeros((8, 9), np.uint8))


def test_an_error_of_the_system_is_one_line_with_the_path(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(
        OSError, match=r"a\.npy could not be written: No space left on device$"
    ) as error:
        files.write_labels(tmp_path / "a.npy", np.zeros((8, 9), np.uint8))
    assert error.value.errno == 28
    assert names(tmp_path) == []
