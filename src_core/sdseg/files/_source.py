"""Planes of labels on their way to a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError

__all__ = ["Index", "Plane", "Source", "planes_of"]

Index = tuple[int | slice, ...]
Plane = tuple[Index, npt.NDArray[Any]]


class Source(Iterator[Plane]):
    """Planes, and the error that ended them: whether it was theirs or the file's."""

    def __init__(self, planes: Iterable[Plane], shape: tuple[int, ...]) -> None:
        self._planes, self._shape = iter(planes), shape
        self.error: BaseException | None = None

    def __next__(self) -> Plane:
        try:
            index, plane = next(self._planes)
        except StopIteration:
            raise
        except BaseException as error:
            self.error = error
            raise
        self._check(index, plane)
        return index, plane

    def _check(self, index: Index, plane: npt.NDArray[Any]) -> None:
        """Refuse what the formats would take in different ways, or spread over a plane."""
        if len(index) != len(self._shape) or not all(
            i == slice(None) if isinstance(i, slice) else 0 <= i < n
            for i, n in zip(index, self._shape, strict=False)
        ):
            raise InputError(f"planes: {index} is no plane of labels of shape {self._shape}")
        size = tuple(n for i, n in zip(index, self._shape, strict=True) if isinstance(i, slice))
        if len(size) != 2 or tuple(plane.shape) != size:
            raise InputError(f"planes: the plane at {index} has shape {plane.shape}, not {size}")

    def close(self) -> None:
        """End a generator, so that its threads end too."""
        close = getattr(self._planes, "close", None)
        if close is not None:
            close()


def planes_of(labels: npt.NDArray[Any]) -> Iterator[Plane]:
    """Take an array apart, along its leading axes."""
    whole = (slice(None), slice(None))
    for position in np.ndindex(labels.shape[:-2]):
        yield (*position, *whole), labels[position]
