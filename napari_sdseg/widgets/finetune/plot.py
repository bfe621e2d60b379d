"""How learning goes, as a plot: the loss, and the Dice on planes that are left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPainterPath, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

from .. import _words
from ..evaluate.plot import LINE_COLORS, PlotColors, readable
from .state import Curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtGui import QPaintEvent

__all__ = ["LearningPlot"]

#: Pixels around the lines: room for the words at the axes.
_LEFT, _RIGHT, _TOP, _BOTTOM = 28, 10, 22, 18


class LearningPlot(QWidget):
    """Dice from 0 to 1, and the loss in the same height from 0 to its largest, over seconds.

    Drawn here, as the plot of the Evaluate panel is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumSize(160, 104)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Loss and Dice while it learns")
        self._curve, self._colors = Curve(), PlotColors()

    def sizeHint(self) -> QSize:
        """Return a size that suits a dock."""
        return QSize(280, 108)

    def set_theme(self, colors: PlotColors) -> None:
        """Draw in the colours of a theme."""
        self._colors = colors
        self.update()

    def draw(self, curve: Curve) -> None:
        """Show a curve; it is asked for its points at every painting."""
        self._curve = curve
        self.setToolTip(self.words())
        self.update()

    def words(self) -> str:
        """Return what is shown, in words."""
        curve = self._curve
        lines = []
        if curve.loss:
            lines.append(f"Loss {curve.loss[-1][1]:.3f}: how far the model is from what is painted")
        if curve.dice:
            lines.append(f"Dice {curve.dice[-1][1]:.2f} on painted planes that were left out")
        if curve.before is not None:
            lines.append(f"Dashed: Dice {curve.before:.2f} of the model that was started from")
        return "\n".join(lines)

    # -- drawing ---------------------------------------------------------------------------------

    def _area(self) -> QRectF:
        return QRectF(self.rect()).adjusted(_LEFT, _TOP, -_RIGHT, -_BOTTOM)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw everything: a few hundred points."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(self._colors.background))
        painter.drawRoundedRect(QRectF(self.rect()), 3, 3)
        self._draw_axes(painter)
        curve, behind = self._curve, self._colors.background
        blue, orange = (readable(c, behind) for c in LINE_COLORS[:2])
        top = max((v for _, v in curve.loss), default=1.0) or 1.0
        self._draw_line(painter, [(s, v / top) for s, v in curve.loss], blue)
        if curve.before is not None:
            y = self._y(curve.before)
            painter.setPen(QPen(orange, 1.2, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(self._area().left(), y), QPointF(self._area().right(), y))
        self._draw_line(painter, curve.dice, orange)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(orange)
        for seconds, value in curve.dice:
            painter.drawEllipse(QPointF(self._x(seconds), self._y(value)), 3, 3)
        self._draw_legend(painter, (("loss", blue), ("Dice on planes left out", orange)))
        painter.end()

    def _x(self, seconds: float) -> float:
        area = self._area()
        last = max(self._curve.seconds, self._curve.loss[-1][0] if self._curve.loss else 0.0)
        return float(area.left() + area.width() * seconds / max(last, 1e-6))

    def _y(self, value: float) -> float:
        area = self._area()
        return float(area.bottom() - area.height() * min(max(value, 0.0), 1.0))

    def _draw_axes(self, painter: QPainter) -> None:
        area = self._area()
        for value in (0, 0.5, 1):
            y = round(self._y(value)) + 0.5
            painter.setPen(QPen(QColor(self._colors.grid), 1))
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            self._write(painter, QRectF(0, y - 8, _LEFT - 6, 16), f"{value:g}", right=True)
        end = _words.duration(self._curve.seconds)
        width = painter.fontMetrics().horizontalAdvance(end) + 4
        self._write(painter, QRectF(area.left(), area.bottom() + 2, 20, 14), "0 s", right=False)
        place = QRectF(area.right() - width, area.bottom() + 2, width, 14)
        self._write(painter, place, end, right=True)

    def _draw_line(
        self, painter: QPainter, points: Sequence[tuple[float, float]], color: QColor
    ) -> None:
        if len(points) < 2:
            return
        # more points than pixels would only cost time; the last is the one that is looked for
        step = max(1, len(points) // max(int(self._area().width()), 1))
        path = QPainterPath()
        for k, (seconds, value) in enumerate([*points[:-1:step], points[-1]]):
            point = QPointF(self._x(seconds), self._y(value))
            if k:
                path.lineTo(point)
            else:
                path.moveTo(point)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(color, 1.6))
        painter.drawPath(path)

    def _draw_legend(self, painter: QPainter, parts: Sequence[tuple[str, QColor]]) -> None:
        x = float(_LEFT)
        for words, color in parts:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(color)
            painter.drawRoundedRect(QRectF(x, 8, 10, 4), 2, 2)
            width = painter.fontMetrics().horizontalAdvance(words) + 4
            self._write(painter, QRectF(x + 15, 2, width, 16), words, right=False)
            x += width + 28

    def _write(self, painter: QPainter, place: QRectF, words: str, *, right: bool) -> None:
        faint = QColor(self._colors.text)
        faint.setAlphaF(0.75)
        painter.setPen(faint)
        side = Qt.AlignmentFlag.AlignRight if right else Qt.AlignmentFlag.AlignLeft
        painter.drawText(place, side | Qt.AlignmentFlag.AlignVCenter, words)
