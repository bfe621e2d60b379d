"""Folders of image and mask pairs.

A data set is a folder with ``images/`` and ``masks/``, matched by stem, whatever the format of each.
A split is a text file of stems (``train.txt``, ``val.txt``) in the same folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .. import files
from ..errors import DataError
from ..units import in_unit, known

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Case", "Pair", "pairs"]


class Case(Protocol):
    """An image with its labels: what is trained on, and what is evaluated on."""

    @property
    def name(self) -> str:
        """Return what the case is called."""

    def read(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any], int | None]:
        """Return image, labels and the axis of the image that holds colours (None: none)."""


@dataclass(frozen=True)
class Pair:
    """An image file and the mask file of the same stem."""

    name: str
    image: Path
    mask: Path

    def read(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any], int | None]:
        """Read both.

        Returns
        -------
        image, mask, channel_axis
            The mask has the image's shape less the channel axis.
        """
        return self.load()[:3]

    def load(
        self,
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any], int | None, tuple[float, ...] | None]:
        """Read both, and how large a pixel is.

        Returns
        -------
        image, mask, channel_axis, spacing
            The first three as `read` gives them; mm along each of the mask's axes, None: not known.
        """
        picture, mask = files.read(self.image), np.asarray(files.read(self.mask).data)
        image, channel_axis = np.asarray(picture.data), picture.channel_axis
        if image.ndim == mask.ndim + 1 and channel_axis is None:
            channel_axis = image.ndim - 1
        if mask.ndim == image.ndim and channel_axis is not None:  # a mask saved as RGB
            mask = mask.max(axis=channel_axis)
        spatial = [n for i, n in enumerate(image.shape) if i != _positive(channel_axis, image.ndim)]
        if list(mask.shape) != spatial:
            raise DataError(
                f"{self.name}: image {image.shape} and mask {mask.shape} do not fit together"
            )
        if not np.issubdtype(mask.dtype, np.integer):
            mask = mask.astype(np.int32)
        millimetres = known(picture.unit)
        spacing = None
        if picture.spacing is not None and len(picture.spacing) == mask.ndim and millimetres:
            spacing = tuple(in_unit(s, millimetres, "mm") for s in picture.spacing)
        return image, mask, channel_axis, spacing


def _positive(axis: int | None, ndim: int) -> int | None:
    return None if axis is None else axis % ndim


def _stem(path: Path) -> str:
    name = path.name
    for suffix in files.SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return path.stem


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder} is missing: a data set has the folders images/ and masks/")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.name.lower().endswith(tuple(files.SUFFIXES)):
            continue
        stem = _stem(path)
        if stem in found:
            raise DataError(f"{folder} has two files named {stem}: {found[stem].name}, {path.name}")
        found[stem] = path
    return found


def pairs(folder: str | Path, split: str | Path | None = None) -> list[Pair]:
    """List the pairs of a data set, sorted by name.

    Parameters
    ----------
    folder
        Holds ``images/`` and ``masks/``.
    split
        A file of stems separated by white space, as a path or a name within ``folder``; None takes
        every pair.

    Raises
    ------
    DataError
        If a folder or split is missing, or anything is without its partner; the message names them.
    """
    folder = Path(folder)
    images, masks = _by_stem(folder / "images"), _by_stem(folder / "masks")
    if split is None:
        names = sorted(images)
        alone = sorted(set(images) ^ set(masks))
    else:
        path = Path(split) if Path(split).is_file() else folder / split
        if not path.is_file():
            raise DataError(f"split: no file {split} (looked in {folder} too)")
        names = sorted(set(path.read_text(encoding="utf-8").split()))
        alone = [n for n in names if n not in images or n not in masks]
    if alone:
        said = ", ".join(alone[:5]) + (f" and {len(alone) - 5} more" if len(alone) > 5 else "")
        raise DataError(f"{folder}: without a partner in images/ or masks/: {said}")
    if not names:
        raise DataError(f"{folder}: no image and mask pairs found")
    return [Pair(n, images[n], masks[n]) for n in names]
