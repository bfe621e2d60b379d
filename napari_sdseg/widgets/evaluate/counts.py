"""Two planes of labels -> counts that add up over planes, and the measures they give. No Qt here.

A *tally* is a row of whole numbers: pixels that are drawn, that are there, and that are both; then
objects drawn, objects there, and objects matched at each of `IOU_THRESHOLDS`. Measures are ratios of
these, so that those of a volume come from sums, and not from means of ratios.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sdseg.metrics import IOU_THRESHOLDS

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "MEASURES",
    "MOST_CLASSES",
    "OBJECTS",
    "WIDTH",
    "Naming",
    "Pairs",
    "Rows",
    "measure",
    "tally",
]

#: Length of a tally, and where its objects are.
WIDTH = 5 + len(IOU_THRESHOLDS)
OBJECTS = slice(3, WIDTH)

#: More classes than this are objects that were taken for classes.
MOST_CLASSES = 64

MEASURES = ("Dice", "IoU", "AP50", "AP")


@dataclass(frozen=True)
class Naming:
    """Which class each label of a layer is.

    Attributes
    ----------
    names
        By label; a label that is not listed is a class of its own.
    everything
        The class of all labels, listed or not; None: each has its own.
    """

    names: dict[int, str] = field(default_factory=dict)
    everything: str | None = None

    def of(self, label: int) -> str:
        """Return the class of a label."""
        return self.everything or self.names.get(label) or f"label {label}"


@dataclass
class Rows:
    """The classes met so far, in the order of the table's rows."""

    names: list[str]

    def of(self, labels: npt.NDArray[Any], naming: Naming) -> npt.NDArray[np.int64]:
        """Return the row of each label, -1 for the background; new classes get new rows."""
        known, row_of = {0: -1}, {name: row for row, name in enumerate(self.names)}
        for label in np.unique(labels).tolist():
            if label != 0:
                row = row_of.setdefault(naming.of(label), len(self.names))
                if row == len(self.names):
                    self.names.append(naming.of(label))
                known[label] = row
        return np.array([known[label] for label in labels.tolist()], np.int64)


@dataclass(frozen=True)
class Pairs:
    """Which labels lie on which, and on how many pixels; nothing on nothing is left out.

    Attributes
    ----------
    drawn, there, pixels
        One entry a pair: the label of the prediction, the label of the truth, and their pixels.
    """

    drawn: npt.NDArray[Any]
    there: npt.NDArray[Any]
    pixels: npt.NDArray[np.int64]

    @classmethod
    def of(cls, predicted: npt.NDArray[Any], true: npt.NDArray[Any]) -> Pairs:
        """Return the pairs of two label images of one shape."""
        seen = (predicted != 0) | (true != 0)
        pixels = np.ones(int(seen.sum()), np.int64)
        return cls(predicted[seen], true[seen], pixels).summed()

    @classmethod
    def joined(cls, parts: list[Pairs]) -> Pairs:
        """Return the pairs of several planes as those of the volume they make up."""
        drawn, there, pixels = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("drawn", "there", "pixels")
        )
        return cls(drawn, there, pixels).summed()

    def summed(self) -> Pairs:
        """Return each pair once."""
        drawn, d = np.unique(self.drawn, return_inverse=True)
        there, t = np.unique(self.there, return_inverse=True)
        codes, at = np.unique(d * len(there) + t, return_inverse=True)
        pixels = np.bincount(at, self.pixels, len(codes)).astype(np.int64)
        width = max(len(there), 1)
        return Pairs(drawn[codes // width], there[codes % width], pixels)


def tally(
    pairs: Pairs, rows: Rows, predicted: Naming, true: Naming, *, objects: bool
) -> npt.NDArray[np.int64]:
    """Count the pixels, and if asked the objects, of every class; (classes, WIDTH)."""
    d, t = rows.of(pairs.drawn, predicted), rows.of(pairs.there, true)
    out = np.zeros((len(rows.names), WIDTH), np.int64)
    both = (d == t) & (d >= 0)
    np.add.at(out[:, 0], d[d >= 0], pairs.pixels[d >= 0])
    np.add.at(out[:, 1], t[t >= 0], pairs.pixels[t >= 0])
    np.add.at(out[:, 2], d[both], pairs.pixels[both])
    if objects:
        sizes = []
        for column, labels, row in ((3, pairs.drawn, d), (4, pairs.there, t)):
            _, first, at = np.unique(labels, return_index=True, return_inverse=True)
            sizes.append(np.bincount(at, pairs.pixels)[at])
            np.add.at(out[:, column], row[first][row[first] >= 0], 1)
        # both of a class, or the object was drawn as something that it is not
        overlap = pairs.pixels / (sizes[0] + sizes[1] - pairs.pixels)
        for column, threshold in enumerate(IOU_THRESHOLDS, start=5):
            np.add.at(out[:, column], d[both & (overlap > threshold)], 1)
    return out


def measure(name: str, tallies: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return a measure of tallies, (..., WIDTH) -> (...); NaN where neither layer has anything."""
    if name in ("Dice", "IoU"):
        shared, both = tallies[..., 2], tallies[..., 0] + tallies[..., 1]
        return _ratio(2 * shared, both) if name == "Dice" else _ratio(shared, both - shared)
    matched = tallies[..., 5:]
    scores = _ratio(matched, tallies[..., 3:4] + tallies[..., 4:5] - matched)
    return scores[..., 0] if name == "AP50" else scores.mean(axis=-1)


def _ratio(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
