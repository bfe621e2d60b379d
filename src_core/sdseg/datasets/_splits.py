"""Which images of a published set are for what: fixed lists, kept in the package."""

from __future__ import annotations

from bisect import bisect_left
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from ._sets import DataSet

__all__ = ["CVC_SEQUENCES", "PARTS", "sequence_of", "split_names"]

PARTS = ("train", "val", "test")

#: Last frame of each of CVC-ClinicDB's 29 video sequences, frames being numbered from 1.
CVC_SEQUENCES = (
    25, 50, 67, 78, 103, 126, 151, 177, 199, 205, 227, 252, 277, 297, 317, 342, 363, 383, 408, 428,
    447, 466, 478, 503, 528, 546, 571, 591, 612,
)  # fmt: skip


def sequence_of(frame: int) -> int:
    """Return which of CVC-ClinicDB's 29 video sequences, 1 to 29, a frame is of."""
    if not 1 <= frame <= CVC_SEQUENCES[-1]:
        raise InputError(f"frame: CVC-ClinicDB has 1 to {CVC_SEQUENCES[-1]}, got {frame}")
    return bisect_left(CVC_SEQUENCES, frame) + 1


def split_names(dataset: DataSet, scheme: str | None, part: str) -> tuple[str, ...]:
    """List the cases of one part of a split, in the order of the split file.

    Parameters
    ----------
    dataset
        One of `DATA_SETS`.
    scheme
        One of its ``schemes``; None: the first of them, whose parts do not overlap.
    part
        ``"train"``, ``"val"`` or ``"test"``.
    """
    scheme = scheme or dataset.schemes[0]
    if scheme not in dataset.schemes:
        raise InputError(f"scheme: {dataset.name} has {', '.join(dataset.schemes)}, got {scheme!r}")
    if part not in PARTS:
        raise InputError(f"split: a data set has {', '.join(PARTS)}, got {part!r}")
    return _read(dataset.splits, scheme, part)


@cache
def _read(splits: str, scheme: str, part: str) -> tuple[str, ...]:
    file = resources.files("sdseg.datasets") / "splits" / splits / scheme / f"{part}.txt"
    return tuple(file.read_text(encoding="utf-8").split())
