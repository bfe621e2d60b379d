"""What the *Segment* panel is made of: widgets in their places, and what they are for. No logic."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import CheckBox, ComboBox, ProgressBar, PushButton, SpinBox
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible, QLabeledDoubleSlider, QLabeledRangeSlider

from .._wrapped_text import WrappedText
from .commit import Rule

__all__ = ["SegmentForm"]

NO_LAYER = "choose a layer"

TIPS = {
    "image": "The layer to segment",
    "model": "What to look for, and how",
    "axis": "The axis whose planes are segmented one after another.\n"
    "auto: the axis with by far the fewest planes, or else the first of three.",
    "planes": "The first and the last plane to be segmented",
    "objects": "Each object gets a number of its own, the same in all its planes.\n"
    "Unticked: all objects are drawn as one class.",
    "level": "Of a multiscale image: 0 is the full resolution",
    "orthogonal": "Slices the volume in its three directions and averages what is seen:\n"
    "three times the work, smoother across planes",
    "samples": "Noise samples a plane. One is enough; more give their mean,\n"
    "and a layer that shows where they differ",
    "device": "What computes. auto: a GPU if there is one",
    "precision": "auto: what the device computes fastest without harm",
    "preview": "Segments the plane in view (Ctrl+Alt+P)",
    "follow": "Previews every plane that the slider rests at",
    "segment": "Makes a new Labels layer (Ctrl+Alt+S)",
    "cancel": "Keeps the planes that are done (Ctrl+Alt+X)",
    "threshold": "Probability above which a pixel is drawn.\n"
    "Cuts the last result anew, without the model.",
    "target": "The Labels layer that the result goes into",
    "rule": "What becomes of pixels that the layer holds already",
    "class": "The one class that is taken over",
    "commit": "Puts the result into that layer; one undo (Ctrl+Z) takes it back",
    "script": "Puts the Python call that does the same on the clipboard",
}


class SegmentForm(QWidget):
    """The panel's widgets, laid out; `SegmentWidget` connects them."""

    def __init__(self) -> None:
        super().__init__()
        self._make()
        # Scrolled where it does not fit: a panel must not make the window taller than the screen.
        inside = QWidget()
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(inside)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(area)
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.addLayout(self._choices())
        layout.addWidget(self._more())
        layout.addLayout(_row((self.preview_button, 2), (self.follow_box, 1)))
        layout.addLayout(_row((self.segment_button, 2), (self.cancel_button, 1)))
        layout.addWidget(self.progress.native)
        layout.addWidget(self.progress_label)
        layout.addWidget(self.status_label)
        layout.addWidget(self._result())
        layout.addWidget(self.script_button.native)
        layout.addStretch()

    def _make(self) -> None:
        self.image_box = ComboBox(nullable=True, tooltip=TIPS["image"])
        self.model_box = ComboBox(tooltip=TIPS["model"])
        self.axis_box = ComboBox(tooltip=TIPS["axis"])
        self.planes_slider = QLabeledRangeSlider(Qt.Orientation.Horizontal)
        self.planes_slider.setEdgeLabelMode(QLabeledRangeSlider.EdgeLabelMode.NoLabel)
        self.planes_slider.setToolTip(TIPS["planes"])
        self.objects_box = CheckBox(text="Separate objects", tooltip=TIPS["objects"])
        self.level_box = ComboBox(tooltip=TIPS["level"])
        self.orthogonal_box = CheckBox(text="Average three directions", tooltip=TIPS["orthogonal"])
        self.samples_box = SpinBox(min=1, max=64, value=1, tooltip=TIPS["samples"])
        self.device_box = ComboBox(choices=[("auto", None), ("cpu", "cpu")], tooltip=TIPS["device"])
        self.precision_box = ComboBox(
            choices=[("auto", None), *((p, p) for p in ("float32", "bfloat16", "float16"))],
            tooltip=TIPS["precision"],
        )
        self.preview_button = PushButton(text="Preview this plane", tooltip=TIPS["preview"])
        self.follow_box = CheckBox(text="follow", tooltip=TIPS["follow"])
        self.segment_button = PushButton(text="Segment", tooltip=TIPS["segment"])
        self.cancel_button = PushButton(text="Cancel", tooltip=TIPS["cancel"])
        self.progress = ProgressBar()
        self.threshold_slider = QLabeledDoubleSlider(Qt.Orientation.Horizontal)
        self.threshold_slider.setRange(0.02, 0.98)
        self.threshold_slider.setSingleStep(0.01)  # type: ignore[arg-type] # a float it is
        self.threshold_slider.setValue(0.5)
        self.threshold_slider.setToolTip(TIPS["threshold"])
        self.target_box = ComboBox(choices=[(NO_LAYER, None)], tooltip=TIPS["target"])
        self.rule_box = ComboBox(choices=[(r.value, r) for r in Rule], tooltip=TIPS["rule"])
        self.class_box = ComboBox(tooltip=TIPS["class"])
        self.commit_button = PushButton(text="Commit", tooltip=TIPS["commit"])
        self.script_button = PushButton(text="Copy as script", tooltip=TIPS["script"])
        self.card_label, self.about_label = WrappedText(), WrappedText()
        self.about_label.setTextFormat(Qt.TextFormat.RichText)
        self.progress_label, self.status_label = WrappedText(), WrappedText()
        for button, keys in (
            (self.preview_button, "Ctrl+Alt+P"),
            (self.segment_button, "Ctrl+Alt+S"),
            (self.cancel_button, "Ctrl+Alt+X"),
        ):
            button.native.setShortcut(keys)
        for box in (
            self.image_box, self.model_box, self.axis_box, self.level_box, self.device_box,
            self.precision_box, self.target_box, self.rule_box, self.class_box,
        ):  # fmt: skip
            _narrow(box)

    def _choices(self) -> QFormLayout:
        form = _form()
        form.addRow("Image", self.image_box.native)
        form.addRow("Model", self.model_box.native)
        form.addRow("", self.card_label)
        self.about = _section("About this model")
        self.about.addWidget(self.about_label)
        form.addRow(self.about)
        form.addRow("Slice along", self.axis_box.native)
        self.planes_label = QLabel("Planes")
        form.addRow(self.planes_label, self.planes_slider)
        form.addRow("", self.objects_box.native)
        return form

    def _more(self) -> QCollapsible:
        form = _form()
        self.level_label = QLabel("Level")
        form.addRow(self.level_label, self.level_box.native)
        form.addRow("", self.orthogonal_box.native)
        form.addRow("Samples", self.samples_box.native)
        form.addRow("Device", self.device_box.native)
        form.addRow("Precision", self.precision_box.native)
        self.more = _section("More")
        self.more.addWidget(_holder(form))
        return self.more

    def _result(self) -> QWidget:
        form = _form()
        form.addRow("Threshold", self.threshold_slider)
        form.addRow("Commit into", self.target_box.native)
        form.addRow("", self.rule_box.native)
        self.class_label = QLabel("Class")
        form.addRow(self.class_label, self.class_box.native)
        form.addRow("", self.commit_button.native)
        self.result_box = _holder(form)
        return self.result_box


def _form() -> QFormLayout:
    form = QFormLayout()
    form.setContentsMargins(0, 0, 0, 0)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return form


def _section(title: str) -> QCollapsible:
    section = QCollapsible(title)
    section.toggleButton().setFlat(True)
    section.setDuration(0)  # a panel that slides is a panel one waits for
    section.layout().setContentsMargins(0, 0, 0, 0)
    section.content().layout().setContentsMargins(8, 0, 0, 4)
    return section


def _holder(layout: Any) -> QWidget:
    holder = QWidget()
    layout.setContentsMargins(0, 0, 0, 0)
    holder.setLayout(layout)
    return holder


def _row(*parts: tuple[Any, int]) -> QHBoxLayout:
    row = QHBoxLayout()
    for widget, stretch in parts:
        row.addWidget(widget.native, stretch)
    return row


def _narrow(box: ComboBox) -> None:
    """Keep long layer names from making the whole dock wider."""
    box.native.setMinimumContentsLength(8)
    box.native.setSizeAdjustPolicy(box.native.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
