"""Tables of text for Qt, that grow while results come in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt
from qtpy.QtGui import QFont
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtGui import QColor

__all__ = ["TextTable", "fit_columns", "table_view"]

_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter


def _no_words(*_: int) -> str:
    return ""


class TextTable(QAbstractTableModel):
    """Cells that are asked for when they are shown: a stack may have thousands of planes.

    Parameters
    ----------
    words
        How many columns at the left hold words; the others hold numbers.
    """

    def __init__(self, words: int = 1) -> None:
        super().__init__()
        self._words, self._header, self._rows = words, [""], 0
        self._cell: Callable[[int, int], str] = _no_words
        self._about: Callable[[int], str] = _no_words
        self._row_colors: list[QColor] = []

    def show(
        self,
        header: list[str],
        rows: int,
        cell: Callable[[int, int], str],
        *,
        about: Callable[[int], str] = _no_words,
        row_colors: list[QColor] | None = None,
        words: int = 1,
    ) -> None:
        """Show a header and rows of cells; what was scrolled to stays where rows are only added."""
        grows = header == self._header and rows >= self._rows > 0
        new = range(self._rows, rows) if grows else range(0)
        if not grows:
            self.beginResetModel()
        elif new:
            self.beginInsertRows(QModelIndex(), new.start, new.stop - 1)
        self._header, self._rows, self._cell, self._about = header, rows, cell, about
        self._row_colors, self._words = row_colors or [], words
        if not grows:
            self.endResetModel()
            return
        if new:
            self.endInsertRows()
        self.dataChanged.emit(self.index(0, 0), self.index(rows - 1, len(header) - 1))
        self.headerDataChanged.emit(Qt.Orientation.Horizontal, 0, len(header) - 1)

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return how many rows there are."""
        return 0 if parent is not None and parent.isValid() else self._rows

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Return how many columns there are."""
        return 0 if parent is not None and parent.isValid() else len(self._header)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return a cell's text, tooltip, font, colour or alignment."""
        row, column = index.row(), index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return self._cell(row, column)
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._about(row)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _LEFT if column < self._words else _RIGHT
        if role == Qt.ItemDataRole.FontRole and self._cell(row, 0) == "mean":
            bold = QFont()
            bold.setBold(True)
            return bold
        if role == Qt.ItemDataRole.DecorationRole and column == 0 and row < len(self._row_colors):
            return self._row_colors[row]
        return None

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Return a column's name or alignment."""
        if orientation != Qt.Orientation.Horizontal or section >= len(self._header):
            return None
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            return self._header[section]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _LEFT if section < self._words else _RIGHT
        return None


def table_view(model: TextTable) -> QTableView:
    """Return a plain view of a table; see `fit_columns`."""
    view = QTableView()
    view.setModel(model)
    view.setShowGrid(False)
    view.setWordWrap(False)
    view.setTextElideMode(Qt.TextElideMode.ElideRight)
    view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    view.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    view.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
    view.setMinimumSize(160, 90)
    view.verticalHeader().hide()
    view.verticalHeader().setDefaultSectionSize(22)
    header = view.horizontalHeader()
    header.setHighlightSections(False)
    header.setMinimumSectionSize(40)
    header.setResizeContentsPrecision(40)  # rows: to measure thousands of them takes seconds
    return view


def fit_columns(view: QTableView, *, even: bool, wide: bool = False) -> None:
    """Lay out the columns: all as wide as each other, or as their words (the first is ``wide``)."""
    header, mode = view.horizontalHeader(), QHeaderView.ResizeMode
    header.setSectionResizeMode(mode.Stretch if even else mode.ResizeToContents)
    if wide:
        header.setSectionResizeMode(0, mode.Stretch)
