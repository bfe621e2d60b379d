"""The list of annotated planes, and the table of classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker, QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QListWidget,
    QListWidgetItem,
    QTableWidget,
    QTableWidgetItem,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .classes import ClassRow
    from .painted import At
    from .state import Entry

__all__ = ["ClassTable", "PlaneList"]

#: Rows that are seen without scrolling.
_PLANES, _CLASSES = 4, 4

_AT = Qt.ItemDataRole.UserRole
_ROW = 20


def _swatch(colors: Sequence[str]) -> QIcon:
    """Return squares of up to four colours."""
    shown = list(colors)[:4]
    pixmap = QPixmap(4 * 11, 12)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    for k, color in enumerate(shown):
        painter.setBrush(QColor(color))
        painter.drawRoundedRect(11 * k, 1, 9, 9, 2, 2)
    painter.end()
    return QIcon(pixmap.copy(0, 0, max(11 * len(shown), 11), 12))


class PlaneList(QListWidget):
    """Planes to learn from: a click goes there, a tick leaves one out."""

    picked = Signal(object)
    ticked = Signal(object, bool)

    def __init__(self) -> None:
        super().__init__()
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setUniformItemSizes(True)
        self.setIconSize(QSize(44, 12))
        self.setAccessibleName("Annotated planes")
        self._shown: Any = None
        self.itemChanged.connect(self._changed)
        self.itemClicked.connect(lambda item: self.picked.emit(item.data(_AT)))
        self.itemActivated.connect(lambda item: self.picked.emit(item.data(_AT)))
        self.fit()

    def show_planes(
        self,
        entries: Sequence[Entry],
        axis: str,
        names: Mapping[int, str],
        color_of: Callable[[int], str | None],
        *,
        objects: bool = False,
    ) -> None:
        """List planes; ``names`` and colours are those of painted labels."""
        colors = {k: color_of(k) for e in entries for k in list(e.counts)[:8]}
        shown = (list(entries), axis, dict(names), colors, objects)
        if shown == self._shown:
            return
        self._shown = shown
        with QSignalBlocker(self):
            scrolled, row = self.verticalScrollBar().value(), self.currentRow()
            self.clear()
            for entry in entries:
                words = _content(entry, names, objects=objects)
                item = QListWidgetItem(f"{_place(entry.at, axis)}   {words}")
                item.setData(_AT, entry.at)
                item.setSizeHint(QSize(0, _ROW))
                item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
                state = Qt.CheckState.Checked if entry.ticked else Qt.CheckState.Unchecked
                item.setCheckState(state)
                item.setToolTip(_details(entry, names, objects=objects))
                found = [colors.get(k) for k in list(entry.counts)[:4]]
                if found and not objects:
                    item.setIcon(_swatch([c for c in found if c is not None]))
                self.addItem(item)
            self.setCurrentRow(row)
            self.verticalScrollBar().setValue(scrolled)
        self.fit()

    def mark(self, at: At | None) -> None:
        """Mark the plane in view."""
        with QSignalBlocker(self):
            for row in range(self.count()):
                if self.item(row).data(_AT) == at:
                    self.setCurrentRow(row)
                    return
            self.setCurrentRow(-1)
            self.clearSelection()

    def fit(self) -> None:
        """Take the height of a few rows."""
        rows = min(max(self.count(), 2), _PLANES)
        self.setFixedHeight(rows * _ROW + 2 * self.frameWidth() + 2)

    def _changed(self, item: QListWidgetItem) -> None:
        self._shown = None
        self.ticked.emit(item.data(_AT), item.checkState() == Qt.CheckState.Checked)


def _place(at: At, axis: str) -> str:
    return f"{axis} {', '.join(map(str, at))}" if at else "the plane"


def _content(entry: Entry, names: Mapping[int, str], *, objects: bool) -> str:
    if not entry.counts:
        return "nothing there"
    if objects:
        count = len(entry.counts)
        return "1 object" if count == 1 else f"{count} objects"
    return ", ".join(names.get(k, f"label {k}") for k in list(entry.counts)[:8])


def _details(entry: Entry, names: Mapping[int, str], *, objects: bool) -> str:
    if not entry.counts:
        return "Said to be empty: all of it is background"
    if objects:
        return f"{100 * sum(entry.counts.values()) / entry.size:.1f} % of the plane"
    return "\n".join(
        f"{names.get(k, f'label {k}')}: {100 * n / entry.size:.1f} % of the plane"
        for k, n in list(entry.counts.items())[:12]
    )


class ClassTable(QTableWidget):
    """Labels that are painted, and what they are called."""

    renamed = Signal(int, str)

    def __init__(self) -> None:
        super().__init__(0, 2)
        self.horizontalHeader().setVisible(False)
        self.verticalHeader().setVisible(False)
        self.verticalHeader().setDefaultSectionSize(_ROW + 2)
        self.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
        self.horizontalHeader().setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        self.setIconSize(QSize(11, 12))
        self.setShowGrid(False)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.AllEditTriggers)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAccessibleName("Names of classes")
        self._shown: Any = None
        self.itemChanged.connect(self._changed)

    def show_classes(self, rows: Sequence[ClassRow], color_of: Callable[[int], str | None]) -> None:
        """List classes."""
        shown = [(row, color_of(row.label) if row.label else None) for row in rows]
        if shown == self._shown:
            return
        self._shown = shown
        with QSignalBlocker(self):
            self.setRowCount(len(shown))
            for k, (row, color) in enumerate(shown):
                label = QTableWidgetItem(str(row.label) if row.label else "all")
                label.setFlags(Qt.ItemFlag.ItemIsEnabled)
                label.setData(_AT, row.label)
                if color is not None:
                    label.setIcon(_swatch([color]))
                name = QTableWidgetItem(row.name)
                if row.id is None:
                    name.setFlags(Qt.ItemFlag.NoItemFlags)
                    name.setToolTip("What is not to be drawn has no name of its own")
                else:
                    name.setToolTip("Type what this class is called")
                self.setItem(k, 0, label)
                self.setItem(k, 1, name)
        rows_seen = min(len(shown), _CLASSES)
        self.setFixedHeight(rows_seen * (_ROW + 2) + 2 * self.frameWidth() + 2)
        self.setVisible(bool(shown))

    def _changed(self, item: QTableWidgetItem) -> None:
        if item.column() == 1:
            self._shown = None  # an emptied name comes back as the class's own
            self.renamed.emit(int(self.item(item.row(), 0).data(_AT)), item.text())
