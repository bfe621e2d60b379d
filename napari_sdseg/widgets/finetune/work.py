"""Work of the *Fine-tune* panel as generators of typed updates, for a thread. No Qt.

The networks learn in the thread that all panels compute in, a few steps at a time, so that a preview
of the Segment panel may come between them. The generators only wait for that thread.
"""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from sdseg.errors import Cancelled

from .. import _made
from .._device import DEVICE, waited
from .._failures import Failed, readable
from ..segment.work import guidance

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from threading import Event

    import numpy.typing as npt

    from sdseg.axes import Index, StackPlan
    from sdseg.card import Card
    from sdseg.store import Model
    from sdseg.training.finetune import FineTuner, FineTuneUpdate

    from ..segment.work import Guide
    from .painted import At, PlaneCopies

__all__ = [
    "Begun",
    "Failed",
    "Found",
    "Learn",
    "Learned",
    "Moved",
    "Seek",
    "Shown",
    "Update",
    "View",
    "learn",
    "seek",
]

#: Seconds of learning between two looks at the request to stop.
_TURN = 0.25

#: Seconds until the first preview and between two; and how many times its own cost the pause is.
_FIRST, _PAUSE, _REST = 2.5, 8.0, 6.0

T = TypeVar("T")


@dataclass
class View:
    """The plane that the viewer shows, written by the window and read by the work."""

    at: At | None = None


@dataclass(frozen=True)
class Learn:
    """What to learn from; see `sdseg.training.finetune.FineTuner`.

    Attributes
    ----------
    model
        A name, or a model that was made here.
    colors
        Of class 1, 2, ..., as painted; None: the model's own.
    """

    data: Any
    labels: PlaneCopies
    model: str
    annotated: tuple[At, ...]
    ignore: int | None
    background: int | None
    classes: tuple[str, ...]
    colors: tuple[str | None, ...]
    axis: int | None
    channel_axis: int | None
    spacing: tuple[float, ...] | None
    unit: str | None
    seconds: float | None
    steps: int | None
    view: View = field(default_factory=View)


@dataclass(frozen=True)
class Begun:
    """Everything is loaded; ``plan`` is that of the model to be."""

    plan: StackPlan
    note: str


@dataclass(frozen=True)
class Moved:
    """The last step, and what the steps since the last of these measured."""

    last: FineTuneUpdate
    dice: float | None


@dataclass(frozen=True)
class Shown:
    """The plane in view as the model draws it by now."""

    index: Index
    labels: npt.NDArray[Any]
    card: Card


@dataclass(frozen=True)
class Learned:
    """The model, with the Dice before and after on the planes that were left out."""

    model: Model
    before: float | None
    after: float | None
    left_out: int
    steps: int
    seconds: float


@dataclass(frozen=True)
class Seek:
    """Which plane to paint next; see `sdseg.training.finetune.next_plane`."""

    data: Any
    model: str
    plan: StackPlan
    annotated: tuple[int, ...]
    guide: Guide | None = None


@dataclass(frozen=True)
class Found:
    """A position along the sliced axis."""

    position: int


Update = Begun | Moved | Shown | Learned | Found | Failed | None


# -- learning ------------------------------------------------------------------------------------


def learn(request: Learn, stop: Event) -> Generator[Update, None, None]:
    """Learn until the budget is used up or ``stop`` is set; what was learned comes in any case.

    Errors are yielded, never raised: a Qt generator worker takes any RuntimeError for its own
    deletion, and goes quiet.
    """
    session: _Session | None = None
    try:
        session = yield from waited(DEVICE.submit(_Session, request), stop)
        yield Begun(session.plan, session.tuner.source.device_note)
        going = True
        while going and not stop.is_set():
            moved, going = yield from waited(DEVICE.submit(session.turn))
            if moved is not None:
                yield moved
            if going and session.due() and not stop.is_set():
                shown = yield from waited(DEVICE.submit(session.show))
                if shown is not None:
                    yield shown
        if session.tuner.step == 0:
            return
        learned = yield from waited(DEVICE.submit(session.finish))
        if not stop.is_set():
            shown = yield from waited(DEVICE.submit(session.show))
            if shown is not None:
                yield shown
        yield learned
    except Cancelled:
        return
    except Exception as error:  # noqa: BLE001 - whatever it is, the person must hear of it
        yield Failed(readable(error, "close other images, or paint smaller planes"))
    finally:
        if session is not None:
            with suppress(RuntimeError):  # the interpreter is going down
                DEVICE.submit(session.close)


