"""A Labels layer -> a file that lies where the layer lies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sdseg import files
from sdseg.errors import InputError, SDSegError
from sdseg.files import Picture
from sdseg.units import in_unit, known

from ._world import layer_matrix, parts, to_itk
from .readers import FILE_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt

__all__ = ["write_labels"]

#: Classes beyond which colours and names of single labels are not written: those are objects.
_CLASSES = 256


def write_labels(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a Labels layer; the file's ending decides the format.

    NIfTI, NRRD and MetaImage keep the layer's whole transform, in millimetres; OME-Zarr its scale,
    translation and units, and the colours and names of classes; OME-TIFF its scale and units. What
    is left out is said in a warning.

    Parameters
    ----------
    path
        ``.nii.gz``, ``.nii``, ``.nrrd``, ``.mha``, ``.ome.zarr``, ``.ome.tif``. Labels that are
        there are replaced.
    data
        The layer's array; of a multiscale layer the finest level is written.
    meta
        The layer's other fields, as ``layer.as_layer_data_tuple()`` has them.

    Returns
    -------
    list of str
        The path.

    Raises
    ------
    SDSegError
        If the format cannot hold the labels.
    OSError
        If they cannot be written, as when the disk is full.
    """
    try:
        _write(Path(path), data, meta)
    except ValueError as error:
        # napari takes a ValueError for "no writer found", and says that instead
        raise SDSegError(str(error)) from error
    return [path]


def _write(target: Path, data: Any, meta: Mapping[str, Any]) -> None:
    labels = data[0] if meta.get("multiscale") else data
    suffix = files.check_writable(target, labels.ndim)
    matrix = layer_matrix(meta, labels.ndim)
    units = [known(str(u)) for u in meta.get("units") or [None] * labels.ndim]
    names, colors = _classes(meta)
    if suffix.endswith((".nii", ".nii.gz", ".nrrd", ".mha")):
        labels, matrix, units = _in_file_order(labels, matrix, units, meta)
        like = _itk(labels, matrix, units)
    elif suffix.endswith(".zarr"):
        labels, matrix = _unflipped(labels, matrix)
        like = _ngff(labels, matrix, units, meta)
    else:
        like = _plain(labels, matrix, units)
    dtype = _dtype(labels)
    files.write_planes(
        target,
        _planes(labels, dtype),
        labels.shape,
        dtype,
        like,
        names=names,
        colors=colors,
        overwrite=True,
    )


def _planes(
    labels: Any, dtype: np.dtype[Any]
) -> Iterator[tuple[tuple[int | slice, ...], npt.NDArray[Any]]]:
    whole = (slice(None), slice(None))
    for position in np.ndindex(labels.shape[:-2]):
        yield (*position, *whole), np.asarray(labels[position], dtype)


def _dtype(labels: Any) -> np.dtype[Any]:
    """Return the smallest type that every format has and that holds the labels."""
    dtype: np.dtype[Any] = np.dtype(np.uint8 if labels.dtype == bool else labels.dtype)
    if dtype not in (np.uint8, np.uint16, np.uint32) and labels.size:
        array = np.asarray(labels)
        low, high = int(array.min()), int(array.max())
        if low < 0:
            raise InputError(f"the labels reach down to {low}; only 0 and above can be written")
        dtype = np.min_scalar_type(high)
    return dtype


# -- where they lie ------------------------------------------------------------------------------


def _in_file_order(
    labels: Any, matrix: npt.NDArray[np.float64], units: list[str | None], meta: Mapping[str, Any]
) -> tuple[Any, npt.NDArray[np.float64], list[str | None]]:
    """Put the axes back into the order of the file that a layer was read from."""
    order = dict(meta.get("metadata") or {}).get(FILE_KEY, {}).get("order", ())
    if sorted(order) != list(range(labels.ndim)):
        return labels, matrix, units
    back = np.argsort(order)
    columns = [*(int(a) for a in back), labels.ndim]
    return labels.transpose(*back), matrix[:, columns], units


