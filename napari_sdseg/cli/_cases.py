"""Which cases a command works on: a folder of pairs, or a published data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sdseg import Card
    from sdseg.datasets import Case

__all__ = ["chosen", "folder"]


def folder(data: Path, split: str | None) -> tuple[list[Case], str]:
    """List the pairs of a folder, and say which they are; None: ``val.txt`` if it is there, or all."""
    from sdseg.datasets import pairs

    if split is None and (data / "val.txt").is_file():
        split = "val.txt"
    return list(pairs(data, split)), split or "all pairs"


def chosen(
    data: Path, card: Card, dataset: str | None, split: str | None, scheme: str | None, partial: bool
) -> tuple[list[Case], str]:
    """List the cases, and say which they are.

    Parameters
    ----------
    data
        A folder with ``images/`` and ``masks/``, or where the data set was unpacked.
    card
        Of the model they are for.
    dataset, scheme, partial
        As in `sdseg.datasets.cases`; a data set of None is a folder of pairs.
    split
        A file of stems, see `folder`; or a part of the data set, None: ``"test"``.
    """
    from sdseg.datasets import cases, data_set

    if dataset is None:
        return folder(data, split)
    part = split or "test"
    known = data_set(dataset)
    listed = cases(
        known, data, part, scheme=scheme, side=card.size, classes=len(card.classes), partial=partial
    )
    return list(listed), f"{known.title}, {part} ({scheme or known.schemes[0]})"
