"""What is painted in a Labels layer: which planes, which labels, and copies of them. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sdseg.painted import looks_like_strokes, read_labels

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping
    from threading import Event

    import numpy.typing as npt

    from sdseg.axes import Index, StackPlan

__all__ = ["At", "PlaneCopies", "PlaneFound", "Scan", "place_of", "scan"]

#: Where a plane lies along all looped axes, the sliced one last; of a single plane ().
At = tuple[int, ...]

#: Planes that are asked whether they look like strokes: they are painted alike.
_ASKED = 16


@dataclass(frozen=True)
class PlaneFound:
    """A plane on which something is painted.

    Attributes
    ----------
    counts
        Pixels of each label but 0.
    size
        Pixels of the plane.
    strokes
        Whether it looks like strokes rather than whole shapes; None: it was not asked.
    """

    at: At
    counts: Mapping[int, int]
    size: int
    strokes: bool | None = None


@dataclass(frozen=True)
class Scan:
    """Labels to be looked through, and the plan of their image."""

    labels: Any
    plan: StackPlan


def scan(job: Scan, stop: Event) -> Generator[tuple[PlaneFound, ...] | Exception, None, None]:
    """Yield what is painted, once, or what came in between; for a thread."""
    found: list[PlaneFound] = []
    try:
        for _, index in job.plan.all_planes().indices():
            if stop.is_set():
                return
            plane = read_labels(job.labels, index)
            if plane.any():
                strokes = looks_like_strokes(plane) if len(found) < _ASKED else None
                found.append(PlaneFound(place_of(job.plan, index), _counts(plane), plane.size, strokes))
    except Exception as error:  # noqa: BLE001 - a worker's own errors reach nobody
        yield error
        return
    yield tuple(found)


def place_of(plan: StackPlan, index: Index) -> At:
    """Return where the plane of an index lies."""
    return tuple(int(index[a]) for a in plan.looped)  # type: ignore[arg-type]


def _counts(plane: npt.NDArray[Any]) -> dict[int, int]:
    if plane.dtype.kind in "ub" or plane.min() >= 0:
        highest = int(plane.max())
        if highest < 1 << 16:  # ten times as fast as sorting
            counts = np.bincount(plane.ravel(), minlength=highest + 1)
            return {int(k): int(counts[k]) for k in np.flatnonzero(counts) if k}
    labels, counts = np.unique(plane, return_counts=True)
    return {int(k): int(n) for k, n in zip(labels, counts, strict=True) if k}


class PlaneCopies:
    """Copies of some planes of a layer's labels, at their places in an array that is 0 elsewhere.

    What is learned from must not change while one paints on; a copy of the whole layer would take
    long for the sake of a few planes.
    """

    def __init__(self, labels: Any, plan: StackPlan, planes: Iterable[At]) -> None:
        self.shape = plan.output_shape
        self.dtype = labels.dtype
        self.ndim = len(self.shape)
        self._plane_shape, self._looped = plan.plane_shape, plan.looped
        self._planes = {at: np.array(read_labels(labels, self._index(at))) for at in planes}

    def _index(self, at: At) -> Index:
        where = dict(zip(self._looped, at, strict=True))
        return tuple(where.get(a, slice(None)) for a in range(self.ndim))

    def __getitem__(self, index: Index) -> npt.NDArray[Any]:
        """Return a plane."""
        at = tuple(int(index[a]) for a in self._looped)  # type: ignore[arg-type]
        found = self._planes.get(at)
        return np.zeros(self._plane_shape, self.dtype) if found is None else found.copy()
