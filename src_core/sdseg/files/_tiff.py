"""TIFF and OME-TIFF files, read as they are indexed."""

from __future__ import annotations

import math
import re
import struct
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ._picture import MILLIMETRES, Picture

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

__all__ = ["LazyTiff", "read"]

#: Bytes of pixels below which a file is simply read.
_WHOLE_BELOW = 64 * 2**20


class LazyTiff:
    """Compressed pixels of a TIFF file; indexing decodes only the strips or tiles it needs.

    May be read from several threads. The file is closed with the last reference.
    """

    def __init__(self, file: Any, series: Any) -> None:
        import zarr

        self._array = zarr.open_array(series.aszarr(level=0), mode="r")
        self.shape: tuple[int, ...] = tuple(self._array.shape)
        self.dtype: np.dtype[Any] = np.dtype(self._array.dtype)
        self.ndim = len(self.shape)
        self.close = weakref.finalize(self, file.close)

    def __getitem__(self, key: Any) -> Any:
        return self._array[key]

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self._array[...], dtype)


def read(path: Path, level: int) -> Picture:
    """Read the first series of a TIFF file."""
    import tifffile

    file = tifffile.TiffFile(path)
    lazy = False
    try:
        _check_chain(file)
        series = file.series[0]
        levels = series.levels
        if not 0 <= level < len(levels):
            many = "1 level, 0" if len(levels) == 1 else f"{len(levels)} levels, 0 to {len(levels) - 1}"
            raise InputError(f"{path}: level {level} is not there; it has {many}")
        chosen = levels[level]
        try:
            data = _pixels(path, file, chosen, level)
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            raise InputError(f"{path}: {error}; pip install imagecodecs") from error
        lazy = isinstance(data, LazyTiff)
        axes = chosen.axes
        spacing, unit = _spacing(file)
    finally:
        if not lazy:
            file.close()
    channel = next((i for i, a in enumerate(axes) if a in "CS" and data.shape[i] in (1, 3, 4)), None)
    if spacing is not None:
        if not set(axes) - set("TCYXS"):
            spacing = spacing[-2:]
        spacing = spacing[-(data.ndim - (channel is not None)) :]
        spacing = _coarser(spacing, series, chosen)
    known = all(a in "TZCYXSQI" for a in axes)
    return Picture(data, axes if known else None, spacing, unit, channel, path)


def _pixels(path: Path, file: Any, series: Any, level: int) -> Any:
    """Read a small series; map a contiguous one; leave any other to be decoded when indexed."""
    import tifffile

    if math.prod(series.shape) * series.dtype.itemsize < _WHOLE_BELOW:
        return series.asarray()
    if series.dataoffset is not None:
        return tifffile.memmap(path, series=0, level=level, mode="r")
    for page in (series.pages[0], series.pages[-1]):
        _check_page(page)
    data = LazyTiff(file, series)
    data[tuple(slice(0, 1) for _ in data.shape)]  # a codec that is missing shows here
    return data


def _check_chain(file: Any) -> None:
    """Refuse a file whose list of pages breaks off: tifffile would give the pages before that."""
    if file.is_ndpi:  # has offsets of its own kind
        return
    at = file.pages.next_page_offset
    file.filehandle.seek(at)
    found = file.filehandle.read(file.tiff.offsetsize)
    if len(found) < file.tiff.offsetsize or struct.unpack(file.tiff.offsetformat, found)[0] != 0:
        raise ValueError(f"it ends in the middle, after {len(file.pages)} of its planes")


def _check_page(page: Any) -> None:
    if page is None:
        return
    ends = (o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=True))
    if max(ends, default=0) > page.parent.filehandle.size:
        raise ValueError("it ends in the middle of its pixels")


def _coarser(spacing: tuple[float, ...], finest: Any, chosen: Any) -> tuple[float, ...]:
    """Turn the finest level's spacing into a coarser one's."""
    sizes = {a: (n, m) for a, n, m in zip(chosen.axes, finest.shape, chosen.shape, strict=True)}
    spatial = [sizes[a] for a in chosen.axes if a not in "TCS"][-len(spacing) :]
    if len(spatial) != len(spacing):
        return spacing
    out = []
    for size, (n, m) in zip(spacing, spatial, strict=True):
        whole = round(n / m)
        # An odd side is halved with a remainder; its pixels are twice as large all the same.
        out.append(size * (whole if m in (n // whole, -(-n // whole)) else n / m))
    return tuple(out)


def _spacing(file: Any) -> tuple[tuple[float, ...] | None, str | None]:
    """Find z, y, x spacing in OME or ImageJ metadata."""
    if file.is_ome:
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
                if unit in MILLIMETRES:
                    depth = (float(meta["spacing"]),) if "spacing" in meta else ()
                    return (*depth, *flat), unit.replace("µ", "u")
    return None, None
