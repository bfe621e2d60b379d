"""Images from files, labels to files, with their geometry.

Arrays are in the order z, y, x, with time before and channels where the file has them. Volumes of
NIfTI, NRRD and MetaImage files go through SimpleITK, which knows their spacing and orientation.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

__all__ = [
    "LABEL_SUFFIXES",
    "SUFFIXES",
    "Picture",
    "check_writable",
    "read",
    "suffix_of",
    "write_labels",
]

_TIFF = (".ome.tif", ".ome.tiff", ".tif", ".tiff")
_FLAT = (".png", ".jpg", ".jpeg", ".bmp")
_VOLUME = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")

#: What can be read; longer endings first, so that the first match is the whole suffix.
SUFFIXES = (".nii.gz", ".ome.tif", ".ome.tiff", ".tif", ".tiff", *_FLAT, ".npy", *_VOLUME[1:])

_MILLIMETRES = {"nm": 1e-6, "um": 1e-3, "µm": 1e-3, "mm": 1.0, "cm": 10.0, "m": 1e3}

#: What labels can be written as: lossless, in one file.
LABEL_SUFFIXES = tuple(s for s in SUFFIXES if s not in (".jpg", ".jpeg", ".bmp", ".mhd"))


@dataclass(frozen=True)
class Picture:
    """What a file holds.

    Attributes
    ----------
    data
        The array; for ``.npy`` a read-only memory map.
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
    """

    data: npt.NDArray[Any]
    axes: str | None = None
    spacing: tuple[float, ...] | None = None
    unit: str | None = None
    channel_axis: int | None = None
    path: Path | None = None
    # The SimpleITK image less its pixels' meaning: origin and orientation, for writing.
    geometry: dict[str, Any] = field(default_factory=dict, repr=False)


def suffix_of(path: Path) -> str:
    """Return a file's whole suffix, such as ``.nii.gz``; empty if the format is not known."""
    name = path.name.lower()
    return next((s for s in SUFFIXES if name.endswith(s)), "")


def read(path: str | Path) -> Picture:
    """Read an image file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    InputError
        If its format is not known or its content is damaged; the message names the file.
    """
    path = Path(path)
    if not path.is_file():
        if path.is_dir():
            raise InputError(f"{path} is a folder; give an image file")
        raise FileNotFoundError(f"no file {path}")
    suffix = suffix_of(path)
    readers: dict[tuple[str, ...], Callable[[Path], Picture]] = {
        _TIFF: _read_tiff, _FLAT: _read_flat, (".npy",): _read_npy, _VOLUME: _read_volume,
    }  # fmt: skip
    for suffixes, reader in readers.items():
        if suffix in suffixes:
            try:
                return reader(path)
            except InputError:
                raise
            # Every decoder has its own errors for a damaged file; all mean the same to a person.
            except Exception as error:
                raise InputError(f"{path} cannot be read, it may be damaged: {error}") from error
    raise InputError(f"{path}: the format is not known; use one of {', '.join(SUFFIXES)}")


def _read_tiff(path: Path) -> Picture:
    import tifffile

    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        try:
            data, axes = series.asarray(), series.axes
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            raise InputError(f"{path}: {error}; pip install imagecodecs") from error
        spacing, unit = _tiff_spacing(file)
    known = all(a in "TZCYXSQI" for a in axes)
    channel = next((i for i, a in enumerate(axes) if a in "CS" and data.shape[i] in (1, 3, 4)), None)
    if spacing is not None:
        spacing = spacing[-(data.ndim - (channel is not None)) :]
    return Picture(data, axes if known else None, spacing, unit, channel, path)


def _tiff_spacing(file: Any) -> tuple[tuple[float, ...] | None, str | None]:
    """Find z, y, x spacing in OME or ImageJ metadata."""
    if file.is_ome:
        import re

        found = dict(re.findall(r'PhysicalSize([XYZ])="([^"]+)"', file.ome_metadata))
        if {"X", "Y"} <= set(found):
            unit = re.search(r'PhysicalSizeXUnit="([^"]+)"', file.ome_metadata)
            name = "um" if unit is None else unit.group(1).replace("µ", "u")
            return tuple(float(found[a]) for a in "ZYX" if a in found), name
    meta = file.imagej_metadata
    if meta:
        tags = file.pages[0].tags
        if "XResolution" in tags and "YResolution" in tags:
            y, x = (tags[t].value for t in ("YResolution", "XResolution"))
            if x[0] and y[0]:
                flat = (y[1] / y[0], x[1] / x[0])
                # ImageJ writes the micro sign as an escape of its own.
                unit = {"micron": "um", "microns": "um", "\\u00B5m": "um"}.get(
                    meta.get("unit"), meta.get("unit")
                )
                if unit in _MILLIMETRES:
                    depth = (float(meta["spacing"]),) if "spacing" in meta else ()
                    return (*depth, *flat), unit.replace("µ", "u")
    return None, None


def _read_flat(path: Path) -> Picture:
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


def _read_npy(path: Path) -> Picture:
    return Picture(np.load(path, mmap_mode="r", allow_pickle=False), path=path)


def _sitk(path: Path) -> Any:
    try:
        import SimpleITK
    except ImportError as error:
        raise InputError(f'{path.name} needs SimpleITK: pip install "napari-sdseg[medical]"') from error
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    return SimpleITK


