"""Labels to files, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from . import _flat, _pyramid, _tiff_write, _volume
from ._picture import LABEL_SUFFIXES, TIFF, VOLUME, ZARR, Picture, kept_axes, suffix_of
from ._source import Index, Source, planes_of
from ._whole import parents, put_back, whole_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

__all__ = ["check_writable", "write_labels", "write_planes"]


def check_writable(path: Path, ndim: int | None = None) -> str:
    """Return the suffix of a file that labels are to be written to, or say what would work.

    For use before the work is done that makes the labels, which have ``ndim`` axes if that is known.
    A place within an OME-Zarr image, ``image.zarr/labels/NAME``, counts as ``.zarr``.
    """
    path = Path(path)
    inside = _pyramid.container_of(path) is not None
    suffix = ".zarr" if inside else suffix_of(path)
    if suffix not in LABEL_SUFFIXES:
        raise InputError(
            f"{path}: labels cannot be written as {suffix or 'a file of that kind'}; "
            f"use one of {', '.join(LABEL_SUFFIXES)}"
        )
    if suffix == ".png" and ndim not in (None, 2):
        raise InputError(f"{path}: a PNG holds a single plane, the labels have {ndim} axes; use .tif")
    if suffix in ZARR:
        _pyramid.check(path, ndim)
    elif path.is_dir():
        raise InputError(f"{path} is a folder; give another name")
    if suffix in VOLUME:
        _volume.simpleitk(path)
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
    """Write labels; the file appears whole or not at all. One that is there is replaced.

    Parameters
    ----------
    path
        Its suffix decides the format: TIFF, PNG, NPY, NIfTI, NRRD, MetaImage or OME-Zarr.
        ``image.zarr/labels/NAME`` writes into an OME-Zarr image.
    labels
        Unsigned integers, of any shape that the format can hold.
    like
        The image they belong to: its spacing, origin and orientation are written too.
    spacing, unit
        Instead of ``like``.

    Raises
    ------
    InputError
        If the format cannot hold the labels.
    OSError
        If they cannot be written, as when the disk is full; the message names the file.
    """
    return write_planes(
        path,
        planes_of(labels),
        labels.shape,
        labels.dtype,
        like,
        spacing=spacing,
        unit=unit,
        overwrite=True,
    )


def write_planes(
    path: str | Path,
    planes: Iterable[tuple[Index, npt.NDArray[Any]]],
    shape: Sequence[int],
    dtype: Any,
    like: Picture | None = None,
    *,
    names: Sequence[str] = (),
    colors: Sequence[Any] = (),
    spacing: tuple[float, ...] | None = None,
    unit: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write planes of labels as they come; the file appears whole at the end, or not at all.

    OME-Zarr, and TIFF if the planes come in the order of the leading axes, are written in constant
    memory; other formats are put together first.

    Parameters
    ----------
    path
        As for `write_labels`.
    planes
        Pairs of an index and a plane, ``labels[index] = plane``; an index holds two full slices,
        the same for all planes. Planes that do not come are 0. A generator is closed at the end.
    shape, dtype
        Of all labels together.
    like
        The image they belong to: its axes, spacing, origin and orientation are written too. OME-Zarr
        has no place for an orientation; there the labels of a tilted volume have its spacing only.
    names, colors
        Of the classes 1, 2, ...; colours as ``"#rrggbb"`` or numbers of 0 to 255. For OME-Zarr.
    spacing, unit
        Instead of those of ``like``.
    overwrite
        Replace labels that are there.

    Returns
    -------
    Path
        Where the labels are.

    Raises
    ------
    FileExistsError
        If something is there and ``overwrite`` is False.
    InputError
        If the format cannot hold the labels.
    OSError
        If they cannot be written, as when the disk is full; the message names the file.
    """
    path, shape, dtype = Path(path), tuple(int(n) for n in shape), np.dtype(dtype)
    put_back(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; give another name, or overwrite it")
    suffix = check_writable(path, len(shape))
    if like is not None and like.path is not None and path.exists() and path.samefile(like.path):
        raise InputError(f"{path} is the image itself; give another name")
    source = Source(planes, shape)
    try:
        with parents(path):
            if suffix in ZARR:
                _pyramid.write(
                    path, source, shape, dtype, like,
                    names=names, colors=colors, spacing=spacing, unit=unit,
                )  # fmt: skip
            else:
                if like is not None:
                    spacing, unit = spacing or like.spacing, unit or like.unit
                with whole_file(path, suffix) as fresh:
                    _write_file(fresh, suffix, source, shape, dtype, like, spacing, unit)
    except OSError as error:
        if error is source.error:  # of the image that is being read, not of this file
            raise
        raise _unwritable(path, error) from error
    finally:
        source.close()
    return path


def _write_file(
    fresh: Path,
    suffix: str,
    source: Source,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    like: Picture | None,
    spacing: tuple[float, ...] | None,
    unit: str | None,
) -> None:
    if suffix in TIFF:
        meta = _tiff_write.metadata(shape, like, spacing, unit)
        _tiff_write.write_stream(fresh, source, shape, dtype, meta)
        return
    labels = _tiff_write.assembled(None, source, shape, dtype)
    if suffix == ".png":
        _flat.write_png(fresh, labels)
    elif suffix == ".npy":
        _flat.write_npy(fresh, labels)
    else:
        _volume.write(fresh, labels, spacing, unit, like, kept_axes(like, shape))


def _unwritable(path: Path, error: OSError) -> OSError:
    """Say in a line what could not be written, and why."""
    reason = error.strerror or " ".join(str(error).split())
    if error.errno is None and "requested and" in reason:  # numpy counts what it could not write
        reason = "the disk may be full"
    said = OSError(f"{path} could not be written: {reason}")
    said.errno = error.errno
    return said
