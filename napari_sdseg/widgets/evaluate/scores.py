"""The results of a comparison: what its tables, its plot and its files show. No Qt here."""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .counts import MEASURES, WIDTH, measure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

__all__ = ["NOTHING", "Scores", "as_csv", "as_tabs", "mean", "shown"]

#: Shown where neither layer has anything, and so nothing is right or wrong.
NOTHING = "–"


@dataclass(eq=False)
class Scores:
    """Counts of every plane compared so far.

    Attributes
    ----------
    labels, truth
        The layers' names when they were compared.
    shape, axis_names
        Of the layers.
    looped, axis
        The axes that planes are taken along, and the one of them that the plot shows; None: a
        single plane.
    objects
        Whether objects were matched.
    classes
        In the order they were met.
    done
        Planes so far.
    whole
        (classes, WIDTH): objects counted in their volumes; None until the end.
    """

    labels: str
    truth: str
    shape: tuple[int, ...]
    axis_names: tuple[str, ...]
    looped: tuple[int, ...]
    axis: int | None
    objects: bool
    classes: tuple[str, ...] = ()
    done: int = 0
    whole: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        self._listed = len(self.classes)
        self._tallies = np.zeros((self.total, len(self.classes), WIDTH), np.int64)

    # -- what comes in ---------------------------------------------------------------------------

    @property
    def lengths(self) -> tuple[int, ...]:
        """Return how many positions each looped axis has."""
        return tuple(self.shape[a] for a in self.looped)

    @property
    def total(self) -> int:
        """Return how many planes there are."""
        return math.prod(self.lengths)

    def add(self, tallies: npt.NDArray[np.int64], classes: tuple[str, ...]) -> None:
        """Take the next planes; (planes, classes, WIDTH)."""
        new = len(classes) - len(self.classes)
        if new:
            self._tallies = np.pad(self._tallies, ((0, 0), (0, new), (0, 0)))
            self.classes = classes
        self._tallies[self.done : self.done + len(tallies)] = tallies
        self.done += len(tallies)

    # -- numbers ---------------------------------------------------------------------------------

    @property
    def measures(self) -> tuple[str, ...]:
        """Return the measures there are: those of objects only where objects were matched."""
        return MEASURES if self.objects else MEASURES[:2]

    @property
    def order(self) -> list[int]:
        """Return the rows as shown: known classes, then the others by their numbers."""
        met = range(self._listed, len(self.classes))
        return [*range(self._listed), *sorted(met, key=lambda row: _natural(self.classes[row]))]

    @property
    def names(self) -> list[str]:
        """Return the classes as shown."""
        return [self.classes[row] for row in self.order]

    def position(self, number: int) -> tuple[int, ...]:
        """Return where a plane lies along the looped axes."""
        return tuple(int(at) for at in np.unravel_index(number, self.lengths)) if self.looped else ()

    def number(self, position: Sequence[int]) -> int:
        """Return which plane lies at a position along the looped axes."""
        return int(np.ravel_multi_index(tuple(position), self.lengths))

    def of_planes(self, name: str) -> npt.NDArray[np.float64]:
        """Return a measure of every plane and class; (planes, classes), NaN for nothing."""
        return measure(name, self._tallies[:, self.order])

    def of_all(self, name: str) -> npt.NDArray[np.float64]:
        """Return a measure of each class over everything done, from the sums of its counts."""
        if self.whole is not None:
            return measure(name, self.whole[self.order])
        # objects go on from plane to plane: what they match is known at the end
        if name not in MEASURES[:2]:
            return np.full(len(self.classes), np.nan)
        return measure(name, self._tallies[: self.done, self.order].sum(axis=0))

    def along(self, name: str) -> npt.NDArray[np.float64]:
        """Return a measure along the plane axis, the mean over the others; (length, classes)."""
        if self.axis is None:
            return self.of_planes(name)
        values = self.of_planes(name).reshape(*self.lengths, -1)
        others = tuple(i for i, a in enumerate(self.looped) if a != self.axis)
        return mean(values, others)

    # -- words -----------------------------------------------------------------------------------

    def class_table(self) -> list[list[str]]:
        """Return a header and a row a class; the mean of several comes last."""
        values = np.stack([self.of_all(name) for name in self.measures], axis=1)
        table = [["Class", *self.measures]]
        table += [[name, *map(shown, row)] for name, row in zip(self.names, values, strict=True)]
        if len(self.names) > 1:
            table.append(["mean", *map(shown, mean(values, 0))])
        return table

    def plane_columns(self, name: str) -> tuple[list[str], npt.NDArray[np.float64]]:
        """Return the columns of the table of planes, and its numbers; (done planes, columns).

        A measure of each class; of a single class there is room for all measures.
        """
        if len(self.classes) != 1:
            return self.names, self.of_planes(name)[: self.done]
        values = [self.of_planes(each)[: self.done, 0] for each in self.measures]
        return list(self.measures), np.stack(values, axis=1)

    def plane_table(self, name: str) -> list[list[str]]:
        """Return a header, the means, and a row a plane that is done."""
        columns, values = self.plane_columns(name)
        axes = [self.axis_names[a] for a in self.looped] or ["plane"]
        table = [[*axes, *columns], ["mean", *[""] * (len(axes) - 1)]]
        table[1] += map(shown, mean(values, 0))
        for number, row in enumerate(values):
            position = map(str, self.position(number)) if self.looped else ["0"]
            table.append([*position, *map(shown, row)])
        return table

    def about(self, row: int) -> str:
        """Return what a class's measures are made of."""
        counts = self._tallies[: self.done, self.order[row]].sum(axis=0)
        drawn, there, both = (f"{count:,}" for count in counts[:3])
        lines = [
            f"{self.names[row]}: {drawn} pixels drawn, {there} in the ground truth, {both} in both"
        ]
        if self.objects and self.whole is not None:
            found = self.whole[self.order[row]]
            lines.append(f"{found[3]} objects drawn, {found[4]} there, {found[5]} matched at IoU 0.5")
        return "\n".join(lines)

    def summary(self) -> str:
        """Return the result in a sentence or two."""
        if self.whole is None:
            return ""
        mean_dice, mean_iou = (mean(self.of_all(name), 0) for name in MEASURES[:2])
        if math.isnan(mean_dice):
            return "Both layers are empty: there is nothing to compare."
        words = [f"Dice {mean_dice:.3f}, IoU {mean_iou:.3f}{self._of_classes()}."]
        if self.objects:
            drawn, there, found = (int(n) for n in self.whole[:, 3:6].sum(axis=0))
            noun = "object" if there == 1 else "objects"
            words.append(f"{found} of {there} {noun} found, {drawn - found} drawn without a match.")
        worst = self._worst()
        return " ".join([*words, worst] if worst else words)

    def _of_classes(self) -> str:
        count = int(np.isfinite(self.of_all("Dice")).sum())
        return f" (mean of {count} classes)" if count > 1 else ""

    def _worst(self) -> str:
        dice = mean(self.of_planes("Dice"), 1)
        if np.isfinite(dice).sum() < 3:
            return ""
        number = int(np.nanargmin(dice))
        axes = (self.axis_names[a] for a in self.looped)
        # a line does not break within: "z = 11"
        position = zip(axes, self.position(number), strict=True)
        where = ", ".join(f"{name}\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{at}" for name, at in position)
        return f"Lowest Dice: {dice[number]:.3f} at {where}."

    def records(self) -> Iterable[list[object]]:
        """Yield a header, a row a class for the whole, and a row a plane and class."""
        axes = [self.axis_names[a] for a in self.looped]
        names = [name.lower() for name in self.measures]
        yield ["labels", "ground truth", *axes, "class", *names]
        values = {name: self.of_planes(name) for name in self.measures}
        whole = {name: self.of_all(name) for name in self.measures}
        for row, class_name in enumerate(self.names):
            numbers = [_number(whole[name][row]) for name in self.measures]
            yield [self.labels, self.truth, *["all"] * len(axes), class_name, *numbers]
        for plane in range(self.done if self.looped else 0):
            for row, class_name in enumerate(self.names):
                numbers = [_number(values[name][plane, row]) for name in self.measures]
                yield [self.labels, self.truth, *self.position(plane), class_name, *numbers]


def mean(values: npt.NDArray[np.float64], axis: int | tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Return the mean of what is not NaN; NaN of nothing, without a warning."""
    there = np.isfinite(values)
    count = there.sum(axis=axis)
    total = np.where(there, values, 0.0).sum(axis=axis)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def shown(value: float) -> str:
    """Return a number as the tables have it."""
    return NOTHING if math.isnan(value) else f"{value:.3f}"


def as_tabs(table: list[list[str]]) -> str:
    """Return a table for the clipboard; an empty cell for nothing, as spreadsheets have it."""
    return "\n".join("\t".join("" if cell == NOTHING else cell for cell in row) for row in table)


def as_csv(scores: Scores) -> str:
    """Return everything there is as comma-separated values; an empty cell for nothing."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(scores.records())
    return out.getvalue()


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6f}"


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
