"""PNG, JPEG and BMP pictures, and numpy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ._picture import Picture

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

__all__ = ["read", "read_npy", "write_npy", "write_png"]


def read(path: Path) -> Picture:
    """Read a picture; a palette and inks become colours."""
    from PIL import Image

    with Image.open(path) as image:
        # A palette's numbers are names of colours, not brightness; four inks are not RGBA.
        coded = image.mode in ("P", "CMYK")
        colours = "RGBA" if "transparency" in image.info else "RGB"
        data = np.asarray(image.convert(colours) if coded else image)
    if data.ndim == 3 and data.shape[-1] == 2:  # grey with transparency
        data = data[..., 0]
    if data.dtype == np.int32 and data.min() >= 0 and data.max() < 2**16:  # Pillow's mode I
        data = data.astype(np.uint16)
    colour = data.ndim == 3
    return Picture(data, "YXS" if colour else "YX", channel_axis=2 if colour else None, path=path)


def read_npy(path: Path) -> Picture:
    """Map an array; nothing is read yet."""
    return Picture(np.load(path, mmap_mode="r", allow_pickle=False), path=path)


def write_png(path: Path, labels: npt.NDArray[Any]) -> None:
    """Write a plane with 8 or 16 bits."""
    from PIL import Image

    if labels.max(initial=0) >= 2**16:
        raise InputError("a PNG holds labels up to 65535; write a TIFF")
    small = labels.astype(np.uint8 if labels.dtype == np.uint8 else np.uint16)
    Image.fromarray(small).save(path)


def write_npy(path: Path, labels: npt.NDArray[Any]) -> None:
    """Write an array."""
    np.save(path, labels)
