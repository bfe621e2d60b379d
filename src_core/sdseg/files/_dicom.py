"""The folder of a DICOM series."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ._picture import DICOM, SUFFIXES, Picture
from ._volume import picture_of, simpleitk

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["is_series", "read_series"]

#: Files without a suffix that are opened to see whether a folder holds DICOM.
_OPENED = 16

#: Image Position (Patient): the centre of a slice's first pixel, in millimetres.
_POSITION = "0020|0032"


def is_series(folder: Path) -> bool:
    """Say whether a folder's images are DICOM, without opening more than a few files."""
    named, others, unknown = 0, 0, []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name.lower()
                if name.startswith("."):
                    continue
                if name.endswith(DICOM):
                    named += entry.is_file()
                elif name.endswith(SUFFIXES):
                    others += 1
                elif entry.is_file():
                    unknown.append(entry.path)
    except OSError:
        return False
    if any(_has_magic(path) for path in sorted(unknown)[:_OPENED]):
        named += len(unknown)
    return named > others


def _has_magic(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_series(folder: Path) -> Picture:
    """Read the one series that a folder holds."""
    sitk = simpleitk(folder)
    reader = sitk.ImageSeriesReader
    names = {s: reader.GetGDCMSeriesFileNames(str(folder), s) for s in _series(reader, folder)}
    if not names:
        raise InputError(f"{folder}: none of its files can be read as DICOM, they may be damaged")
    if len(names) > 1:
        said = "; ".join(f"{_describe(sitk, s, files)}" for s, files in names.items())
        raise InputError(
            f"{folder} holds {len(names)} DICOM series: {said}. Put each in a folder of its own"
        )
    (files,) = names.values()
    series = reader()
    series.SetFileNames(files)
    series.MetaDataDictionaryArrayUpdateOn()
    image = series.Execute()
    _check_gaps(series, folder, len(files))
    return picture_of(image, sitk, folder)


def _series(reader: Any, folder: Path) -> list[str]:
    return sorted(reader.GetGDCMSeriesIDs(str(folder)))


def _describe(sitk: Any, series: str, files: tuple[str, ...]) -> str:
    """Name a series with its count of slices, as a person knows it if the file says so."""
    header = sitk.ImageFileReader()
    header.SetFileName(files[0])
    title = ""
    try:
        header.ReadImageInformation()
        if header.HasMetaDataKey("0008|103e"):
            title = header.GetMetaData("0008|103e").strip()
    except RuntimeError:  # damaged; its number is enough
        pass
    count = f"{len(files)} slice{'s' if len(files) != 1 else ''}"
    return f"{title} ({series}), {count}" if title else f"{series}, {count}"


def _check_gaps(series: Any, folder: Path, count: int) -> None:
    """Refuse slices at uneven distances: ITK spaces them evenly, so none would lie in its place."""
    if count < 3 or not all(series.HasMetaDataKey(i, _POSITION) for i in range(count)):
        return
    places = [[float(v) for v in series.GetMetaData(i, _POSITION).split("\\")] for i in range(count)]
    steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    usual = float(np.median(steps))
    worst = int(np.argmax(np.abs(steps - usual)))
    if abs(steps[worst] - usual) > 0.1 * usual:
        raise InputError(
            f"{folder}: its {count} slices lie at uneven distances, {steps[worst]:.4g} mm between "
            f"slices {worst + 1} and {worst + 2}, elsewhere {usual:.4g} mm; one may be missing or be "
            "there twice. Copy the whole series again"
        )
