"""The plane in view, segmented while one looks at it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_sdseg.layers import METADATA_KEY, geometry, labels_kwargs, move_to, redraw, shifted

from .run import start_worker
from .work import Failed, PlaneDone, Ready, Update

if TYPE_CHECKING:
    import napari
    import numpy as np
    from napari.layers import Image, Labels

    from sdseg.axes import StackPlan
    from sdseg.card import Card

    from .run import SegmentRun
    from .work import Request

__all__ = ["Preview"]

#: Milliseconds that the slider must rest: planes that are only passed are not worth the work.
_REST = 80


class Preview:
    """A Labels layer of one plane, at its place in the stack.

    One plane is in work at a time. If the slider has moved on meanwhile, the newest position is next.

    Attributes
    ----------
    layer
        None before the first preview, and when a person has removed it.
    told
        Emitted with a sentence on how it went.
    """

    told = Signal(str)

    def __init__(self, viewer: napari.Viewer, run: SegmentRun) -> None:
        self.viewer, self.run = viewer, run
        self.layer: Labels | None = None
        self._image: Image | None = None
        self._worker: Any = None
        self._again = self._away = False
        self._request: Request | None = None
        self._card: Card | None = None
        self._begun = 0.0
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REST)
        self._timer.timeout.connect(self._start)
        viewer.layers.events.removed.connect(self._on_removed)

    def show(self, image: Image, *, now: bool = False) -> None:
        """Segment the plane of an image that is in view, when the slider rests or at once."""
        self._image = image
        if now:
            self._start()
        else:
            self._timer.start()

    def clear(self) -> None:
        """Hide the preview until the next, and start no other; `redraw` says why it stays."""
        self._stop()
        if self.layer is not None:
            self._away, self.layer.visible = True, False

    def close(self) -> None:
        """Stop and hear no more: the panel or its viewer is gone."""
        self._stop()
        self.viewer.layers.events.removed.disconnect(self._on_removed)

    def _stop(self) -> None:
        with suppress(RuntimeError):  # Qt may have gone before us
            self._timer.stop()
        self._again = False
        if self._worker is not None:
            self._worker.quit()
            self._worker.yielded.disconnect(self._receive)
            self._worker.finished.disconnect(self._ended)
            self._worker = None

    def _start(self) -> None:
        image, state = self._image, self.run.state
        if image is None or image not in self.viewer.layers:
            return
        if self._worker is not None:
            self._again = True
            return
        request = self.run.request(image)
        plan = None if request is None else state.plan_at(self._position(request.plan))
        if request is None or plan is None:
            return
        # Three directions would need the whole volume: the preview shows the one that is sliced.
        self._request = replace(request, plan=plan, orthogonal=False)
        self._begun = perf_counter()
        self.told.emit("Previewing …")
        self._worker = start_worker(self._request, self._receive, self._ended)

    def _position(self, plan: StackPlan) -> tuple[int, ...]:
        """Return where the viewer is, in the labels' axes."""
        layer, level = self._image, self.run.state.level
        if layer is None:
            return (0,) * len(plan.output_shape)
        at = list(layer.world_to_data(self.viewer.dims.point)[-layer.ndim :])
        if level:
            at = [a / f for a, f in zip(at, layer.downsample_factors[level], strict=False)]
        if plan.channel_axis is not None and not layer.rgb:
            del at[plan.channel_axis]
        return tuple(round(float(a)) for a in at)

    def _receive(self, update: Update) -> None:
        match update:
            case Ready():
                self._card = update.card
                update.go.set()
            case PlaneDone():
                self._draw(update)
            case Failed(error=error):
                self.told.emit(f"No preview: {error}")
            case _:
                pass

    def _draw(self, plane: PlaneDone) -> None:
        request, image, card = self._request, self._image, self._card
        if request is None or image is None or card is None or image not in self.viewer.layers:
            return
        whole = tuple(slice(i, i + 1) if isinstance(i, int) else i for i in plane.index)
        shape = tuple(
            1 if isinstance(i, int) else n
            for i, n in zip(plane.index, request.plan.output_shape, strict=True)
        )
        data = plane.labels.reshape(shape)
        fields = shifted(
            geometry(image, request.plan, self.run.state.level), [s.start or 0 for s in whole]
        )
        seconds = perf_counter() - self._begun
        if self.layer is not None and self._fits(self.layer, data):
            move_to(self.layer, data, fields)
            if self._away:  # hidden by `clear`, not by a person
                self._away, self.layer.visible = False, True
        else:
            self._make(data, fields, card, request)
        self.told.emit(f"Preview in {seconds:.1f} s.")

    def _fits(self, layer: Labels, data: np.ndarray[Any, Any]) -> bool:
        about = layer.metadata.get(METADATA_KEY, {})
        request = self._request
        return (
            request is not None
            and layer.data.ndim == data.ndim
            and about.get("model") == request.model
            and about.get("settings", {}).get("instances") == request.instances
            and self._image is not None
            and about.get("source") == self._image.name
        )

    def _make(
        self,
        data: np.ndarray[Any, Any],
        fields: dict[str, Any],
        card: Card,
        request: Request,
    ) -> None:
        from napari.layers import Labels

        name = "" if self._image is None else self._image.name
        kwargs = labels_kwargs(card, source=name, model=request.model, instances=request.instances)
        kwargs["name"] = f"{name} - preview"
        kwargs["metadata"][METADATA_KEY]["preview"] = True
        if self.layer is not None and self.layer.ndim == data.ndim:
            redraw(self.layer, data, kwargs, fields)
            self._away = False
            return
        # A guess that is exchanged at the next move of the slider: nothing to paint in.
        self.layer = Labels(data, **kwargs, **fields)
        self.layer.editable = False
        active = self.viewer.layers.selection.active
        self.viewer.add_layer(self.layer)
        self.viewer.layers.selection.active = active

    def _ended(self) -> None:
        self._worker = None
        if self._again:
            self._again = False
            self._timer.start()

    def _on_removed(self, event: Any) -> None:
        if event.value is self.layer:
            self.layer = None
        elif event.value is self._image:
            self.clear()
            self._image = None
