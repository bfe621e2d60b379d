"""OME-Zarr images and plain Zarr arrays, read as they are indexed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import InputError
from . import _ngff
from ._picture import MILLIMETRES, ZARR, Picture

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["image_label", "is_image", "is_zarr", "labels_in", "levels", "multiscale_of", "read"]


def is_zarr(path: Path) -> bool:
    """Say whether a folder is Zarr, by its name or by what is in it."""
    marks = ("zarr.json", ".zgroup", ".zarray")
    return path.name.lower().endswith(ZARR) or any((path / m).is_file() for m in marks)


def is_image(path: Path) -> bool:
    """Say whether a folder is a Zarr array or an OME-Zarr image; one with damaged metadata is."""
    try:
        node = _ngff.node(path)
    except (OSError, ValueError, KeyError):
        return True
    if node is None:
        return False
    return node["kind"] == "array" or bool(multiscale_of(node)) or _series(node)


def multiscale_of(node: dict[str, Any]) -> dict[str, Any] | None:
    """Return the first image that a group's attributes describe."""
    found = node["attributes"].get("ome", node["attributes"]).get("multiscales")
    return dict(found[0]) if found else None


def _series(node: dict[str, Any]) -> bool:
    """Whether a group holds images 0, 1, ..., as bioformats2raw lays them out."""
    attributes = node["attributes"]
    return "bioformats2raw.layout" in attributes.get("ome", attributes)


def read(path: Path, level: int) -> Picture:
    """Read a level of an OME-Zarr image, or a Zarr array."""
    import zarr

    node = _ngff.node(path)
    if node is None:
        raise InputError(f"{path} holds no Zarr metadata (zarr.json, .zgroup or .zarray)")
    if node["kind"] == "array":
        if level != 0:
            raise InputError(f"{path}: level {level} is not there; it is one array, level 0")
        return Picture(zarr.open_array(str(path), mode="r"), path=path)
    multiscale = multiscale_of(node)
    if multiscale is None:
        return read(_only_series(path, node), level)
    datasets = multiscale["datasets"]
    if not 0 <= level < len(datasets):
        many = (
            "1 level, 0" if len(datasets) == 1 else f"{len(datasets)} levels, 0 to {len(datasets) - 1}"
        )
        raise InputError(f"{path}: level {level} is not there; it has {many}")
    place = path / datasets[level]["path"]
    if not is_zarr(place):
        raise InputError(f"{path}: its array {datasets[level]['path']} is missing; copy it again")
    data = zarr.open_array(str(place), mode="r")
    axes = _ngff.axes_of(multiscale)
    if len(axes) != data.ndim:
        raise InputError(f"{path}: names {len(axes)} axes, its array has {data.ndim}")
    try:
        scale, translation = _ngff.compose(
            [
                *datasets[level].get("coordinateTransformations", ()),
                *multiscale.get("coordinateTransformations", ()),
            ],
            data.ndim,
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    names = [str(a["name"]) for a in axes]
    channels = [i for i, a in enumerate(axes) if a.get("type") == "channel"]
    spacing, unit = _spacing(axes, scale)
    return Picture(
        data,
        axes="".join(names).upper() if all(len(n) == 1 for n in names) else None,
        spacing=spacing,
        unit=unit,
        channel_axis=next((i for i in channels if data.shape[i] in (1, 3, 4)), None),
        path=path,
        geometry={"axes": axes, "scale": scale, "translation": translation},
    )


def levels(path: Path) -> int:
    """Return how many levels `read` finds in a Zarr folder; 1 for an array."""
    node = _ngff.node(path)
    if node is None or node["kind"] == "array":
        return 1
    multiscale = multiscale_of(node)
    return levels(_only_series(path, node)) if multiscale is None else len(multiscale["datasets"])


def labels_in(path: Path) -> list[Path]:
    """List the labels within an OME-Zarr image, in the order the image lists them."""
    node = _ngff.node(path)
    if node is not None and node["kind"] == "group" and multiscale_of(node) is None:
        path = _only_series(path, node)
    listing = _ngff.node(path / "labels")
    if listing is None:
        return []
    attributes = listing["attributes"]
    listed = attributes.get("ome", attributes).get("labels", ())
    return [path / "labels" / str(n) for n in listed if is_image(path / "labels" / str(n))]


def image_label(path: Path) -> dict[str, Any] | None:
    """Return what a Zarr folder says of its numbers (colours, properties); None if not labels."""
    node = _ngff.node(path)
    if node is None:
        return None
    found = node["attributes"].get("ome", node["attributes"]).get("image-label")
    return dict(found) if isinstance(found, dict) else None


def _spacing(
    axes: list[dict[str, Any]], scale: list[float]
) -> tuple[tuple[float, ...] | None, str | None]:
    """Return the pixel size in one unit, that of the last spatial axis."""
    spatial = [i for i, a in enumerate(axes) if a.get("type") == "space"]
    if not spatial:
        return None, None
    units = [_ngff.unit_of(axes[i].get("unit")) for i in spatial]
    last = MILLIMETRES.get(units[-1] or "")
    factors = [MILLIMETRES.get(u or "", last) for u in units]
    sizes = (
        scale[i] * (f / last if f and last else 1.0) for i, f in zip(spatial, factors, strict=True)
    )
    return tuple(sizes), units[-1]


def _only_series(path: Path, node: dict[str, Any]) -> Path:
    """Find the image of a group that is not one itself."""
    inside = [p.name for p in sorted(path.iterdir()) if p.is_dir() and is_zarr(p)]
    if _series(node) and "0" in inside:
        others = [n for n in inside if n.isdecimal()]
        if len(others) == 1:
            return path / "0"
        raise InputError(f"{path} holds {len(others)} images; give one of them, such as {path / '0'}")
    said = f"; it holds {', '.join(inside[:8])}" if inside else ""
    raise InputError(f"{path} is a Zarr group without an image{said}. Give the folder of an image")
