"""A picture of an image and of the same image with its labels outlined, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

__all__ = ["outlined", "write_side_by_side"]


def outlined(plane: npt.NDArray[Any], labels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return image and outlines side by side.

    Parameters
    ----------
    plane
        (H, W) or (H, W, 3), any real dtype.
    labels
        (H, W) integers.

    Returns
    -------
    ndarray
        (H, 2 W + 4, 3) uint8, the image in grey or its own colours.
    """
    from skimage.segmentation import mark_boundaries

    low, high = np.percentile(plane, (0.5, 99.8))
    shown = np.clip((plane.astype(float) - low) / max(high - low, 1e-9), 0, 1)
    if shown.ndim == 2:
        shown = np.repeat(shown[..., None], 3, axis=2)
    drawn = mark_boundaries(shown, labels, color=(1.0, 0.72, 0.2), mode="inner")  # type: ignore[no-untyped-call]
    gap = np.ones((len(shown), 4, 3))
    out: npt.NDArray[np.uint8] = (np.concatenate([shown, gap, drawn], axis=1) * 255).astype(np.uint8)
    return out


def write_side_by_side(path: Path, plane: npt.NDArray[Any], labels: npt.NDArray[Any]) -> Path:
    """Write `outlined` as a PNG, small planes enlarged to be seen."""
    from PIL import Image

    picture = Image.fromarray(outlined(plane, labels))
    times = max(1, 512 // max(plane.shape[:2]))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST).save(path)
    return path
