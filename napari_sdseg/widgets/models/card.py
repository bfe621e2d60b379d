"""A model's card as a person reads it: rich text, and the colours of what it draws."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from qtpy.QtCore import QRect, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap

from .state import card_rows, origin

if TYPE_CHECKING:
    from sdseg.card import Card
    from sdseg.store import ModelInfo

__all__ = ["card_html", "swatch"]


def card_html(info: ModelInfo, size: int) -> str:
    """Return a card as rich text, in the colours of the theme. Every word of it is escaped."""
    card = info.card
    classes = "<br>".join(
        f'<span style="color:{_color(c.color)}">■</span>&nbsp;&nbsp;{escape(c.name)}'
        for c in card.classes
    )
    kind = "Draws, each object by itself" if card.coding == "instances" else "Draws"
    parts = [
        f'<p style="font-size:15px; margin:0"><b>{escape(info.name)}</b></p>',
        f'<p style="margin-top:2px">{escape(card.summary)}</p>',
        _row(kind, classes),
        *(_row(word, escape(text).replace("\n", "<br>")) for word, text in card_rows(card, size)),
        _row("From", f"{escape(origin(info))}<br>{_breakable(str(info.path))}"),
    ]
    return "".join(parts)


def _row(word: str, html: str) -> str:
    return f'<p style="margin-top:7px; margin-bottom:0"><b>{escape(word)}</b><br>{html}</p>'


def _breakable(path: str) -> str:
    """Let a path wrap at its separators instead of making the panel scroll."""
    return escape(path).replace("/", "/\u200b").replace("\\", "\\\u200b")


def _color(name: str) -> str:
    color = QColor(name)
    return color.name() if color.isValid() else "#808080"


def swatch(card: Card) -> QIcon:
    """Return a strip in the colours of a model's classes."""
    width, height = 12, 30
    picture = QPixmap(width, height)
    picture.fill(Qt.GlobalColor.transparent)
    colors = [QColor(_color(c.color)) for c in card.classes[:10]]
    painter = QPainter(picture)
    for i, color in enumerate(colors):
        top, bottom = (round(height * k / len(colors)) for k in (i, i + 1))
        painter.fillRect(QRect(3, top, 6, bottom - top), color)
    painter.end()
    return QIcon(picture)
