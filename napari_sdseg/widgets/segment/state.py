"""What the *Segment* panel knows: its choices, how far a run is, and what it says. No Qt here."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from psygnal import SignalGroupDescriptor

from sdseg.axes import plan
from sdseg.errors import SDSegError

from .. import _words

if TYPE_CHECKING:
    import numpy as np

    from sdseg.axes import StackPlan
    from sdseg.card import Card

__all__ = ["ImageFacts", "Phase", "SegmentState"]


class Phase(Enum):
    """Where a run is."""

    IDLE = "idle"
    STARTING = "starting"  # loading the model: no plane yet, no telling how long
    RUNNING = "running"
    CANCELLING = "cancelling"


@dataclass(frozen=True)
class ImageFacts:
    """What must be known of an image to decide how it can be segmented.

    Attributes
    ----------
    shape, dtype, channel_axis
        Of the array.
    axis_names
        As the viewer shows them, one for each axis of the array.
    spacing, unit
        Pixel size along the last axes that are not colours, and its unit, where known.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axis_names: tuple[str, ...]
    channel_axis: int | None = None
    spacing: tuple[float, ...] | None = None
    unit: str | None = None


@dataclass
class SegmentState:
    """The panel's choices and the progress of its run; every change is an event.

    Attributes
    ----------
    image, model, card
        The chosen image, the chosen model's name and its card; None while there is none.
    axis
        The axis to slice along, in the array's numbering; None: decided from the shape.
    planes
        First and last plane to be segmented, or None for all.
    separate
        Whether single objects are wanted. Off, as in `napari_sdseg.segment`, so that the two give the
        same labels unless told otherwise.
    threshold
        Probability above which a pixel is drawn; None: as the card says.
    orthogonal, samples, level, device, precision
        See `napari_sdseg.segment`.
    follow
        Whether the plane in view is segmented whenever it changes.
    phase, done, total
        Where the run is.
    message
        The last thing to be said about a run; empty: the choices speak for themselves.
    note
        Device and precision of the last run, and why.
    """

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    image: ImageFacts | None = None
    model: str | None = None
    card: Card | None = None
    axis: int | None = None
    planes: tuple[int, int] | None = None
    separate: bool = False
    threshold: float | None = None
    orthogonal: bool = False
    samples: int = 1
    level: int = 0
    device: str | None = None
    precision: str | None = None
    follow: bool = False
    phase: Phase = Phase.IDLE
    done: int = 0
    total: int = 0
    message: str = ""
    note: str = ""
    first: float = math.nan
    latest: float = math.nan

    # -- choices ---------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether a run is going on, or still stopping."""
        return self.phase is not Phase.IDLE

    @property
    def can_average(self) -> bool:
        """Whether the image has three directions to slice along."""
        work = None if self.problem() else self.plan()
        return work is not None and bool(work.looped) and work.looped[-1] >= len(work.output_shape) - 3

    @property
    def length(self) -> int:
        """Return how many planes there are along the sliced axis; 1 for a single plane."""
        work = None if self.problem() else self.plan()
        return 1 if work is None or not work.looped else work.output_shape[work.looped[-1]]

    def settings(self) -> dict[str, Any]:
        """Return what `napari_sdseg.segment` must be given for the same labels, defaults left out."""
        chosen: dict[str, Any] = {
            "axis": self.axis if self.axis_choices() else None,
            "planes": None if self.planes is None else slice(self.planes[0], self.planes[1] + 1),
            "level": self.level or None,
            "instances": self.separate or None,
            "threshold": self.cut,
            "orthogonal": (self.orthogonal and self.can_average) or None,
            "samples": None if self.samples == 1 else self.samples,
            "device": self.device,
            "precision": self.precision,
        }
        given = {} if self.model is None else {"model": self.model}
        return given | {name: value for name, value in chosen.items() if value is not None}

    @property
    def cut(self) -> float | None:
        """Return the threshold, if it is not the card's."""
        if self.card is None or self.threshold is None:
            return None
        return None if abs(self.threshold - self.card.threshold) < 1e-6 else self.threshold

    def axis_choices(self) -> list[tuple[str, int | None]]:
        """Return what can be sliced along: words and axis; empty for a single plane."""
        image = self.image
        if image is None or len(image.shape) - (image.channel_axis is not None) < 3:
            return []
        axes = [a for a in range(len(image.shape)) if a != image.channel_axis]
        named: list[tuple[str, int | None]] = [
            (f"{image.axis_names[a]}  ({image.shape[a]} planes)", a) for a in axes
        ]
        return [("auto", None), *named]

    def plan(self) -> StackPlan | None:
        """Decide how the image is worked through; None while something is not chosen.

        Raises
        ------
        SDSegError
            If the image cannot be segmented this way.
        """
        image, card = self.image, self.card
        if image is None or card is None:
            return None
        axis = self.axis if self.axis_choices() else None
        return plan(
            image.shape,
            image.dtype,
            card,
            axis=axis,
            channel_axis=image.channel_axis,
            spacing=image.spacing,
            unit=image.unit,
            planes=None if self.planes is None else slice(self.planes[0], self.planes[1] + 1),
        )

    def plan_at(self, position: tuple[int, ...]) -> StackPlan | None:
        """Return the plan of the one plane at a position in the labels; None: nothing is chosen."""
        work = dataclasses.replace(self, planes=None, message="").plan()
        if work is None or not work.looped:
            return work
        at = tuple(min(max(int(position[a]), 0), work.output_shape[a] - 1) for a in work.looped)
        return dataclasses.replace(work, planes=(at[-1],), volume=at[:-1])

    def problem(self) -> str | None:
        """Return what stands in the way of a run, in a sentence; None: nothing does."""
        if self.image is None:
            return "Open an image first: File > Open, or File > Open Sample > SDSeg."
        if self.card is None:
            return "There is no model on this machine."
        try:
            self.plan()
        except SDSegError as error:
            return _words.sentence(str(error))
        return None

    def intention(self) -> str:
        """Return what a run would do, or what stands in its way."""
        problem = self.problem()
        work = None if problem else self.plan()
        if work is None or self.image is None:
            return problem or ""
        height, width = work.plane_shape
        what = "A single plane" if work.n_planes == 1 else f"{work.n_planes} planes"
        colour = ", in colour" if work.channel_axis is not None else ""
        return f"{what} of {height} × {width}{colour}. {self._why(work.note)}".rstrip()

    def _why(self, note: str) -> str:
        """Return the plan's reasons with the viewer's names, less what was said already."""
        image = self.image
        if image is None:
            return note
        reasons = [r for r in note.rstrip(".").split("; ") if "single plane" not in r.lower()]
        if image.channel_axis is not None:
            reasons = [r for r in reasons if "channels" not in r]
        names = image.axis_names
        text = re.sub(r"axis (\d+)", lambda m: f"axis {names[int(m[1])]}", "; ".join(reasons))
        return f"{text[0].upper()}{text[1:]}." if text else ""

    def status(self) -> str:
        """Return what there is to say now."""
        problem = None if self.busy else self.problem()
        lines = [self.message or self.intention()]
        if self.message and problem:
            lines.append(problem)
        elif self.phase is Phase.RUNNING or (self.message and not self.busy):
            lines.append(self.note)
        return "\n".join(line for line in lines if line)

    # -- a run -----------------------------------------------------------------------------------

    def begin(self) -> bool:
        """Start a run; False if one is going on or cannot start."""
        if self.busy or self.problem():
            return False
        self.done, self.total, self.first, self.latest = 0, 0, math.nan, math.nan
        self.message = "Loading the model …"
        self.phase = Phase.STARTING
        return True

    def ready(self, total: int, note: str, now: float) -> None:
        """Note that the model is loaded and ``total`` planes will come."""
        self.total, self.first, self.note = total, now, note
        if self.phase is Phase.STARTING:
            self.phase, self.message = Phase.RUNNING, ""

    def advance(self, done: int, now: float) -> None:
        """Note that ``done`` planes are there."""
        self.latest = now
        self.done = done

    def choose(self, **choices: Any) -> None:
        """Change choices; what was said about the last run is then out of date."""
        changed = {k: v for k, v in choices.items() if getattr(self, k) != v}
        if changed and not self.busy:
            self.message = ""
        if {"image", "axis"} & changed.keys() and "planes" not in changed:
            changed["planes"] = None  # they were another axis's
        for name, value in changed.items():
            setattr(self, name, value)

    def cancel(self) -> None:
        """Note that the run is asked to stop."""
        if self.phase in (Phase.STARTING, Phase.RUNNING):
            self.phase, self.message = Phase.CANCELLING, "Stopping …"

    def end(self, problem: str | None = None, *, why: str = "", kept: bool = True) -> None:
        """Note that the run is over: finished, stopped (say ``why``), or failed with a problem.

        ``kept``: whether the labels done so far are still there.
        """
        if not self.busy:
            return
        if problem is not None:
            remains = f" {self._kept()}" if self.done and kept else ""
            self.message = f"Failed: {_words.sentence(problem)}{remains}"
        elif kept and self.total and self.done == self.total:
            took = self.latest - self.first
            self.message = f"Done: {_words.planes(self.total)} in {_words.duration(took)}."
        else:
            self.message = f"{why or 'Cancelled.'} {self._kept()}" if kept else why
        self.phase = Phase.IDLE

    def _kept(self) -> str:
        if not self.done:
            return "No plane was done."
        return f"The labels of {self.done} of {_words.planes(self.total)} are kept."

    def speed(self) -> float | None:
        """Return planes a second, once there is something to go by."""
        elapsed = self.latest - self.first
        return self.done / elapsed if self.done and elapsed > 0 else None

    def progress_text(self) -> str:
        """Return how far, how fast, how long still: "12 of 64 planes, 9.8 a second, 5 s left"."""
        if not self.busy or not self.total:
            return ""
        text = f"{self.done} of {_words.planes(self.total)}"
        speed = self.speed()
        if speed is None:
            return text
        pace = f"{speed:.1f} a second" if speed >= 1 else f"{1 / speed:.1f} s each"
        return f"{text}, {pace}, {_words.duration((self.total - self.done) / speed)} left"
