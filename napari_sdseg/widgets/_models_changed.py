"""Says to all panels that models have come, gone or been renamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakMethod

from psygnal import Signal

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["listen", "models_changed"]


class _Models:
    changed = Signal()


models_changed = _Models().changed


def listen(slot: Callable[[], object]) -> None:
    """Call a panel's method at every change, as long as the panel is there.

    A panel whose window was closed may outlive its widgets, and its method would stop all others from
    hearing of the change.
    """
    from qtpy.compat import isalive

    reference = WeakMethod(slot)

    def heard() -> None:
        method: Any = reference()
        if method is not None and isalive(method.__self__):
            method()

    models_changed.connect(heard)
