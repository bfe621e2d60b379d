"""Image layer -> what the panels must know of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sdseg.layers import image_array, image_spacing
from sdseg.axes import colours

from .segment.state import ImageFacts

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

__all__ = ["image_facts"]


def image_facts(viewer: napari.Viewer, layer: Image, level: int = 0) -> ImageFacts:
    """Return what must be known of an image to decide how it can be segmented."""
    data, channel_axis = image_array(layer, level)
    # The sliders' names. While a layer is being added the viewer may still have too few axes.
    names = list(viewer.dims.axis_labels[-layer.ndim :])
    if len(names) < layer.ndim:
        names = list(layer.axis_labels)
    if channel_axis is not None:
        names.append("colour")
    shape = tuple(data.shape)
    spacing = image_spacing(layer, colours(shape, channel_axis), level)
    return ImageFacts(layer.name, shape, data.dtype, tuple(names), channel_axis, *spacing)
