"""A run of the engine as a generator of typed updates, for a thread that must never hang. No Qt.

The networks run in the thread of `_device`; the generator only waits for it, in short steps.
"""

from __future__ import annotations

import weakref
from concurrent.futures import wait
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np

from sdseg.errors import Cancelled

from .. import _made
from .._device import DEVICE, TICK, waited
from .._failures import Failed, readable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    import numpy.typing as npt

    from sdseg.axes import Index, StackPlan
    from sdseg.card import Card
    from sdseg.guide import Guidance
    from sdseg.stack import PlaneResult

    from .._kept import Kept

__all__ = [
    "Counted",
    "Failed",
    "Guide",
    "PlaneDone",
    "Ready",
    "Request",
    "Update",
    "forget_limits",
    "work",
]


@dataclass(frozen=True)
class Guide:
    """What was painted, to be kept and started from; see `sdseg.painted.painted`."""

    labels: Any
    annotated: tuple[tuple[int, ...], ...]
    ignore: int | None = None
    background: int | None = None


@dataclass(frozen=True)
class Request:
    """What to segment and how; see `sdseg.stack.segment_planes`.

    Attributes
    ----------
    kept
        Where probabilities are put; None: nowhere.
    recut
        Labels are made of what ``kept`` holds, without the networks.
    guide
        Painted planes that are kept and started from; None: there are none.
    """

    data: Any
    model: str
    plan: StackPlan
    instances: bool
    seed: int = 0
    threshold: float | None = None
    orthogonal: bool = False
    samples: int = 1
    device: str | None = None
    precision: str | None = None
    kept: Kept | None = None
    recut: bool = False
    guide: Guide | None = None

    @property
    def predictions(self) -> int:
        """Return how many planes the networks will see."""
        if not self.orthogonal:
            return self.plan.n_planes
        from sdseg.orthogonal import count

        return count(self.plan)


@dataclass(frozen=True)
class Ready:
    """The model is loaded; planes come once ``go`` is set.

    A layer is made in a third of the time while the engine does not fight for the interpreter.
    """

    card: Card
    dtype: np.dtype[Any]
    note: str
    go: Event = field(default_factory=Event)


@dataclass(frozen=True)
class PlaneDone:
    """``output[index] = labels``; how many planes are done; ``highest`` is its largest label.

    ``stability``: (H, W) float32, the largest over the channels; None for a single sample.
    """

    done: int
    index: Index
    labels: npt.NDArray[Any]
    highest: int
    stability: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Counted:
    """How many planes the networks have seen, in whichever direction."""

    done: int


Update = Ready | PlaneDone | Counted | Failed | None


def work(request: Request, stop: Event) -> Generator[Update, None, None]:
    """Segment; yield updates, and None now and then while waiting.

    Nothing but `Failed` tells of an error: a Qt generator worker takes any RuntimeError (torch's,
    when memory runs out, is one) for its own deletion, and goes quiet.
    """
    planes: Iterator[PlaneResult] | None = None
    seen, counted = [0], 0

    def count(done: int, _: int) -> None:
        """Note it; in the device's thread, between two batches, which is the moment to stop at."""
        if stop.is_set():
            raise Cancelled("stopped")
        seen[0] = done

    try:
        ready, planes = yield from waited(DEVICE.submit(_open, request, count), stop)
        yield ready
        while not (ready.go.wait(TICK) or stop.is_set()):
            yield None
        done = 0
        while True:
            future = DEVICE.submit(_next, planes, request)
            while not wait([future], timeout=TICK).done and not stop.is_set():
                if seen[0] != counted:
                    counted = seen[0]
                    yield Counted(counted)
                yield None
            plane = yield from waited(future, stop)
            if plane is None:
                break
            done += 1
            highest = int(plane.labels.max(initial=0))
            yield PlaneDone(done, plane.index, plane.labels, highest, _widest(plane.stability))
    except Cancelled:
        return
    except Exception as error:  # noqa: BLE001 - whatever it is, the person must hear of it
        yield Failed(readable(error))
    finally:
        if planes is not None:
            # only the thread that runs a generator may close it, or it is "already executing"
            with suppress(RuntimeError):  # the interpreter is going down
                DEVICE.submit(planes.close)  # type: ignore[attr-defined]


def _open(request: Request, count: Callable[[int, int], object]) -> tuple[Ready, Iterator[PlaneResult]]:
    from sdseg.stack import label_dtype, label_planes, segment_planes
    from sdseg.store import load_model

    model = load_model(_made.source(request.model), device=request.device, precision=request.precision)
    ready = Ready(model.card, label_dtype(model.card, request.instances), model.device_note)
    cut: dict[str, Any] = {"instances": request.instances, "threshold": request.threshold}
    if request.recut and request.kept is not None:
        return ready, label_planes(request.kept.predictions(), model.card, request.plan, **cut)
    planes = segment_planes(
        request.data,
        model,
        request.plan,
        seed=request.seed,
        samples=request.samples,
        orthogonal=request.orthogonal,
        limits=_limits(request, model.card),
        guide=guidance(request.guide, request.data, request.plan, model.card),
        progress=count,
        **cut,
    )
    return ready, planes


def guidance(guide: Guide | None, data: Any, plan: StackPlan, card: Card) -> Guidance | None:
    """Return what the engine makes of the painted planes; None: there are none."""
    if guide is None:
        return None
    from sdseg.guide import Guidance
    from sdseg.painted import painted

    found = painted(
        data,
        guide.labels,
        plan,
        annotated=list(guide.annotated),
        ignore_label=guide.ignore,
        background_label=guide.background,
    )
    return Guidance(found, card)


#: Of the image that was looked at last: finding them again would make every preview wait.
_known_limits: tuple[Any, Any, tuple[float, float]] | None = None


def _limits(request: Request, card: Card) -> tuple[float, float]:
    """Return the stack's brightness limits."""
    global _known_limits
    from sdseg.stack import find_limits

    plan = request.plan.all_planes()
    key = (plan.shape, plan.channel_axis, plan.looped, card.intensity)
    if _known_limits is not None and _known_limits[0]() is request.data and _known_limits[1] == key:
        return _known_limits[2]
    found = find_limits(request.data, plan, card)
    with suppress(TypeError):  # not every array can be referred to weakly
        _known_limits = (weakref.ref(request.data), key, found)
    return found


def forget_limits() -> None:
    """Find brightness limits anew: an image's values have changed."""
    global _known_limits
    _known_limits = None


def _next(planes: Iterator[PlaneResult], request: Request) -> PlaneResult | None:
    plane = next(planes, None)
    if plane is not None and request.kept is not None and not request.recut:
        request.kept.put(plane.index, plane.probability)
    return plane


def _widest(stability: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float32] | None:
    """(K, H, W) -> (H, W)."""
    return None if stability is None else np.max(stability, axis=0)
