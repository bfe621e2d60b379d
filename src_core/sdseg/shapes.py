"""Painted planes carried to the planes between and beyond them.

The signed distance to an outline is a number at every pixel, so two outlines have a mean, which one
mask and another have not (Raya & Udupa, IEEE TMI 9, 1990, shape-based interpolation).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import edt
import numpy as np

from . import masks
from .errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from .card import Card

__all__ = ["Guess", "Shapes", "signed_distance", "timestep"]

#: Distances are cut here, in pixels: how far an outline can move between two painted planes. Without
#: it, a shape that is missing on one of them would be pulled out of the other by far-away ones.
_REACH = 24.0


def signed_distance(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Return how deep inside (above 0) or far outside (below 0) of a mask each pixel lies.

    Parameters
    ----------
    mask
        (H, W).

    Returns
    -------
    ndarray
        (H, W) float32, pixels to the outline, which runs between pixels; within +-24.
    """
    mask = np.ascontiguousarray(mask)
    if not mask.any():
        return np.full(mask.shape, -_REACH, np.float32)
    inside = edt.edt(mask, black_border=False, parallel=1)
    outside = edt.edt(~mask, black_border=False, parallel=1)
    signed = np.where(mask, inside - 0.5, 0.5 - outside)
    out: npt.NDArray[np.float32] = np.clip(signed, -_REACH, _REACH).astype(np.float32)
    return out


@dataclass(frozen=True)
class Guess:
    """What painted planes say of another.

    Attributes
    ----------
    distance
        (K, H, W) float32, signed distances in pixels, above 0 inside.
    doubt
        0 (as good as painted) to 1 (nothing known): how far the outline may be from this, against
        the size of the shape.
    """

    distance: npt.NDArray[np.float32]
    doubt: float

    @property
    def masks(self) -> npt.NDArray[np.float32]:
        """Return (K, H, W) masks in [-1, 1], soft over the pixel in which the outline runs."""
        soft: npt.NDArray[np.float32] = np.clip(self.distance * 2, -1, 1)
        return soft


class Shapes:
    """The painted planes of one volume.

    Parameters
    ----------
    planes
        Position along the sliced axis -> labels (H, W).
    card
        Of the model that is to be guided: what the labels mean. Its coding must have a mask a class.
    step
        Distance of neighbouring planes in pixels of a plane: the spacing's ratio; 1 if not known.
    """

    def __init__(
        self, planes: Mapping[int, npt.NDArray[Any]], card: Card, *, step: float = 1.0
    ) -> None:
        if card.coding == "instances":
            raise InputError(
                f"guide: the model {card.name!r} draws single objects, which cannot be carried from "
                "plane to plane; fine-tune a model of classes, such as 'base'"
            )
        self.planes = dict(planes)
        self.positions = sorted(self.planes)
        self._card, self._step = card, step
        # A plane's distances are wanted by all planes up to the next painted one.
        self._distances = lru_cache(maxsize=4)(self._measure)

    def _measure(self, position: int) -> npt.NDArray[np.float32]:
        coded = masks.encode(self.planes[position], self._card) > 0
        return np.stack([signed_distance(channel) for channel in coded])

    def around(self, position: int, without: Sequence[int] = ()) -> tuple[int | None, int | None]:
        """Return the painted positions next below and above, ``position`` itself left out."""
        known = [p for p in self.positions if p not in without and p != position]
        below = [p for p in known if p < position]
        above = [p for p in known if p > position]
        return (below[-1] if below else None), (above[0] if above else None)

    def guess(self, position: int, without: Sequence[int] = ()) -> Guess | None:
        """Carry the painted shapes to a plane.

        Between two painted planes, signed distances are mixed linearly. Beyond the outermost, its
        shapes shrink by as many pixels as the plane is away, as a body that ends does.

        Parameters
        ----------
        position
            Along the sliced axis; what is painted there is not looked at.
        without
            Painted positions that are to be left out too.

        Returns
        -------
        Guess or None
            None where there is nothing to start from: no shape reaches this plane.
        """
        below, above = self.around(position, without)
        if below is None and above is None:
            return None
        if below is None or above is None:
            nearest = above if below is None else below
            assert nearest is not None
            away = abs(position - nearest) * self._step
            outermost = self._distances(nearest)
            distance = outermost - np.float32(away)
            size = max(float(outermost.max()), 1.0)
            doubt = min(1.0, 0.25 + away / size)
        else:
            weight = np.float32((position - below) / (above - below))
            first, second = self._distances(below), self._distances(above)
            distance = (1 - weight) * first + weight * second
            # Two outlines that agree leave little room between them; halfway the room is largest.
            alike = _overlap(first > 0, second > 0)
            doubt = float(4 * weight * (1 - weight)) * (0.25 + 0.75 * (1 - alike))
        if not (distance > 0).any():
            return None
        return Guess(distance, doubt)


def _overlap(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def timestep(doubt: float, last: int = 999) -> int:
    """Return the timestep a guess is noised to.

    Enough noise to hide what may be wrong, little enough to leave what is right.
    """
    return min(last, round(200 + 500 * doubt))
