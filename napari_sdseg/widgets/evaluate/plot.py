"""A plot of a measure over planes; a click, or an arrow key, picks a plane."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPainterPath, QPen, QPixmap
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from .scores import shown

if TYPE_CHECKING:
    import numpy.typing as npt
    from qtpy.QtCore import QEvent
    from qtpy.QtGui import QKeyEvent, QMouseEvent, QPaintEvent, QResizeEvent

__all__ = ["LINE_COLORS", "PlanePlot", "PlotColors", "readable"]

#: Colours that stay apart for colour-blind people (Okabe & Ito, Color Universal Design, 2008).
LINE_COLORS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#0072b2", "#f0e442")

#: Pixels around the lines: room for the words at the axes.
_LEFT, _RIGHT, _TOP, _BOTTOM = 32, 10, 10, 20


@dataclass(frozen=True)
class PlotColors:
    """The theme's colours that the plot is drawn in."""

    background: str = "#2e333e"
    grid: str = "#424a54"
    text: str = "#f0f1f2"


def readable(color: str, background: str) -> QColor:
    """Return a colour that can be told from a background: it, or a lighter or darker one."""
    found, behind = QColor(color), QColor(background)
    dark = _luminance(behind) < 0.2
    for _ in range(12):
        light, low = sorted((_luminance(found), _luminance(behind)), reverse=True)
        if (light + 0.05) / (low + 0.05) >= 2:
            break
        found = found.lighter(112) if dark else found.darker(112)
    return found


def _luminance(color: QColor) -> float:
    parts = np.array(color.getRgbF()[:3]) ** 2.2
    return float(parts @ (0.2126, 0.7152, 0.0722))


