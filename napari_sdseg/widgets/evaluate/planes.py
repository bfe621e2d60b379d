"""Planes of a layer and the viewer's sliders: which is shown, and how to get to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import napari
    from napari.layers import Labels

__all__ = ["show_plane", "shown_position"]


def shown_position(viewer: napari.Viewer, layer: Labels) -> dict[int, int]:
    """Return where the sliders stand in a layer, for each of its axes that has one."""
    dims = viewer.dims
    offset = dims.ndim - layer.ndim
    if offset < 0:  # a layer is being removed
        return {}
    inside = layer.world_to_data(dims.point)
    axes = (a for a in range(layer.ndim) if a + offset not in dims.displayed)
    return {a: round(float(inside[a])) for a in axes}


def show_plane(viewer: napari.Viewer, layer: Labels, position: Mapping[int, int]) -> None:
    """Move the sliders to a plane of a layer; a view that has no slider for it gets one."""
    dims = viewer.dims
    offset = dims.ndim - layer.ndim
    if offset < 0:
        return
    wanted = [a + offset for a in position]
    if dims.ndisplay == 3 or set(wanted) & set(dims.displayed):
        dims.ndisplay = 2
        # what was drawn stays drawn where it can
        others = [a for a in dims.order if a not in wanted]
        if set(wanted) & set(dims.displayed):
            dims.order = (*others[:-2], *wanted, *others[-2:])
    point = list(layer.world_to_data(dims.point))
    for axis, at in position.items():
        point[axis] = at
    world = layer.data_to_world(point)
    sliders = [a for a in range(layer.ndim) if a + offset not in dims.displayed]
    dims.set_point([a + offset for a in sliders], [float(world[a]) for a in sliders])
