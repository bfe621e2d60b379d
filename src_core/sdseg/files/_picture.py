"""What a file holds, and which formats there are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "DICOM",
    "FLAT",
    "LABEL_SUFFIXES",
    "MILLIMETRES",
    "SUFFIXES",
    "TIFF",
    "VOLUME",
    "ZARR",
    "Picture",
    "kept_axes",
    "suffix_of",
]

TIFF = (".ome.tif", ".ome.tiff", ".tif", ".tiff")
FLAT = (".png", ".jpg", ".jpeg", ".bmp")
VOLUME = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
ZARR = (".ome.zarr", ".zarr")
DICOM = (".dcm",)

#: What can be read; longer endings first, so that the first match is the whole suffix.
SUFFIXES = (".nii.gz", *TIFF, *ZARR, *FLAT, ".npy", *VOLUME[1:], *DICOM)

#: What labels can be written as: lossless, in one file or one OME-Zarr folder.
LABEL_SUFFIXES = tuple(s for s in SUFFIXES if s not in (".jpg", ".jpeg", ".bmp", ".mhd", *DICOM))

MILLIMETRES = {"nm": 1e-6, "um": 1e-3, "µm": 1e-3, "mm": 1.0, "cm": 10.0, "m": 1e3}


@dataclass(frozen=True)
class Picture:
    """What a file holds.

    Attributes
    ----------
    data
        The array. For NPY, OME-Zarr and large TIFF files it is something with ``shape``, ``dtype``,
        ``ndim`` and numpy's basic indexing that reads only what is asked for.
    axes
        A letter an axis as TIFF has them (``T``, ``Z``, ``C``, ``Y``, ``X``, ``S``), or None.
    spacing
        Pixel size along the last spatial axes, in data order, or None.
    unit
        Of the spacing: ``"um"``, ``"mm"``, another that the file names, or None.
    channel_axis
        Which axis holds colours or channels, or None.
    path
        Where it came from.
    geometry
        Where the pixels lie, for writing labels. Of volumes ``spacing``, ``origin`` and
        ``direction`` as SimpleITK has them (x first). Of OME-Zarr ``axes`` (the file's own),
        ``scale`` and ``translation``, an entry an axis of ``data``.
    """

    data: Any
    axes: str | None = None
    spacing: tuple[float, ...] | None = None
    unit: str | None = None
    channel_axis: int | None = None
    path: Path | None = None
    geometry: dict[str, Any] = field(default_factory=dict, repr=False)


def suffix_of(path: Path) -> str:
    """Return a file's whole suffix, such as ``.nii.gz``; empty if the format is not known."""
    name = path.name.lower()
    return next((s for s in SUFFIXES if name.endswith(s)), "")


def kept_axes(picture: Picture | None, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Say which axes of an image its labels have: all, or all but one; None if they do not fit.

    The axis that is left out is the image's channel axis, or another one if the caller took that
    for channels.
    """
    if picture is None:
        return None
    whole = tuple(int(n) for n in picture.data.shape)
    if whole == shape and picture.channel_axis is None:
        return tuple(range(len(whole)))
    named = [i for i, a in enumerate(picture.axes or "") if a in "CS"]
    for left_out in (picture.channel_axis, *named, *range(len(whole))):
        kept = tuple(i for i in range(len(whole)) if i != left_out)
        if left_out is not None and tuple(whole[i] for i in kept) == shape:
            return kept
    return tuple(range(len(whole))) if whole == shape else None