class PlanePlot(QWidget):
    """Lines over planes, one a class, with the plane in view marked.

    Drawn here: a plot library would be a dependency for a dozen lines. They are kept as a picture,
    so that moving a slider redraws the mark and nothing else.
    """

    picked = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumSize(160, 110)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName("Measure over planes")
        self._values: npt.NDArray[np.float64] = np.zeros((0, 0))
        self._names: list[str] = []
        self._lines: list[QColor] = []
        self._axis, self._colors = "", PlotColors()
        self._mark: int | None = None
        self._picture: QPixmap | None = None

    def sizeHint(self) -> QSize:
        """Return a size that suits a dock."""
        return QSize(280, 150)

    def draw(
        self,
        values: npt.NDArray[np.float64],
        names: list[str],
        lines: list[QColor],
        axis: str,
        colors: PlotColors,
    ) -> None:
        """Show values, (planes, classes), NaN where there are none."""
        self._values, self._names, self._lines = values, names, lines
        self._axis, self._colors = axis, colors
        self._picture = None
        self.update()

    def mark(self, plane: int | None) -> None:
        """Mark the plane in view; None: no plane of this axis is."""
        if plane is not None and not 0 <= plane < len(self._values):
            plane = None
        if plane != self._mark:
            self._mark = plane
            self.update()

    # -- where things are ------------------------------------------------------------------------

    def _area(self) -> QRectF:
        return QRectF(self.rect()).adjusted(_LEFT, _TOP, -_RIGHT, -_BOTTOM)

    def x_of(self, plane: float) -> float:
        """Return where a plane is drawn."""
        area, last = self._area(), len(self._values) - 1
        return float(area.center().x() if last < 1 else area.left() + area.width() * plane / last)

    def _y_of(self, value: float) -> float:
        area = self._area()
        return float(area.bottom() - area.height() * value)

    def plane_at(self, x: float) -> int | None:
        """Return the plane nearest to a place; None without planes."""
        last = len(self._values) - 1
        if last < 1:
            return None if last < 0 else 0
        area = self._area()
        nearest = round((x - float(area.left())) / float(area.width()) * last)
        return min(max(nearest, 0), last)

    # -- the mouse and the keys ------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Pick the plane that was pressed on."""
        plane = self.plane_at(event.position().x())
        if event.button() == Qt.MouseButton.LeftButton and plane is not None:
            self.picked.emit(plane)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Say what is under the mouse; pick while a button is held."""
        plane = self.plane_at(event.position().x())
        if plane is None:
            return
        if event.buttons() & Qt.MouseButton.LeftButton and plane != self._mark:
            self.picked.emit(plane)
        QToolTip.showText(event.globalPosition().toPoint(), self.words(plane), self)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Go a plane to the left or right."""
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(event.key())
        if step is None or self._mark is None:
            super().keyPressEvent(event)
        elif 0 <= self._mark + step < len(self._values):
            self.picked.emit(self._mark + step)

    def words(self, plane: int) -> str:
        """Return what there is of a plane, in words."""
        lines = [f"{self._axis} = {plane}"]
        lines += [f"{n}: {shown(v)}" for n, v in zip(self._names, self._values[plane], strict=True)]
        return "\n".join(lines)

    # -- drawing ---------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Draw the lines anew."""
        self._picture = None
        super().resizeEvent(event)

    def changeEvent(self, event: QEvent) -> None:
        """Draw the words anew in another font."""
        self._picture = None
        super().changeEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the lines' picture, and the mark on it."""
        if self._picture is None:
            ratio = self.devicePixelRatioF()
            self._picture = QPixmap(self.size() * ratio)
            self._picture.setDevicePixelRatio(ratio)
            self._picture.fill(Qt.GlobalColor.transparent)
            painter = QPainter(self._picture)
            painter.setFont(self.font())
            self._draw_lines(painter)
            painter.end()
        painter = QPainter(self)
        painter.drawPixmap(0, 0, self._picture)
        chip = QRectF() if self._mark is None else self._draw_mark(painter, self._mark)
        self._draw_numbers(painter, chip)
        painter.end()

    def _draw_numbers(self, painter: QPainter, chip: QRectF) -> None:
        """Write the planes' numbers, but for those that the mark's words would cut."""
        area = self._area()
        for plane in _ticks(len(self._values), area.width()):
            width = painter.fontMetrics().horizontalAdvance(str(plane)) + 4
            place = QRectF(self.x_of(plane) - width / 2, area.bottom() + 3, width, 16)
            if not place.intersects(chip):
                self._write(painter, place, str(plane))

    def _draw_lines(self, painter: QPainter) -> None:
        area, n = self._area(), len(self._values)
        # thousands of smooth segments would take longer than a frame
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, self._values.size < 4000)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(self._colors.background))
        painter.drawRoundedRect(QRectF(self.rect()), 3, 3)
        for value in (0, 0.25, 0.5, 0.75, 1):
            y = round(self._y_of(value)) + 0.5
            painter.setPen(QPen(QColor(self._colors.grid), 1))
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            if value in (0, 0.5, 1):
                self._write(painter, QRectF(0, y - 8, _LEFT - 6, 16), f"{value:g}", right=True)
        for plane in _ticks(n, area.width()):
            x = self.x_of(plane)
            painter.setPen(QPen(QColor(self._colors.grid), 1))
            painter.drawLine(QPointF(x, area.bottom()), QPointF(x, area.bottom() + 3))
        dots = n < 2 or area.width() / (n - 1) > 7
        for values, color in zip(self._values.T, self._lines, strict=True):
            self._draw_line(painter, values, color, dots=dots)

    def _draw_line(
        self, painter: QPainter, values: npt.NDArray[np.float64], color: QColor, *, dots: bool
    ) -> None:
        path, area = QPainterPath(), self._area()
        there = np.isfinite(values)
        planes = np.flatnonzero(there)
        if len(planes) > 4 * area.width():
            planes = _extremes(values, planes, int(area.width()))
        left, last = self.x_of(0), max(len(values) - 1, 1)
        xs = left + area.width() * planes / last
        ys = area.bottom() - area.height() * values[planes]
        # planes without a value are gaps; those that were passed over are not
        gaps = np.cumsum(~there)[planes]
        joined = np.concatenate([[False], np.diff(gaps) == 0, [False]])
        for i, (x, y) in enumerate(zip(xs.tolist(), ys.tolist(), strict=True)):
            point = QPointF(x, y)
            before, after = joined[i], joined[i + 1]
            if before:
                path.lineTo(point)
            else:
                path.moveTo(point)
            if dots or not (before or after):
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(color)
                painter.drawEllipse(point, 2.2, 2.2)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(color, 1.6))
        painter.drawPath(path)

    def _draw_mark(self, painter: QPainter, plane: int) -> QRectF:
        """Draw the line of the plane in view, and return where its words are."""
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area, x = self._area(), self.x_of(plane)
        text = QColor(self._colors.text)
        painter.setPen(QPen(text, 1))
        painter.drawLine(QPointF(x, area.top() - 4), QPointF(x, area.bottom()))
        for value, color in zip(self._values[plane], self._lines, strict=True):
            if math.isfinite(value):
                painter.setPen(QPen(text, 1.2))
                painter.setBrush(color)
                painter.drawEllipse(QPointF(x, self._y_of(float(value))), 3.6, 3.6)
        words = f"{self._axis} = {plane}"
        width = painter.fontMetrics().horizontalAdvance(words) + 10
        left = min(max(x - width / 2, 1), self.width() - width - 1)
        chip = QRectF(left, area.bottom() + 3, width, 16)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(self._colors.grid))
        painter.drawRoundedRect(chip, 3, 3)
        painter.setPen(text)
        painter.drawText(chip, Qt.AlignmentFlag.AlignCenter, words)
        return chip

    def _write(self, painter: QPainter, place: QRectF, words: str, *, right: bool = False) -> None:
        faint = QColor(self._colors.text)
        faint.setAlphaF(0.75)
        painter.setPen(faint)
        side = Qt.AlignmentFlag.AlignRight if right else Qt.AlignmentFlag.AlignHCenter
        painter.drawText(place, side | Qt.AlignmentFlag.AlignVCenter, words)


def _extremes(
    values: npt.NDArray[np.float64], planes: npt.NDArray[np.intp], columns: int
) -> npt.NDArray[np.intp]:
    """Return the lowest and the highest of the planes that share a column of pixels."""
    kept: set[int] = set()
    for part in np.array_split(planes, columns):
        kept |= {int(part[values[part].argmin()]), int(part[values[part].argmax()])}
    return np.array(sorted(kept), np.intp)


def _ticks(planes: int, width: float) -> range:
    """Return round plane numbers with room between them."""
    at_least = max(planes - 1, 1) * 42 / max(width, 1)
    power = 10 ** max(math.floor(math.log10(max(at_least, 1))), 0)
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= at_least)
    return range(0, planes, step)
