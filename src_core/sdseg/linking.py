"""Objects joined across planes: the rule for two planes, for a stack, and for slabs of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Names = npt.NDArray[np.uint32]

__all__ = ["Linker", "match", "numbering", "tables"]


def match(
    before: npt.NDArray[Any],
    after: npt.NDArray[Any],
    overlap: float = 0.5,
    *,
    classes: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None = None,
) -> Names:
    """Find which objects of a plane go on in the next one.

    An object continues the one it overlaps most, if the two cover each other by at least
    ``overlap`` (intersection over the smaller area); when several want the same one, the largest
    overlap has it.

    Parameters
    ----------
    before, after
        (H, W) integers, 0 background: two neighbouring planes, each with its own numbers.
    overlap
        Smallest share, 0 to 1.
    classes
        The class ids of both planes, (H, W) each: objects of different classes are never joined.

    Returns
    -------
    ndarray
        (n + 1,) uint32, n the largest number in ``after``: ``names[i]`` is the object of ``before``
        that object i continues, or 0.
    """
    names = np.zeros(int(after.max(initial=0)) + 1, np.uint32)
    both = (after > 0) & (before > 0)
    if classes is not None:
        both &= classes[0] == classes[1]
    if not both.any():
        return names
    span = int(before.max()) + 1
    coded = after[both].astype(np.int64) * span + before[both]
    pairs, first, shared = np.unique(coded, return_index=True, return_counts=True)
    here, there = pairs // span, pairs % span
    smaller = np.minimum(np.bincount(after.ravel())[here], np.bincount(before.ravel())[there])
    enough = shared >= overlap * smaller
    here, there, first, shared = (x[enough] for x in (here, there, first, shared))
    taken: set[int] = set()
    # Ties go by where the two first meet, not by the numbers of `before`: those are a slab's own in
    # one run and the stack's in another, and both have to decide alike.
    for i in np.lexsort((first, here, -shared)):
        a, b = int(here[i]), int(there[i])
        if not names[a] and b not in taken:
            names[a] = b
            taken.add(b)
    return names


class Linker:
    """Give an object the same number in every plane it passes through.

    Planes come in order. An object takes the number of the one it continues in the plane before
    it, as `match` says; others get the next numbers that are free.

    Parameters
    ----------
    overlap
        Smallest share, 0 to 1.
    """

    def __init__(self, overlap: float = 0.5) -> None:
        self.overlap = overlap
        self.next = 1
        # The plane before with its own numbers, which stay small however long the stack; what they
        # are called in the stack; and its classes.
        self._before: tuple[npt.NDArray[np.uint32], Names, npt.NDArray[Any] | None] | None = None

    def reset(self) -> None:
        """Forget the plane before: what follows is not its neighbour. Numbers stay unique."""
        self._before = None

    def link(
        self, labels: npt.NDArray[np.uint32], classes: npt.NDArray[Any] | None = None
    ) -> npt.NDArray[np.uint32]:
        """Renumber a plane's objects 1..n to numbers that hold over the stack; (H, W) -> (H, W).

        Parameters
        ----------
        labels
            (H, W) uint32; kept until the next plane, so it must not change.
        classes
            (H, W) class ids, if objects of different classes must not be joined.
        """
        names = np.zeros(int(labels.max(initial=0)) + 1, np.uint32)
        if self._before is not None:
            before, called, earlier = self._before
            kinds = None if classes is None or earlier is None else (earlier, classes)
            names = called[match(before, labels, self.overlap, classes=kinds)]
        present = np.bincount(labels.ravel(), minlength=1) > 0
        present[0] = False
        fresh = np.flatnonzero(present & (names == 0))
        names[fresh] = np.arange(self.next, self.next + len(fresh))
        self.next += len(fresh)
        self._before = (labels, names, classes)
        return names[labels]


def numbering(count: int, names: Names | None, before: Names | None, start: int) -> Names:
    """Return what the objects of a slab are called in the stack.

    Parameters
    ----------
    count
        Objects in the slab, numbered 1..count by first appearance.
    names
        Which objects of the slab before the ones of this slab's first plane continue (`match` of
        the planes that face each other); None if the two slabs are no neighbours.
    before
        What this function gave for the slab before.
    start
        The next number that is free; ``count`` minus the objects that go on will be used up.

    Returns
    -------
    ndarray
        (count + 1,) uint32: ``table[labels]`` has the stack's numbers.
    """
    table = np.zeros(count + 1, np.uint32)
    if names is not None and before is not None:
        table[: len(names)] = before[names]
    fresh = np.flatnonzero(table[1:] == 0) + 1
    table[fresh] = np.arange(start, start + len(fresh))
    return table


def kept(sizes: npt.NDArray[np.int64], minimum: int, maximum: int | None) -> Names:
    """Return new numbers 1..n, in the order of the old, for objects of a wanted size; 0 for others.

    Parameters
    ----------
    sizes
        (count + 1,) voxels; the background's and those of numbers not in use do not matter or are 0.
    minimum, maximum
        Both are still wanted; None is no limit.
    """
    wanted = sizes >= max(1, minimum)
    if maximum is not None:
        wanted &= sizes <= maximum
    wanted[0] = False
    names = np.zeros(len(sizes), np.uint32)
    names[wanted] = np.arange(1, np.count_nonzero(wanted) + 1)
    return names


def tables(
    sizes: Sequence[npt.NDArray[np.int64]],
    names: Sequence[Names | None],
    minimum: int = 0,
    maximum: int | None = None,
) -> list[Names]:
    """Return what the objects of all slabs of a stack are called, as one pass over it has them.

    Parameters
    ----------
    sizes
        For every slab in order: (count + 1,) voxels of its objects.
    names
        For every slab: `match` of the slab before's last plane and its first; None if they are no
        neighbours. The first is not looked at.
    minimum, maximum
        Objects of fewer or more voxels in the whole stack become 0, and the others are numbered
        anew, as `sdseg.instances.drop_sizes` does.

    Returns
    -------
    list of ndarray
        For every slab (count + 1,) uint32: ``table[labels]`` has the stack's numbers.
    """
    out: list[Names] = []
    start = 1
    for own, continued in zip(sizes, names, strict=True):
        out.append(numbering(len(own) - 1, continued, out[-1] if out else None, start))
        start = max(start, int(out[-1].max(initial=0)) + 1)
    if minimum <= 1 and maximum is None:
        return out
    total = np.zeros(start, np.int64)
    for own, table in zip(sizes, out, strict=True):
        total[table[1:]] += own[1:]  # no number occurs twice in a slab's table
    new = kept(total, minimum, maximum)
    return [new[table] for table in out]
