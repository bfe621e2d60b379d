"""Probabilities kept of a run, so that labels can be cut anew without the networks. No Qt."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sdseg import scratch

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from sdseg.axes import Index, StackPlan
    from sdseg.card import Card
    from sdseg.predict import Prediction

__all__ = ["Kept"]

#: Bytes above which a run's probabilities are not kept.
LARGEST = 2**32


class Kept:
    """The probabilities of a plan's planes, as float16; beyond 512 MB in a scratch file.

    Half precision moves a probability by less than 0.0005: labels at another threshold are those
    of the run at that threshold, but for pixels as near to it as that.
    """

    def __init__(self, plan: StackPlan) -> None:
        self.plan = plan
        self._array: npt.NDArray[np.float16] | None = None
        self._done: set[Index] = set()

    @staticmethod
    def fits(plan: StackPlan, channels: int) -> bool:
        """Whether there is room for a stack's probabilities."""
        return 2 * channels * math.prod(plan.output_shape) <= LARGEST

    def __contains__(self, index: Index) -> bool:
        return _key(index) in self._done

    def __len__(self) -> int:
        return len(self._done)

    def put(self, index: Index, probability: npt.NDArray[np.float32]) -> None:
        """Keep a plane: (K, H, W)."""
        if self._array is None:
            shape = (len(probability), *self.plan.output_shape)
            self._array = scratch.zeros(shape, np.float16)
        self._array[(slice(None), *index)] = probability
        self._done.add(_key(index))

    def plane(self, index: Index) -> npt.NDArray[np.float32]:
        """Return a kept plane: (K, H, W) float32."""
        if self._array is None:
            raise KeyError(index)
        found: npt.NDArray[np.float32] = self._array[(slice(None), *index)].astype(np.float32)
        return found

    def predictions(self) -> Iterator[Prediction]:
        """Yield what is kept, in the order of the plan."""
        from sdseg.predict import Prediction

        for number, index in self.plan.indices():
            if index in self:
                yield Prediction(number, index, self.plane(index), None)

    def classes(self, index: Index, card: Card, threshold: float) -> npt.NDArray[Any]:
        """Cut one plane: (H, W) class ids."""
        from dataclasses import replace

        from sdseg import masks

        return masks.decode(self.plane(index), replace(card, threshold=threshold))


def _key(index: Index) -> Any:
    return tuple(None if isinstance(i, slice) else i for i in index)  # slices cannot be hashed
