"""The *Models* panel in a real viewer."""

from __future__ import annotations

import json
import shutil
import time

import pytest

from napari_sdseg.widgets._models_changed import models_changed
from napari_sdseg.widgets.models import ask
from napari_sdseg.widgets.models import work as jobs
from napari_sdseg.widgets.models.state import Phase
from sdseg import library, list_models
from sdseg.errors import ModelNotFoundError

pytestmark = pytest.mark.gui

qtcore = pytest.importorskip("qtpy.QtCore")
LEFT = qtcore.Qt.MouseButton.LeftButton


@pytest.fixture
def viewer(make_napari_viewer, random_models, tmp_path, monkeypatch):
    shutil.copytree(random_models, tmp_path / "mine")
    monkeypatch.setenv("SDSEG_MODELS", str(tmp_path / "mine"))
    return make_napari_viewer()


@pytest.fixture
def panel(viewer):
    """The panel as a person opens it."""
    _, panel = viewer.window.add_plugin_dock_widget("napari-sdseg", "Models")
    yield panel
    panel.run.close()


@pytest.fixture
def told():
    """How often the other panels were told that the models changed."""
    heard = []

    def hear():
        heard.append(users())

    models_changed.connect(hear)
    yield heard
    models_changed.disconnect(hear)


def users():
    return [m.name for m in list_models() if m.origin == "user"]


def press(qtbot, button):
    qtbot.mouseClick(button.native, LEFT)


def finished(panel, qtbot):
    qtbot.waitUntil(lambda: not panel.state.busy, timeout=20_000)


def listed(panel):
    return [panel.list.item(i).text().split("\n")[0] for i in range(panel.list.count())]


def test_the_list_and_the_card_of_the_chosen(panel):
    assert listed(panel) == ["base", "nuclei", "dots", "organs"]
    assert panel.list.currentRow() == 0
    panel.list.setCurrentRow(3)
    card = panel.card.toPlainText()
    for said in ("organs", "Two organs, for tests.", "liver", "bone", "Licence", "On disk", "yours"):
        assert said in card
    assert "#56b4e9" in panel.card.toHtml()
    assert panel.list.item(3).text() == "organs\nyours · liver, bone"


def test_what_comes_with_sdseg_can_only_be_exported(panel):
    assert not panel.rename_button.enabled
    assert not panel.delete_button.enabled
    assert "comes with SDSeg" in panel.delete_button.tooltip
    assert panel.export_button.enabled
    panel.list.setCurrentRow(2)
    assert panel.rename_button.enabled


def test_a_cards_words_are_not_taken_for_html(panel, tmp_path):
    path = tmp_path / "mine" / "dots" / "card.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps({**card, "summary": "<img src='http://x/y.png'><b>a & b</b>"}))
    panel.reload("dots")
    assert "<img src='http://x/y.png'><b>a & b</b>" in panel.card.toPlainText()


def test_renaming(panel, qtbot, monkeypatch, told):
    panel.list.setCurrentRow(2)
    monkeypatch.setattr(ask, "for_name", lambda *_: "organs")
    press(qtbot, panel.rename_button)
    assert panel.status_label.text().startswith("there is a model 'organs' already")
    assert told == []
    monkeypatch.setattr(ask, "for_name", lambda *_: "spots")
    press(qtbot, panel.rename_button)
    assert listed(panel) == ["base", "nuclei", "organs", "spots"]
    assert panel.state.chosen == "spots"
    assert panel.list.currentRow() == 3
    assert told == [["organs", "spots"]]


def test_deleting_asks_and_can_be_undone(panel, qtbot, monkeypatch, told):
    panel.list.setCurrentRow(2)
    monkeypatch.setattr(ask, "whether_to_delete", lambda *_: False)
    press(qtbot, panel.delete_button)
    assert users() == ["dots", "organs"]
    monkeypatch.setattr(ask, "whether_to_delete", lambda *_: True)
    press(qtbot, panel.delete_button)
    assert users() == ["organs"]
    assert panel.state.chosen == "organs"
    assert panel.status_label.text() == "Deleted dots."
    assert panel.undo_button.native.isVisibleTo(panel)
    press(qtbot, panel.undo_button)
    assert users() == ["dots", "organs"]
    assert panel.state.chosen == "dots"
    assert not panel.undo_button.native.isVisibleTo(panel)
    assert told == [["organs"], ["dots", "organs"]]


