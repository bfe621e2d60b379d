"""Labels as TIFF, a page at a time."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ._picture import Picture, kept_axes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

    from ._source import Index, Source

__all__ = ["write", "write_stream"]


def write(path: Path, data: Any, shape: tuple[int, ...], dtype: Any, meta: dict[str, Any]) -> None:
    """Write an array, or an iterator of its pages."""
    import tifffile

    size = math.prod(shape) * np.dtype(dtype).itemsize
    tifffile.imwrite(
        path,
        data,
        shape=shape,
        dtype=dtype,
        metadata=meta,
        # OME metadata is bound to the name in tifffile; ome=True keeps it for plain .tif too.
        ome=_is_ome(meta["axes"]),
        bigtiff=size > 2**32 - 2**25,  # 32 MB for what is not pixels
        compression="zlib",
        # Else a last axis of 3 or 4 would be taken for colours.
        photometric="minisblack",
    )


def metadata(
    shape: tuple[int, ...], like: Picture | None, spacing: tuple[float, ...] | None, unit: str | None
) -> dict[str, Any]:
    """Say which axes labels have, and their pixel size."""
    ndim = len(shape)
    kept = kept_axes(like, shape)
    axes = "".join(like.axes[i] for i in kept) if like and like.axes and kept is not None else ""
    if not _is_ome(axes):
        axes = "TZYX"[-ndim:] if ndim <= 4 else "Q" * (ndim - 4) + "TZYX"
    meta: dict[str, Any] = {"axes": axes}
    for axis, size in zip(reversed("ZYX"), reversed(spacing or ()), strict=False):
        if axis in axes:
            meta[f"PhysicalSize{axis}"] = size
            meta[f"PhysicalSize{axis}Unit"] = (unit or "um").replace("um", "µm")
    return meta


def _is_ome(axes: str) -> bool:
    return axes.endswith("YX") and set(axes) <= set("TCZYX") and len(set(axes)) == len(axes)


def write_stream(
    path: Path, source: Source, shape: tuple[int, ...], dtype: Any, meta: dict[str, Any]
) -> None:
    """Write planes as they come.

    In order along the leading axes they go straight to the file. A plane that comes after a later
    one waits in memory until the end, when the file is written once more.
    """
    import tifffile

    first = next(source, None)
    if first is not None and not all(isinstance(i, slice) for i in first[0][-2:]):
        write(path, assembled(first, source, shape, dtype), shape, dtype, meta)
        return
    late: dict[int, npt.NDArray[Any]] = {}
    write(path, _pages(first, source, shape, dtype, late), shape, dtype, meta)
    for index, plane in source:  # tifffile stops at the last page; what comes after is late
        late[_page(index, shape)] = np.ascontiguousarray(plane, dtype)
    if late:
        again = path.with_name(f"{path.name.removesuffix(path.suffix)}.again{path.suffix}")
        try:
            with tifffile.TiffFile(path) as file:
                write(again, _patched(file.pages, late), shape, dtype, meta)
            again.replace(path)
        finally:
            again.unlink(missing_ok=True)


def assembled(
    first: tuple[Index, npt.NDArray[Any]] | None, source: Source, shape: tuple[int, ...], dtype: Any
) -> npt.NDArray[Any]:
    """Put planes together in memory."""
    labels = np.zeros(shape, dtype)
    for index, plane in itertools.chain([] if first is None else [first], source):
        labels[index] = plane
    return labels


def _pages(
    first: tuple[Index, npt.NDArray[Any]] | None,
    source: Source,
    shape: tuple[int, ...],
    dtype: Any,
    late: dict[int, npt.NDArray[Any]],
) -> Iterator[npt.NDArray[Any]]:
    """Yield every page once, zeros for planes that do not come; put those that come late aside."""
    zeros = np.zeros(shape[-2:], dtype)
    at = 0
    for index, plane in itertools.chain([] if first is None else [first], source):
        page = _page(index, shape)
        ready = np.ascontiguousarray(plane, dtype)
        if page < at:
            late[page] = ready
            continue
        for _ in range(page - at):
            yield zeros
        yield ready
        at = page + 1
    for _ in range(math.prod(shape[:-2]) - at):
        yield zeros


def _page(index: Index, shape: tuple[int, ...]) -> int:
    """Return the number of a plane along the leading axes."""
    return int(np.ravel_multi_index(index[:-2], shape[:-2])) if shape[:-2] else 0  # type: ignore[arg-type]


def _patched(pages: Any, late: dict[int, npt.NDArray[Any]]) -> Iterator[npt.NDArray[Any]]:
    for number, page in enumerate(pages):
        yield late[number] if number in late else page.asarray()
