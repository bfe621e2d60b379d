"""Where the viewer stands in an image, and a layer that shows one plane while it is learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sdseg.layers import METADATA_KEY, geometry, labels_kwargs, move_to, redraw, shifted
from sdseg import scratch

from ..evaluate.planes import show_plane

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Labels

    from sdseg.axes import StackPlan

    from .painted import At
    from .work import Shown

__all__ = ["LivePreview", "go_to", "is_preview", "new_labels", "plane_in_view"]


def plane_in_view(viewer: napari.Viewer, image: Image, plan: StackPlan) -> At:
    """Return where the plane that the viewer shows lies along the looped axes."""
    point = list(image.world_to_data(viewer.dims.point)[-image.ndim :])
    if plan.channel_axis is not None and not image.rgb:
        del point[plan.channel_axis]
    return tuple(min(max(round(float(point[a])), 0), plan.output_shape[a] - 1) for a in plan.looped)


def go_to(viewer: napari.Viewer, image: Image, plan: StackPlan, at: At) -> None:
    """Move the viewer to a plane of an image."""
    axes = [a for a in range(len(plan.shape)) if a != plan.channel_axis]
    show_plane(viewer, image, {axes[a]: k for a, k in zip(plan.looped, at, strict=True)})


def new_labels(viewer: napari.Viewer, image: Image, plan: StackPlan) -> Labels:
    """Add a Labels layer that lies on an image, ready to paint in."""
    from napari.layers import Labels

    layer = Labels(
        scratch.zeros(plan.output_shape, np.dtype(np.uint16)),
        name=f"{image.name} - painted",
        **geometry(image, plan),
    )
    _add(viewer, layer)
    viewer.layers.selection.active = layer
    layer.brush_size = max(3, min(plan.plane_shape) // 32)
    layer.selected_label = 1
    layer.mode = "paint"
    return layer


def _add(viewer: napari.Viewer, layer: Labels) -> None:
    try:
        viewer.add_layer(layer)
    except TypeError:  # of the status bar, see `..segment.run`; the layer is there all the same
        if layer not in viewer.layers:
            raise


def is_preview(layer: Any) -> bool:
    """Whether a layer is a passing guess of this plugin, which is nothing to paint in."""
    return bool(getattr(layer, "metadata", {}).get(METADATA_KEY, {}).get("preview"))


class LivePreview:
    """A Labels layer of one plane, at its place in the stack, drawn better and better.

    Attributes
    ----------
    layer
        None before the first plane, and when a person has removed it: then none comes until `begin`.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self.viewer = viewer
        self.layer: Labels | None = None
        self._image: Image | None = None
        self._wanted = self._away = False
        viewer.layers.events.removed.connect(self._on_removed)

    def begin(self, image: Image) -> None:
        """Show planes of an image from now on."""
        self.clear()
        self._image, self._wanted = image, True

    def clear(self) -> None:
        """Hide the preview until the next; `redraw` says why it stays."""
        self._wanted = False
        if self.layer is not None:
            self._away, self.layer.visible = True, False

    def close(self) -> None:
        """Hear no more: the panel or its viewer is gone."""
        self._wanted = False
        self.viewer.layers.events.removed.disconnect(self._on_removed)

    def draw(self, shown: Shown, plan: StackPlan) -> None:
        """Show a plane."""
        image = self._image
        if not self._wanted or image is None or image not in self.viewer.layers:
            return
        start = [i if isinstance(i, int) else 0 for i in shown.index]
        shape = [
            1 if isinstance(i, int) else n for i, n in zip(shown.index, plan.output_shape, strict=True)
        ]
        data = shown.labels.reshape(shape)
        fields = shifted(geometry(image, plan), start)
        if self.layer is not None and not self._away and self.layer.data.shape == data.shape:
            move_to(self.layer, data, fields)
        else:
            self._make(image, data, fields, shown)

    def _make(self, image: Image, data: Any, fields: dict[str, Any], shown: Shown) -> None:
        from napari.layers import Labels

        single = shown.card.coding == "instances"
        kwargs = labels_kwargs(shown.card, source=image.name, instances=single)
        kwargs["name"] = f"{image.name} - learning"
        kwargs["metadata"][METADATA_KEY]["preview"] = True
        if self.layer is not None and self.layer.ndim == data.ndim:
            redraw(self.layer, data, kwargs, fields)
            self._away = False
            return
        layer = Labels(data, **kwargs, **fields)
        layer.editable = False
        # an outline, so that what is painted stays to be seen
        layer.contour = 2
        active = self.viewer.layers.selection.active
        _add(self.viewer, layer)
        self.viewer.layers.selection.active = active
        self.layer = layer

    def _on_removed(self, event: Any) -> None:
        if event.value is self.layer:
            self.layer, self._wanted = None, False
        elif event.value is self._image:
            self.clear()
