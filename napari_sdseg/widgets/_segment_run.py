"""A run in a viewer: starts the worker, makes the Labels layer and fills it plane by plane."""

from __future__ import annotations

import logging
from threading import Event
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.qt.threading import GeneratorWorker, create_worker

from napari_sdseg.layers import image_array, instance_features, make_labels

from ._segment_state import Phase
from ._segment_work import Failed, PlaneDone, Ready, Request, Update, work

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Labels

    from sdseg.card import Card

    from ._segment_state import SegmentState

__all__ = ["SegmentRun"]

log = logging.getLogger(__name__)

#: A refresh costs what the view costs, so the pause to the next is a multiple of it: the view keeps
#: up and the window stays free.
_REST, _LEAST_PAUSE = 10, 0.1


class _Worker(GeneratorWorker):  # type: ignore[misc]
    """A worker that stops by asking its generator, instead of dropping it.

    superqt leaves an unfinished generator to the garbage collector, and the engine with it; napari
    quits workers that way when its window is closed.
    """

    def __init__(self, func: Any, request: Request, stop: Event) -> None:
        super().__init__(func, request, stop)
        self._asked = stop

    def quit(self) -> None:
        """Ask the generator to end; it looks ten times a second."""
        self._asked.set()


class SegmentRun:
    """The one run a panel may have.

    Everything here happens on the GUI thread; the worker only sends updates. The layers it works
    with are held as objects, so names may change meanwhile. If one of them is removed, or the
    labels' array is exchanged, the run stops: there is nobody left to work for.
    """

    def __init__(self, viewer: napari.Viewer, state: SegmentState) -> None:
        self.viewer, self.state = viewer, state
        self._worker: Any = None
        self._clear()

    def _clear(self) -> None:
        self._worker = None
        self._image: Image | None = None
        self._request: Request | None = None
        self._layer: Labels | None = None
        self._labels: np.ndarray[Any, Any] | None = None
        self._card: Card | None = None
        self._highest = 0
        self._failure: Exception | None = None
        self._why = ""
        self._stale, self._next_refresh = False, 0.0

    def start(self, image: Image, model: str) -> bool:
        """Segment an image as the state says; False if a run is going on or cannot start."""
        plan = None if self.state.problem() else self.state.plan()
        if plan is None or self._worker is not None or not self.state.begin():
            return False
        self._clear()
        data, _ = image_array(image)
        self._image = image
        self._request = Request(data, model, plan, self.state.instances)
        # Errors come as updates (see `work`); raised ones would go to napari twice.
        self._worker = create_worker(
            work,
            self._request,
            Event(),
            _start_thread=False,
            _ignore_errors=True,
            _worker_class=_Worker,
        )
        self._worker.yielded.connect(self._receive)
        self._worker.finished.connect(self._ended)
        self.viewer.layers.events.removed.connect(self._on_removed)
        self._worker.start()
        return True

    def cancel(self, why: str = "") -> None:
        """Ask the run to stop; the planes that are done stay."""
        if self._worker is None:
            return
        self._why = self._why or why
        self._worker.quit()
        self.state.cancel()

    def close(self) -> None:
        """Stop, hear no more and say no more: the panel or its viewer is gone."""
        self.state.events.disconnect()
        worker = self._worker
        if worker is None:
            return
        worker.quit()
        worker.yielded.disconnect(self._receive)
        worker.finished.disconnect(self._ended)
        self.viewer.layers.events.removed.disconnect(self._on_removed)
        self._clear()
        self.state.end()

    # -- what the worker says --------------------------------------------------------------------

    def _receive(self, update: Update) -> None:
        if self.state.phase is Phase.CANCELLING and not isinstance(update, PlaneDone):
            return
        try:
            match update:
                case Ready():
                    self._make_layer(update)
                case PlaneDone():
                    self._fill(update)
                case Failed(error=error):
                    self._failure = error
                case None:
                    self._refresh()
        except Exception as error:  # noqa: BLE001 - a run without a view must end, whatever broke it
            self._failure = error
            self.cancel()

    def _make_layer(self, ready: Ready) -> None:
        image, request = self._image, self._request
        if image is None or request is None:
            return
        self._card = ready.card
        self._labels = np.zeros(request.plan.output_shape, ready.dtype)
        self._layer = make_labels(
            self._labels,
            image,
            request.plan,
            ready.card,
            model=request.model,
            instances=request.instances,
            settings={"seed": request.seed, "samples": 1},
        )
        try:
            self.viewer.add_layer(self._layer)
        except TypeError:
            # napari 0.9.2: in a 3-D view that the mouse was never over, the status bar trips over
            # the new layer, which is there all the same
            if self._layer not in self.viewer.layers:
                raise
        self.state.ready(request.plan.n_planes, ready.note, perf_counter())
        ready.go.set()

    def _fill(self, plane: PlaneDone) -> None:
        layer, labels = self._layer, self._labels
        if layer is None or labels is None:
            return
        if layer.data is not labels:
            self.cancel("The labels' data was exchanged.")
            return
        labels[plane.index] = plane.labels
        self._highest = max(self._highest, plane.highest)
        self._stale = True
        self.state.advance(plane.done, perf_counter())
        self._refresh()

    def _refresh(self, *, now: bool = False) -> None:
        begun = perf_counter()
        if self._layer is None or not self._stale:
            return
        # a volume is too much to send to the screen again and again; it appears at the end
        if not now and (begun < self._next_refresh or self.viewer.dims.ndisplay == 3):
            return
        self._layer.refresh(extent=False, highlight=False, thumbnail=now)
        self._stale = False
        self._next_refresh = perf_counter() + max(_LEAST_PAUSE, _REST * (perf_counter() - begun))

    def _ended(self) -> None:
        layer, card, request = self._layer, self._card, self._request
        self.viewer.layers.events.removed.disconnect(self._on_removed)
        kept = layer is not None or not self.state.done
        if layer is not None:
            if self.state.done == 0:
                self.viewer.layers.remove(layer)
            else:
                self._stale = True
                self._refresh(now=True)
                if card is not None and request is not None and request.instances:
                    layer.features = instance_features(card, self._highest)
        failure, why = self._failure, self._why
        self._clear()
        self.state.end(None if failure is None else str(failure), why=why, kept=kept)
        if failure is not None:
            self._tell(failure)

    def _tell(self, failure: Exception) -> None:
        from napari.utils.notifications import show_error

        log.error("segmentation failed", exc_info=failure)
        show_error(str(failure))

    # -- what happens around it ------------------------------------------------------------------

    def _on_removed(self, event: Any) -> None:
        if self._layer is not None and event.value is self._layer:
            self.cancel("The labels layer was removed.")
            self._layer = None
        elif event.value is self._image:
            self.cancel("The image was removed.")
