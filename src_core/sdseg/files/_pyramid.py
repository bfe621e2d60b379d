"""Labels as OME-Zarr: a pyramid written plane by plane, alone or within an image."""

from __future__ import annotations

import itertools
import os
import shutil
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from ..atomic import atomic_folder
from ..errors import InputError
from . import _ngff
from ._omezarr import multiscale_of
from ._picture import Picture, kept_axes
from ._read import read

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ._source import Index, Source

__all__ = ["check", "container_of", "write"]

#: The longer side below which no further level is made, and the longest side of a chunk.
_SMALLEST, _CHUNK = 256, 1024


def container_of(path: Path) -> Path | None:
    """Return the OME-Zarr image that ``image.zarr/labels/NAME`` lies in; None for any other path."""
    if path.parent.name != "labels":
        return None
    image = path.parent.parent
    try:
        node = _ngff.node(image)
        return image if node is not None and multiscale_of(node) is not None else None
    except (ValueError, KeyError) as error:
        raise InputError(f"{image}: its metadata is damaged: {error}") from error


def check(path: Path, ndim: int | None) -> None:
    """Say what keeps labels from being written there."""
    if ndim is not None and not 2 <= ndim <= 5:
        raise InputError(f"{path}: OME-Zarr holds two to five axes, the labels have {ndim}; use .npy")
    if path.name.startswith((".", "__")):
        raise InputError(f"{path}: a label's name cannot begin with {path.name[0]!r}; give another")
    image = container_of(path)
    if image is not None:
        try:
            _listed(image)
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise InputError(f"{path.parent}: its metadata is damaged: {error}") from error
    if not path.exists():
        return
    try:
        node = _ngff.node(path) if path.is_dir() else None
    except (ValueError, KeyError):
        node = None
    if node is None or "image-label" not in node["attributes"].get("ome", node["attributes"]):
        raise InputError(f"{path} is there and does not hold labels; give another name")