def _read_volume(path: Path) -> Picture:
    sitk = _sitk(path)
    image = sitk.ReadImage(str(path))
    data = sitk.GetArrayFromImage(image)
    channels = image.GetNumberOfComponentsPerPixel() > 1
    geometry = {
        "spacing": image.GetSpacing(),
        "origin": image.GetOrigin(),
        "direction": image.GetDirection(),
    }
    return Picture(
        data,
        spacing=tuple(float(s) for s in reversed(image.GetSpacing())),
        unit="mm",
        channel_axis=data.ndim - 1 if channels else None,
        path=path,
        geometry=geometry,
    )


# ---------------------------------------------------------------------- writing


def check_writable(path: Path, ndim: int | None = None) -> str:
    """Return the suffix of a file that labels are to be written to, or say what would work.

    For use before the work is done that makes the labels, which have ``ndim`` axes if that is known.
    """
    suffix = suffix_of(path)
    if suffix not in LABEL_SUFFIXES:
        raise InputError(
            f"{path}: labels cannot be written as {suffix or 'a file of that kind'}; "
            f"use one of {', '.join(LABEL_SUFFIXES)}"
        )
    if suffix == ".png" and ndim not in (None, 2):
        raise InputError(f"{path}: a PNG holds a single plane, the labels have {ndim} axes; use .tif")
    if suffix in _VOLUME:
        _sitk(path)
    folder = next(p for p in path.absolute().parents if p.exists())
    if not os.access(folder, os.W_OK):
        raise InputError(f"{path}: {folder} cannot be written to; give another folder")
    return suffix


def write_labels(
    path: str | Path,
    labels: npt.NDArray[Any],
    like: Picture | None = None,
    *,
    spacing: tuple[float, ...] | None = None,
    unit: str | None = None,
) -> Path:
    """Write labels; the file appears whole or not at all.

    Parameters
    ----------
    path
        Its suffix decides the format: TIFF, PNG, NPY, NIfTI, NRRD or MetaImage.
    labels
        Unsigned integers, of any shape that the format can hold.
    like
        The image they belong to: its spacing, origin and orientation are written too.
    spacing, unit
        Instead of ``like``.
    """
    path = Path(path)
    suffix = check_writable(path, labels.ndim)
    if like is not None:
        spacing, unit = spacing or like.spacing, unit or like.unit
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{uuid.uuid4().hex[:8]}{suffix}")
    try:
        if suffix in _TIFF:
            _write_tiff(fresh, labels, spacing, unit, _axes_without_channels(like))
        elif suffix == ".png":
            _write_png(fresh, labels)
        elif suffix == ".npy":
            np.save(fresh, labels)
        else:
            _write_volume(fresh, labels, spacing, unit, like)
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
    return path


def _axes_without_channels(picture: Picture | None) -> str:
    if picture is None or picture.axes is None:
        return ""
    return "".join(a for i, a in enumerate(picture.axes) if i != picture.channel_axis)


def _write_tiff(
    path: Path,
    labels: npt.NDArray[Any],
    spacing: tuple[float, ...] | None,
    unit: str | None,
    axes: str,
) -> None:
    import tifffile

    if len(axes) != labels.ndim or not set(axes) <= set("TCZYX"):
        axes = "TZYX"[-labels.ndim :] if labels.ndim <= 4 else "Q" * (labels.ndim - 4) + "TZYX"
    meta: dict[str, Any] = {"axes": axes}
    if spacing is not None:
        for axis, size in zip(reversed("ZYX"), reversed(spacing), strict=False):
            if axis in axes:
                meta[f"PhysicalSize{axis}"] = size
                meta[f"PhysicalSize{axis}Unit"] = (unit or "um").replace("um", "µm")
    # OME metadata is bound to the name in tifffile; ome=True keeps it for plain .tif too.
    # photometric: else a last axis of 3 or 4 would be taken for colours.
    ome = labels.ndim <= 4
    tifffile.imwrite(path, labels, ome=ome, metadata=meta, compression="zlib", photometric="minisblack")


def _write_png(path: Path, labels: npt.NDArray[Any]) -> None:
    from PIL import Image

    if labels.max(initial=0) >= 2**16:
        raise InputError("a PNG holds labels up to 65535; write a TIFF")
    small = labels.astype(np.uint8 if labels.dtype == np.uint8 else np.uint16)
    Image.fromarray(small).save(path)


def _write_volume(
    path: Path,
    labels: npt.NDArray[Any],
    spacing: tuple[float, ...] | None,
    unit: str | None,
    like: Picture | None,
) -> None:
    sitk = _sitk(path)
    # isVector: else the last of four axes would become the components of a 3-D image.
    image = sitk.GetImageFromArray(np.ascontiguousarray(labels), isVector=False)
    geometry = {} if like is None else like.geometry
    if geometry and len(geometry["spacing"]) == image.GetDimension():
        image.SetSpacing(geometry["spacing"])
        image.SetOrigin(geometry["origin"])
        image.SetDirection(geometry["direction"])
    elif spacing is not None and len(spacing) == image.GetDimension():
        scale = _MILLIMETRES.get(unit or "mm", 1.0)  # these formats are in millimetres
        image.SetSpacing([float(s) * scale for s in reversed(spacing)])
    sitk.WriteImage(image, str(path), useCompression=True)
