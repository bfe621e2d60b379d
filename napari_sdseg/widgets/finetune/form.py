"""What the *Fine-tune* panel is made of: widgets in their places, and what they are for. No logic."""

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
    QVBoxLayout,
    QWidget,
)

from .._wrapped_text import WrappedText
from ..evaluate.plot import PlotColors, readable
from ..segment.form import NO_LAYER, _form, _holder, _narrow, _row
from .lists import ClassTable, PlaneList
from .plot import LearningPlot
from .state import Style

__all__ = ["NO_LAYER", "UNITS", "FineTuneForm"]

#: Of the budget.
UNITS = ("seconds", "steps")

TIPS = {
    "image": "The layer to be segmented",
    "labels": "The Labels layer that you paint in; it is never changed",
    "new": "New labels to paint: a layer that lies on the image, with the brush in hand (Ctrl+Alt+L)",
    "model": "What to start from; it is not changed either",
    "axis": "The axis whose planes are painted and segmented one after another.\n"
    "auto: the axis with by far the fewest planes, or else the first of three.",
    "planes": "A click goes to a plane; an unticked one is not learned from.\n"
    "Best painted are the planes where a thing begins and where it ends, and a few between.",
    "empty": "Learn that there is nothing to be drawn on the plane in view",
    "next": "Goes to the plane that the model is least sure of (Ctrl+Alt+N)",
    "style": "Whole planes: what is not painted on a plane is background.\n"
    "Strokes: a few strokes a class, and what they leave open is unknown.",
    "background": "The label that is painted where nothing is to be drawn",
    "budget": "How long to learn",
    "unit": "Seconds: as many steps as fit. Steps: the same on every machine, however long they take.",
    "learn": "Teaches a copy of the model what is painted (Ctrl+Alt+F)",
    "stop": "Stops, and keeps what is learned so far",
    "again": "Learns on from the last result for as long; makes another model",
    "save": "Puts the new model among your own, to be there after a restart",
    "rest": "Segments all planes with the new model, into a new layer (Ctrl+Alt+R)",
    "keep": "Painted planes come out as you painted them, and the planes between them start from\n"
    "the painted shapes and are corrected by the image",
}


