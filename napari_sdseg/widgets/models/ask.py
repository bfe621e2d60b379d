"""What the *Models* panel asks a person: for names, files, and whether they are sure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog, QInputDialog, QLineEdit, QMessageBox

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

__all__ = ["for_file", "for_folder", "for_hub_id", "for_name", "for_target", "whether_to_delete"]


def for_name(parent: QWidget, words: str, before: str) -> str:
    """Return a name; empty: the person thought better of it."""
    name, ok = QInputDialog.getText(parent, "Rename", words, QLineEdit.EchoMode.Normal, before)
    return name.strip() if ok else ""


def for_hub_id(parent: QWidget) -> str:
    """Return a hub id, also out of the address of a model's page."""
    text, ok = QInputDialog.getText(
        parent, "From a hub", "The model's id on huggingface.co, owner/name:"
    )
    text = text.strip().removeprefix("https://").removeprefix("huggingface.co/")
    return "/".join(text.split("/")[:2]) if ok else ""


def for_folder(parent: QWidget) -> Path | None:
    """Return a folder that is there."""
    found = QFileDialog.getExistingDirectory(parent, "A model folder (with a card.json)")
    return Path(found) if found else None


def for_file(parent: QWidget, words: str, kind: str, folder: Path | None = None) -> Path | None:
    """Return a file that is there."""
    found, _ = QFileDialog.getOpenFileName(parent, words, str(folder or ""), f"{kind};;All files (*)")
    return Path(found) if found else None


def for_target(parent: QWidget, name: str) -> Path | None:
    """Return where to write a model; without .zip at its end it is a folder."""
    kinds = ("One file (*.zip)", "A folder (*)")
    found, kind = QFileDialog.getSaveFileName(parent, f"Export {name}", f"{name}.zip", ";;".join(kinds))
    if not found:
        return None
    if kind == kinds[0] and not found.lower().endswith(".zip"):
        found += ".zip"  # what the dialog did not see, it did not ask about
        if Path(found).exists() and not _sure(
            parent, "Export a model", f"{Path(found).name} exists. Replace it?"
        ):
            return None
    return Path(found)


def whether_to_delete(parent: QWidget, name: str) -> bool:
    """Return whether the person is sure."""
    return _sure(
        parent, "Delete a model", f"Delete {name}? Until napari is closed, Undo brings it back."
    )


def _sure(parent: QWidget, title: str, words: str) -> bool:
    buttons = QMessageBox.StandardButton
    answer = QMessageBox.question(parent, title, words, buttons.Yes | buttons.Cancel, buttons.Cancel)
    return bool(answer == buttons.Yes)
