"""What the model sees of a raw image: float32 in [-1, 1].

A rule belongs to a model and lives in its card. Its two ends, ``low`` and ``high``, are found once a
stack from a sample of it (`limits`), so that every plane of a stack is treated alike, and training
and inference call the same two functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .errors import InputError

__all__ = ["Intensity", "limits", "normalize"]

Kind = Literal["percentile", "window", "rgb"]

_HUGE = 1e150


@dataclass(frozen=True)
class Intensity:
    """How raw values become the network's [-1, 1].

    Attributes
    ----------
    kind
        ``"percentile"``: ``low`` and ``high`` are percentiles of the stack, over all channels at once.
        ``"window"``: ``low`` and ``high`` are values, such as a CT window in Hounsfield units.
        ``"rgb"``: 8-bit values as they are, 0 to 255 (other dtypes: their own full range).
    low, high
        Percentiles or values, as the kind says; unused for ``"rgb"``.
    """

    kind: Kind = "percentile"
    low: float = 1.0
    high: float = 99.8

    def __post_init__(self) -> None:
        if self.kind not in ("percentile", "window", "rgb"):
            raise InputError(f"intensity kind: got {self.kind!r}; use 'percentile', 'window' or 'rgb'")
        if not self.low < self.high:
            raise InputError(f"intensity: low ({self.low}) must be below high ({self.high})")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Intensity:
        return cls(**values)


def limits(sample: npt.NDArray[Any], rule: Intensity) -> tuple[float, float]:
    """Find the values that become -1 and 1.

    Parameters
    ----------
    sample
        Any part of the stack, of any shape; NaN and infinity are left out.
    rule
        The model's rule.

    Returns
    -------
    low, high
        In the image's own values, ``low < high``. A constant sample gives
        its value and a larger one, so that it becomes -1 throughout.
    """
    if rule.kind == "window":
        return float(rule.low), float(rule.high)
    if rule.kind == "rgb":
        if np.issubdtype(sample.dtype, np.integer):
            return 0.0, float(np.iinfo(sample.dtype).max)
        return 0.0, 1.0
    values = sample.reshape(-1).astype(np.float64)
    values = values[np.isfinite(values)]
    if values.size == 0:
        return 0.0, 1.0
    # Differences of the largest numbers there are would overflow.
    np.clip(values, -_HUGE, _HUGE, out=values)
    low, high = (float(v) for v in np.percentile(values, (rule.low, rule.high)))
    if not low < high:  # most of it is one value: use the whole range
        low, high = float(values.min()), float(values.max())
    if not low < high:
        high = low + max(1.0, abs(low))
    return low, high


def normalize(plane: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.float32]:
    """Map ``low`` to -1 and ``high`` to 1, and clip; NaN and -infinity count as background (-1).

    Parameters
    ----------
    plane
        Any shape and any real dtype.

    Returns
    -------
    ndarray
        float32, the same shape, in [-1, 1].
    """
    ordinary = plane.dtype.itemsize <= 4 and high - low > 1e-30 and max(-low, high) < 1e30
    scaled: npt.NDArray[np.floating] = plane.astype(np.float32 if ordinary else np.float64)
    if np.issubdtype(plane.dtype, np.floating):
        np.nan_to_num(scaled, copy=False, nan=low, posinf=low, neginf=low)
    np.clip(scaled, low, high, out=scaled)
    scaled -= low
    scaled /= high - low
    scaled *= 2
    scaled -= 1
    out: npt.NDArray[np.float32] = np.clip(scaled, -1.0, 1.0).astype(np.float32, copy=False)
    return out
