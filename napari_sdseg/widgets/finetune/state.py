"""What the *Fine-tune* panel knows: its choices, what is painted, how far it is. No Qt here."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from psygnal import SignalGroupDescriptor

from sdseg.errors import SDSegError

from .. import _words
from ..segment.state import ImageFacts, SegmentState
from .classes import ClassRow, class_ids, class_rows, default_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sdseg.axes import StackPlan
    from sdseg.card import Card

    from .painted import At, PlaneFound

__all__ = ["Curve", "Entry", "FineTuneState", "LabelsFacts", "Phase", "Style", "verdict"]


class Phase(Enum):
    """Where a task of the panel is."""

    IDLE = "idle"
    STARTING = "starting"  # loading, searching, saving: there is no telling how long
    RUNNING = "running"
    STOPPING = "stopping"


class Style(Enum):
    """How labels are to be read."""

    GUESS = "as it looks"
    WHOLE = "whole planes"
    STROKES = "strokes"


@dataclass(frozen=True)
class LabelsFacts:
    """What must be known of the layer that is painted in; ``key`` is the same under another name."""

    name: str
    shape: tuple[int, ...]
    key: str = ""

    def is_same(self, other: LabelsFacts | None) -> bool:
        """Whether these are the same labels."""
        return other is not None and (self.key, self.shape) == (other.key, other.shape)


@dataclass(frozen=True)
class Entry:
    """A plane of the list: where it lies, what is on it, and whether it is learned from."""

    at: At
    counts: Mapping[int, int]
    size: int
    ticked: bool


@dataclass
class Curve:
    """How it goes: (seconds, value) of the loss and of the Dice on planes that are left out."""

    loss: list[tuple[float, float]] = field(default_factory=list)
    dice: list[tuple[float, float]] = field(default_factory=list)
    before: float | None = None
    seconds: float = 60.0
    """How long it will be in all, as far as is known."""


@dataclass
class FineTuneState:
    """The panel's choices, what is painted, and the progress of its task; changes are events.

    Attributes
    ----------
    image, labels
        The chosen layers; None while there is none.
    model, card
        What is started from.
    axis
        The axis to slice along, in the image's numbering; None: decided from the shape.
    found
        The planes on which something is painted.
    left_out, empty
        Planes that the person unticked, and those said to hold nothing at all.
    style, background
        How labels are read; for strokes the label that says background, None: the highest painted.
    names
        Of classes, by painted label.
    seconds, steps
        The budget: seconds, or, where it is not None, steps.
    keep
        Whether *Segment the rest* keeps painted planes and starts from their shapes; None: if whole
        planes are painted.
    result, result_card
        The name and card of the last model that was made.
    task, phase, done, seconds_left, step
        What is going on, and how far it is.
    message, warning
        What is to be said of the last task, and what is to be known before trusting it.
    """

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    image: ImageFacts | None = None
    labels: LabelsFacts | None = None
    model: str | None = None
    card: Card | None = None
    axis: int | None = None
    found: tuple[PlaneFound, ...] = ()
    left_out: frozenset[At] = frozenset()
    empty: frozenset[At] = frozenset()
    style: Style = Style.GUESS
    background: int | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    seconds: int = 60
    steps: int | None = None
    keep: bool | None = None
    result: str | None = None
    result_card: Card | None = None
    saved: bool = False
    task: str = ""
    phase: Phase = Phase.IDLE
    done: float = 0.0
    seconds_left: float = 0.0
    step: int = 0
    message: str = ""
    warning: str = ""

    # -- choices ---------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether something is going on, or still stopping."""
        return self.phase is not Phase.IDLE

    def choose(self, **choices: Any) -> None:
        """Change choices; what was painted elsewhere is forgotten."""
        changed = {k: v for k, v in choices.items() if getattr(self, k) != v}
        if {"labels", "axis"} & changed.keys():
            changed = {"found": (), "left_out": frozenset(), "empty": frozenset()} | changed
        if "labels" in changed:
            changed = {"names": {}, "background": None, "style": Style.GUESS} | changed
        for name, value in changed.items():
            setattr(self, name, value)

    def tick(self, at: At, on: bool) -> None:
        """Learn from a plane, or leave it out."""
        self.left_out = self.left_out - {at} if on else self.left_out | {at}

    def say_empty(self, at: At, on: bool) -> None:
        """Note that a plane holds nothing, which is as good as painted; or take it back."""
        self.empty = self.empty | {at} if on else self.empty - {at}
        self.left_out -= {at}

    def rename(self, label: int, name: str) -> None:
        """Give a class a name; none: its own again."""
        name = name.strip()
        others = {k: v for k, v in self.names.items() if k != label}
        self.names = others | {label: name} if name else others

    def segmenting(self, model: str | None = None, card: Card | None = None) -> SegmentState:
        """Return what the Segment panel would know, for a model (None: the one started from)."""
        card = self.card if card is None else card
        return SegmentState(
            image=self.image, model=model or self.model, card=card, axis=self.axis,
            separate=card is not None and card.coding == "instances",
        )  # fmt: skip

    def plan(self) -> StackPlan | None:
        """Decide how the image is worked through; None while that cannot be."""
        state = self.segmenting()
        return None if state.problem() else state.plan()

    # -- what is painted -------------------------------------------------------------------------

    def entries(self) -> list[Entry]:
        """Return the planes of the list, in order."""
        painted = {f.at: Entry(f.at, f.counts, f.size, f.at not in self.left_out) for f in self.found}
        said = {at: Entry(at, {}, 1, at not in self.left_out) for at in self.empty - painted.keys()}
        everything = painted if self.strokes else painted | said
        return [everything[at] for at in sorted(everything)]

    def annotated(self) -> tuple[At, ...]:
        """Return the planes that are learned from."""
        return tuple(e.at for e in self.entries() if e.ticked)

    @property
    def looks_like_strokes(self) -> bool:
        """Whether most of the painted planes look like strokes; single objects are small anyway."""
        if self.instances:
            return False
        asked = [f.strokes for f in self.found if f.strokes is not None and f.at not in self.left_out]
        return 2 * sum(asked) > len(asked)

    @property
    def strokes(self) -> bool:
        """Whether labels are read as strokes."""
        return self.looks_like_strokes if self.style is Style.GUESS else self.style is Style.STROKES

    @property
    def painted_labels(self) -> list[int]:
        """Return the labels on the planes that are learned from."""
        return sorted({k for f in self.found if f.at not in self.left_out for k in f.counts})

    @property
    def background_label(self) -> int | None:
        """Return the label that says background; None: 0 does."""
        painted = self.painted_labels
        if not self.strokes or not painted:
            return None
        return self.background if self.background in painted else painted[-1]

    @property
    def instances(self) -> bool:
        """Whether labels are single objects."""
        return self.card is not None and self.card.coding == "instances"

    def rows(self) -> list[ClassRow]:
        """Return the classes that are painted, for the table."""
        if self.card is None:
            return []
        return class_rows(self.card, self.painted_labels, self.background_label, self.names)

    def class_names(self) -> list[str]:
        """Return the names of class 1, 2, ... as they will be learned."""
        if self.card is None:
            return []
        ids = class_ids(self.painted_labels, self.background_label)
        names = default_names(self.card, ids.values())
        for row in self.rows():
            if row.id is not None:
                names[row.id - 1] = row.name
        return names

    def reading(self) -> str:
        """Return in a sentence how the labels are read."""
        painted = self.painted_labels
        if not painted and not self.empty:
            return ""
        begins = "Looks like" if self.style is Style.GUESS else "Taken as"
        if not self.strokes:
            return f"{begins} whole planes: what is not painted on them is background."
        return f"{begins} strokes: label {self.background_label} says background; unpainted is unknown."

    # -- what stands in the way ------------------------------------------------------------------

    def problem(self) -> str | None:
        """Return what stands in the way of learning, in a sentence; None: nothing does."""
        found = self.segmenting().problem() or self._misfit()
        if found:
            return found
        painted = self.painted_labels
        if not self.annotated():
            if self.found:
                return "All painted planes are left out; tick those to learn from."
            return "Nothing is painted yet: paint what to look for on a plane or two."
        if any(k < 0 for k in painted):
            return f"Label {min(painted)} is negative; classes are counted from 1."
        if self.strokes and len(painted) < 2:
            return (
                "For strokes, paint the background too, with a label of its own; "
                "or say that whole planes are painted."
            )
        return None

    def _misfit(self) -> str | None:
        labels = self.labels
        if labels is None:
            return "Choose the Labels layer that you paint in, or make a new one."
        plan = self.plan()
        if plan is not None and labels.shape != plan.output_shape:
            has, needs = (" × ".join(map(str, s)) for s in (labels.shape, plan.output_shape))
            return (
                f"{labels.name} is {has} and the image {needs}: paint in a layer of the image's shape."
            )
        return None

    def fits(self) -> bool:
        """Whether the labels lie on the image, plane for plane."""
        return self.labels is not None and self.plan() is not None and self._misfit() is None

    @property
    def can_keep(self) -> bool:
        """Whether painted planes can be kept and started from: objects have no classes to guide by."""
        card = self.result_card
        return (
            card is not None and card.coding != "instances" and bool(self.annotated()) and self.fits()
        )

    @property
    def keeps(self) -> bool:
        """Whether *Segment the rest* keeps painted planes."""
        return self.can_keep and (not self.strokes if self.keep is None else self.keep)

    def rest_problem(self) -> str | None:
        """Return what stands in the way of segmenting with what was learned."""
        if self.result is None or self.result_card is None:
            return "Fine-tune first."
        found = self.segmenting(self.result, self.result_card).problem()
        if found is None and self.keeps:
            ids = class_ids(self.painted_labels, self.background_label).values()
            if max(ids, default=0) > len(self.result_card.classes):
                return f"{self.result} does not know all that is painted by now; fine-tune again."
        return found

    # -- a task ----------------------------------------------------------------------------------

    def begin(self, task: str, message: str) -> bool:
        """Start a task; False if one is going on."""
        if self.busy:
            return False
        self.task, self.done, self.seconds_left, self.step = task, 0.0, 0.0, 0
        self.message, self.warning = message, ""
        self.phase = Phase.STARTING
        return True

    def advance(self, done: float, seconds_left: float, step: int) -> None:
        """Note how much of the budget is used."""
        if self.phase is Phase.STARTING:
            self.message = ""
            self.phase = Phase.RUNNING
        self.step, self.seconds_left = step, seconds_left
        self.done = done

    def stopping(self) -> None:
        """Note that the task is asked to stop."""
        if self.phase in (Phase.STARTING, Phase.RUNNING):
            self.message = "Stopping …"
            self.phase = Phase.STOPPING

    def end(self, message: str, warning: str = "") -> None:
        """Note that the task is over, and what is to be said of it."""
        self.message, self.warning, self.task = message, warning, ""
        self.phase = Phase.IDLE

    def progress_text(self) -> str:
        """Return how far, how long still: "step 120, 34 s left"."""
        if self.phase is not Phase.RUNNING:
            return ""
        return f"Step {self.step}, {_words.duration(self.seconds_left)} left"

    def intention(self) -> str:
        """Return what *Fine-tune* would do, or what stands in its way."""
        problem = self.problem()
        if problem:
            return problem
        try:
            self.segmenting().plan()
        except SDSegError as error:
            return _words.sentence(str(error))
        count = len(self.annotated())
        if count == 1:
            return "1 plane to learn from. Paint a second one, and one can be left out to measure on."
        return f"{count} planes to learn from; some are left out at first, to measure on."

    def status(self) -> str:
        """Return what there is to say now."""
        if self.busy or not self.message:
            return self.message or ("" if self.busy else self.intention())
        problem = self.problem()
        return f"{self.message}\n{problem}" if problem else self.message


def verdict(before: float | None, after: float | None, left_out: int) -> tuple[str, str]:
    """Return what was reached in a sentence, and a warning where it is not better than before.

    Parameters
    ----------
    before, after
        Dice on painted planes that were left out; None: not measured.
    left_out
        How many planes that were.
    """
    on = f"measured on {left_out} painted {'plane' if left_out == 1 else 'planes'} that "
    on += "was left out" if left_out == 1 else "were left out"
    if left_out == 0:
        return "", "A single plane teaches, and none is left to measure on: look at what it draws."
    if after is None:
        return "", "Nothing was measured in so short a time: look at what it draws."
    if before is None:
        return f"Dice {after:.2f}, {on}.", ""
    said = f"Dice {before:.2f} before, {after:.2f} after, {on}."
    if round(after, 2) <= round(before, 2):  # as it is said
        return said, (
            "That is no better than before. Paint another plane that differs from those painted, "
            "or give it more time."
        )
    return said, ""
