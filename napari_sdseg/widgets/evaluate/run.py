"""A comparison in a viewer: starts the worker, and minds the layers it reads."""

from __future__ import annotations

import logging
from time import perf_counter
from typing import TYPE_CHECKING, Any

from .._worker import make_worker
from .facts import naming
from .layers import labels_array
from .planes import show_plane, shown_position
from .work import Failed, Finished, PlanesDone, Request, Update, compare

if TYPE_CHECKING:
    from collections.abc import Mapping

    import napari
    from napari.layers import Labels

    from .state import EvaluateState

__all__ = ["EvaluateRun"]

log = logging.getLogger(__name__)


class EvaluateRun:
    """The one comparison a panel may have, and the layers that its results belong to.

    Everything here happens on the GUI thread. A run that is stopped is over at once: its thread may
    still read a plane, but nobody listens any more. Layers are held as objects, so names may change
    meanwhile; if one is removed, or its array is exchanged, the run stops.
    """

    def __init__(self, viewer: napari.Viewer, state: EvaluateState) -> None:
        self.viewer, self.state = viewer, state
        self._layers: list[Labels] = []
        self._worker: Any = None
        self._request: Request | None = None
        self._began = 0.0
        viewer.layers.events.removed.connect(self._on_removed)

    def start(self, labels: Labels, truth: Labels) -> bool:
        """Compare two layers as the state says; False if a run is going on or cannot start."""
        state = self.state
        scores = state.begin()
        if scores is None or state.labels is None or state.truth is None:
            return False
        self._watch(labels, truth)
        ours, theirs, _ = naming(state.labels, state.truth, state.objects)
        self._request = Request(
            labels_array(labels),
            labels_array(truth),
            scores.looped,
            ours,
            theirs,
            scores.classes,
            scores.objects,
        )
        self._began = perf_counter()
        self._worker = make_worker(compare, self._request)
        self._worker.yielded.connect(self._receive)
        self._worker.start()
        return True

    def cancel(self, why: str = "Cancelled.") -> None:
        """Stop; the planes that are done stay."""
        self._leave()
        self.state.stop(why)

    def close(self) -> None:
        """Stop, hear no more and say no more: the panel or its viewer is gone."""
        self.state.events.disconnect()
        self.viewer.layers.events.removed.disconnect(self._on_removed)
        self.cancel()
        self._watch()

    # -- planes ----------------------------------------------------------------------------------

    def position(self) -> dict[int, int]:
        """Return where the viewer's sliders stand in the layers that were compared."""
        return shown_position(self.viewer, self._layers[0]) if self._layers else {}

    def show(self, position: Mapping[int, int]) -> None:
        """Take the viewer to a plane of the layers that were compared."""
        if self._layers:
            show_plane(self.viewer, self._layers[0], position)

    # -- what the worker says --------------------------------------------------------------------

    def _leave(self) -> None:
        if self._worker is not None:
            self._worker.quit()
            self._worker.yielded.disconnect(self._receive)
        self._worker = self._request = None

    def _receive(self, update: Update) -> None:
        if update.request is not self._request:  # sent before the run was stopped
            return
        match update:
            case PlanesDone():
                self.state.add(update.tallies, update.classes)
            case Finished():
                self._leave()
                self.state.finish(update.whole, perf_counter() - self._began)
            case Failed(error=error):
                self._leave()
                self.state.stop(problem=str(error))
                self._tell(error)

    def _tell(self, failure: Exception) -> None:
        from napari.utils.notifications import show_error

        log.error("comparison failed", exc_info=failure)
        show_error(str(failure))

    # -- what happens around it ------------------------------------------------------------------

    def _watch(self, *layers: Labels) -> None:
        for layer in self._layers:
            layer.events.data.disconnect(self._on_exchanged)
            layer.events.paint.disconnect(self._on_painted)
        self._layers = list(layers)
        for layer in layers:
            layer.events.data.connect(self._on_exchanged)
            layer.events.paint.connect(self._on_painted)

    def _on_removed(self, event: Any) -> None:
        if not any(event.value is layer for layer in self._layers):
            return
        left = [layer for layer in self._layers if layer is not event.value]
        self._watch(*left)
        self._outdate("A layer that was compared was removed.")

    def _on_exchanged(self, event: Any) -> None:
        self._outdate("The data of a layer was exchanged.")

    def _on_painted(self, event: Any) -> None:
        self.state.outdated = "The labels were painted on since: compare again."

    def _outdate(self, why: str) -> None:
        if self.state.busy:
            self.cancel(why)
        else:
            self.state.outdated = why
