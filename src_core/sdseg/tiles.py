"""One plane <-> the squares that the network sees."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    import numpy.typing as npt

    from .card import Card, Placement

__all__ = ["Layout", "blend", "cut", "layout"]


@dataclass(frozen=True)
class Layout:
    """How planes of one shape are cut, the same for all of a stack.

    Attributes
    ----------
    shape
        (H, W) of a plane.
    resized
        (h, w) it is resized to: the model's square (fit), or its pixel size (tile).
    worked
        (H', W') in which the network sees it: ``resized``, padded where it is smaller than a square.
    tile
        (h, w) of a square; multiples of what the networks need.
    starts
        Top left corners, (y, x), within ``worked``; multiples of ``factor``.
    overlap
        Pixels over which neighbours are blended.
    factor
        f, image pixels a latent pixel.
    """

    shape: tuple[int, int]
    resized: tuple[int, int]
    worked: tuple[int, int]
    tile: tuple[int, int]
    starts: tuple[tuple[int, int], ...]
    overlap: int
    factor: int

    @property
    def latent_shape(self) -> tuple[int, int]:
        """Return the (h, w) of the whole plane's latent, from which tiles take their noise."""
        return self.worked[0] // self.factor, self.worked[1] // self.factor

    @cached_property
    def weight(self) -> torch.Tensor:
        """Return a tile's weight in the blend: (h, w), falling linearly towards its edges."""
        ramps = []
        for side in self.tile:
            distance = np.minimum(np.arange(side), np.arange(side)[::-1]) + 1.0
            ramps.append(np.minimum(1.0, distance / max(1, self.overlap)))
        return torch.from_numpy(np.outer(*ramps).astype(np.float32))

    @cached_property
    def total(self) -> torch.Tensor:
        """Return the sum of all tiles' weights: (H', W')."""
        total = torch.zeros(self.worked)
        for y, x in self.starts:
            total[y : y + self.tile[0], x : x + self.tile[1]] += self.weight
        return total


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _spread(length: int, side: int, overlap: int, grid: int) -> list[int]:
    """Place squares evenly along an axis, overlapping by at least ``overlap``, on the latent's grid."""
    if length <= side:
        return [0]
    count = -(-(length - overlap) // (side - overlap))
    return [round(i * (length - side) / (count - 1) / grid) * grid for i in range(count)]


def layout(
    shape: tuple[int, int],
    card: Card,
    factor: int,
    multiple: int,
    *,
    placement: Placement | None = None,
    zoom: tuple[float, float] = (1.0, 1.0),
) -> Layout:
    """Decide how planes of this shape are cut.

    Parameters
    ----------
    shape
        (H, W) of a plane.
    factor, multiple
        The pipeline's: pixels a latent pixel, and what a square's sides must be multiples of.
    placement
        ``"tile"`` or ``"fit"``; None: as the card says.
    zoom
        What tiled planes are resized by, (y, x), so that the network sees its own pixel size.
    """
    size = _round_up(card.size, multiple)
    if (placement or card.placement) == "fit":
        return Layout(shape, (size, size), (size, size), (size, size), ((0, 0),), 1, factor)
    h, w = (max(1, round(n * z)) for n, z in zip(shape, zoom, strict=True))
    tile = (min(size, _round_up(h, multiple)), min(size, _round_up(w, multiple)))
    worked = (max(tile[0], _round_up(h, factor)), max(tile[1], _round_up(w, factor)))
    overlap = min(card.overlap, min(tile) // 2)
    ys, xs = (_spread(n, t, overlap, factor) for n, t in zip(worked, tile, strict=True))
    starts = tuple((y, x) for y in ys for x in xs)
    return Layout(shape, (h, w), worked, tile, starts, overlap, factor)


def cut(plane: npt.NDArray[np.float32], lay: Layout) -> list[torch.Tensor]:
    """Cut a plane into tiles: (C, H, W) -> (C, h, w) for each of ``lay.starts``."""
    whole = torch.from_numpy(np.ascontiguousarray(plane))
    if lay.resized != lay.shape:
        whole = F.interpolate(
            whole[None], lay.resized, mode="bilinear", align_corners=False, antialias=True
        )[0]
    pad = [(0, w - n) for w, n in zip(lay.worked, lay.resized, strict=True)]
    if any(after for _, after in pad):
        mode = "reflect" if min(lay.resized) > 1 else "edge"
        whole = torch.from_numpy(np.pad(whole.numpy(), [(0, 0), *pad], mode=mode))  # type: ignore[call-overload]
    h, w = lay.tile
    return [whole[:, y : y + h, x : x + w] for y, x in lay.starts]


def blend(pieces: list[torch.Tensor], lay: Layout) -> npt.NDArray[np.float32]:
    """Put tiles back together: (K, h, w) for each of ``lay.starts`` -> (K, H, W), clipped to [0, 1]."""
    if len(pieces) == 1:
        back = pieces[0]
    else:
        back = torch.zeros((pieces[0].shape[0], *lay.worked))
        h, w = lay.tile
        for (y, x), piece in zip(lay.starts, pieces, strict=True):
            back[:, y : y + h, x : x + w] += piece * lay.weight
        back /= lay.total
    height, width = lay.resized
    back = back[:, :height, :width]
    if lay.resized != lay.shape:
        back = F.interpolate(back[None], lay.shape, mode="bilinear", align_corners=False)[0]
    return np.ascontiguousarray(back.clamp(0, 1).numpy())
