"""A small data set on disk, and a small model really trained on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from blob_models import blobs, small_recipe

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def blob_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with images/, masks/, train.txt and val.txt."""
    import tifffile

    folder = tmp_path_factory.mktemp("blobs")
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    for seed in range(28):
        image, labels = blobs(seed)
        tifffile.imwrite(folder / "images" / f"blob{seed:02}.tif", image)
        tifffile.imwrite(folder / "masks" / f"blob{seed:02}.tif", labels)
    names = [f"blob{seed:02}" for seed in range(28)]
    (folder / "train.txt").write_text("\n".join(names[:24]))
    (folder / "val.txt").write_text("\n".join(names[24:]))
    return folder


@pytest.fixture(scope="session")
def trained(blob_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run folder of a small model really trained on the blobs."""
    from sdseg import Trainer

    out = tmp_path_factory.mktemp("run")
    for _ in Trainer(small_recipe(), blob_data, out).run():
        pass
    return out
