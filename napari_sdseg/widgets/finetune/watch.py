"""Looks again and again at what is painted, in a thread, while a person paints."""

from __future__ import annotations

from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any

from psygnal import Signal
from qtpy.QtCore import QTimer

from .._worker import make_worker
from .painted import Scan, scan

if TYPE_CHECKING:
    from napari.layers import Labels

    from sdseg.axes import StackPlan

__all__ = ["Watch"]

#: Seconds of rest after a stroke before it is looked at, and how many times the last look's own cost:
#: labels of many gigabytes are looked at seldom.
_LEAST_REST, _REST = 0.15, 3.0


class Watch:
    """Tells what is painted in a layer, soon after it changes."""

    #: A tuple of `PlaneFound`; None where labels and image are of different shapes, and the exception
    #: that stood in the way where labels cannot be read.
    found = Signal(object)

    def __init__(self) -> None:
        self.layer: Labels | None = None
        self._plan: StackPlan | None = None
        self._data: Any = None
        self._worker: Any = None
        self._again = False
        self._begun, self._cost = 0.0, 0.0
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._look)

    def look_at(self, layer: Labels | None, plan: StackPlan | None) -> None:
        """Watch another layer, or look at it along another axis; None: at nothing."""
        if layer is None or plan is None:
            layer = plan = None
        same = layer is self.layer and (plan is None or self._key(plan) == self._key(self._plan))
        if same and (layer is None or layer.data is self._data):
            return
        self._stop()
        self._listen(layer)
        self._plan = plan
        if layer is not None:
            self._data = layer.data
            self._timer.start(0)

    def close(self) -> None:
        """Stop and hear no more."""
        self.found.disconnect()
        self._stop()
        self._listen(None)

    @staticmethod
    def _key(plan: StackPlan | None) -> Any:
        return None if plan is None else (plan.output_shape, plan.looped)

    def _listen(self, layer: Labels | None) -> None:
        for events, begin in ((self.layer, False), (layer, True)):
            if events is None:
                continue
            # strokes; an array that is exchanged; undo, or an array changed from a console
            for event in (events.events.paint, events.events.data, events.events.set_data):
                (event.connect if begin else event.disconnect)(self._changed)
        self.layer, self._data = layer, None

    def _changed(self, _: Any = None) -> None:
        if self._worker is not None:
            self._again = True
        else:
            self._timer.start(round(1000 * max(_LEAST_REST, _REST * self._cost)))

    def _look(self) -> None:
        layer, plan = self.layer, self._plan
        if layer is None or plan is None:
            return
        self._data = layer.data
        if tuple(layer.data.shape) != plan.output_shape:
            self.found.emit(None)
            return
        self._again, self._begun = False, perf_counter()
        self._worker = make_worker(scan, Scan(layer.data, plan))
        self._worker.yielded.connect(self._receive)
        self._worker.finished.connect(self._ended)
        self._worker.start()

    def _receive(self, found: Any) -> None:
        self.found.emit(found)

    def _ended(self) -> None:
        self._worker = None
        self._cost = perf_counter() - self._begun
        if self._again:
            self._changed()

    def _stop(self) -> None:
        with suppress(RuntimeError):  # Qt may have gone before us
            self._timer.stop()
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.quit()
            worker.yielded.disconnect(self._receive)
            worker.finished.disconnect(self._ended)
