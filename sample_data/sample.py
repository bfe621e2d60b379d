"""What a sample is: an image, its ground truth, and how large its voxels are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Sample:
    """A stack with its ground truth.

    Attributes
    ----------
    image : ndarray, (Z, Y, X)
        Camera counts (uint16) or Hounsfield units (int16).
    labels : ndarray, (Z, Y, X)
        Ground truth, 0 where there is none of the classes. Instances: one number an object,
        1 ... n (uint16). Classes: ``i + 1`` for ``class_names[i]`` (uint8).
    spacing : tuple of float
        Distance between voxel centres along Z, Y, X, in `unit`.
    unit : str
        ``"um"`` or ``"mm"``.
    class_names : tuple of str
        The classes that are labelled.
    instances : bool
        Whether `labels` numbers objects (of one class) rather than classes.
    description : str
        One or two sentences for the person who opens the stack.
    licence : str
        SPDX identifier.
    """

    image: npt.NDArray[np.integer[Any]]
    labels: npt.NDArray[np.integer[Any]]
    spacing: tuple[float, float, float]
    unit: str
    class_names: tuple[str, ...]
    instances: bool
    description: str
    licence: str = "CC0-1.0"
