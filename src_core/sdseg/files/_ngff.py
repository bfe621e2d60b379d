"""The metadata of OME-Zarr: axes, units, transforms, and what labels take over from an image.

Versions 0.4 (Zarr 2, attributes in ``.zattrs``) and 0.5 (Zarr 3, attributes under ``ome``). Positions
are of pixel centres: position = scale * index + translation.
"""

from __future__ import annotations

import json
import os
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ._picture import MILLIMETRES, Picture, kept_axes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = [
    "Layout",
    "axes_of",
    "compose",
    "labels_layout",
    "node",
    "put_json",
    "unit_of",
    "write_group",
]

#: Axes, scale and translation; an entry an axis.
Layout = tuple[list[dict[str, Any]], list[float], list[float]]

_UNITS = {
    "nanometer": "nm", "micrometer": "um", "millimeter": "mm", "centimeter": "cm", "meter": "m",
}  # fmt: skip
_LONG_UNITS = {short: long for long, short in _UNITS.items()} | {"µm": "micrometer"}
_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}


def node(folder: Path) -> dict[str, Any] | None:
    """Read what a Zarr folder says of itself.

    Returns
    -------
    dict or None
        ``kind`` (``"group"`` or ``"array"``), ``format`` (2 or 3), ``attributes``, and
        ``consolidated``: whether it holds a copy of the metadata below it. None if it is not Zarr.

    Raises
    ------
    ValueError
        If its metadata is damaged.
    """
    if (folder / "zarr.json").is_file():
        found = _object(folder / "zarr.json")
        return {
            "kind": found["node_type"],
            "format": 3,
            "attributes": found.get("attributes", {}),
            "consolidated": found.get("consolidated_metadata") is not None,
        }
    for name, kind in ((".zgroup", "group"), (".zarray", "array")):
        if (folder / name).is_file():
            attributes = folder / ".zattrs"
            return {
                "kind": kind,
                "format": 2,
                "attributes": _object(attributes) if attributes.is_file() else {},
                "consolidated": (folder / ".zmetadata").is_file(),
            }
    return None


def _object(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} is not an object")
    return found


def put_json(path: Path, content: dict[str, Any]) -> None:
    """Write a small file that appears whole."""
    fresh = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        fresh.write_text(json.dumps(content, indent=2), encoding="utf-8")
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def write_group(folder: Path, zarr_format: int, attributes: dict[str, Any]) -> None:
    """Make a folder a Zarr group with these attributes; others of a group that is there are kept."""
    if zarr_format == 2:
        put_json(folder / ".zattrs", attributes)
        put_json(folder / ".zgroup", {"zarr_format": 2})
        return
    path = folder / "zarr.json"
    group = _object(path) if path.is_file() else {"zarr_format": 3, "node_type": "group"}
    put_json(path, {**group, "attributes": attributes})


def unit_of(name: str | None) -> str | None:
    """Shorten the name of a unit."""
    return None if name is None else _UNITS.get(name, name)


def axes_of(multiscale: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the axes of an image of any version, as objects with ``name`` and ``type``."""
    listed = multiscale.get("axes", list("tczyx"))
    axes = [{"name": a} if isinstance(a, str) else dict(a) for a in listed]
    for axis in axes:
        kind = _TYPES.get(axis["name"].lower())
        if kind is not None:
            axis.setdefault("type", kind)
    return axes


def compose(transforms: Sequence[dict[str, Any]], ndim: int) -> tuple[list[float], list[float]]:
    """Join transforms, applied in their order, into one scale and one translation."""
    scale, translation = np.ones(ndim), np.zeros(ndim)
    for transform in transforms:
        kind = transform.get("type")
        if kind == "scale" and "scale" in transform:
            factor = np.asarray(transform["scale"], float).reshape(ndim)
            scale, translation = scale * factor, translation * factor
        elif kind == "translation" and "translation" in transform:
            translation = translation + np.asarray(transform["translation"], float).reshape(ndim)
        elif kind != "identity":
            raise InputError(f"its transformation {kind!r} is not supported; use scale, translation")
    return scale.tolist(), translation.tolist()


def labels_layout(
    shape: tuple[int, ...],
    like: Picture | None,
    spacing: tuple[float, ...] | None,
    unit: str | None,
) -> Layout:
    """Say where labels lie.

    An OME-Zarr image's axes and transforms are taken over, less the channels. An image of another
    format gives its spacing, and its origin if it lies straight: a direction has no place here.
    """
    kept = kept_axes(like, shape)
    geometry = {} if like is None else like.geometry
    own = kept is not None and "scale" in geometry
    if own and kept is not None:
        axes = [dict(geometry["axes"][i]) for i in kept]
        scale = [float(geometry["scale"][i]) for i in kept]
        translation = [float(geometry["translation"][i]) for i in kept]
    else:
        letters = "".join(like.axes[i] for i in kept) if like and like.axes and kept else ""
        axes = [{"name": n, "type": _TYPES[n]} for n in _names(letters.lower(), len(shape))]
        scale, translation = [1.0] * len(shape), [0.0] * len(shape)
        if like is not None and spacing is None:
            spacing = like.spacing
        unit = unit or (like.unit if like is not None else None)
    spatial = [i for i, a in enumerate(axes) if a.get("type") == "space"]
    for i, size in zip(reversed(spatial), reversed(spacing or ()), strict=False):
        scale[i] = float(size)
        if unit is not None:
            axes[i]["unit"] = _LONG_UNITS.get(unit, unit)
    if "direction" in geometry and not own and kept is not None:
        n = len(geometry["origin"])
        if np.allclose(geometry["direction"], np.eye(n).ravel()):
            to_unit = 1.0 / MILLIMETRES.get(unit or "mm", 1.0)
            for i, at in zip(reversed(spatial), geometry["origin"], strict=False):
                translation[i] = float(at) * to_unit
    return axes, scale, translation


def _names(letters: str, ndim: int) -> str:
    """Name axes as the specification orders them: time, channel, space."""
    order = [("time", "channel", "space").index(_TYPES[a]) for a in letters if a in _TYPES]
    once = len(set(letters)) == len(letters) == ndim == len(order)
    if once and order == sorted(order) and order.count(2) >= 2:
        return letters
    return "tczyx" if ndim == 5 else "tzyx"[-ndim:]
