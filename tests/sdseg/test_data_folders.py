from __future__ import annotations

import numpy as np
import pytest
import tifffile

from sdseg import files
from sdseg.datasets import pairs
from sdseg.errors import DataError


def make(folder, images, masks):
    for sub, names in (("images", images), ("masks", masks)):
        (folder / sub).mkdir()
        for name in names:
            tifffile.imwrite(folder / sub / f"{name}.tif", np.zeros((8, 9), np.uint8))


def test_pairs_are_matched_by_stem_whatever_the_format(tmp_path):
    make(tmp_path, ["b", "a"], ["a"])
    files.write_labels(tmp_path / "masks" / "b.nii.gz", np.zeros((1, 8, 9), np.uint8))
    found = pairs(tmp_path)
    assert [p.name for p in found] == ["a", "b"]
    assert found[1].mask.name == "b.nii.gz"


def test_the_unmatched_are_named(tmp_path):
    make(tmp_path, ["a", "lonely"], ["a", "widow"])
    with pytest.raises(DataError, match="lonely, widow"):
        pairs(tmp_path)
    (tmp_path / "train.txt").write_text("a")
    assert [p.name for p in pairs(tmp_path, "train.txt")] == ["a"]
    (tmp_path / "train.txt").write_text("a lonely nobody")
    with pytest.raises(DataError, match="lonely, nobody"):
        pairs(tmp_path, "train.txt")


def test_missing_folders_and_splits_are_said(tmp_path):
    with pytest.raises(DataError, match="images is missing"):
        pairs(tmp_path)
    make(tmp_path, [], [])
    with pytest.raises(DataError, match="no image and mask pairs"):
        pairs(tmp_path)
    with pytest.raises(DataError, match=r"no file val\.txt"):
        pairs(tmp_path, "val.txt")


def test_colour_and_size_are_checked(tmp_path):
    make(tmp_path, [], ["a", "b"])
    tifffile.imwrite(tmp_path / "images" / "a.tif", np.zeros((8, 9, 3), np.uint8), photometric="rgb")
    tifffile.imwrite(tmp_path / "images" / "b.tif", np.zeros((7, 9), np.uint8))
    first, second = pairs(tmp_path)
    image, mask, channel_axis = first.read()
    assert (image.shape, mask.shape, channel_axis) == ((8, 9, 3), (8, 9), 2)
    with pytest.raises(DataError, match="do not fit together"):
        second.read()
