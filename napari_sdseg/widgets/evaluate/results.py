"""The results in the *Evaluate* panel: a summary, two tables and a plot over planes."""

from __future__ import annotations

from html import escape
from time import perf_counter
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox, PushButton
from qtpy.QtCore import QModelIndex, QSignalBlocker, Qt, QTimer, Signal
from qtpy.QtGui import QColor, QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QApplication,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from .._wrapped_text import WrappedText
from .counts import MEASURES
from .plot import LINE_COLORS, PlanePlot, PlotColors, readable
from .scores import as_tabs, mean, shown
from .tables import TextTable, fit_columns, table_view

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .scores import Scores
    from .state import EvaluateState

__all__ = ["ResultsView"]

_EMPTY = "–: neither layer has anything there. Such planes and classes are left out of means."
_ABOUT = {
    "Dice": "Twice the shared pixels, over the pixels of both: 1 is perfect.",
    "IoU": "The shared pixels, over the pixels in either.",
    "AP50": "Objects matched one to one at IoU 0.5, over matched + missed + drawn without a match.",
    "AP": "The mean of that at IoU 0.5, 0.55, ... 0.95.",
}
_VOLUMES = "Over all planes, an object is matched as a whole, in 3-D, by its number."

#: The first column of the table names more classes than this.
_MOST_IN_LEGEND = 12

#: A redraw costs what there is to show, so the pause to the next is a multiple of it.
_REST, _LEAST_PAUSE = 10, 0.1