def write(
    path: Path,
    source: Source,
    shape: tuple[int, ...],
    dtype: Any,
    like: Picture | None,
    *,
    names: Sequence[str],
    colors: Sequence[Any],
    spacing: tuple[float, ...] | None,
    unit: str | None,
) -> None:
    """Write labels into a fresh folder, which then takes its place."""
    image = container_of(path)
    zarr_format, levels = 3, None
    if image is not None:
        zarr_format, levels, like = _fit(image, shape, like)
    first = next(source, None)
    index: Index = (slice(None),) * len(shape) if first is None else first[0]
    plane = [a for a, i in enumerate(index) if isinstance(i, slice)][-2:]
    longest = max(shape[a] for a in plane)
    if levels is None:
        levels = next(n for n in itertools.count(1) if -(-longest // 2 ** (n - 1)) < _SMALLEST)
    layout = _ngff.labels_layout(shape, like, spacing, unit)
    known = path.exists()
    with atomic_folder(path) as fresh:
        arrays = [_array(fresh, k, shape, plane, dtype, zarr_format, layout) for k in range(levels)]
        for where, labels in itertools.chain([] if first is None else [first], source):
            for k, array in enumerate(arrays):
                array[where] = np.asarray(labels)[:: 2**k, :: 2**k]
            os.utime(fresh)  # still being written: see `put_back`
        # The group comes last: without it the folder is no image.
        attributes = _attributes(path.name, plane, levels, layout, names, colors, image is not None)
        if zarr_format == 3:
            attributes = {"ome": {"version": "0.5", **attributes}}
        else:
            attributes["multiscales"][0]["version"] = attributes["image-label"]["version"] = "0.4"
        _ngff.write_group(fresh, zarr_format, attributes)
    if image is not None:
        try:
            _list(image, path.name, zarr_format)
        except BaseException:
            if not known and path.name not in _listed(image):
                shutil.rmtree(path, ignore_errors=True)
            raise


def _fit(image: Path, shape: tuple[int, ...], like: Picture | None) -> tuple[int, int, Picture]:
    """Find the level of an image that labels lie on; they have its version and number of levels."""
    node = _ngff.node(image)
    multiscale = multiscale_of(node) if node is not None else None
    if node is None or multiscale is None:
        raise InputError(f"{image} is no OME-Zarr image")
    levels = len(multiscale["datasets"])
    if like is not None and "scale" in like.geometry and kept_axes(like, shape) is not None:
        return node["format"], levels, like
    pictures = [read(image, level=level) for level in range(levels)]
    for picture in pictures:
        if kept_axes(picture, shape) is not None:
            return node["format"], levels, picture
    raise InputError(
        f"{image}: labels of shape {shape} fit none of its levels, {[p.data.shape for p in pictures]}"
    )


def _array(
    folder: Path,
    level: int,
    shape: tuple[int, ...],
    plane: list[int],
    dtype: Any,
    zarr_format: int,
    layout: _ngff.Layout,
) -> Any:
    import zarr

    sizes = [-(-n // 2**level) if a in plane else n for a, n in enumerate(shape)]
    options: dict[str, Any] = {}
    if zarr_format == 3:
        options["dimension_names"] = [a["name"] for a in layout[0]]
    return zarr.create_array(
        str(folder / str(level)),
        shape=tuple(sizes),
        dtype=np.uint8 if np.dtype(dtype) == bool else dtype,
        chunks=tuple(min(n, _CHUNK) if a in plane else 1 for a, n in enumerate(sizes)),
        fill_value=0,
        zarr_format=zarr_format,  # type: ignore[arg-type]
        chunk_key_encoding={"name": "v2" if zarr_format == 2 else "default", "separator": "/"},
        **options,
    )


def _attributes(
    name: str,
    plane: list[int],
    levels: int,
    layout: _ngff.Layout,
    names: Sequence[str],
    colors: Sequence[Any],
    inside: bool,
) -> dict[str, Any]:
    """Describe the pyramid and what its numbers mean."""
    axes, scale, translation = layout
    datasets = []
    for k in range(levels):
        sizes = [s * 2**k if a in plane else s for a, s in enumerate(scale)]
        # Every second pixel beginning with the first: its centre stays where it was.
        moves: list[dict[str, Any]] = [{"type": "scale", "scale": sizes}]
        if any(translation):
            moves.append({"type": "translation", "translation": translation})
        datasets.append({"path": str(k), "coordinateTransformations": moves})
    label: dict[str, Any] = {}
    if colors:
        label["colors"] = [{"label-value": i, "rgba": _rgba(c)} for i, c in enumerate(colors, start=1)]
    if names:
        label["properties"] = [{"label-value": i, "class": n} for i, n in enumerate(names, start=1)]
    if inside:
        label["source"] = {"image": "../../"}
    multiscale = {"name": name, "axes": axes, "datasets": datasets, "type": "nearest"}
    return {"multiscales": [multiscale], "image-label": label}


def _rgba(color: Any) -> list[int]:
    """Turn ``"#rrggbb"``, or three or four numbers of 0 to 255, into four numbers."""
    if isinstance(color, str):
        color = tuple(bytes.fromhex(color.removeprefix("#")))
    return [*(int(c) for c in color), 255][:4]


def _listed(image: Path) -> list[str]:
    """Return the names in an image's list of labels."""
    node = _ngff.node(image / "labels")
    attributes = node["attributes"] if node is not None else {}
    return list(attributes.get("ome", attributes).get("labels", ()))


def _list(image: Path, name: str, zarr_format: int) -> None:
    """Add a name to an image's list of labels."""
    import zarr

    folder = image / "labels"
    node, listed = _ngff.node(folder), _listed(image)
    if name not in listed or node is None:
        content = {"labels": listed if name in listed else [*listed, name]}
        attributes = dict(node["attributes"]) if node is not None else {}
        if zarr_format == 3:
            content = {"ome": {"version": "0.5", **attributes.get("ome", {}), **content}}  # type: ignore[dict-item]
        _ngff.write_group(folder, zarr_format, {**attributes, **content})
    # Readers trust a copy of all metadata in a group above, where there is one.
    for group in (folder, image):
        there = _ngff.node(group)
        if there is not None and there["consolidated"]:
            with warnings.catch_warnings():  # that Zarr 3 does not specify it; the image has it
                warnings.simplefilter("ignore")
                zarr.consolidate_metadata(str(group), zarr_format=zarr_format)  # type: ignore[arg-type]
