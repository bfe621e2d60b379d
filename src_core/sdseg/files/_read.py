"""An image from a file or a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from . import _dicom, _flat, _omezarr, _tiff, _volume
from ._picture import DICOM, FLAT, SUFFIXES, TIFF, VOLUME, Picture, suffix_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["read"]


def read(path: str | Path, *, level: int = 0) -> Picture:
    """Read an image: a file, an OME-Zarr folder, or the folder of a DICOM series.

    Parameters
    ----------
    path
        A file, by its suffix; a Zarr folder, also one within another (``image.zarr/labels/nuclei``);
        or a folder that holds one DICOM series.
    level
        Of a pyramid in OME-TIFF or OME-Zarr; 0 is the finest.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    InputError
        If its format is not known, its content is damaged or it has no such level; the message
        names the file.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no file {path}")
    try:
        return _reader(path)(path, level)
    except InputError:
        raise
    # Every decoder has its own errors for a damaged file; all mean the same to a person.
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path} cannot be read, it may be damaged: {said}") from error


def _reader(path: Path) -> Callable[[Path, int], Picture]:
    if path.is_dir():
        if _omezarr.is_zarr(path):
            return _omezarr.read
        if _dicom.is_series(path):
            return _single(_dicom.read_series)
        raise InputError(
            f"{path} is a folder, and neither OME-Zarr nor a DICOM series; give an image file"
        )
    suffix = suffix_of(path)
    if suffix in TIFF:
        return _tiff.read
    for suffixes, reader in (
        (FLAT, _flat.read), ((".npy",), _flat.read_npy), (VOLUME + DICOM, _volume.read),
    ):  # fmt: skip
        if suffix in suffixes:
            return _single(reader)
    raise InputError(f"{path}: the format is not known; use one of {', '.join(SUFFIXES)}")


def _single(reader: Callable[[Path], Picture]) -> Callable[[Path, int], Picture]:
    """Give a reader of a format without pyramids the level that it has."""

    def checked(path: Path, level: int) -> Picture:
        if level != 0:
            raise InputError(f"{path}: level {level} is not there; it has 1 level, 0")
        return reader(path)

    return checked
