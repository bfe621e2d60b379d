"""Probabilities -> objects, and objects joined across planes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cc3d
import numpy as np
from skimage.segmentation import watershed

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Linker", "objects"]


def objects(
    probability: npt.NDArray[np.float32],
    *,
    threshold: float = 0.5,
    core: float = 0.5,
    smallest: int = 12,
) -> npt.NDArray[np.uint32]:
    """Tell the objects of a plane apart.

    Cores, where the depth channel exceeds ``core``, are the seeds of a watershed on the depth,
    within the foreground; a foreground piece without a core is an object of its own.

    Parameters
    ----------
    probability
        (2, H, W): foreground and depth, in [0, 1], as the ``"instances"`` coding has them.
    threshold, core
        Foreground above the one, seeds above the other.
    smallest
        Objects of fewer pixels are dropped.

    Returns
    -------
    ndarray
        (H, W) uint32, 0 background, objects 1, 2, ...
    """
    inside, deep = probability[0] > threshold, probability[1]
    seeds = cc3d.connected_components((inside & (deep > core)).astype(np.uint8), connectivity=8)
    pieces = cc3d.connected_components(inside.astype(np.uint8), connectivity=8)
    seeded = np.unique(pieces[seeds > 0])
    alone = inside & ~np.isin(pieces, seeded)
    seeds = seeds.astype(np.uint32)
    seeds[alone] = pieces[alone] + seeds.max()
    found = watershed(-deep, seeds, mask=inside)  # type: ignore[no-untyped-call]
    sizes = np.bincount(found.ravel())
    keep = sizes >= smallest
    keep[0] = False
    names = np.zeros(len(sizes), np.uint32)
    names[keep] = np.arange(1, keep.sum() + 1)
    named: npt.NDArray[np.uint32] = names[found]
    return named


class Linker:
    """Give an object the same number in every plane it passes through.

    Planes come in order. An object takes the number of the one it overlaps most in the plane before
    it, if the two cover each other by at least ``overlap`` (intersection over the smaller area);
    when several want the same number, the largest overlap has it and the others get new ones.

    Parameters
    ----------
    overlap
        Smallest share, 0 to 1.
    """

    def __init__(self, overlap: float = 0.5) -> None:
        self.overlap = overlap
        self.next = 1
        self._before: npt.NDArray[np.uint32] | None = None

    def reset(self) -> None:
        """Forget the plane before: what follows is not its neighbour. Numbers stay unique."""
        self._before = None

    def link(self, labels: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        """Renumber a plane's objects 1..n to numbers that hold over the stack; (H, W) -> (H, W)."""
        count = int(labels.max(initial=0))
        names = np.zeros(count + 1, np.uint32)
        before = self._before
        if before is not None and count:
            both = (labels > 0) & (before > 0)
            pairs, shared = np.unique(
                np.stack([labels[both], before[both]]), axis=1, return_counts=True
            )
            here, there = np.bincount(labels.ravel()), np.bincount(before.ravel())
            taken: set[int] = set()
            for i in np.argsort(-shared, kind="stable"):
                a, b = int(pairs[0, i]), int(pairs[1, i])
                if names[a] or b in taken:
                    continue
                if shared[i] >= self.overlap * min(here[a], there[b]):
                    names[a] = b
                    taken.add(b)
        fresh = np.flatnonzero(names[1:] == 0) + 1
        names[fresh] = np.arange(self.next, self.next + len(fresh))
        self.next += len(fresh)
        self._before = names[labels]
        return self._before.copy()
