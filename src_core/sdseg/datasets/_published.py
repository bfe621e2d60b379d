"""The published preprocessing, set by set: what the published code makes of a file.

The published code resizes with Pillow, OpenCV and scipy. OpenCV's two grids are PyTorch's: linear is
``bilinear`` without antialiasing, nearest is ``nearest``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import cc3d
import numpy as np
from PIL import Image
from scipy import ndimage

from .. import files
from ..errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

__all__ = ["btcv_labels", "opencv_resize", "picture", "picture_mask", "scipy_zoom", "teeth", "volume"]

#: BTCV's 13 organs -> the 8 that are drawn; the rest become background.
_EIGHT = np.array([0, 1, 2, 3, 4, 0, 5, 6, 7, 0, 0, 8, 0, 0], np.uint8)


def picture(path: Path, side: int, *, cubic: bool) -> npt.NDArray[np.uint8]:
    """Read a picture as RGB and resize it with Pillow: (side, side, 3)."""
    how = Image.Resampling.BICUBIC if cubic else Image.Resampling.BILINEAR
    return np.asarray(_open(path).resize((side, side), how))


def picture_mask(
    path: Path, kind: Literal["polyp", "optic cup", "optic disc"]
) -> npt.NDArray[np.uint8]:
    """Read a mask of a picture, 0 or 1, in its own size (H, W)."""
    mask = np.asarray(_open(path))
    if kind == "polyp":  # above 128: masks saved as JPEG are not of two values
        return (mask[..., 0] > 128).astype(np.uint8)
    if (mask == mask[..., :1]).all():  # not coloured by the crop's script: REFUGE's own values
        grey = mask[..., 0]
        if not np.isin(grey, (0, 128, 255)).all():
            raise DataError(
                f"{path}: need red 255 on the disc and green 255 on the cup, or REFUGE's own 0 (cup), "
                f"128 (rim), 255 (outside); got grey values {np.unique(grey)[:6].tolist()}"
            )
        inside = grey < (100 if kind == "optic cup" else 200)
    else:
        inside = mask[..., 1 if kind == "optic cup" else 0] == 255
    return np.asarray(inside, np.uint8)


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as file:
            return file.convert("RGB")
    except OSError as error:
        raise DataError(f"{path} cannot be read, it may be damaged: {error}") from error


def nearest(mask: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Resize a mask with Pillow, nearest pixel: (side, side)."""
    return np.asarray(Image.fromarray(mask).resize((side, side), Image.Resampling.NEAREST))


def volume(path: Path) -> tuple[npt.NDArray[Any], tuple[float, float, float]]:
    """Read a NIfTI volume as the published code sees it, plane by plane.

    Returns
    -------
    data, spacing
        (Z, X, Y) and mm along these axes: its planes are ``data[:, :, z]`` of nibabel, whose rows
        run along x, where other readers (SimpleITK, napari) have them along y.
    """
    read = files.read(path)
    data = np.asarray(read.data)
    if data.ndim != 3:
        raise DataError(f"{path}: need a volume of three axes, got shape {data.shape}")
    z, y, x = read.spacing or (1.0, 1.0, 1.0)
    return data.swapaxes(1, 2), (z, x, y)


def btcv_labels(labels: npt.NDArray[Any], classes: int) -> npt.NDArray[np.uint8]:
    """Reduce BTCV's 13 organs to 8, or to their union for a single class; 13 keep them all."""
    ids = np.rint(labels).astype(np.intp)
    if ids.min() < 0 or ids.max() > 13:
        raise DataError(f"labels: BTCV has 0 to 13, got {ids.min()} to {ids.max()}")
    if classes == 13:
        return np.asarray(ids, np.uint8)
    eight = np.asarray(_EIGHT[ids])
    return np.asarray(eight > 0, np.uint8) if classes == 1 else eight


def teeth(
    image: npt.NDArray[Any], labels: npt.NDArray[Any], *, training: bool
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Prepare an STS-3D volume: [0, 1] from -100 to 1100, or from what it has of that range.

    For training, bits of label of fewer than 64 voxels are removed, and label where the volume has
    its least value (outside of the scan). Test labels stay as they are.
    """
    inside = image != image.min()
    clipped = np.clip(image, -100, 1100).astype(np.float32)
    low, high = float(clipped.min()), float(clipped.max())
    mask = labels > 0.5
    if training:
        mask = cc3d.dust(np.ascontiguousarray(mask), threshold=64, connectivity=26) & inside
    return (clipped - low) / (high - low + 1e-8), mask.astype(np.uint8)


def opencv_resize(planes: npt.NDArray[Any], side: int, *, linear: bool) -> npt.NDArray[Any]:
    """Resize planes (Z, H, W) on OpenCV's grids: (Z, side, side)."""
    import torch
    from torch.nn import functional as F

    size, whole = (side, side), torch.from_numpy(np.ascontiguousarray(planes))[:, None]
    if linear:
        out = F.interpolate(whole.float(), size, mode="bilinear", align_corners=False)
    else:
        out = F.interpolate(whole, size, mode="nearest")
    return out[:, 0].numpy()


def scipy_zoom(planes: npt.NDArray[Any], side: int, *, linear: bool) -> npt.NDArray[Any]:
    """Resize planes (Z, H, W) on scipy's grid, whose outer pixels lie on the outer pixels."""
    h, w = planes.shape[1:]
    zoomed = [ndimage.zoom(p, (side / h, side / w), order=int(linear)) for p in planes]
    return np.stack(zoomed)
