"""How good labels are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["PrecisionCounts", "average_precision", "dice", "iou"]


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
    if predicted.shape != true.shape:
        raise InputError(f"labels to compare have shapes {predicted.shape} and {true.shape}")
    if threshold < 0.5:
        raise InputError(f"threshold: need at least 0.5 for one-to-one matches, got {threshold}")
    p_ids, p = np.unique(predicted, return_inverse=True)
    t_ids, t = np.unique(true, return_inverse=True)
    shared = np.zeros((len(p_ids), len(t_ids)), np.int64)
    np.add.at(shared, (p.ravel(), t.ravel()), 1)
    union = shared.sum(axis=1, keepdims=True) + shared.sum(axis=0, keepdims=True) - shared
    matched = shared / union > threshold
    matched = matched[p_ids != 0][:, t_ids != 0]
    tp = int(matched.any(axis=0).sum())
    return PrecisionCounts(tp, int((p_ids != 0).sum()) - tp, int((t_ids != 0).sum()) - tp)
