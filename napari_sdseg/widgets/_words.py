"""Small phrases that the panels share."""

from __future__ import annotations

__all__ = ["duration", "planes", "sentence"]


def planes(count: int) -> str:
    """Return "1 plane", "12 planes"."""
    return f"{count} plane" if count == 1 else f"{count} planes"


def sentence(text: str) -> str:
    """End a text with a full stop, if it has no end."""
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


def duration(seconds: float) -> str:
    """Return a time as a person says it: "8.2 s", "45 s", "12 min", "1.5 h"."""
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
