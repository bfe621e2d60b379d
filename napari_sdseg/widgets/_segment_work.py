"""A run of the engine as a generator of typed updates, for a thread that must never hang. No Qt.

torch is imported and the networks run in one long-lived thread, `DEVICE`: cuDNN's tuning and the
current device belong to a thread. The generator itself only waits for that thread, in short steps,
so that a request to stop is answered at once even while a batch is being computed.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar

from sdseg.errors import Cancelled, OutOfMemoryError, SDSegError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import numpy as np
    import numpy.typing as npt

    from sdseg.axes import Index, StackPlan
    from sdseg.card import Card
    from sdseg.stack import PlaneResult

__all__ = ["Failed", "PlaneDone", "Ready", "Request", "Update", "warm_up", "work"]

DEVICE = ThreadPoolExecutor(1, thread_name_prefix="sdseg-device")

#: Seconds between looks at the request to stop.
TICK = 0.1

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """What to segment and how; see `sdseg.stack.segment_planes`."""

    data: Any
    model: str
    plan: StackPlan
    instances: bool
    seed: int = 0


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
    """``output[index] = labels``; how many planes are done; ``highest`` is its largest label."""

    done: int
    index: Index
    labels: npt.NDArray[Any]
    highest: int


@dataclass(frozen=True)
class Failed:
    """The run is over; ``str(error)`` is for the person."""

    error: SDSegError


Update = Ready | PlaneDone | Failed | None


def warm_up() -> None:
    """Import the engine in the background, so that the first run starts sooner."""

    def load() -> None:
        import pandas  # noqa: F401 - napari imports it for the first layer with features

        import sdseg.pipeline
        import sdseg.stack  # noqa: F401

    DEVICE.submit(load)


def work(request: Request, stop: Event) -> Generator[Update, None, None]:
    """Segment; yield updates, and None now and then while waiting.

    Nothing but `Failed` tells of an error: a Qt generator worker takes any RuntimeError (torch's,
    when memory runs out, is one) for its own deletion, and goes quiet.
    """
    planes: Iterator[PlaneResult] | None = None
    try:
        ready, planes = yield from _wait(DEVICE.submit(_open, request), stop)
        yield ready
        while not (ready.go.wait(TICK) or stop.is_set()):
            yield None
        done = 0
        while (plane := (yield from _wait(DEVICE.submit(_next, planes), stop))) is not None:
            done += 1
            highest = int(plane.labels.max(initial=0))
            yield PlaneDone(done, plane.index, plane.labels, highest)
    except Cancelled:
        return
    except SDSegError as error:
        yield Failed(error)
    except MemoryError as error:
        yield Failed(_caused(OutOfMemoryError("memory ran out; close other images"), error))
    except Exception as error:  # noqa: BLE001 - whatever it is, the person must hear of it
        said = f"{type(error).__name__}: {error}"
        yield Failed(_caused(SDSegError(said), error))
    finally:
        if planes is not None:
            # only the thread that runs a generator may close it, or it is "already executing"
            with suppress(RuntimeError):  # the interpreter is going down
                DEVICE.submit(planes.close)  # type: ignore[attr-defined]


def _open(request: Request) -> tuple[Ready, Iterator[PlaneResult]]:
    from sdseg.stack import label_dtype, segment_planes
    from sdseg.store import load_model

    model = load_model(request.model)
    planes = segment_planes(
        request.data, model, request.plan, instances=request.instances, seed=request.seed
    )
    dtype = label_dtype(model.card, request.instances)
    return Ready(model.card, dtype, model.device_note), planes


def _next(planes: Iterator[PlaneResult]) -> PlaneResult | None:
    return next(planes, None)


def _wait(future: Future[T], stop: Event) -> Generator[None, None, T]:
    """Return a future's result, looking at ``stop`` often."""
    while not wait([future], timeout=TICK).done:
        if stop.is_set():
            break
        yield None
    if stop.is_set():
        future.cancel()
        raise Cancelled("stopped")
    return future.result()


def _caused(error: SDSegError, cause: BaseException) -> SDSegError:
    error.__cause__ = cause
    return error.with_traceback(cause.__traceback__)
