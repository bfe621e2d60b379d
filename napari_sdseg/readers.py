"""Files -> layers, for napari's File > Open and for what is dropped on it.

DICOM series, NIfTI, NRRD and MetaImage lie in the world where their scanner saw them; OME-Zarr images
come as pyramids, with the labels that lie within them.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from sdseg import files
from sdseg.units import known

from ._world import from_itk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sdseg.files import Picture

__all__ = ["FILE_KEY", "LayerData", "get_reader", "read_layers"]

LayerData: TypeAlias = tuple[Any, dict[str, Any], str]

#: In ``layer.metadata``: the file a layer came from, and the order in which it takes the file's axes.
FILE_KEY = "napari-sdseg file"

#: Soft tissue: level 40 HU, width 400 HU.
_WINDOW = (-160.0, 240.0)

_LABELS = re.compile(r"label|seg|mask", re.IGNORECASE)

#: Bytes up to which labels are read whole: napari lets only those be painted.
_PAINTABLE = 256 * 2**20

#: What napari calls an axis that has no unit.
_NO_UNIT = "pixel"


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[LayerData]] | None:
    """Return what reads a path, or None at once if that is another reader's business.

    Folders are ours if they hold OME-Zarr or a DICOM series; a stack of files never is.
    """
    if not isinstance(path, str):
        if len(path) != 1:
            return None
        (path,) = path
    return partial(_read_one, Path(path)) if files.is_image(path) else None


def _read_one(path: Path, _: Any) -> list[LayerData]:
    return read_layers(path)


def read_layers(path: str | Path) -> list[LayerData]:
    """Read an image as layers: data, keyword arguments, and ``"image"`` or ``"labels"``.

    A file of whole numbers that calls itself label, seg or mask becomes Labels, anything else an
    Image. CT is shown in the window of soft tissue.

    Raises
    ------
    InputError
        If it cannot be read; the message names the file.
    """
    path = Path(path)
    if path.is_dir() and files.is_zarr(path):
        return _zarr(path)
    picture = files.read(path)
    return [_volume(picture, path) if picture.geometry else _flat(picture, path)]


# -- medical volumes -----------------------------------------------------------------------------


def _volume(picture: Picture, path: Path) -> LayerData:
    order, fields = from_itk(picture.geometry)
    ndim, channel = len(order), picture.channel_axis
    data = picture.data.transpose(*order, *(() if channel is None else (channel,)))
    kwargs: dict[str, Any] = {
        **_origin(path, order),
        **fields,
        "units": _units(ndim, picture.unit),
        "axis_labels": tuple("tzyx"[-ndim:]) if ndim <= 4 else None,
    }
    whole = np.issubdtype(data.dtype, np.integer)
    # a folder of slices is what a scanner made, whatever its name
    if channel is None and whole and path.is_file() and _LABELS.search(path.name):
        return data, kwargs, "labels"
    if channel is not None:
        colours = data.dtype == np.uint8 and data.shape[-1] in (3, 4)
        kwargs |= {"rgb": True} if colours else {"channel_axis": ndim}
    elif _is_ct(data[tuple(slice(None, None, max(1, n // 64)) for n in data.shape)]):
        kwargs["contrast_limits"] = _WINDOW
    return data, kwargs, "image"


def _units(ndim: int, unit: str | None) -> tuple[str, ...]:
    """Name the units of an array whose last three axes are space, and the one before time."""
    space = min(ndim, 3)
    return ("second",) * (ndim - space) + (known(unit) or _NO_UNIT,) * space


def _is_ct(sample: Any) -> bool:
    """Whether values look like Hounsfield units: air is there, near -1000, and so is tissue.

    Scanners pad with values down to some -3000.
    """
    if sample.dtype.kind not in "if" or not sample.size:
        return False
    low, high = float(np.nanmin(sample)), float(np.nanmax(sample))
    return -5000 < low <= -500 and 100 <= high < 40000


def _flat(picture: Picture, path: Path) -> LayerData:
    return picture.data, _origin(path, tuple(range(picture.data.ndim))), "image"


def _origin(path: Path, order: tuple[int, ...], name: str | None = None) -> dict[str, Any]:
    """Return name and metadata of a layer."""
    suffix = files.suffix_of(path)
    name = name or (path.name[: -len(suffix)] if suffix else path.name)
    return {"name": name, "metadata": {FILE_KEY: {"path": str(path), "order": order}}}


# -- OME-Zarr ------------------------------------------------------------------------------------


def _zarr(path: Path) -> list[LayerData]:
    about = files.image_label(path)
    if about is not None:
        return [_zarr_labels(path, about)]
    made = [_zarr_image(path)]
    for place in files.labels_in(path):
        data, kwargs, kind = _zarr_labels(place, files.image_label(place) or {})
        kwargs["name"] = f"{made[0][1]['name']} - {place.name}"
        made.append((data, kwargs, kind))
    return made


def _pyramid(path: Path) -> tuple[list[Any], Picture]:
    """Open all levels without reading them; the picture is the finest."""
    import dask.array as da

    pictures = [files.read(path, level=k) for k in range(files.levels(path))]
    return [da.from_zarr(p.data) for p in pictures], pictures[0]


def _zarr_image(path: Path) -> LayerData:
    levels, finest = _pyramid(path)
    axes = finest.geometry.get("axes", ())
    channel = next((i for i, a in enumerate(axes) if a.get("type") == "channel"), None)
    kwargs = {**_origin(path, tuple(range(finest.data.ndim))), **_zarr_fields(finest, channel)}
    if channel is not None and finest.data.shape[channel] == 1:
        levels = [level[(*[slice(None)] * channel, 0)] for level in levels]
    elif channel is not None:
        kwargs["channel_axis"] = channel
    coarsest = levels[-1]
    middle = coarsest[tuple(n // 2 for n in coarsest.shape[:-2])]  # a plane is enough, and quick
    if _is_ct(np.asarray(middle)):
        kwargs["contrast_limits"] = _WINDOW
    return (levels if len(levels) > 1 else levels[0]), kwargs, "image"


def _zarr_labels(path: Path, about: dict[str, Any]) -> LayerData:
    levels, finest = _pyramid(path)
    fields = {**_origin(path, tuple(range(finest.data.ndim))), **_zarr_fields(finest, None)}
    data: Any = levels if len(levels) > 1 else levels[0]
    if levels[0].nbytes <= _PAINTABLE:
        data = np.asarray(levels[0])
    return data, {**fields, **_meaning(about)}, "labels"


def _zarr_fields(picture: Picture, channel: int | None) -> dict[str, Any]:
    """Return the transform, units and names of the axes, less the channels."""
    geometry = picture.geometry
    if not geometry:
        return {}
    kept = [i for i in range(len(geometry["axes"])) if i != channel]
    axes = [geometry["axes"][i] for i in kept]
    return {
        "scale": [geometry["scale"][i] for i in kept],
        "translate": [geometry["translation"][i] for i in kept],
        "units": tuple(_unit(a) for a in axes),
        "axis_labels": tuple(str(a["name"]) for a in axes),
    }


def _unit(axis: dict[str, Any]) -> str:
    unit = axis.get("unit")
    if axis.get("type") == "time":
        return unit if unit in ("second", "millisecond", "minute", "hour", "day") else _NO_UNIT
    return known(unit) or _NO_UNIT


def _meaning(about: dict[str, Any]) -> dict[str, Any]:
    """Return the colours and names that labels were written with."""
    made: dict[str, Any] = {}
    colors = {int(c["label-value"]): c["rgba"] for c in about.get("colors", ()) if "rgba" in c}
    if colors:
        from napari.utils.colormaps import DirectLabelColormap

        table: dict[int | None, Any] = {value: np.divide(c, 255) for value, c in colors.items()}
        made["colormap"] = DirectLabelColormap(color_dict={None: "gray", 0: "transparent", **table})
    named = {int(p["label-value"]): p["class"] for p in about.get("properties", ()) if "class" in p}
    if named:
        named = {0: "background", **named}
        made["features"] = {"index": list(named), "name": list(named.values())}
    return made
