"""Labels layers -> what the *Evaluate* panel must know of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_sdseg.layers import METADATA_KEY, is_ours

from .facts import LabelsFacts, class_names, sliced_axis

if TYPE_CHECKING:
    from napari.layers import Labels

__all__ = ["facts", "labels_array", "likely_truth"]


def labels_array(layer: Labels) -> Any:
    """Return the array of a Labels layer: the finest, if it has several."""
    return layer.data[0] if layer.multiscale else layer.data


def facts(layer: Labels, axis_names: tuple[str, ...]) -> LabelsFacts:
    """Return what must be known of a layer, whose axes the viewer shows under these names."""
    settings = layer.metadata.get(METADATA_KEY, {}).get("settings", {})
    classes, colors = class_names(layer.features, layer.metadata), _own_colors(layer)
    corners = [[0.0] * layer.ndim]
    corners += [[float(a == axis) for a in range(layer.ndim)] for axis in range(layer.ndim)]
    return LabelsFacts(
        layer.name,
        tuple(labels_array(layer).shape),
        classes,
        bool(settings.get("instances", not colors and len(set(classes.values())) < 2)),
        sliced_axis(settings, layer.ndim),
        axis_names,
        tuple(tuple(float(x) for x in layer.data_to_world(corner)) for corner in corners),
        colors,
    )


def likely_truth(layers: list[Labels], labels: Labels | None, *, alone: bool) -> Labels | None:
    """Return the layer that is most likely the ground truth; of a single one only by its name."""
    ranked = sorted(layers, key=lambda x: ("truth" in x.name.lower(), not is_ours(x)), reverse=True)
    if labels is not None:
        ranked.sort(key=lambda layer: labels_array(layer).shape != labels_array(labels).shape)
    sure = len(ranked) > 1 or not alone or any("truth" in layer.name.lower() for layer in ranked)
    return ranked[0] if ranked and sure else None


def _own_colors(layer: Labels) -> dict[int, str]:
    """Return the colours of labels, where the layer gives each its own."""
    from napari.utils.colormaps import DirectLabelColormap

    if not isinstance(layer.colormap, DirectLabelColormap):
        return {}
    table = layer.colormap.color_dict
    return {
        int(label): "#" + "".join(f"{round(255 * float(part)):02x}" for part in color[:3])
        for label, color in table.items()
        if label and float(color[3]) > 0
    }