def test_exporting_and_adding(panel, qtbot, monkeypatch, told, tmp_path):
    panel.list.setCurrentRow(2)
    monkeypatch.setattr(ask, "for_target", lambda *_: tmp_path / "out.zip")
    press(qtbot, panel.export_button)
    finished(panel, qtbot)
    assert panel.status_label.text() == f"Exported to {tmp_path / 'out.zip'}."
    assert told == []
    monkeypatch.setattr(ask, "for_file", lambda *_: tmp_path / "out.zip")
    panel._add_zip()
    finished(panel, qtbot)
    assert panel.state.chosen == "dots-2"
    assert panel.status_label.text() == "Added as dots-2."
    assert told == [["dots", "dots-2", "organs"]]
    monkeypatch.setattr(ask, "for_folder", lambda *_: tmp_path)
    panel._add_folder()
    finished(panel, qtbot)
    assert "card.json" in panel.status_label.text()
    assert panel.add_button.enabled


def test_a_checkpoint_is_converted_in_the_background(panel, qtbot, monkeypatch, tmp_path):
    files = [tmp_path / "last.ckpt", tmp_path / "cvc.yaml"]
    monkeypatch.setattr(ask, "for_file", lambda *_: files.pop(0))

    def convert(checkpoint, config, *, report):
        assert (checkpoint.name, config.name) == ("last.ckpt", "cvc.yaml")
        return library.add(tmp_path / "mine" / "dots", "polyps", report)

    monkeypatch.setattr(library, "add_checkpoint", convert)
    panel._add_checkpoint()
    finished(panel, qtbot)
    assert panel.state.chosen == "polyps"
    assert "Look at its card" in panel.status_label.text()


def test_offline_is_a_sentence(panel, qtbot, monkeypatch):
    def offline(*_, **__):
        raise ModelNotFoundError("model: lab/x could not be had. Connect to the network and try again.")

    monkeypatch.setattr(library, "add_from_hub", offline)
    monkeypatch.setattr(ask, "for_hub_id", lambda *_: "lab/x")
    panel._add_hub()
    assert panel.progress.native.isVisibleTo(panel)
    finished(panel, qtbot)
    assert panel.status_label.text().endswith("Connect to the network and try again.")
    assert not panel.progress.native.isVisibleTo(panel)


def test_progress_and_cancel(panel, qtbot):
    def slowly(report):
        for k in range(1000):
            report(k * 10**7, 10**10)
            time.sleep(0.02)

    assert panel.run.start(jobs.Job("Downloading lab/x", slowly, str))
    assert not panel.run.start(jobs.Job("Adding y", slowly, str))
    qtbot.waitUntil(lambda: panel.state.done > 0, timeout=5000)
    assert panel.status_label.text().startswith("Downloading lab/x: 0.")
    assert panel.progress.native.maximum() == 1000
    assert not panel.add_button.enabled
    begun = time.monotonic()
    press(qtbot, panel.cancel_button)
    assert panel.state.phase is Phase.CANCELLING
    finished(panel, qtbot)
    assert time.monotonic() - begun < 1
    assert panel.status_label.text() == "Cancelled; nothing was changed."


@pytest.mark.parametrize("how", ["panel", "viewer"])
def test_closing_stops_the_work(viewer, panel, qtbot, how):
    from superqt.utils import WorkerBase

    ended = []

    def forever(report):
        try:
            while True:
                report(1, 2)
                time.sleep(0.02)
        finally:
            ended.append(True)

    panel.run.start(jobs.Job("Doing", forever, str))
    qtbot.waitUntil(lambda: panel.state.total > 0, timeout=5000)
    if how == "panel":
        viewer.window.remove_dock_widget(panel)
    else:
        viewer.close()
    qtbot.waitUntil(lambda: bool(ended) and not WorkerBase._worker_set, timeout=5000)
    models_changed.emit()  # nobody trips over a panel that is gone


def test_models_that_others_add_appear(panel, tmp_path):
    library.add(tmp_path / "mine" / "dots", "trained")
    models_changed.emit()
    assert "trained" in listed(panel)
    assert panel.state.chosen == "base"


def test_it_fits_a_narrow_dock(panel):
    assert panel.minimumSizeHint().width() <= 300
    assert panel.minimumSizeHint().height() <= 400


def test_a_hub_id_may_be_pasted_as_an_address(panel, monkeypatch):
    from qtpy.QtWidgets import QInputDialog

    for typed in ("lab/x", " https://huggingface.co/lab/x/tree/main "):
        monkeypatch.setattr(QInputDialog, "getText", lambda *_, typed=typed: (typed, True))
        assert ask.for_hub_id(panel) == "lab/x"
