"""A comparison as a generator of typed updates, plane by plane. No Qt here."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from sdseg.errors import InputError, SDSegError

from .._failures import readable
from .counts import MOST_CLASSES, OBJECTS, WIDTH, Naming, Pairs, Rows, tally

if TYPE_CHECKING:
    from collections.abc import Generator
    from threading import Event

    import numpy.typing as npt

__all__ = ["Failed", "Finished", "PlanesDone", "Request", "Update", "compare"]

#: Seconds between updates: small planes come by the thousand, and a window has other things to do.
PACE = 0.05

#: Pairs of labels kept before those of the same objects are summed.
_MOST_PAIRS = 1_000_000


@dataclass(frozen=True)
class Request:
    """What to compare.

    Attributes
    ----------
    predicted, true
        Label arrays of one shape; lazy ones are read a plane at a time.
    looped
        The axes that planes are taken along.
    predicted_names, true_names
        Which class each label is.
    classes
        The classes known beforehand.
    objects
        Whether single objects are matched too.
    """

    predicted: Any
    true: Any
    looped: tuple[int, ...]
    predicted_names: Naming = field(default_factory=Naming)
    true_names: Naming = field(default_factory=Naming)
    classes: tuple[str, ...] = ()
    objects: bool = False


@dataclass(frozen=True)
class PlanesDone:
    """Planes that were compared since the last update, in order.

    ``tallies``: (planes, classes, WIDTH), see `_evaluate_counts`; ``classes``: all that were met.
    """

    request: Request
    tallies: npt.NDArray[np.int64]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Finished:
    """All planes are compared; ``whole``, (classes, WIDTH), counts the objects in their volumes."""

    request: Request
    whole: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Failed:
    """The comparison is over; ``str(error)`` is for the person."""

    request: Request
    error: SDSegError


Update = PlanesDone | Finished | Failed


def compare(request: Request, stop: Event) -> Generator[Update, None, None]:
    """Compare plane by plane.

    Nothing but `Failed` tells of an error: a Qt generator worker takes any RuntimeError for its own
    deletion, and goes quiet.
    """
    try:
        yield from _compare(request, stop)
    except Exception as error:  # noqa: BLE001 - whatever it is, the person must hear of it
        yield Failed(request, readable(error, "close other layers"))


def _compare(request: Request, stop: Event) -> Generator[Update, None, None]:
    rows = Rows(list(request.classes))
    shape = request.predicted.shape
    volumes = _Volumes(request, rows)
    waiting: list[npt.NDArray[np.int64]] = []
    total = np.zeros((0, WIDTH), np.int64)
    said = perf_counter()
    for position in np.ndindex(*(shape[a] for a in request.looped)):
        if stop.is_set():
            return
        index: list[int | slice] = [slice(None)] * len(shape)
        for axis, at in zip(request.looped, position, strict=True):
            index[axis] = at
        planes = (np.asarray(data[tuple(index)]) for data in (request.predicted, request.true))
        pairs = Pairs.of(*planes)
        counts = tally(
            pairs, rows, request.predicted_names, request.true_names, objects=request.objects
        )
        if len(rows.names) > MOST_CLASSES and not request.objects:
            raise InputError(
                f"there are more than {MOST_CLASSES} different labels; they look like single objects, "
                "so choose to compare objects"
            )
        waiting.append(counts)
        total = _grown(total, len(rows.names)) + counts
        volumes.add(position, pairs)
        if perf_counter() - said > PACE:
            yield PlanesDone(request, _stacked(waiting, len(rows.names)), tuple(rows.names))
            waiting, said = [], perf_counter()
    if waiting:
        yield PlanesDone(request, _stacked(waiting, len(rows.names)), tuple(rows.names))
    volumes.close()
    total = _grown(total, len(rows.names))
    total[:, OBJECTS] = _grown(volumes.total, len(rows.names))[:, OBJECTS]
    yield Finished(request, total)


class _Volumes:
    """Objects counted in their volumes: the last three axes are space, those before are others.

    An object of one time point is not the object of the same number in the next.
    """

    def __init__(self, request: Request, rows: Rows) -> None:
        self.request, self.rows = request, rows
        self.total = np.zeros((0, WIDTH), np.int64)
        self._outer = sum(a < request.predicted.ndim - 3 for a in request.looped)
        self._at: tuple[int, ...] = ()
        self._parts: list[Pairs] = []

    def add(self, position: tuple[int, ...], pairs: Pairs) -> None:
        if not self.request.objects:
            return
        if position[: self._outer] != self._at:
            self.close()
        self._at = position[: self._outer]
        self._parts.append(pairs)
        if sum(len(part.pixels) for part in self._parts[1:]) > _MOST_PAIRS:
            self._parts = [Pairs.joined(self._parts)]

    def close(self) -> None:
        """Count the objects of the volume that is complete."""
        if self._parts:
            names = self.request.predicted_names, self.request.true_names
            counts = tally(Pairs.joined(self._parts), self.rows, *names, objects=True)
            self.total = _grown(self.total, len(counts)) + counts
        self._parts = []


def _grown(counts: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.int64]:
    """Return counts with rows of zeros for the classes that were met later."""
    return np.pad(counts, ((0, classes - len(counts)), (0, 0)))


def _stacked(counts: list[npt.NDArray[np.int64]], classes: int) -> npt.NDArray[np.int64]:
    return np.stack([_grown(each, classes) for each in counts])
