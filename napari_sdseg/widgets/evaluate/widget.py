"""The *Evaluate* panel. It draws an `EvaluateState` and passes on what is pressed; no more."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox, ProgressBar, PushButton
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QFileDialog, QFormLayout, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from napari_sdseg.layers import is_ours

from .._wrapped_text import WrappedText
from .layers import facts, likely_truth
from .plot import PlotColors
from .results import ResultsView
from .run import EvaluateRun
from .scores import as_csv
from .state import EvaluateState

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Labels

    from .facts import LabelsFacts
    from .scores import Scores

__all__ = ["EvaluateWidget"]

#: What is chosen as labels, and as ground truth.
_WANTED = ("The Labels layer to judge", "The Labels layer that is taken to be right")

_CLASSES, _OBJECTS = "Classes", "Single objects"


class EvaluateWidget(QWidget):
    """Choose labels and ground truth, press *Compare*, get tables and a plot over planes.

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
        self.state = EvaluateState()
        self.run = EvaluateRun(self.viewer, self.state)
        self._chosen: tuple[Any, Any] = (None, None)
        self._saving: Any = None
        self._build()
        self._connect()
        self._take_theme()
        self.reset_choices()
        self._draw()

    # -- the parts -------------------------------------------------------------------------------

    def _build(self) -> None:
        self.labels_box = ComboBox(nullable=True)
        self.truth_box = ComboBox(nullable=True)
        self.mode_box = ComboBox(
            choices=[_CLASSES, _OBJECTS],
            tooltip="Classes: a label is a kind of thing; Dice and IoU of each.\n"
            "Single objects: a label is one thing; objects are matched one to one as well.",
        )
        self.axis_box = ComboBox(tooltip="The axis whose planes are compared one after another")
        self.compare_button = PushButton(text="Compare", tooltip="Leaves the layers as they are")
        self.cancel_button = PushButton(text="Cancel", tooltip="Keeps the planes that are done")
        self.progress = ProgressBar(label="")
        self.progress_label = WrappedText()
        self.status_label = WrappedText()
        self.results = ResultsView(self.state)
        for box in (self.labels_box, self.truth_box, self.mode_box, self.axis_box):
            # long layer names would otherwise make the whole dock wider
            box.native.setMinimumContentsLength(8)
            box.native.setSizeAdjustPolicy(
                box.native.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            )
            box.native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Labels", self.labels_box.native)
        form.addRow("Ground truth", self.truth_box.native)
        form.addRow("Compare", self.mode_box.native)
        form.addRow("Planes along", self.axis_box.native)
        buttons = QHBoxLayout()
        buttons.addWidget(self.compare_button.native, 2)
        buttons.addWidget(self.cancel_button.native, 1)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addLayout(buttons)
        layout.addWidget(self.progress.native)
        layout.addWidget(self.progress_label)
        layout.addWidget(self.status_label)
        layout.addWidget(self.results, 1)
        layout.addStretch()

    def _connect(self) -> None:
        self.labels_box.changed.connect(self._choose_layers)
        self.truth_box.changed.connect(self._choose_layers)
        self.mode_box.changed.connect(lambda mode: self.state.choose(objects=mode == _OBJECTS))
        self.axis_box.changed.connect(lambda axis: self.state.choose(axis=axis))
        self.compare_button.changed.connect(self._press_compare)
        self.cancel_button.changed.connect(lambda: self.run.cancel())
        self.results.csv_button.changed.connect(self._press_csv)
        self.results.picked.connect(self._go_to)
        events = self.state.events
        for name in ("labels", "truth", "same", "objects", "axis", "busy", "message", "outdated"):
            events[name].connect(self._draw)
        events["done"].connect(self._draw_progress)  # many times a second
        for name in ("busy", "done", "scores", "measure"):
            events[name].connect(self.results.redraw)
        # a plain object's methods: this one is half gone when the signal comes
        self.destroyed.connect(self.run.close)
        self.viewer.events.theme.connect(self._take_theme)
        dims = self.viewer.dims.events
        dims.axis_labels.connect(self._choose_layers)
        for event in (dims.point, dims.ndisplay, dims.order):
            event.connect(self._follow)

    # -- choices ---------------------------------------------------------------------------------

    def reset_choices(self, event: Any = None) -> None:
        """List the viewer's Labels anew; napari calls it when layers come, go or are renamed."""
        from napari.layers import Labels

        layers = [layer for layer in self.viewer.layers if isinstance(layer, Labels)]
        boxes = (self.labels_box, self.truth_box)
        before = [box.value for box in boxes]
        labels, truth = (layer if layer in layers else None for layer in before)
        free = [layer for layer in reversed(layers) if layer not in (labels, truth)]
        if truth is None:
            truth = likely_truth(free, labels, alone=labels is None)
        if labels is None:
            labels = next((x for x in sorted(free, key=is_ours, reverse=True) if x is not truth), None)
        for box, layer in zip(boxes, (labels, truth), strict=True):
            with box.changed.blocked():
                box.choices = [(each.name, each) for each in layers]
                box.value = layer
        said = self.state.message
        self._choose_layers()
        if None in self._chosen:  # what was said of the run that this ended
            self.state.message = said

    def _choose_layers(self, _: Any = None) -> None:
        labels, truth = self.labels_box.value, self.truth_box.value
        known = [None if layer is None else self._facts(layer) for layer in (labels, truth)]
        same = labels is not None and labels is truth
        self.state.choose(labels=known[0], truth=known[1], same=same)
        for box, layer, words in zip(
            (self.labels_box, self.truth_box), (labels, truth), _WANTED, strict=True
        ):
            box.tooltip = words if layer is None else f"{layer.name}\n{words}"
        fresh = self._chosen != (labels, truth)
        self._chosen = (labels, truth)
        if fresh:
            self.mode_box.value = _OBJECTS if self.state.suggested_objects() else _CLASSES
            self.state.choose(objects=self.mode_box.value == _OBJECTS)
        self._list_axes(fresh=fresh)

    def _facts(self, layer: Labels) -> LabelsFacts:
        # The sliders' names. While a layer is being added the viewer may still have too few axes.
        names = tuple(self.viewer.dims.axis_labels[-layer.ndim :])
        if len(names) < layer.ndim:
            names = tuple(layer.axis_labels)
        # napari's own names for axes are their numbers
        named = (f"axis {name}" if re.fullmatch(r"-?\d+", name) else name for name in names)
        return facts(layer, tuple(named))

    def _list_axes(self, *, fresh: bool) -> None:
        choices = self.state.axis_choices()
        axes = [axis for _, axis in choices]
        before = self.axis_box.value
        wanted = before if before in axes and not fresh else self.state.suggested_axis()
        with self.axis_box.changed.blocked():
            self.axis_box.choices = choices or [("a single plane", None)]
            self.axis_box.value = wanted if wanted in axes else None if not axes else axes[0]
        self.state.choose(axis=self.axis_box.value)

    # -- the run ---------------------------------------------------------------------------------

    def _press_compare(self, _: Any = None) -> None:
        if self.state.busy:
            return
        self._choose_layers()  # the layers' arrays or names may have changed since they were chosen
        if self.run.start(*self._chosen):
            self._follow()

    def _press_csv(self, _: Any = None) -> None:
        scores = self.state.scores
        if scores is None or self.state.busy or self._saving is not None:
            return
        path = ask_path(self, f"{_file_name(scores)}.csv")
        if path is not None:
            from napari.qt.threading import create_worker

            self._saving = create_worker(write_csv, path, scores, _start_thread=False)
            self._saving.returned.connect(self._saved)
            self._saving.start()

    def _saved(self, problem: str) -> None:
        from napari.utils.notifications import show_error, show_info

        self._saving = None
        if problem.startswith("Saved"):
            show_info(problem)
        else:
            show_error(problem)

    def changeEvent(self, event: QEvent) -> None:
        """Stop when the panel is closed: napari takes it out of its dock, and keeps it alive."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.run.cancel("The panel was closed.")
        super().changeEvent(event)

    # -- the viewer ------------------------------------------------------------------------------

    def _go_to(self, position: dict[int, int]) -> None:
        self.run.show(position)

    def _follow(self, _: Any = None) -> None:
        self.results.set_position(self.run.position())

    def _take_theme(self, _: Any = None) -> None:
        from napari.utils.theme import get_theme

        theme = get_theme(self.viewer.theme)
        colors = (
            color.as_hex(format="long") for color in (theme.foreground, theme.secondary, theme.text)
        )
        self.results.set_theme(PlotColors(*colors))

    # -- drawing ---------------------------------------------------------------------------------

    def _draw(self, _: Any = None) -> None:
        state = self.state
        self.compare_button.enabled = not state.busy and state.problem() is None
        self.cancel_button.enabled = state.busy
        for box in (self.labels_box, self.truth_box, self.mode_box):
            box.enabled = not state.busy
        self.axis_box.enabled = not state.busy and bool(state.axis_choices())
        self._draw_progress()
        self.status_label.say(state.status())
        self.results.setVisible(state.scores is not None)

    def _draw_progress(self, _: Any = None) -> None:
        state = self.state
        bar = self.progress.native
        bar.setVisible(state.busy)
        bar.setRange(0, max(state.total, 1))
        bar.setValue(state.done)
        self.progress_label.say(state.progress_text())
        self.progress_label.setVisible(state.busy)


def _file_name(scores: Scores) -> str:
    return re.sub(r"[^\w .()-]+", "_", f"{scores.labels} vs {scores.truth}")[:100]


def ask_path(parent: QWidget, suggestion: str) -> Path | None:
    """Ask where to save; None: nowhere."""
    dialog = QFileDialog(parent, "Save the comparison", suggestion, "Comma-separated values (*.csv)")
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    dialog.setDefaultSuffix("csv")
    dialog.selectFile(suggestion)
    return Path(dialog.selectedFiles()[0]) if dialog.exec() else None


def write_csv(path: Path, scores: Scores) -> str:
    """Save results, and return in a sentence whether it went well."""
    try:
        path.write_text(as_csv(scores), encoding="utf-8")
    except OSError as error:
        return f"The comparison was not saved: {error.strerror or error} ({path})."
    return f"Saved {path.name}."
