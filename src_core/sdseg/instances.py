"""Probabilities -> the objects of a plane; and objects of unwanted sizes out of a stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cc3d
import edt
import numpy as np
from scipy import ndimage
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

from . import masks
from .errors import InputError, InputTypeError
from .linking import Linker, kept, match

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from .card import Card

__all__ = ["Linker", "drop_sizes", "find", "match", "objects"]

#: Two parts of a shape are two objects if the neck between them is narrower than this share of the
#: narrower part; a pixel count is added to both, so that small rough shapes stay whole.
_NECK, _ROUGH = 0.85, 2.0


def find(
    probability: npt.NDArray[np.float32], card: Card, *, smallest: int = 12
) -> npt.NDArray[np.uint32]:
    """Tell the objects of a plane apart, whatever the model draws.

    A model of the ``"instances"`` coding draws what is needed, see `objects`. For the others the
    distance map of each class's mask takes the place of the depth: its broad maxima are the seeds
    of a watershed within the mask. So touching round shapes are told apart, and objects of
    different classes never merge.

    Parameters
    ----------
    probability
        (K, H, W) float32 in [0, 1], K as `sdseg.masks` says.
    card
        The model's.
    smallest
        Objects of fewer pixels are dropped.

    Returns
    -------
    ndarray
        (H, W) uint32, 0 background, objects 1, 2, ...; classes one after another.
    """
    if card.coding == "instances":
        return objects(probability, threshold=card.threshold, smallest=smallest)
    classes = masks.decode(probability, card)
    # The edge of the plane cuts objects off and is no outside.
    distance = edt.edt(np.ascontiguousarray(classes), black_border=False, parallel=1)
    found = np.zeros(classes.shape, np.uint32)
    count = 0
    for number, box in enumerate(ndimage.find_objects(classes), start=1):
        if box is None:
            continue
        inside = classes[box] == number
        height = _height(distance[box], inside)
        own = _grow(inside, _broad_maxima(height) & inside, height, connectivity=2)
        found[box][inside] = own[inside] + count
        count += int(own.max())
    return _without_small(found, smallest)


def objects(
    probability: npt.NDArray[np.float32],
    *,
    threshold: float = 0.5,
    core: float = 0.5,
    smallest: int = 12,
) -> npt.NDArray[np.uint32]:
    """Tell the objects of a plane apart by the depth channel that a model draws.

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
    return _without_small(_grow(inside, inside & (deep > core), deep), smallest)


def _height(
    distance: npt.NDArray[np.float32], inside: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    """Distance to the outside, smoothed, on a scale where equal ratios are equal steps; 0 outside."""
    # A class that fills the plane has no outside: it is deep throughout.
    own = np.where(inside & np.isfinite(distance), distance, np.where(inside, 1.0, 0.0))
    smooth = ndimage.gaussian_filter(own.astype(np.float32), 1.0)
    height: npt.NDArray[np.float32] = np.where(inside, np.log(smooth + _ROUGH), 0).astype(np.float32)
    return height


def _broad_maxima(height: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Return the maxima that are parted from every higher one by a deep enough saddle."""
    # Plateaus are exact: reconstruction copies values and never computes with them.
    lower = np.maximum(height + np.float32(np.log(_NECK)), 0)
    flooded = reconstruction(lower, height)  # type: ignore[no-untyped-call]
    tops: npt.NDArray[np.bool_] = local_maxima(np.pad(flooded, 1))[1:-1, 1:-1]  # type: ignore[no-untyped-call]
    return tops


def _grow(
    inside: npt.NDArray[np.bool_],
    cores: npt.NDArray[np.bool_],
    height: npt.NDArray[np.float32],
    *,
    connectivity: int = 1,
) -> npt.NDArray[np.uint32]:
    """Grow cores within the mask, downhill; a piece of the mask without a core is an object too.

    Parameters
    ----------
    connectivity
        1: pixels that hang on by a corner alone stay 0; 2: every pixel of the mask gets an object.
    """
    seeds = cc3d.connected_components(cores.astype(np.uint8), connectivity=8)
    pieces = cc3d.connected_components(inside.astype(np.uint8), connectivity=8)
    seeded = np.unique(pieces[seeds > 0])
    alone = inside & ~np.isin(pieces, seeded)
    seeds = seeds.astype(np.uint32)
    seeds[alone] = pieces[alone] + seeds.max()
    grown: npt.NDArray[np.uint32] = watershed(  # type: ignore[no-untyped-call]
        -height, seeds, mask=inside, connectivity=connectivity
    )
    return grown


def _without_small(found: npt.NDArray[np.uint32], smallest: int) -> npt.NDArray[np.uint32]:
    named: npt.NDArray[np.uint32] = kept(np.bincount(found.ravel()), smallest, None)[found]
    return named


def drop_sizes(labels: Any, minimum: int = 0, maximum: int | None = None) -> int:
    """Drop objects that are too small or too large, in place; the others are numbered anew.

    Sizes are voxels over the whole stack. The stack is gone through twice, a few planes at a time:
    memory is needed for these and for two numbers an object.

    Parameters
    ----------
    labels
        (..., H, W) integers, 0 background: numpy array, memory map or zarr array, anything that is
        read and written by index.
    minimum, maximum
        Voxels; both are still kept. None is no limit.

    Returns
    -------
    int
        How many objects are left; they are 1, 2, ... in the order of their old numbers.

    Raises
    ------
    InputError, InputTypeError
        If the limits leave nothing between them, or ``labels`` holds no integers.
    """
    if np.dtype(labels.dtype).kind not in "ui":
        raise InputTypeError(f"labels: need integers, got dtype {labels.dtype}")
    if minimum < 0 or (maximum is not None and maximum < minimum):
        raise InputError(f"sizes: need 0 <= minimum <= maximum, got {minimum} and {maximum}")
    sizes = np.zeros(1, np.int64)
    for index in _blocks(labels):
        values = np.asarray(labels[index]).ravel()
        values = values[values > 0]
        if not values.size:
            continue
        low = int(values.min())  # numbers of far planes are large: count from the smallest here
        counts = np.bincount((values - values.dtype.type(low)).astype(np.int64))
        if low + len(counts) > len(sizes):
            sizes = np.pad(sizes, (0, low + len(counts) - len(sizes)))
        sizes[low : low + len(counts)] += counts
    names = kept(sizes, minimum, maximum)
    left = int(names.max())
    if np.array_equal(names, np.arange(len(names))):
        return left
    names = names.astype(labels.dtype)
    for index in _blocks(labels):
        old = np.asarray(labels[index])
        new = names[np.maximum(old, 0)]
        if not np.array_equal(old, new):
            labels[index] = new
    return left


def _blocks(labels: Any) -> Iterator[tuple[int | slice, ...]]:
    """Index of runs of planes: as many as a chunk holds, so that each is read and written once."""
    shape = tuple(labels.shape)
    if len(shape) < 3:
        yield (slice(None),) * len(shape)
        return
    chunks = getattr(labels, "shards", None) or getattr(labels, "chunks", None)
    step = int(chunks[-3]) if chunks and all(isinstance(n, int) for n in chunks) else 1
    for lead in np.ndindex(shape[:-3]):
        for start in range(0, shape[-3], step):
            yield (*lead, slice(start, start + step))