class ResultsView(QWidget):
    """Draws the scores of an `EvaluateState`, and says which plane was picked."""

    #: A position: axis of the layers -> index.
    picked = Signal(object)  # PySide makes no C++ map of a dict of integers

    def __init__(self, state: EvaluateState) -> None:
        super().__init__()
        self.state = state
        self._colors = PlotColors()
        self._position: Mapping[int, int] = {}
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._draw)
        self._pause = _LEAST_PAUSE
        self._build()

    def _build(self) -> None:
        self.summary_label = WrappedText()
        self.class_model, self.plane_model = TextTable(), TextTable()
        self.class_table = table_view(self.class_model)
        self.plane_table = table_view(self.plane_model)
        self.plane_table.clicked.connect(self._pick_row)
        self.tabs = QTabWidget()
        self.tabs.addTab(self.class_table, "All planes")
        self.tabs.addTab(self.plane_table, "Each plane")
        # a hidden table does not scroll; and `currentChanged` also tells of tabs being destroyed
        self.tabs.tabBarClicked.connect(self.redraw)
        # a tab bar asks for the width of all its tabs
        self.tabs.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
        self.tabs.setMinimumWidth(200)
        self.measure_box = ComboBox(choices=list(MEASURES))
        self.measure_box.changed.connect(self._choose_measure)
        self.over_label = QLabel()
        self.over_label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.legend_label = QLabel()
        self.legend_label.setTextFormat(Qt.TextFormat.RichText)
        self.legend_label.setWordWrap(True)
        self.legend_label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.plot = PlanePlot()
        self.plot.picked.connect(self._pick_plane)
        self.copy_button = PushButton(
            text="Copy", tooltip="Puts the table in sight on the clipboard, for a spreadsheet"
        )
        self.csv_button = PushButton(
            text="CSV …", tooltip="Saves all measures of all planes and classes"
        )
        self.copy_button.changed.connect(self.copy)
        keys = QShortcut(QKeySequence(QKeySequence.StandardKey.Copy), self.tabs)
        keys.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        keys.activated.connect(self.copy)

        self.plot_part = QWidget()
        shown_row = QHBoxLayout()
        shown_row.addWidget(self.measure_box.native)
        shown_row.addWidget(self.over_label, 1)
        plot_part = QVBoxLayout(self.plot_part)
        plot_part.setContentsMargins(0, 0, 0, 0)
        plot_part.addLayout(shown_row)
        plot_part.addWidget(self.plot, 1)
        plot_part.addWidget(self.legend_label)
        buttons = QHBoxLayout()
        buttons.addWidget(self.copy_button.native)
        buttons.addWidget(self.csv_button.native)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.summary_label)
        layout.addWidget(self.tabs, 1)
        layout.addWidget(self.plot_part, 1)
        layout.addLayout(buttons)

    # -- what is asked of it ---------------------------------------------------------------------

    def set_theme(self, colors: PlotColors) -> None:
        """Draw in the colours of a theme."""
        self._colors = colors
        self.redraw()

    def set_position(self, position: Mapping[int, int]) -> None:
        """Mark the plane that the viewer shows."""
        self._position = position
        self._mark()

    def redraw(self, _: Any = None) -> None:
        """Draw what has changed, soon."""
        if not self._timer.isActive():
            self._timer.start(0 if not self.state.busy else round(1000 * self._pause))

    def copy(self, _: Any = None) -> None:
        """Put the table in sight on the clipboard."""
        scores = self.state.scores
        if scores is not None:
            by_class = self.tabs.currentWidget() is self.class_table
            table = scores.class_table() if by_class else scores.plane_table(self.state.measure)
            QApplication.clipboard().setText(as_tabs(table))

    # -- drawing ---------------------------------------------------------------------------------

    def _draw(self) -> None:
        scores = self.state.scores
        self.setVisible(scores is not None)
        if scores is None:
            return
        begun = perf_counter()
        with QSignalBlocker(self.measure_box.native), self.measure_box.changed.blocked():
            if tuple(self.measure_box.choices) != scores.measures:
                self.measure_box.choices = list(scores.measures)
            self.measure_box.value = self.state.measure
        self.measure_box.tooltip = f"{_ABOUT[self.state.measure]}\n{_EMPTY}"
        words = scores.summary()
        self.summary_label.say(words)
        self.summary_label.setVisible(bool(words))
        colors = self._line_colors(scores)
        self._draw_classes(scores, colors)
        several = bool(scores.looped)
        self.tabs.setTabVisible(1, several)
        self.tabs.setTabText(0, "All planes" if several else "The plane")
        self.plot_part.setVisible(several)
        if several:
            self._draw_planes(scores, colors)
        for button in (self.copy_button, self.csv_button):
            button.enabled = not self.state.busy
        self._mark()
        self._pause = max(_LEAST_PAUSE, _REST * (perf_counter() - begun))

    def _line_colors(self, scores: Scores) -> list[QColor]:
        given, behind = self.state.colors, self._colors.background
        cycle = (LINE_COLORS[i % len(LINE_COLORS)] for i in range(len(scores.names)))
        return [readable(given.get(n, c), behind) for n, c in zip(scores.names, cycle, strict=True)]

    def _draw_classes(self, scores: Scores, colors: list[QColor]) -> None:
        header, *rows = scores.class_table()

        def about(row: int) -> str:
            lines = [scores.about(row) if row < len(scores.names) else "The mean of the classes"]
            return "\n".join([*lines, *([_VOLUMES] if scores.objects else []), _EMPTY])

        self.class_model.show(
            header, len(rows), lambda r, c: rows[r][c], about=about, row_colors=colors
        )
        fit_columns(self.class_table, even=False, wide=True)
        self.class_table.setToolTip(_EMPTY)

    def _draw_planes(self, scores: Scores, colors: list[QColor]) -> None:
        name = self.state.measure
        columns, values = scores.plane_columns(name)
        means = mean(values, 0)
        n = len(scores.looped)

        def cell(row: int, column: int) -> str:
            if row == 0:
                return "mean" if column == 0 else "" if column < n else shown(means[column - n])
            if column < n:
                return str(scores.position(row - 1)[column])
            return shown(values[row - 1, column - n])

        header = [*(scores.axis_names[a] for a in scores.looped), *columns]
        self.plane_model.show(
            header,
            scores.done + 1,
            cell,
            about=lambda row: _EMPTY if row == 0 else "Click to go to this plane",
            words=n,
        )
        fit_columns(self.plane_table, even=len(header) < 6)
        axis = scores.axis if scores.axis is not None else scores.looped[0]
        others = [scores.axis_names[a] for a in scores.looped if a != axis]
        average = f"The mean over {' and '.join(others)}.\n" if others else ""
        self.over_label.setText(f"over {scores.axis_names[axis]}{', averaged' if others else ''}")
        self.over_label.setToolTip(
            f"{average}A click on the plot takes the viewer to that plane.\n{_EMPTY}"
        )
        legend = zip(scores.names, colors, strict=True)
        self.legend_label.setText(
            " &nbsp;".join(f'<font color="{c.name()}">●</font>&nbsp;{escape(n)}' for n, c in legend)
        )
        self.legend_label.setVisible(1 < len(colors) <= _MOST_IN_LEGEND)
        self.plot.draw(scores.along(name), scores.names, colors, scores.axis_names[axis], self._colors)

    def _mark(self) -> None:
        scores = self.state.scores
        if scores is None or not scores.looped:
            return
        self.plot.mark(self._position.get(scores.axis if scores.axis is not None else -1))
        at = [self._position.get(a, -1) for a in scores.looped]
        inside = all(0 <= i < length for i, length in zip(at, scores.lengths, strict=True))
        number = scores.number(at) if inside else scores.done
        with QSignalBlocker(self.plane_table.selectionModel()):
            if number < scores.done:
                self.plane_table.selectRow(number + 1)
                self.plane_table.scrollTo(self.plane_model.index(number + 1, 0))
            else:
                self.plane_table.clearSelection()
        self.plane_table.viewport().update()

    def _choose_measure(self, name: str) -> None:
        self.state.measure = name

    # -- what was pressed ------------------------------------------------------------------------

    def _pick_plane(self, plane: int) -> None:
        scores = self.state.scores
        if scores is not None and scores.axis is not None:
            self.picked.emit({scores.axis: plane})

    def _pick_row(self, index: QModelIndex) -> None:
        scores = self.state.scores
        if scores is not None and index.row() > 0:
            self.picked.emit(dict(zip(scores.looped, scores.position(index.row() - 1), strict=True)))
