"""Which files of a published set lie in a folder."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from ._sets import DataSet

__all__ = ["Found", "find"]


@dataclass(frozen=True)
class Found:
    """Files of a set by case, and the folders they lie in (None: no such folder)."""

    images_in: Path | None = None
    masks_in: Path | None = None
    images: dict[str, Path] = field(default_factory=dict)
    masks: dict[str, Path] = field(default_factory=dict)


def find(dataset: DataSet, root: Path) -> Found:
    """Look for a set's folders within a root and list what they hold.

    Raises
    ------
    DataError
        If there is no such folder, or two files are of one case.
    """
    if not root.is_dir():
        raise DataError(f"root: no folder {root}")
    # The folder that holds images without masks is worth being told of, if no pair of folders is there.
    places = [(root / images, root / masks) for images, masks in dataset.folders]
    whole = [p for p in places if p[0].is_dir() and p[1].is_dir()]
    half = [p for p in places if p[0].is_dir() or p[1].is_dir()]
    if not (whole or half):
        return Found()
    images_in, masks_in = (whole or half)[0]
    return Found(
        images_in if images_in.is_dir() else None,
        masks_in if masks_in.is_dir() else None,
        _by_case(images_in, dataset, dataset.image_stem),
        _by_case(masks_in, dataset, dataset.mask_stem),
    )


def _by_case(folder: Path, dataset: DataSet, stem: str) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    ending = "|".join(map(re.escape, dataset.suffixes))
    # The disc crop's script adds the side of the crop to a name: T0001_800.png.
    size = r"(?:_\d+)?" if dataset.splits == "refuge2" else ""
    wanted = re.compile(re.escape(stem).replace(r"\{\}", "(.+?)") + size + f"(?:{ending})")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        match = wanted.fullmatch(path.name)
        if match is None or path.name.startswith("."):
            continue
        name = match[1]
        if name in found:
            raise DataError(f"{folder} has two files for {name}: {found[name].name}, {path.name}")
        found[name] = path
    return found
