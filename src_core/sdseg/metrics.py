"""How good labels are."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

__all__ = [
    "IOU_THRESHOLDS",
    "PrecisionCounts",
    "SurfaceDistances",
    "average_precision",
    "average_precisions",
    "bootstrap_interval",
    "dice",
    "iou",
    "published_dice",
    "published_iou",
    "surface_distances",
]

#: Thresholds that average precision of objects is commonly given at.
IOU_THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def _masks(a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    first, second = np.asarray(a, bool), np.asarray(b, bool)
    if first.shape != second.shape:
        raise InputError(f"masks to compare have shapes {first.shape} and {second.shape}")
    return first, second


def dice(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Return 2|A∩B| / (|A| + |B|) of two masks of any one shape; 1 if both are empty."""
    first, second = _masks(a, b)
    total = int(first.sum()) + int(second.sum())
    return 1.0 if total == 0 else 2.0 * int((first & second).sum()) / total


def iou(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Return |A∩B| / |A∪B| of two masks of any one shape; 1 if both are empty."""
    first, second = _masks(a, b)
    union = int((first | second).sum())
    return 1.0 if union == 0 else int((first & second).sum()) / union


def published_dice(predicted: npt.ArrayLike, true: npt.ArrayLike) -> float:
    """Return Dice as the published implementation has it.

    It differs from `dice` where a mask is empty: anything drawn where there is nothing counts 1, an
    empty prediction counts 0, even where there is nothing to draw.
    """
    p, t = _masks(predicted, true)
    drawn, there = int(p.sum()), int(t.sum())
    if drawn == 0:
        return 0.0
    if there == 0:
        return 1.0
    return 2.0 * int((p & t).sum()) / (drawn + there + 1e-10)


def published_iou(predicted: npt.ArrayLike, true: npt.ArrayLike) -> float:
    """Return intersection over union as the published implementation has it: 0 if both are empty."""
    p, t = _masks(predicted, true)
    return int((p & t).sum()) / (int((p | t).sum()) + 1e-10)


@dataclass(frozen=True)
class SurfaceDistances:
    """How far two outlines lie apart.

    Attributes
    ----------
    hd95
        The larger of the two directed distances that 95 % of an outline's pixels stay below.
    assd
        The mean distance of the pixels of both outlines to the other one.

    Both are in the unit of the spacing; 0 if both masks are empty, NaN if one is: there is no
    distance to nothing.
    """

    hd95: float
    assd: float


def surface_distances(
    predicted: npt.ArrayLike, true: npt.ArrayLike, spacing: Sequence[float] | None = None
) -> SurfaceDistances:
    """Measure how far the outlines of two masks lie apart, with MONAI.

    Parameters
    ----------
    predicted, true
        Masks of one shape, (H, W) or (Z, H, W).
    spacing
        Pixel size along each axis, such as mm; None: distances are in pixels.
    """
    p, t = _masks(predicted, true)
    if spacing is not None and len(spacing) != p.ndim:
        raise InputError(f"spacing: {len(spacing)} numbers for masks of {p.ndim} axes")
    if not p.any() or not t.any():
        both = 0.0 if p.any() == t.any() else math.nan
        return SurfaceDistances(both, both)
    import torch
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

    one, other = (torch.from_numpy(np.ascontiguousarray(m))[None, None] for m in (p, t))
    options: dict[str, Any] = {
        "include_background": True,
        "spacing": None if spacing is None else [float(s) for s in spacing],
    }
    with warnings.catch_warnings():  # MONAI warns of an argument that it gives itself
        warnings.simplefilter("ignore", FutureWarning)
        hd95 = compute_hausdorff_distance(one, other, percentile=95, **options)
        assd = compute_average_surface_distance(one, other, symmetric=True, **options)
    return SurfaceDistances(float(hd95), float(assd))


def bootstrap_interval(
    values: Sequence[float], *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Return the interval that the mean of these cases lies in, by resampling the cases.

    The percentile bootstrap: what the mean would be of other draws of as many cases. NaN is left
    out; of one case or none there is nothing to draw, and both ends are its value, or NaN.
    """
    finite = np.asarray(values, np.float64)
    finite = finite[np.isfinite(finite)]
    if len(finite) < 2:
        only = float(finite[0]) if len(finite) else math.nan
        return only, only
    drawn = np.random.default_rng(seed).integers(len(finite), size=(resamples, len(finite)))
    outside = (1 - level) / 2
    low, high = np.quantile(finite[drawn].mean(axis=1), (outside, 1 - outside))
    return float(low), float(high)


@dataclass(frozen=True)
class PrecisionCounts:
    """Objects matched one to one, drawn without a match, and missed."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

    @property
    def score(self) -> float:
        """Return TP / (TP + FP + FN), the Data Science Bowl's average precision; 1 for no objects."""
        total = self.tp + self.fp + self.fn
        return 1.0 if total == 0 else self.tp / total

    def __add__(self, other: PrecisionCounts) -> PrecisionCounts:
        return PrecisionCounts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)


def average_precision(
    predicted: npt.NDArray[Any], true: npt.NDArray[Any], threshold: float = 0.5
) -> PrecisionCounts:
    """Count objects matched at an intersection over union above a threshold.

    Parameters
    ----------
    predicted, true
        Instance labels of one shape, 0 background.
    threshold
        At least 0.5, where a match is unique.
    """
    return average_precisions(predicted, true, (threshold,))[threshold]


def average_precisions(
    predicted: npt.NDArray[Any],
    true: npt.NDArray[Any],
    thresholds: Sequence[float] = IOU_THRESHOLDS,
) -> dict[float, PrecisionCounts]:
    """Count matched objects at each of several thresholds; see `average_precision`."""
    if predicted.shape != true.shape:
        raise InputError(f"labels to compare have shapes {predicted.shape} and {true.shape}")
    low = [threshold for threshold in thresholds if threshold < 0.5]
    if low:
        raise InputError(f"threshold: need at least 0.5 for one-to-one matches, got {low[0]}")
    p_ids, p = np.unique(predicted, return_inverse=True)
    t_ids, t = np.unique(true, return_inverse=True)
    shared = np.zeros((len(p_ids), len(t_ids)), np.int64)
    np.add.at(shared, (p.ravel(), t.ravel()), 1)
    union = shared.sum(axis=1, keepdims=True) + shared.sum(axis=0, keepdims=True) - shared
    overlap = (shared / union)[p_ids != 0][:, t_ids != 0]
    n_predicted, n_true = overlap.shape
    out = {}
    for threshold in thresholds:
        tp = int((overlap > threshold).any(axis=0).sum())
        out[threshold] = PrecisionCounts(tp, n_predicted - tp, n_true - tp)
    return out
