"""What of a published data set is there, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError, InputError
from ._cases import SetCase
from ._find import find
from ._sets import DataSet, data_set
from ._splits import PARTS, split_names

__all__ = ["Report", "check"]


@dataclass(frozen=True)
class Report:
    """What a folder holds of a data set.

    Attributes
    ----------
    dataset, root
        What was looked for, and where.
    images_in, masks_in
        The folders that were found.
    there
        Cases that have image and mask.
    without_image, without_mask
        Cases of the set that lack one or both.
    unknown
        Cases that are there and that no split has.
    parts
        For each scheme and part, how many are there, of how many.
    problems
        What was wrong with files that were opened.
    opened
        How many cases were opened.
    """

    dataset: DataSet
    root: Path
    images_in: Path | None
    masks_in: Path | None
    there: tuple[str, ...]
    without_image: tuple[str, ...]
    without_mask: tuple[str, ...]
    unknown: tuple[str, ...]
    parts: dict[str, dict[str, tuple[int, int]]]
    problems: tuple[str, ...]
    opened: int

    @property
    def complete(self) -> bool:
        """Return whether the set can be trained and tested on as it is."""
        return not (self.without_image or self.without_mask or self.problems)


def check(dataset: str | DataSet, root: str | Path, *, every: bool = False) -> Report:
    """Look for a published data set in a folder.

    Parameters
    ----------
    dataset
        One of `DATA_SETS`, or its name.
    root
        The folder it was unpacked into.
    every
        Open every file rather than those of one case.
    """
    dataset = data_set(dataset) if isinstance(dataset, str) else dataset
    root = Path(root)
    found = find(dataset, root)
    wanted: dict[str, None] = {}  # in order, each once
    for part in PARTS:
        wanted |= dict.fromkeys(split_names(dataset, None, part))
    there = [n for n in wanted if n in found.images and n in found.masks]
    have = set(there)
    parts = {
        scheme: {
            part: (sum(n in have for n in names), len(names))
            for part in PARTS
            for names in [split_names(dataset, scheme, part)]
        }
        for scheme in dataset.schemes
    }
    opened = there if every else there[:1]
    problems = []
    for name in opened:
        case = SetCase(name, found.images[name], found.masks[name], dataset)
        try:
            square = case.square()
        except (DataError, InputError) as error:
            problems.append(str(error))
            continue
        if dataset.kind == "picture" and _size(case.image) != square.own_labels.shape:
            problems.append(
                f"{name}: image {_size(case.image)} and mask {square.own_labels.shape} differ in size"
            )
    return Report(
        dataset,
        root,
        found.images_in,
        found.masks_in,
        tuple(there),
        tuple(n for n in wanted if n not in found.images),
        tuple(n for n in wanted if n not in found.masks),
        tuple(sorted((set(found.images) | set(found.masks)) - set(wanted))),
        parts,
        tuple(problems),
        len(opened),
    )


def _size(path: Path) -> tuple[int, int]:
    from PIL import Image

    with Image.open(path) as file:
        return file.size[1], file.size[0]
