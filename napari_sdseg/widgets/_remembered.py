"""Choices that are there again at the next start, on the plugin's page of napari's preferences."""

from __future__ import annotations

from typing import Any

__all__ = ["recall", "remember"]

PLUGIN, PAGE = "napari-sdseg", "segment"


def _page() -> Any:
    """Return this plugin's page of the preferences; None where napari has none."""
    try:
        from napari.settings import get_plugin_settings

        return getattr(get_plugin_settings(PLUGIN), PAGE)
    # An older napari, a manifest that is not installed, a damaged file: what is remembered is no
    # reason not to open.
    except Exception:  # noqa: BLE001
        return None


def recall(name: str, default: Any) -> Any:
    """Return a remembered choice."""
    value = getattr(_page(), name, None)
    return default if value is None or value == "" else value


def remember(**choices: Any) -> None:
    """Keep choices for the next start."""
    page = _page()
    for name, value in choices.items():
        kept = "" if value is None else value
        if page is not None and getattr(page, name, kept) != kept:
            setattr(page, name, kept)
