"""A label for sentences: as wide as the dock, as high as its words, and never too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QSizePolicy

if TYPE_CHECKING:
    from qtpy.QtGui import QResizeEvent

__all__ = ["WrappedText"]

#: Characters shown; all of them are in the tooltip.
_LONGEST = 280


class WrappedText(QLabel):
    """Plain, selectable words that wrap.

    A word-wrapped QLabel asks for a height that suits its own idea of a width, and leaves gaps or
    cuts lines in a narrow dock; this one asks for the height its words have at the width it got.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def say(self, text: str) -> None:
        """Show a text; what is too long for a panel goes on in the tooltip."""
        short = text if len(text) <= _LONGEST else f"{text[:_LONGEST].rsplit(' ', 1)[0]} …"
        if short != self.text():
            self.setText(short)
            self.setToolTip(text if short != text else "")
            self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Take the height that suits the new width."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        self.setMinimumHeight(0)  # heightForWidth counts it, and the label would never shrink
        height = self.heightForWidth(self.width()) if self.text() else 0
        if height != self.minimumHeight():
            self.setFixedHeight(height)