class _Session:
    """A fine-tuning under way; all of it happens in the device's thread."""

    def __init__(self, request: Learn) -> None:
        from sdseg.stack import find_limits
        from sdseg.store import load_model
        from sdseg.training.finetune import FineTuner

        self.request = request
        model = load_model(_made.source(request.model))
        _made.put_by()
        self.tuner: FineTuner = FineTuner(
            model,
            request.data,
            request.labels,
            annotated=list(request.annotated),
            ignore_label=request.ignore,
            background_label=request.background,
            classes=request.classes or None,
            axis=request.axis,
            channel_axis=request.channel_axis,
            spacing=request.spacing,
            unit=request.unit,
            seconds=request.seconds,
            steps=request.steps,
        )
        self.plan: StackPlan = self.tuner.painted[0].work
        self._limits = find_limits(request.data, self.plan.all_planes(), self.tuner.card)
        self._updates: Iterator[FineTuneUpdate] = self.tuner.run()
        self._last: FineTuneUpdate | None = None
        self._result: Model | None = None
        self._due = perf_counter() + _FIRST

    def turn(self) -> tuple[Moved | None, bool]:
        """Learn for a moment; return what there is to say, and whether there is more to learn."""
        begun, dice, last = perf_counter(), None, None
        for update in self._updates:
            last = update
            dice = update.dice if update.dice is not None else dice
            if perf_counter() - begun > _TURN:
                break
        else:
            return (None if last is None else self._moved(last, dice)), False
        return self._moved(last, dice), True

    def _moved(self, last: FineTuneUpdate, dice: float | None) -> Moved:
        self._last = last
        return Moved(last, dice)

    def due(self) -> bool:
        """Whether it is time for a preview."""
        return perf_counter() >= self._due

    def show(self) -> Shown | None:
        """Segment the plane in view with what was learned so far."""
        from sdseg.stack import segment_planes

        begun, at = perf_counter(), self.request.view.at
        if at is None:
            return None
        model = self._result or self._now()
        plan = self.plan
        if plan.looped:
            plan = dataclasses.replace(plan, planes=(at[-1],), volume=at[:-1])
        single = model.card.coding == "instances"
        (plane,) = segment_planes(self.request.data, model, plan, instances=single, limits=self._limits)
        now = perf_counter()
        self._due = now + max(_PAUSE, _REST * (now - begun))
        return Shown(plane.index, plane.labels, model.card)

    def finish(self) -> Learned:
        """Return the model as it is now, and what was measured of it."""
        self._result = self._now()
        last = self._last
        spent = 0.0 if last is None else last.seconds
        tuner = self.tuner
        return Learned(self._result, tuner.before, tuner.best, tuner.left_out, tuner.step, spent)

    def _now(self) -> Model:
        """Return the model in the colours of what was painted."""
        model = self.tuner.result
        colors = [*self.request.colors, *[None] * len(model.card.classes)]
        classes = tuple(
            dataclasses.replace(c, color=color) if color else c
            for c, color in zip(model.card.classes, colors, strict=False)
        )
        return dataclasses.replace(model, card=dataclasses.replace(model.card, classes=classes))

    def close(self) -> None:
        """End the tuner's generator, in the thread that runs it."""
        close: Callable[[], None] | None = getattr(self._updates, "close", None)
        if close is not None:
            close()


# -- the next plane ------------------------------------------------------------------------------


def seek(request: Seek, stop: Event) -> Generator[Update, None, None]:
    """Find the plane whose painting would teach most."""
    try:
        position = yield from waited(DEVICE.submit(_next, request, stop), stop)
        yield Found(position)
    except Cancelled:
        return
    except Exception as error:  # noqa: BLE001 - whatever it is, the person must hear of it
        yield Failed(readable(error, "close other images, or paint smaller planes"))


def _next(request: Seek, stop: Event) -> int:
    from sdseg.store import load_model
    from sdseg.training.finetune import next_plane

    def look(*_: Any) -> None:
        if stop.is_set():
            raise Cancelled("stopped")

    model = load_model(_made.source(request.model))
    guide = guidance(request.guide, request.data, request.plan, model.card)
    return int(
        next_plane(request.data, model, request.plan, request.annotated, guide=guide, progress=look)
    )
