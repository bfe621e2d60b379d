"""Volumes through SimpleITK, which knows their spacing and orientation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ._picture import MILLIMETRES, Picture

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

__all__ = ["picture_of", "read", "simpleitk", "write"]


def simpleitk(path: Path) -> Any:
    """Import SimpleITK for a file, or say how to install it."""
    try:
        import SimpleITK
    except ImportError as error:
        raise InputError(f'{path.name} needs SimpleITK: pip install "napari-sdseg[medical]"') from error
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    return SimpleITK


def read(path: Path) -> Picture:
    """Read NIfTI, NRRD, MetaImage or a single DICOM file."""
    sitk = simpleitk(path)
    return picture_of(sitk.ReadImage(str(path)), sitk, path)


def picture_of(image: Any, sitk: Any, path: Path) -> Picture:
    """Turn a SimpleITK image into a picture."""
    data = sitk.GetArrayFromImage(image)
    geometry = {
        "spacing": image.GetSpacing(),
        "origin": image.GetOrigin(),
        "direction": image.GetDirection(),
    }
    return Picture(
        data,
        spacing=tuple(float(s) for s in reversed(image.GetSpacing())),
        unit="mm",
        channel_axis=data.ndim - 1 if image.GetNumberOfComponentsPerPixel() > 1 else None,
        path=path,
        geometry=geometry,
    )


def write(
    path: Path,
    labels: npt.NDArray[Any],
    spacing: tuple[float, ...] | None,
    unit: str | None,
    like: Picture | None,
    kept: tuple[int, ...] | None,
) -> None:
    """Write a volume, where its image lies.

    Raises
    ------
    OSError
        If the file does not hold what was written.
    """
    sitk = simpleitk(path)
    pixels = labels.astype(np.uint8) if labels.dtype == bool else np.ascontiguousarray(labels)
    # isVector: else the last of four axes would become the components of a 3-D image.
    image = sitk.GetImageFromArray(pixels, isVector=False)
    geometry = {} if like is None else like.geometry
    if "direction" in geometry and len(geometry["spacing"]) == image.GetDimension():
        image.SetSpacing(geometry["spacing"])
        image.SetOrigin(geometry["origin"])
        image.SetDirection(geometry["direction"])
    elif spacing is not None:
        scale = MILLIMETRES.get(unit or "mm", 1.0)  # these formats are in millimetres
        rest = image.GetDimension() - len(spacing)
        if rest >= 0:
            image.SetSpacing([float(s) * scale for s in reversed(spacing)] + [1.0] * rest)
        if rest >= 0 and kept is not None and "translation" in geometry:
            origin = [float(geometry["translation"][i]) * scale for i in kept][rest:]
            image.SetOrigin([*reversed(origin), *[0.0] * rest])
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
        del image
        # The NIfTI writer says nothing when the disk is full and leaves part of a file.
        back = sitk.ReadImage(str(path))
        whole = np.array_equal(sitk.GetArrayViewFromImage(back), pixels)
    except RuntimeError as error:
        raise OSError(_reason(str(error))) from error
    if not whole:
        raise OSError("the disk may be full")


def _reason(said: str) -> str:
    """Find in SimpleITK's many lines the one for a person."""
    line = " ".join(said.split())
    if "Reason: " in line:
        return line.rpartition("Reason: ")[2]
    if "ITK ERROR: " in line and "failed to write" not in line:
        return line.rpartition("ITK ERROR: ")[2]
    return "the disk may be full"
