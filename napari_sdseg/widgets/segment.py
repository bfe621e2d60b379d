"""The *Segment* panel. It draws a `SegmentState` and passes on what is pressed; no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, ComboBox, ProgressBar, PushButton
from qtpy.QtCore import QEvent, QSignalBlocker
from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from napari_sdseg.layers import image_array, image_spacing
from sdseg.axes import colours
from sdseg.store import list_models

from ._segment_run import SegmentRun
from ._segment_state import ImageFacts, Phase, SegmentState
from ._segment_work import warm_up
from ._wrapped_text import WrappedText

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Image

    from sdseg.card import Card

__all__ = ["SegmentWidget"]


class SegmentWidget(QWidget):
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
        self._models = {m.name: m.card for m in list_models()}
        self._build()
        self._connect()
        self.reset_choices()
        self._choose_model()
        warm_up()

    # -- the parts -------------------------------------------------------------------------------

    def _build(self) -> None:
        self.image_box = ComboBox(label="Image", nullable=True, tooltip="The layer to segment")
        self.model_box = ComboBox(label="Model", choices=list(self._models), nullable=not self._models)
        self.axis_box = ComboBox(
            label="Slice along",
            tooltip="The axis whose planes are segmented one after another.\n"
            "auto: the axis with by far the fewest planes, or else the first of three.",
        )
        self.objects_box = CheckBox(
            label="",
            text="Separate objects",
            value=True,
            tooltip="Each object gets a number of its own, the same in all its planes.\n"
            "Unticked: all objects are drawn as one class.",
        )
        self.segment_button = PushButton(text="Segment", tooltip="Makes a new Labels layer")
        self.cancel_button = PushButton(text="Cancel", tooltip="Keeps the planes that are done")
        self.progress = ProgressBar(label="")
        self.card_label = WrappedText()
        self.progress_label = WrappedText()
        self.status_label = WrappedText()
        for box in (self.image_box, self.model_box, self.axis_box):
            # long layer names would otherwise make the whole dock wider
            box.native.setMinimumContentsLength(8)
            box.native.setSizeAdjustPolicy(
                box.native.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            )
            box.native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Image", self.image_box.native)
        form.addRow("Model", self.model_box.native)
        form.addRow("", self.card_label)
        form.addRow("Slice along", self.axis_box.native)
        form.addRow("", self.objects_box.native)
        buttons = QHBoxLayout()
        buttons.addWidget(self.segment_button.native, 2)
        buttons.addWidget(self.cancel_button.native, 1)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addLayout(buttons)
        layout.addWidget(self.progress.native)
        layout.addWidget(self.progress_label)
        layout.addWidget(self.status_label)
        layout.addStretch()

    def _connect(self) -> None:
        self.image_box.changed.connect(self._choose_image)
        self.model_box.changed.connect(self._choose_model)
        self.axis_box.changed.connect(self._choose_axis)
        self.objects_box.changed.connect(self._choose_separate)
        self.segment_button.changed.connect(self._press_segment)
        self.cancel_button.changed.connect(self._press_cancel)
        events = self.state.events
        for name in ("image", "card", "axis", "separate", "phase", "message"):
            events[name].connect(self._draw)
        events["done"].connect(self._draw_progress)  # many times a second
        # a plain object's methods: this one is half gone when the signal comes
        self.destroyed.connect(self.run.close)
        self.viewer.dims.events.axis_labels.connect(self._choose_image)

    # -- choices ---------------------------------------------------------------------------------

    def reset_choices(self, event: Any = None) -> None:
        """List the viewer's images anew; napari calls it when layers come, go or are renamed."""
        from napari.layers import Image

        images = [layer for layer in self.viewer.layers if isinstance(layer, Image)]
        before = self.image_box.value
        with self.image_box.changed.blocked():
            self.image_box.choices = [(layer.name, layer) for layer in images]
            if before in images:
                self.image_box.value = before
            elif images:
                # what was just opened, or what the person has selected, is what they mean
                active = self.viewer.layers.selection.active
                self.image_box.value = active if active in images else images[-1]
        self._choose_image()

    def _choose_image(self, _: Any = None) -> None:
        layer = self.image_box.value
        facts = None if layer is None else self._facts(layer)
        self.state.choose(image=facts)
        self._list_axes()

    def _facts(self, layer: Image) -> ImageFacts:
        data, channel_axis = image_array(layer)
        # The sliders' names. While a layer is being added the viewer may still have too few axes.
        names = list(self.viewer.dims.axis_labels[-layer.ndim :])
        if len(names) < layer.ndim:
            names = list(layer.axis_labels)
        if channel_axis is not None:
            names.append("colour")
        shape = tuple(data.shape)
        spacing = image_spacing(layer, colours(shape, channel_axis))
        return ImageFacts(layer.name, shape, data.dtype, tuple(names), channel_axis, *spacing)

    def _list_axes(self) -> None:
        choices = self.state.axis_choices()
        before = self.axis_box.value
        with self.axis_box.changed.blocked():
            self.axis_box.choices = choices or [("a single plane", None)]
            axes = [axis for _, axis in choices]
            self.axis_box.value = before if before in axes else None
        self.state.choose(axis=self.axis_box.value)

    def _choose_model(self, _: Any = None) -> None:
        card = self._models.get(self.model_box.value)
        self.state.choose(card=card)
        self.card_label.say("" if card is None else card.summary)
        self.card_label.setToolTip("" if card is None else _about(card))
        self.model_box.tooltip = "" if card is None else _about(card)

    def _choose_axis(self, axis: int | None) -> None:
        self.state.choose(axis=axis)

    def _choose_separate(self, separate: bool) -> None:
        self.state.choose(separate=separate)

    # -- the run ---------------------------------------------------------------------------------

    def _press_segment(self, _: Any = None) -> None:
        layer = self.image_box.value
        if layer is not None:
            # the layer's array or axes may have changed since it was chosen
            self.state.choose(image=self._facts(layer))
            self.run.start(layer, self.model_box.value)

    def _press_cancel(self, _: Any = None) -> None:
        self.run.cancel()

    def changeEvent(self, event: QEvent) -> None:
        """Stop when the panel is closed: napari takes it out of its dock, and keeps it alive."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.run.cancel("The panel was closed.")
        super().changeEvent(event)

    # -- drawing ---------------------------------------------------------------------------------

    def _draw(self, _: Any = None) -> None:
        state = self.state
        problem = None if state.busy else state.problem()
        self.segment_button.enabled = not state.busy and problem is None
        self.cancel_button.enabled = state.phase in (Phase.STARTING, Phase.RUNNING)
        for box in (self.image_box, self.model_box):
            box.enabled = not state.busy
        self.axis_box.enabled = not state.busy and bool(state.axis_choices())
        self.objects_box.enabled = not state.busy and state.can_separate
        with QSignalBlocker(self.objects_box.native):
            self.objects_box.value = state.instances if state.can_separate else False
        self._draw_progress()
        self.status_label.say(state.status())

    def _draw_progress(self, _: Any = None) -> None:
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


def _about(card: Card) -> str:
    """Return the card in a few lines."""
    lines = [card.summary, f"Draws: {', '.join(c.name for c in card.classes)}"]
    if card.scores:
        scores = ", ".join(f"{name} {value:.3f}" for name, value in card.scores.items())
        lines.append(f"Measured: {scores}")
    for word, text in (
        ("Learned from", card.training_data),
        ("Fails on", card.limitations),
        ("Licence", card.licence),
    ):
        if text:
            lines.append(f"{word}: {text}")
    return "\n".join(line for line in lines if line)
