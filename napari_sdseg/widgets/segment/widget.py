"""The *Segment* panel. It draws a `SegmentState` and passes on what is pressed; no more."""

from __future__ import annotations

import html
import sys
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QSignalBlocker
from qtpy.QtWidgets import QApplication

from sdseg.errors import InputError

from .. import _made, _remembered
from .._choices import offer_images, offer_models
from .._device import warm_up
from .._image_facts import image_facts
from .._models_changed import listen
from .commit import Commit, Rule
from .form import NO_LAYER, SegmentForm
from .preview import Preview
from .run import SegmentRun
from .script import script
from .state import Phase, SegmentState
from .work import forget_limits

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Image

    from sdseg.card import Card

    from .state import ImageFacts

__all__ = ["SegmentWidget"]

#: Choices of the panel that are there again at the next start, in `_remembered`'s words.
REMEMBERED = ("model", "separate", "orthogonal", "samples", "device", "precision", "follow")


class SegmentWidget(SegmentForm):
    """Choose an image and a model, press *Segment*, get a Labels layer.

    Parameters
    ----------
    viewer
        The viewer it works in; napari passes it.
    """

    # napari finds the parameter by the exact words of its annotation
    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        # napari passes a proxy that wraps every layer anew, so that no layer is itself
        self.viewer: napari.viewer.Viewer = getattr(viewer, "__wrapped__", viewer)
        self.state = SegmentState()
        self.run = SegmentRun(self.viewer, self.state)
        self.preview = Preview(self.viewer, self.run)
        self._commit: Commit | None = None
        self._followed: Any = None
        self._models: dict[str, Card] = {}
        self._list_models()
        self._recall()
        self._connect()
        self.reset_choices()
        self._choose_model()
        self._draw_result()
        warm_up()

    def _recall(self) -> None:
        model = _remembered.recall("model", None)
        if model in self._models:
            self.model_box.value = model
        kept = {name: _remembered.recall(name, getattr(self.state, name)) for name in REMEMBERED[1:]}
        self.objects_box.value = kept["separate"]
        self.orthogonal_box.value = kept["orthogonal"]
        self.samples_box.value = kept["samples"]
        for box, name in ((self.device_box, "device"), (self.precision_box, "precision")):
            if kept[name] in box.choices:
                box.value = kept[name]
            else:
                kept[name] = None  # another machine's
        self.follow_box.value = kept["follow"]
        self.state.choose(**kept)

    def _connect(self) -> None:
        self.image_box.changed.connect(self._choose_image)
        self.model_box.changed.connect(self._choose_model)
        self.axis_box.changed.connect(self._choose_axis)
        self.planes_slider.valueChanged.connect(self._choose_planes)
        for box, name in (
            (self.objects_box, "separate"), (self.orthogonal_box, "orthogonal"),
            (self.samples_box, "samples"), (self.device_box, "device"),
            (self.precision_box, "precision"), (self.follow_box, "follow"),
        ):  # fmt: skip
            box.changed.connect(lambda value, name=name: self.state.choose(**{name: value}))
        self.level_box.changed.connect(self._choose_level)
        self.more.toggled.connect(self._list_devices)
        self.preview_button.changed.connect(self._press_preview)
        self.segment_button.changed.connect(self._press_segment)
        self.cancel_button.changed.connect(self._press_cancel)
        self.threshold_slider.valueChanged.connect(self._cut)
        self.rule_box.changed.connect(self._draw_result)
        self.target_box.changed.connect(self._draw_result)
        self.commit_button.changed.connect(self._press_commit)
        self.script_button.changed.connect(self._press_script)
        self.state.events.connect(self._on_state)
        self.run.changed.connect(self._on_result)
        self.preview.told.connect(self._on_preview)
        # plain objects' methods: this one is half gone when the signal comes
        self.destroyed.connect(self.run.close)
        self.destroyed.connect(self.preview.close)
        self.viewer.dims.events.axis_labels.connect(self._choose_image)
        self.viewer.dims.events.current_step.connect(self._follow)
        listen(self._list_models)

    # -- choices ---------------------------------------------------------------------------------

    def reset_choices(self, event: Any = None) -> None:
        """List the viewer's layers anew; napari calls it when they come, go or are renamed."""
        from napari.layers import Labels

        offer_images(self.image_box, self.viewer)
        before = self.target_box.value
        targets = [
            x for x in self.viewer.layers if isinstance(x, Labels) and x is not self.preview.layer
        ]
        self.target_box.choices = [(NO_LAYER, None), *((layer.name, layer) for layer in targets)]
        self.target_box.value = before if before in targets else None
        self._choose_image()

    def _list_models(self) -> None:
        self._models = offer_models(self.model_box)
        if self.state.model is not None:
            self._choose_model()

    def _choose_image(self, _: Any = None) -> None:
        layer = self.image_box.value
        self._listen_to(layer)
        levels = len(layer.data) if layer is not None and layer.multiscale else 1
        with self.level_box.changed.blocked():
            self.level_box.choices = [(self._level_name(layer, i), i) for i in range(levels)]
        if self.state.level >= levels:
            self.state.choose(level=0)
        self.state.choose(image=None if layer is None else self._facts(layer))
        self._list_axes()

    def _level_name(self, layer: Any, level: int) -> str:
        if layer is None or not layer.multiscale:
            return "0"
        return f"{level}  ({' × '.join(str(n) for n in layer.data[level].shape)})"

    def _listen_to(self, layer: Any) -> None:
        """Forget what was found of an image's values when they change."""
        if layer is not self._followed:
            if self._followed is not None:
                self._followed.events.data.disconnect(forget_limits)
            if layer is not None:
                layer.events.data.connect(forget_limits)
            self._followed = layer

    def _facts(self, layer: Image) -> ImageFacts:
        return image_facts(self.viewer, layer, self.state.level)

    def _list_axes(self) -> None:
        choices = self.state.axis_choices()
        before = self.axis_box.value
        with self.axis_box.changed.blocked():
            self.axis_box.choices = choices or [("a single plane", None)]
            axes = [axis for _, axis in choices]
            self.axis_box.value = before if before in axes else None
        self.state.choose(axis=self.axis_box.value)

    def _list_devices(self, _: Any = None) -> None:
        if "torch" not in sys.modules:  # it comes within seconds, and no sooner by waiting for it
            return
        from sdseg.devices import available

        with self.device_box.changed.blocked():
            chosen = self.state.device
            self.device_box.choices = [("auto", None), *((d, d) for d in available())]
            self.device_box.value = chosen if chosen in self.device_box.choices else None

    def _choose_model(self, _: Any = None) -> None:
        name = self.model_box.value
        card = self._models.get(name)
        self.state.choose(model=name if card else None, card=card, threshold=None)
        self.card_label.say("" if card is None else card.summary)
        self.about_label.setText("" if card is None else _about(card))
        with QSignalBlocker(self.threshold_slider):
            self.threshold_slider.setValue(0.5 if card is None else card.threshold)

    def _choose_axis(self, axis: int | None) -> None:
        self.state.choose(axis=axis)

    def _choose_planes(self, ends: tuple[int, int]) -> None:
        whole = ends == (0, self.state.length - 1)
        self.state.choose(planes=None if whole else (int(ends[0]), int(ends[1])))

    def _choose_level(self, level: int) -> None:
        self.state.choose(level=level or 0)
        self._choose_image()

    # -- pressed ---------------------------------------------------------------------------------

    def _press_segment(self, _: Any = None) -> None:
        layer = self.image_box.value
        if layer is not None:
            # the layer's array or axes may have changed since it was chosen
            self.state.choose(image=self._facts(layer))
            self.preview.clear()
            self.run.start(layer)
            _remembered.remember(**{name: getattr(self.state, name) for name in REMEMBERED})

    def _press_cancel(self, _: Any = None) -> None:
        self.run.cancel()

    def _press_preview(self, _: Any = None) -> None:
        layer = self.image_box.value
        if layer is not None:
            self.preview.show(layer, now=True)

    def _follow(self, _: Any = None) -> None:
        layer = self.image_box.value
        if self.state.follow and layer is not None and not self.state.busy:
            self.preview.show(layer)

    def _cut(self, threshold: float) -> None:
        self.state.choose(threshold=threshold)
        if self.state.busy:
            return  # the run goes on with what it was started with; `_on_result` cuts it anew
        if self.run.result is not None and self.run.result.can_recut:
            self.run.recut_in_view(threshold)
            self.run.recut(threshold)
        else:
            self._follow()

    def _on_result(self) -> None:
        result = self.run.result
        if result is not None and result.can_recut and self.state.threshold is not None:
            used = result.request.threshold
            if abs((result.card.threshold if used is None else used) - self.state.threshold) > 1e-6:
                self.run.recut(self.state.threshold)
        self._draw_result()

    def _press_commit(self, _: Any = None) -> None:
        from napari.utils.notifications import show_error

        result, target = self.run.result, self.target_box.value
        if result is None or target is None or self._commit is not None:
            return
        try:
            self._commit = Commit(
                result, target, self.rule_box.value, self.class_box.value or 1, self._committed
            )
        except InputError as error:
            show_error(str(error))
            return
        self._commit.start()
        self._draw_result()

    def _committed(self, changed: int) -> None:
        target = self.target_box.value
        self._commit = None
        name = "the layer" if target is None else target.name
        self.state.choose(message=f"{changed} pixels of {name} changed; Ctrl+Z on it takes it back.")
        self._draw_result()

    def _press_script(self, _: Any = None) -> None:
        layer, clipboard = self.image_box.value, QApplication.clipboard()
        if self.state.model in _made.cards():
            self.state.choose(message="Save the model first: a script finds saved ones only.")
        elif layer is not None and clipboard is not None:
            clipboard.setText(script(layer.name, self.state.settings()))
            self.state.choose(message="The script is on the clipboard; it runs in napari's console.")

    def _on_preview(self, said: str) -> None:
        if not self.state.busy:
            self.state.choose(message=said)

    def changeEvent(self, event: QEvent) -> None:
        """Stop when the panel is closed: napari takes it out of its dock, and keeps it alive."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None and hasattr(self, "run"):
            self.run.cancel("The panel was closed.")
            self.preview.clear()
        super().changeEvent(event)

    # -- drawing ---------------------------------------------------------------------------------

    def _on_state(self, info: Any) -> None:
        if info.signal.name == "done":  # many times a second
            self._draw_progress()
        elif info.signal.name not in ("first", "latest", "total"):
            self._draw()

    def _draw(self) -> None:
        state = self.state
        problem = None if state.busy else state.problem()
        ready = not state.busy and problem is None
        self.segment_button.enabled = ready
        self.preview_button.enabled = ready
        self.cancel_button.enabled = state.phase in (Phase.STARTING, Phase.RUNNING)
        for box in (
            self.image_box, self.model_box, self.objects_box, self.level_box, self.samples_box,
            self.device_box, self.precision_box,
        ):  # fmt: skip
            box.enabled = not state.busy
        self.axis_box.enabled = not state.busy and bool(state.axis_choices())
        self.orthogonal_box.enabled = not state.busy and state.can_average
        self._draw_planes()
        for widget in (self.level_label, self.level_box.native):
            widget.setVisible(len(self.level_box.choices) > 1)
        self._draw_progress()
        self.status_label.say(state.status())
        self._draw_result()

    def _draw_planes(self) -> None:
        state, slider = self.state, self.planes_slider
        length = state.length
        for widget in (self.planes_label, slider):
            widget.setVisible(length > 1)
        slider.setEnabled(not state.busy)
        if length > 1:
            with QSignalBlocker(slider):
                slider.setRange(0, length - 1)
                slider.setValue(state.planes or (0, length - 1))

    def _draw_progress(self) -> None:
        state = self.state
        bar = self.progress.native
        bar.setVisible(state.busy)
        if state.phase is Phase.STARTING:
            bar.setRange(0, 0)  # moves to and fro: there is no telling how long
        elif state.total:
            bar.setRange(0, state.total)
            bar.setValue(state.done)
        text = state.progress_text()
        self.progress_label.say(text)
        self.progress_label.setVisible(bool(text))

    def _draw_result(self, _: Any = None) -> None:
        result = self.run.result
        idle = not self.state.busy and self._commit is None
        self.result_box.setVisible(result is not None)
        self.threshold_slider.setEnabled(result is not None and result.can_recut)
        self.commit_button.enabled = result is not None and idle and self.target_box.value is not None
        self.script_button.enabled = self.image_box.value is not None and self.state.model is not None
        single = result is not None and result.request.instances
        names = [] if result is None or single else [c.name for c in result.card.classes]
        shown = self.rule_box.value is Rule.ONE and bool(names)
        for widget in (self.class_label, self.class_box.native):
            widget.setVisible(shown)
        choices = [(name, i) for i, name in enumerate(names, start=1)]
        if [c for _, c in choices] != list(self.class_box.choices):
            self.class_box.choices = choices


def _about(card: Card) -> str:
    """Return the card as a few lines of HTML."""
    classes = ", ".join(
        f'<span style="color:{c.color}">■</span> {html.escape(c.name)}' for c in card.classes
    )
    lines = [f"<b>Draws</b> {classes}"]
    if card.scores:
        scores = ", ".join(f"{html.escape(n)} {v:.3f}" for n, v in card.scores.items())
        lines.append(f"<b>Measured</b> {scores}")
    for word, text in (
        ("Learned from", card.training_data),
        ("Limits", card.limitations),
        ("Licence", card.licence),
        ("Made from", card.parent),
    ):
        if text:
            lines.append(f"<b>{word}</b> {html.escape(text)}")
    return "<br>".join(lines)
