"""The `segment()` call that does what the panel does. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["script"]


def script(layer: str, settings: Mapping[str, Any]) -> str:
    """Return Python for napari's console, or for a script that has a ``viewer``.

    Parameters
    ----------
    layer
        Name of the image layer.
    settings
        Arguments of `napari_sdseg.segment`; see `SegmentState.settings`.
    """
    arguments = [f"viewer.layers[{layer!r}]"]
    arguments += [f"{name}={_shown(value)}" for name, value in settings.items()]
    return (
        "from napari_sdseg import segment\n\n"
        f"labels = segment({', '.join(arguments)})\n"
        "viewer.add_layer(labels)\n"
    )


def _shown(value: Any) -> str:
    if isinstance(value, slice):
        return f"slice({value.start}, {value.stop})"
    if isinstance(value, float):
        return f"{value:.6g}"
    return repr(value)
