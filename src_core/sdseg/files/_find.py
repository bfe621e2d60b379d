"""Which files and folders are images."""

from __future__ import annotations

from pathlib import Path

from . import _dicom, _omezarr
from ._picture import ZARR, suffix_of

__all__ = ["images_in", "is_image"]


def is_image(path: str | Path) -> bool:
    """Say whether `read` can be asked for a path: by its name, or by what its folder holds.

    A damaged file is an image too; `read` says what is wrong with it.
    """
    path = Path(path)
    if path.is_dir():
        return _omezarr.is_image(path) or _dicom.is_series(path)
    return path.is_file() and suffix_of(path) not in ("", *ZARR)


def images_in(folder: str | Path) -> list[Path]:
    """List the images of a folder, sorted by name; hidden ones and folders within are left out.

    OME-Zarr and DICOM series within count as images. A folder that is an image itself is the only
    one.

    Raises
    ------
    NotADirectoryError, FileNotFoundError
        If there is no such folder.
    """
    folder = Path(folder)
    if folder.is_dir() and is_image(folder):
        return [folder]
    if not folder.exists():
        raise FileNotFoundError(f"no folder {folder}")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder")
    return [p for p in sorted(folder.iterdir()) if not p.name.startswith(".") and is_image(p)]
