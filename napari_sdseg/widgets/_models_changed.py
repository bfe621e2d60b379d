"""Says to all panels that models have come, gone or been renamed."""

from __future__ import annotations

from psygnal import Signal

__all__ = ["models_changed"]


class _Models:
    changed = Signal()


models_changed = _Models().changed