class FineTuneForm(QWidget):
    """The panel's widgets, laid out; `FineTuneWidget` connects them."""

    def __init__(self) -> None:
        super().__init__()
        self._make()
        # Scrolled where it does not fit: a panel must not make the window taller than the screen.
        inside = QWidget()
        self.area = QScrollArea()
        self.area.setWidgetResizable(True)
        self.area.setFrameShape(QFrame.Shape.NoFrame)
        self.area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.area.setWidget(inside)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self.area)
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.setSpacing(5)
        layout.addLayout(self._choices())
        layout.addLayout(self._planes())
        layout.addLayout(self._painted())
        layout.addLayout(self._learning())
        layout.addWidget(self.progress.native)
        layout.addWidget(self.progress_label)
        layout.addWidget(self.plot)
        layout.addWidget(self.status_label)
        layout.addWidget(self.warning_label)
        layout.addWidget(self._result())
        layout.addStretch()

    def _make(self) -> None:
        self.image_box = ComboBox(nullable=True, tooltip=TIPS["image"])
        self.labels_box = ComboBox(choices=[(NO_LAYER, None)], tooltip=TIPS["labels"])
        self.new_button = PushButton(text="New", tooltip=TIPS["new"])
        self.model_box = ComboBox(tooltip=TIPS["model"])
        self.axis_box = ComboBox(tooltip=TIPS["axis"])
        self.planes_list = PlaneList()
        self.planes_list.setToolTip(TIPS["planes"])
        self.empty_box = CheckBox(text="This plane is empty", tooltip=TIPS["empty"])
        self.next_button = PushButton(text="Next plane to annotate", tooltip=TIPS["next"])
        self.style_box = ComboBox(choices=[(s.value, s) for s in Style], tooltip=TIPS["style"])
        self.background_box = ComboBox(tooltip=TIPS["background"])
        self.reading_label = WrappedText()
        self.classes_table = ClassTable()
        self.budget_box = SpinBox(min=5, max=3600, value=60, step=5, tooltip=TIPS["budget"])
        self.unit_box = ComboBox(choices=list(UNITS), tooltip=TIPS["unit"])
        self.learn_button = PushButton(text="Fine-tune", tooltip=TIPS["learn"])
        self.stop_button = PushButton(text="Stop", tooltip=TIPS["stop"])
        self.progress = ProgressBar()
        self.progress_label, self.status_label = WrappedText(), WrappedText()
        self.warning_label = WrappedText()
        self.plot = LearningPlot()
        self.again_button = PushButton(text="Go on", tooltip=TIPS["again"])
        self.save_button = PushButton(text="Save model …", tooltip=TIPS["save"])
        self.rest_button = PushButton(text="Segment the rest", tooltip=TIPS["rest"])
        self.keep_box = CheckBox(text="Keep painted planes and shapes", tooltip=TIPS["keep"])
        for button, keys in (
            (self.new_button, "Ctrl+Alt+L"),
            (self.next_button, "Ctrl+Alt+N"),
            (self.learn_button, "Ctrl+Alt+F"),
            (self.rest_button, "Ctrl+Alt+R"),
        ):
            button.native.setShortcut(keys)
        for box in (
            self.image_box, self.labels_box, self.model_box, self.axis_box, self.style_box,
            self.background_box,
        ):  # fmt: skip
            _narrow(box)

    def _choices(self) -> QFormLayout:
        form = _form()
        form.setVerticalSpacing(5)
        form.addRow("Image", self.image_box.native)
        form.addRow("Painted", _row((self.labels_box, 1), (self.new_button, 0)))
        form.addRow("Start from", self.model_box.native)
        self.axis_label = QLabel("Slice along")
        form.addRow(self.axis_label, self.axis_box.native)
        return form

    def _planes(self) -> QVBoxLayout:
        box = QVBoxLayout()
        box.setSpacing(4)
        above = QHBoxLayout()
        above.addWidget(QLabel("Painted planes"), 1)
        above.addWidget(self.next_button.native)
        box.addLayout(above)
        box.addWidget(self.planes_list)
        box.addWidget(self.empty_box.native)
        return box

    def _painted(self) -> QFormLayout:
        form = _form()
        form.setVerticalSpacing(5)
        form.addRow("I painted", self.style_box.native)
        self.background_label = QLabel("Background")
        form.addRow(self.background_label, self.background_box.native)
        form.addRow(self.reading_label)
        self.classes_label = QLabel("Classes")
        form.addRow(self.classes_label, self.classes_table)
        form.addRow("Learn for", _row((self.budget_box, 1), (self.unit_box, 1)))
        return form

    def _learning(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.addWidget(self.learn_button.native, 2)
        row.addWidget(self.stop_button.native, 1)
        return row

    def _result(self) -> QWidget:
        box = QVBoxLayout()
        box.addLayout(_row((self.again_button, 1), (self.save_button, 1)))
        box.addWidget(self.rest_button.native)
        box.addWidget(self.keep_box.native)
        self.result_box = _holder(box)
        return self.result_box

    def set_theme(self, name: str) -> None:
        """Draw in the colours of one of napari's themes."""
        from napari.utils.theme import get_theme

        theme = get_theme(name)
        parts = (theme.foreground, theme.secondary, theme.text)
        self.plot.set_theme(PlotColors(*(color.as_hex(format="long") for color in parts)))
        behind = theme.background.as_hex(format="long")
        color = readable(theme.warning.as_hex(format="long"), behind).name()
        self.warning_label.setStyleSheet(f"color: {color}")

    def show_background(self, painted: list[int], chosen: int | None) -> None:
        """Offer painted labels as the one that says background; of fewer than two none can be."""
        show_row(self.background_label, self.background_box.native, shown=len(painted) > 1)
        with self.background_box.changed.blocked():
            if list(self.background_box.choices) != painted:
                self.background_box.choices = [(f"label {k}", k) for k in painted]
            if chosen in painted:
                self.background_box.value = chosen


def show_row(label: Any, widget: Any, *, shown: bool) -> None:
    """Show or hide a row of a form."""
    label.setVisible(shown)
    widget.setVisible(shown)
