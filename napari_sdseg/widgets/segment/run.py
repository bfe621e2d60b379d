"""A run in a viewer: starts the worker, makes the Labels layer and fills it plane by plane."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_sdseg.layers import (
    image_array,
    instance_features,
    make_labels,
    make_stability,
)
from sdseg import scratch

from .._kept import Kept
from .._worker import make_worker
from .state import Phase
from .work import (
    Counted,
    Failed,
    Guide,
    PlaneDone,
    Ready,
    Request,
    Update,
    forget_limits,
    work,
)

if TYPE_CHECKING:
    import napari
    import numpy as np
    from napari.layers import Image, Labels

    from sdseg.card import Card

    from .state import SegmentState

__all__ = ["Result", "SegmentRun", "start_worker"]

log = logging.getLogger(__name__)

#: A refresh costs what the view costs, so the pause to the next is a multiple of it: the view keeps
#: up and the window stays free.
_REST, _LEAST_PAUSE = 10, 0.1


def start_worker(request: Request, receive: Any, ended: Any) -> Any:
    """Start `work` in a thread; ``receive`` hears its updates, ``ended`` that it is over."""
    worker = make_worker(work, request)
    worker.yielded.connect(receive)
    worker.finished.connect(ended)
    worker.start()
    return worker


@dataclass
class Result:
    """What a run has made, and what it was made of.

    Attributes
    ----------
    request
        With the probabilities, if they were kept.
    painted
        Whether a person has painted in the labels since: they are not cut anew then.
    """

    layer: Labels
    labels: np.ndarray[Any, Any]
    stability: Image | None
    card: Card
    request: Request
    painted: bool = False

    @property
    def can_recut(self) -> bool:
        """Whether another threshold may be tried."""
        kept = self.request.kept
        return kept is not None and len(kept) > 0 and not self.painted and self.is_whole

    @property
    def is_whole(self) -> bool:
        """Whether the layer still holds the labels that were made."""
        return self.layer.data is self.labels

    def on_paint(self, _: Any = None) -> None:
        """Note that a person has painted."""
        self.painted = True


class SegmentRun:
    """The one run a panel may have.

    Everything here happens on the GUI thread; the worker only sends updates. The layers it works
    with are held as objects, so names may change meanwhile. If one of them is removed, or the
    labels' array is exchanged, the run stops: there is nobody left to work for.

    Attributes
    ----------
    result
        Of the last run, as long as its layer is there; None: there is none.
    changed
        Emitted when ``result`` is another one, or may be used in another way.
    """

    changed = Signal()

    def __init__(self, viewer: napari.Viewer, state: SegmentState) -> None:
        self.viewer, self.state = viewer, state
        self.result: Result | None = None
        self._worker: Any = None
        self._bar: Any = None
        self._clear()
        viewer.layers.events.removed.connect(self._on_removed)

    def _clear(self) -> None:
        self._worker = None
        self._image: Image | None = None
        self._request: Request | None = None
        self._current: Result | None = None
        self._highest = 0
        self._failure: Exception | None = None
        self._why = ""
        self._stale, self._next_refresh = False, 0.0

    # -- starting and stopping -------------------------------------------------------------------

    def request(self, image: Image) -> Request | None:
        """Return what the state asks for; None while something stands in the way."""
        state = self.state
        plan = None if state.problem() else state.plan()
        if plan is None or state.model is None or state.card is None:
            return None
        data, _ = image_array(image, state.level)
        return Request(
            data,
            state.model,
            plan,
            state.separate,
            threshold=state.cut,
            orthogonal=state.orthogonal and state.can_average,
            samples=state.samples,
            device=state.device,
            precision=state.precision,
        )

    def start(self, image: Image, guide: Guide | None = None, *, keep: bool = True) -> bool:
        """Segment an image as the state says; False if a run is going on or cannot start.

        Parameters
        ----------
        guide
            Painted planes that are kept and started from.
        keep
            Keep the probabilities where they fit, so that the result can be cut anew.
        """
        request = self.request(image)
        if request is None or self._worker is not None or not self.state.begin():
            return False
        forget_limits()  # the image may have been changed in place since the last look
        channels = 2 if self.state.card is None else max(2, len(self.state.card.classes))
        if keep and Kept.fits(request.plan, channels):
            request = replace(request, kept=Kept(request.plan))
        if guide is not None:
            request = replace(request, guide=guide)
        self._clear()
        self._image, self._request = image, request
        self._worker = start_worker(request, self._receive, self._ended)
        return True

    def recut(self, threshold: float) -> bool:
        """Cut the last run's probabilities anew; False if they were not kept, or a run is going on."""
        result = self.result
        if result is None or not result.can_recut or self._worker is not None:
            return False
        if not self.state.begin():
            return False
        self._clear()
        self._current = result
        self._request = result.request = replace(result.request, threshold=threshold, recut=True)
        self._worker = start_worker(self._request, self._receive, self._ended)
        return True

    def recut_in_view(self, threshold: float) -> None:
        """Cut the plane in view at once; of classes alone, objects need their neighbours."""
        result = self.result
        if result is None or not result.can_recut or result.request.instances:
            return
        kept = result.request.kept
        plan = result.request.plan
        at = self.viewer.dims.current_step[-result.layer.ndim :]
        index: list[Any] = [slice(None)] * result.layer.ndim
        for axis in plan.looped:
            index[axis] = int(at[axis])
        if kept is not None and tuple(index) in kept:
            result.labels[tuple(index)] = kept.classes(tuple(index), result.card, threshold)
            result.layer.refresh(extent=False, highlight=False, thumbnail=False)

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
        self.changed.disconnect()
        worker = self._worker
        if worker is not None:
            worker.quit()
            worker.yielded.disconnect(self._receive)
            worker.finished.disconnect(self._ended)
            self._clear()
            self.state.end()
        self.viewer.layers.events.removed.disconnect(self._on_removed)
        with suppress(RuntimeError):  # the activity dock may be gone before its bars
            self._close_bar()

    # -- what the worker says --------------------------------------------------------------------

    def _receive(self, update: Update) -> None:
        if self.state.phase is Phase.CANCELLING and not isinstance(update, PlaneDone):
            return
        try:
            match update:
                case Ready():
                    self._begin(update)
                case PlaneDone():
                    self._fill(update)
                case Counted(done=done):
                    self._advance(done)
                case Failed(error=error):
                    self._failure = error
                case None:
                    self._refresh()
        except Exception as error:  # noqa: BLE001 - a run without a view must end, whatever broke it
            self._failure = error
            self.cancel()

    def _begin(self, ready: Ready) -> None:
        request = self._request
        if request is None:
            return
        if not request.recut:
            self._make_layers(ready, request)
        total = request.plan.n_planes if request.recut else request.predictions
        self._open_bar(total)
        self.state.ready(total, ready.note, perf_counter())
        ready.go.set()

    def _make_layers(self, ready: Ready, request: Request) -> None:
        image = self._image
        if image is None:
            return
        labels = scratch.zeros(request.plan.output_shape, ready.dtype)
        settings = {k: v for k, v in self.state.settings().items() if k not in ("model", "planes")}
        if request.guide is not None:
            settings["guided"] = True
        level = self.state.level
        layer = make_labels(
            labels,
            image,
            request.plan,
            ready.card,
            model=request.model,
            instances=request.instances,
            settings={**settings, "seed": request.seed, "samples": request.samples},
            level=level,
        )
        stability = None
        if request.samples > 1:
            stability = make_stability(labels.shape, image, request.plan, layer, level=level)
            self._add(stability)
        self._add(layer)
        self._current = self.result = Result(layer, labels, stability, ready.card, request)
        layer.events.paint.connect(self.result.on_paint)

    def _add(self, layer: Any) -> None:
        try:
            self.viewer.add_layer(layer)
        except TypeError:
            # napari 0.9.2: in a 3-D view that the mouse was never over, the status bar trips over
            # the new layer, which is there all the same
            if layer not in self.viewer.layers:
                raise

    def _fill(self, plane: PlaneDone) -> None:
        current = self._current
        if current is None:
            return
        if not current.is_whole:
            self.cancel("The labels' data was exchanged.")
            return
        current.labels[plane.index] = plane.labels
        if current.stability is not None and plane.stability is not None:
            current.stability.data[plane.index] = plane.stability
        self._highest = max(self._highest, plane.highest)
        self._stale = True
        request = self._request
        across = 0 if request is None or request.recut else request.predictions - request.plan.n_planes
        self._advance(across + plane.done)
        self._refresh()

    def _advance(self, done: int) -> None:
        more = done - self.state.done
        if more > 0:
            self.state.advance(done, perf_counter())
            if self._bar is not None:
                self._bar.update(more)  # last: napari's bar lets other events in meanwhile

    def _refresh(self, *, now: bool = False) -> None:
        begun = perf_counter()
        if self._current is None or not self._stale:
            return
        # a volume is too much to send to the screen again and again; it appears at the end
        if not now and (begun < self._next_refresh or self.viewer.dims.ndisplay == 3):
            return
        for layer in (self._current.layer, self._current.stability):
            if layer is not None:
                layer.refresh(extent=False, highlight=False, thumbnail=now)
        self._stale = False
        self._next_refresh = perf_counter() + max(_LEAST_PAUSE, _REST * (perf_counter() - begun))

    def _ended(self) -> None:
        current, request = self._current, self._request
        self._close_bar()
        begun = self.state.done > 0
        kept = current is not None or not begun
        if current is not None and request is not None:
            if not begun and not request.recut:
                self.viewer.layers.remove(current.layer)
                if current.stability in self.viewer.layers:
                    self.viewer.layers.remove(current.stability)
            else:
                self._stale = True
                self._refresh(now=True)
                if request.instances:
                    current.layer.features = instance_features(current.card, self._highest)
        failure, why = self._failure, self._why
        self._clear()
        self.state.end(None if failure is None else str(failure), why=why, kept=kept)
        self.changed.emit()
        if failure is not None:
            self._tell(failure)

    def _tell(self, failure: Exception) -> None:
        from napari.utils.notifications import show_error

        log.error("segmentation failed", exc_info=failure)
        show_error(str(failure))

    # -- the activity dock -----------------------------------------------------------------------

    def _open_bar(self, total: int) -> None:
        from napari.utils import progress

        name = "" if self._image is None else self._image.name
        self._bar = progress(total=total, desc=f"SDSeg: {name}".rstrip(": "))

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    # -- what happens around it ------------------------------------------------------------------

    def _on_removed(self, event: Any) -> None:
        current = self._current
        if current is not None and event.value is current.layer:
            self.cancel("The labels layer was removed.")
            self._current = None
        elif current is not None and event.value is current.stability:
            current.stability = None
        elif self._worker is not None and event.value is self._image:
            self.cancel("The image was removed.")
        if self.result is not None and event.value is self.result.layer:
            self.result = None
            self.changed.emit()