def _itk(labels: Any, matrix: npt.NDArray[np.float64], units: list[str | None]) -> Picture:
    # The rows of the matrix are the world's axes; units belong to them.
    factors = [in_unit(1.0, u, "mm") if u else 1.0 for u in units]
    geometry = to_itk(np.diag([*factors, 1.0]) @ matrix)
    return Picture(labels, spacing=geometry["spacing"][::-1], unit="mm", geometry=geometry)


def _unflipped(labels: Any, matrix: npt.NDArray[np.float64]) -> tuple[Any, npt.NDArray[np.float64]]:
    """Turn axes round that run against the world's: some readers of OME-Zarr refuse negative scales."""
    matrix = matrix.copy()
    for axis in map(int, np.flatnonzero(np.diag(parts(matrix)[1]) < 0)):
        labels = labels[(*[slice(None)] * axis, slice(None, None, -1))]
        matrix[:-1, -1] += matrix[:-1, axis] * (labels.shape[axis] - 1)
        matrix[:-1, axis] *= -1
    return labels, matrix


def _ngff(
    labels: Any, matrix: npt.NDArray[np.float64], units: list[str | None], meta: Mapping[str, Any]
) -> Picture:
    scale, directions, translation = parts(matrix)
    if not np.allclose(directions, np.eye(labels.ndim), atol=1e-6):
        _warn("OME-Zarr has no place for the layer's rotation or shear: they were left out.")
    names = "tczyx" if labels.ndim == 5 else "tzyx"[-labels.ndim :]
    axes: list[dict[str, Any]] = [{"name": n, "type": _TYPES.get(n, "space")} for n in names]
    for axis, unit, said in zip(axes, units, meta.get("units") or units, strict=True):
        if axis["type"] == "space" and unit in _LONG:
            axis["unit"] = _LONG[unit]
        elif axis["type"] == "time" and str(said) in _TIMES:
            axis["unit"] = str(said)
    geometry = {"axes": axes, "scale": scale.tolist(), "translation": translation.tolist()}
    return Picture(labels, geometry=geometry)


#: Names of units as the OME-Zarr specification has them.
_LONG = {
    "pm": "picometer", "nm": "nanometer", "um": "micrometer", "mm": "millimeter",
    "cm": "centimeter", "m": "meter",
}  # fmt: skip
_TIMES = ("millisecond", "second", "minute", "hour", "day")
_TYPES = {"t": "time", "c": "channel"}


def _plain(labels: Any, matrix: npt.NDArray[np.float64], units: list[str | None]) -> Picture:
    """Keep the pixel size: TIFF has no place for more."""
    scale, directions, translation = parts(matrix)
    if not np.allclose(directions, np.eye(labels.ndim), atol=1e-6) or np.any(translation):
        _warn(
            "TIFF has no place for where the layer lies: its translation and rotation were left out. "
            ".nii.gz keeps them."
        )
    spacing = tuple(float(s) for s in scale[-3:])
    unit = units[-1]
    if unit is None and set(spacing) == {1.0}:
        return Picture(labels)
    # one unit for all: TIFF readers look at the last axis
    wanted = unit or "pixel"
    if unit is not None:
        known_units = [u or unit for u in units[-3:]]
        spacing = tuple(in_unit(s, u, unit) for s, u in zip(spacing, known_units, strict=True))
    return Picture(labels, spacing=spacing, unit=wanted)


def _warn(said: str) -> None:
    from napari.utils.notifications import show_warning

    show_warning(said)


# -- what they mean ------------------------------------------------------------------------------


def _classes(meta: Mapping[str, Any]) -> tuple[list[str], list[tuple[int, ...]]]:
    """Return names and colours of classes 1, 2, ... of a layer that has them."""
    table = getattr(meta.get("colormap"), "color_dict", None) or {}
    values = sorted(v for v in table if v)
    if not values or values != list(range(1, len(values) + 1)) or len(values) >= _CLASSES:
        return [], []
    colors = [tuple(round(float(c) * 255) for c in table[v]) for v in values]
    features = meta.get("features")
    if features is None or "index" not in features:
        return [], colors
    column = next((c for c in ("name", "class") if c in features), None)
    if column is None:
        return [], colors
    named = dict(zip(features["index"], features[column], strict=True))
    return ([str(named[v]) for v in values] if set(values) <= set(named) else []), colors
