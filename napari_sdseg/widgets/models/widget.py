"""The *Models* panel. It draws a `ModelsState` and passes on what is pressed; no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import ProgressBar, PushButton
from qtpy.QtCore import QEvent, QSize, Qt
from qtpy.QtWidgets import (
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QSplitter,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from sdseg import library
from sdseg.errors import SDSegError
from sdseg.store import list_models

from .._models_changed import listen, models_changed
from .._wrapped_text import WrappedText
from . import ask
from . import work as jobs
from .card import card_html, swatch
from .run import ModelsRun, words
from .state import ModelsState, Phase, origin

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["ModelsWidget"]

#: Models that are seen without scrolling.
_ROWS = 5


class ModelsWidget(QWidget):
    """See what models there are, read their cards, add, rename, delete and export them."""

    def __init__(self) -> None:
        super().__init__()
        self.state = ModelsState()
        self.run = ModelsRun(self.state)
        self._build()
        self._connect()
        self.reload()
        jobs.tidy()

    # -- the parts -------------------------------------------------------------------------------

    def _build(self) -> None:
        self.list = QListWidget()
        self.list.setToolTip("The models of this computer")
        self.list.setIconSize(QSize(12, 30))
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setSizeAdjustPolicy(QListWidget.SizeAdjustPolicy.AdjustToContents)
        self.card = QTextBrowser()
        self.card.setOpenLinks(False)  # a card's words are somebody else's
        self.card.setMinimumHeight(120)
        self.add_button = PushButton(
            text="Add", tooltip="Copies a model into your own, from this computer or a hub"
        )
        menu = QMenu(self.add_button.native)
        menu.setToolTipsVisible(True)
        for text, tip, slot in (
            ("Model folder …", "A folder with a card.json", self._add_folder),
            ("Exported .zip …", "What Export wrote, here or elsewhere", self._add_zip),
            ("From a hub …", "By its id on huggingface.co, such as lab/liver", self._add_hub),
            ("Original SDSeg checkpoint …", "A .ckpt and its .yaml", self._add_checkpoint),
        ):
            menu.addAction(text, slot).setToolTip(tip)
        self.add_button.native.setMenu(menu)
        self.rename_button = PushButton(text="Rename")
        self.delete_button = PushButton(text="Delete")
        self.export_button = PushButton(
            text="Export", tooltip="Writes the model into a .zip or a folder, to be shared"
        )
        self.progress = ProgressBar(label="")
        self.cancel_button = PushButton(text="Cancel", tooltip="Stops and takes back what was begun")
        self.undo_button = PushButton(text="Undo", tooltip="Brings the deleted model back")
        self.status_label = WrappedText()

        buttons = QHBoxLayout()
        buttons.setSpacing(4)
        for button in (self.add_button, self.rename_button, self.delete_button, self.export_button):
            button.native.setMinimumWidth(48)
            buttons.addWidget(button.native, 1)
        above = QWidget()
        top = QVBoxLayout(above)
        top.setContentsMargins(0, 0, 0, 0)
        top.addWidget(self.list)
        top.addLayout(buttons)
        split = QSplitter(Qt.Orientation.Vertical)
        split.setChildrenCollapsible(False)
        split.addWidget(above)
        split.addWidget(self.card)
        split.setStretchFactor(1, 1)  # the list takes the height of its rows, the card the rest
        doing = QHBoxLayout()
        doing.addWidget(self.progress.native, 1)
        doing.addWidget(self.cancel_button.native)
        saying = QHBoxLayout()
        saying.addWidget(self.status_label, 1)
        saying.addWidget(self.undo_button.native, 0, Qt.AlignmentFlag.AlignTop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.addWidget(split, 1)
        layout.addLayout(doing)
        layout.addLayout(saying)

    def _connect(self) -> None:
        self.list.currentItemChanged.connect(self._choose)
        self.rename_button.changed.connect(self._rename)
        self.delete_button.changed.connect(self._delete)
        self.export_button.changed.connect(self._export)
        self.cancel_button.changed.connect(self.run.cancel)
        self.undo_button.changed.connect(self._undo)
        events = self.state.events
        events.models.connect(self._draw_list)
        events.chosen.connect(self._draw_card)
        for name in ("models", "chosen", "phase", "message", "deleted"):
            events[name].connect(self._draw)
        for name in ("done", "total"):
            events[name].connect(self._draw_progress)
        listen(self.reload)
        self.run.added.connect(self._added)
        # a plain object's method: this one is half gone when the signal comes
        self.destroyed.connect(self.run.close)

    # -- choices ---------------------------------------------------------------------------------

    def reload(self, choose: str | None = None) -> None:
        """List the models anew."""
        self.state.refresh(list_models(), choose)

    def _choose(self, item: QListWidgetItem | None, _: Any = None) -> None:
        if item is not None:
            self.state.choose(item.data(Qt.ItemDataRole.UserRole))

    # -- what is done at once --------------------------------------------------------------------

    def _rename(self, _: Any = None) -> None:
        old = self.state.chosen
        new = ask.for_name(self, f"A new name for {old}", old or "")
        if old is not None and new and new != old:
            self._change(lambda: library.rename(old, new).name, f"{old} is called {new} now")

    def _delete(self, _: Any = None) -> None:
        name = self.state.chosen
        if name is None or not ask.whether_to_delete(self, name):
            return
        places: list[Path] = []
        self._change(lambda: places.append(library.delete(name)), f"Deleted {name}")
        if places:
            self.state.say(self.state.message, deleted=places[0])

    def _undo(self, _: Any = None) -> None:
        place = self.state.deleted
        if place is not None:
            self._change(lambda: library.restore(place).name, f"{place.name} is back")

    def _change(self, change: Callable[[], str | None], said: str) -> None:
        """Change something that takes no time, and tell all panels."""
        try:
            chosen = change()
        except (SDSegError, OSError) as error:
            self.state.say(words(error))
            return
        self.reload(chosen)
        self.state.say(said)
        models_changed.emit()

    def _added(self, name: str) -> None:
        self.reload(name)
        models_changed.emit()

    # -- what takes long -------------------------------------------------------------------------

    def _add_folder(self) -> None:
        self._start_on(ask.for_folder(self), jobs.add)

    def _add_zip(self) -> None:
        self._start_on(ask.for_file(self, "An exported model", "Model (*.zip)"), jobs.add)

    def _add_hub(self) -> None:
        self._start_on(ask.for_hub_id(self), jobs.from_hub)

    def _add_checkpoint(self) -> None:
        file = ask.for_file(
            self, "A checkpoint of the original SDSeg", "Checkpoint (*.ckpt *.pt *.pth)"
        )
        if file is None:
            return
        config = ask.for_file(
            self, "The yaml it was trained with", "Settings (*.yaml *.yml)", file.parent
        )
        if config is not None:
            self.run.start(jobs.checkpoint(file, config))

    def _export(self, _: Any = None) -> None:
        name = self.state.chosen
        if name is not None:
            self._start_on(ask.for_target(self, name), lambda target: jobs.export(name, target))

    def _start_on(self, answer: Any, job: Any) -> None:
        if answer:
            self.run.start(job(answer))

    def changeEvent(self, event: QEvent) -> None:
        """Stop when the panel is closed: napari takes it out of its dock, and keeps it alive."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.run.cancel()
        super().changeEvent(event)

    # -- drawing ---------------------------------------------------------------------------------

    def _draw_list(self, _: Any = None) -> None:
        self.list.blockSignals(True)
        self.list.clear()
        for info in self.state.models:
            classes = ", ".join(c.name for c in info.card.classes)
            item = QListWidgetItem(swatch(info.card), f"{info.name}\n{origin(info)} · {classes}")
            item.setData(Qt.ItemDataRole.UserRole, info.name)
            item.setToolTip(f"{info.card.summary}\nDraws {classes}\n{info.path}")
            self.list.addItem(item)
        self.list.blockSignals(False)
        rows = min(max(self.list.count(), 2), _ROWS)
        self.list.setMinimumHeight(rows * self.list.sizeHintForRow(0) + 2 * self.list.frameWidth())
        self._draw_card()

    def _draw_card(self, _: Any = None) -> None:
        state = self.state
        names = [m.name for m in state.models]
        if state.chosen in names:
            self.list.blockSignals(True)
            self.list.setCurrentRow(names.index(state.chosen))
            self.list.blockSignals(False)
        info = state.info
        size = library.size_on_disk(info.path) if info is not None else 0
        self.card.setHtml("" if info is None else card_html(info, size))

    def _draw(self, _: Any = None) -> None:
        state = self.state
        self.add_button.enabled = state.can_add
        self.rename_button.enabled = self.delete_button.enabled = state.can_change
        fixed = state.why_fixed()
        self.rename_button.tooltip = fixed or "Gives the model another name"
        self.delete_button.tooltip = fixed or "Asks first, and can be undone until napari is closed"
        self.export_button.enabled = state.can_export
        self.cancel_button.native.setVisible(state.busy)
        self.cancel_button.enabled = state.phase is Phase.WORKING
        self.undo_button.native.setVisible(state.can_undo)
        self._draw_progress()

    def _draw_progress(self, _: Any = None) -> None:
        state, bar = self.state, self.progress.native
        bar.setVisible(state.busy)
        # thousandths, since Qt counts to two thousand million and models have more bytes
        bar.setRange(0, 1000 if state.total else 0)
        if state.total:
            bar.setValue(1000 * state.done // state.total)
        self.status_label.say(state.progress_text() or state.message)
