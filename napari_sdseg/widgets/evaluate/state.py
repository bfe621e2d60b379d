"""What the *Evaluate* panel knows: its choices, how far it is, and what it says. No Qt here."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from psygnal import SignalGroupDescriptor

from .._words import duration, planes, sentence
from .facts import class_colors, naming, same_place, short_name, unrelated
from .scores import Scores

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    from .facts import LabelsFacts

__all__ = ["EvaluateState"]


@dataclass
class EvaluateState:
    """The panel's choices, the progress of a comparison and its results; every change is an event.

    Attributes
    ----------
    labels, truth
        The chosen layers; None while there is none.
    same
        Whether they are one layer.
    objects
        Whether single objects are matched, or classes compared.
    axis
        The axis whose planes are compared one after another.
    measure
        The one that the plot and the table of planes show.
    busy, done, total
        Where the run is.
    message
        The last thing to be said about a run; empty: the choices speak for themselves.
    outdated
        Why the results are no longer those of the layers; empty: they are.
    scores
        The results of the last run, as far as it came.
    colors
        Of the classes of those results, where the layers give them.
    """

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    labels: LabelsFacts | None = None
    truth: LabelsFacts | None = None
    same: bool = False
    objects: bool = False
    axis: int | None = None
    measure: str = "Dice"
    busy: bool = False
    done: int = 0
    total: int = 0
    message: str = ""
    outdated: str = ""
    scores: Scores | None = None
    colors: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._compared: tuple[Any, ...] = ()

    # -- choices ---------------------------------------------------------------------------------

    def choose(self, **choices: Any) -> None:
        """Change choices; what was said about the last run is then out of date."""
        changed = {k: v for k, v in choices.items() if getattr(self, k) != v}
        if changed and not self.busy:
            self.message = ""
        for name, value in changed.items():
            setattr(self, name, value)

    def suggested_objects(self) -> bool:
        """Return whether both layers look as if their labels were single objects."""
        return all(layer is not None and layer.objects for layer in (self.labels, self.truth))

    def suggested_axis(self) -> int | None:
        """Return the axis that one of the layers was sliced along, or else the first."""
        layers = [layer for layer in (self.labels, self.truth) if layer is not None]
        known = [layer.axis for layer in layers if layer.axis is not None]
        return known[0] if known else 0 if layers and len(layers[0].shape) > 2 else None

    def axis_choices(self) -> list[tuple[str, int]]:
        """Return what planes can be taken along: words and axis; empty for a single plane."""
        if self.labels is None or len(self.labels.shape) < 3:
            return []
        shape, names = self.labels.shape, self.labels.axis_names
        return [(f"{names[a]}  ({shape[a]} planes)", a) for a in range(len(shape))]

    def looped(self) -> tuple[int, ...]:
        """Return the axes that are gone through: all but the last two that are not the chosen."""
        axes = range(0 if self.labels is None else len(self.labels.shape))
        drawn = [a for a in axes if a != self.axis][-2:]
        return tuple(a for a in axes if a not in drawn)

    def problem(self) -> str | None:
        """Return what stands in the way of a comparison, in a sentence; None: nothing does."""
        if self.labels is None or self.truth is None:
            return "Two Labels layers are needed: labels, and the ground truth to compare them with."
        if self.same:
            return "Labels and ground truth are the same layer: choose another for one of them."
        if self.labels.shape != self.truth.shape:
            sizes = (
                f"{short_name(layer.name)} is {_size(layer.shape)}"
                for layer in (self.labels, self.truth)
            )
            return f"The shapes do not fit: {', '.join(sizes)}."
        if 0 in self.labels.shape:
            return f"{short_name(self.labels.name)} has no pixels."
        return None

    def warning(self) -> str:
        """Return what may be wrong with comparing the layers; empty: nothing is known to be."""
        a, b = self.labels, self.truth
        if a is None or b is None or self.problem():
            return ""
        words = []
        if not same_place(a, b):
            words.append(
                "The layers lie at different places in the viewer; pixels are compared as stored."
            )
        if unrelated(a, b) and not self.objects:
            words.append("No class has the same name in both: classes are matched by their numbers.")
        return " ".join(words)

    def intention(self) -> str:
        """Return what a comparison would do, or what stands in its way."""
        problem = self.problem()
        if problem or self.labels is None:
            return problem or ""
        shape, looped = self.labels.shape, self.looped()
        size = _size(tuple(n for a, n in enumerate(shape) if a not in looped))
        count = math.prod(shape[a] for a in looped)
        what = "A single plane" if count == 1 else planes(count)
        how = "objects matched one to one" if self.objects else "compared class by class"
        return f"{what} of {size}, {how}."

    def status(self) -> str:
        """Return what there is to say now."""
        lines = [self.message or self.intention(), self.warning()]
        if self.message and not self.busy:
            lines.append(self.problem() or self.outdated)
        if self.scores is not None and not self.busy and self._choices() != self._compared:
            of = (short_name(name) for name in (self.scores.labels, self.scores.truth))
            lines.append(f"The results below are of {' and '.join(of)}.")
        return "\n".join(line for line in lines if line)

    def _choices(self) -> tuple[Any, ...]:
        return self.labels, self.truth, self.objects, self.axis

    # -- a run -----------------------------------------------------------------------------------

    def begin(self) -> Scores | None:
        """Start a comparison, and return where its results go; None if it cannot start."""
        if self.busy or self.problem() or self.labels is None or self.truth is None:
            return None
        scores = Scores(
            self.labels.name,
            self.truth.name,
            self.labels.shape,
            self.labels.axis_names,
            self.looped(),
            self.axis,
            self.objects,
            naming(self.labels, self.truth, self.objects)[2],
        )
        self._compared = self._choices()
        self.message, self.outdated, self.colors = (
            "",
            "",
            class_colors(self.labels, self.truth, self.objects),
        )
        self.done, self.total, self.scores = 0, scores.total, scores
        if self.measure not in scores.measures:
            self.measure = scores.measures[0]
        self.busy = True
        return scores

    def add(self, tallies: npt.NDArray[np.int64], classes: tuple[str, ...]) -> None:
        """Take the next planes."""
        if self.scores is not None and self.busy:
            self.scores.add(tallies, classes)
            self.done = self.scores.done

    def finish(self, whole: npt.NDArray[np.int64], seconds: float) -> None:
        """Take the counts of the whole: the comparison is over."""
        if self.scores is not None and self.busy:
            self.scores.whole = whole
            self.message = f"Done: {planes(self.total)} in {duration(seconds)}."
            self.busy = False

    def stop(self, why: str = "Cancelled.", problem: str = "") -> None:
        """Note that the comparison ended early: say why, or what the problem was."""
        if not self.busy:
            return
        said = f"Failed: {sentence(problem)}" if problem else why
        kept = f"What is shown is of {self.done} of {planes(self.total)}." if self.done else ""
        if not self.done:
            self.scores = None
        self.message = f"{said} {kept}".rstrip()
        self.busy = False

    def progress_text(self) -> str:
        """Return how far it is: "12 of 64 planes"."""
        return f"{self.done} of {planes(self.total)}" if self.busy else ""


def _size(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
