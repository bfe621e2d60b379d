"""Cases of the published data sets, with the published preprocessing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError
from . import _published as published
from ._find import find
from ._sets import DataSet, data_set
from ._splits import split_names

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["SetCase", "Square", "cases"]


@dataclass(frozen=True)
class Square:
    """A case as it goes through the networks, and as it really is.

    Attributes
    ----------
    image
        (S, S, 3) uint8, or (Z, S, S) float32.
    labels
        Class ids at that size: (S, S) or (Z, S, S) uint8.
    limits
        The values that become -1 and 1.
    own_labels
        Class ids in the case's own resolution: (H, W) or (Z, H, W).
    spacing
        Pixel size of those in mm along each axis; None: not known.
    aligned
        Whether outer pixels lie on outer pixels (scipy's grid) rather than edges on edges.
    """

    image: npt.NDArray[Any]
    labels: npt.NDArray[np.uint8]
    limits: tuple[float, float]
    own_labels: npt.NDArray[np.uint8]
    spacing: tuple[float, ...] | None
    aligned: bool = False

    @property
    def channel_axis(self) -> int | None:
        """Return the axis of colours, or None."""
        return 2 if self.image.shape[-1] == 3 and self.image.ndim == self.labels.ndim + 1 else None


@dataclass(frozen=True)
class SetCase:
    """One case of a published set.

    Attributes
    ----------
    name
        As the split files have it.
    image, mask
        Its files.
    dataset
        The set it is of.
    side
        S, side in pixels of the square that the network sees; 256 as published.
    classes
        How many classes the model draws; 1 is the union of a set's classes.
    training
        Prepared as the published code prepares what it trains on.
    """

    name: str
    image: Path
    mask: Path
    dataset: DataSet
    side: int = 256
    classes: int = 1
    training: bool = False

    def read(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any], int | None]:
        """Read image and labels as the network is to see them: like `Pair.read`, at the square's size.

        Returns
        -------
        image, labels, channel_axis
        """
        if self.training and self.dataset.kind == "volume":
            return *self._training_planes(), None
        square = self.square()
        return square.image, square.labels, square.channel_axis

    def square(self) -> Square:
        """Prepare the case as the published code does for testing."""
        if self.dataset.kind == "picture":
            own = published.picture_mask(self.mask, self._drawn())
            image = published.picture(self.image, self.side, cubic=self.dataset.name == "kvasir")
            small = published.nearest(own, self.side)
            return Square(image, small, (0.0, 255.0), own, None)
        image, labels, spacing = self._volume()
        values: npt.NDArray[np.float32]
        if self.dataset.name == "btcv":
            values = np.clip(image, -125, 275).astype(np.float32)
            own = published.btcv_labels(labels, self.classes)
            low, high = float(values.min()), float(values.max())
            limits = (low, max(high, low + 1))
        else:
            values, own = published.teeth(image, labels, training=False)
            limits = (0.0, 1.0)
        zoomed = published.scipy_zoom(values, self.side, linear=True)
        small = published.scipy_zoom(own, self.side, linear=False)
        return Square(zoomed, small, limits, own, spacing, aligned=True)

    def _training_planes(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
        image, labels, _ = self._volume()
        if self.dataset.name == "btcv":
            window = np.clip(image, -175, 250)
            mask = published.btcv_labels(labels, self.classes)
            return (
                published.opencv_resize(window.astype(np.float32), self.side, linear=True),
                published.opencv_resize(mask, self.side, linear=False),
            )
        prepared, mask = published.teeth(image, labels, training=True)
        told = [z for z, plane in enumerate(prepared) if plane.min() < plane.max()]
        if not told:
            raise DataError(f"{self.image}: every plane is of one value")
        return (
            published.scipy_zoom(prepared[told], self.side, linear=True),
            published.scipy_zoom(mask[told], self.side, linear=False),
        )

    def _drawn(self) -> Any:
        return self.dataset.classes[0]

    def _volume(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any], tuple[float, float, float]]:
        image, spacing = published.volume(self.image)
        labels, _ = published.volume(self.mask)
        if image.shape != labels.shape:
            raise DataError(f"{self.name}: image {image.shape} and mask {labels.shape} do not fit")
        return image, labels, spacing


def cases(
    dataset: str | DataSet,
    root: str | Path,
    part: str,
    *,
    scheme: str | None = None,
    side: int = 256,
    classes: int = 1,
    partial: bool = False,
) -> list[SetCase]:
    """List the cases of one part of a published data set.

    Parameters
    ----------
    dataset
        One of `DATA_SETS`, or its name.
    root
        The folder it was unpacked into.
    part
        ``"train"``, ``"val"`` or ``"test"``.
    scheme
        Which of its splits; None: the one whose parts are kept apart.
    side, classes
        As in `SetCase`.
    partial
        Take what is there; else anything missing is an error.

    Raises
    ------
    DataError
        If a file of the split is missing; the message names some.
    """
    dataset = data_set(dataset) if isinstance(dataset, str) else dataset
    allowed = {1, len(dataset.classes), *((13,) if dataset.name == "btcv" else ())}
    if classes not in allowed:
        can = " or ".join(map(str, sorted(allowed)))
        raise DataError(f"{dataset.name} is read with {can} classes; the model draws {classes}")
    names = split_names(dataset, scheme, part)
    found = find(dataset, Path(root))
    there = [n for n in names if n in found.images and n in found.masks]
    missing = [n for n in names if n not in found.images or n not in found.masks]
    if not there or (missing and not partial):
        said = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise DataError(
            f"{root}: of {dataset.title}'s {part} set image or mask are missing for {said}; "
            f"napari-sdseg data check {dataset.name} --root {root} says where they belong"
        )
    return [
        SetCase(n, found.images[n], found.masks[n], dataset, side, classes, part == "train")
        for n in there
    ]
