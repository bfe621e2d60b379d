"""The *Models* panel's rules and its work, without Qt."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from threading import Event

import pytest

from napari_sdseg.widgets.models import work as jobs
from napari_sdseg.widgets.models.state import ModelsState, Phase, card_rows, size_text
from sdseg import Card
from sdseg.card import ClassInfo
from sdseg.errors import SDSegError
from sdseg.store import ModelInfo


def info(name, origin="user", **card):
    return ModelInfo(name, Path(name), origin, Card(name, **card))


@pytest.fixture
def state():
    state = ModelsState()
    state.refresh([info("a"), info("B"), info("z", "bundled"), info("c")])
    return state


def test_bundled_models_come_first_and_the_first_is_shown(state):
    assert [m.name for m in state.models] == ["z", "a", "B", "c"]
    assert state.info.name == "z"


def test_the_choice_is_kept_or_goes_to_the_neighbour(state):
    state.choose("B")
    state.refresh([info("B"), info("c")])
    assert state.chosen == "B"
    state.refresh([info("c"), info("d")])
    assert state.chosen == "c"
    state.refresh([info("c"), info("d")], "d")
    assert state.chosen == "d"
    state.refresh([])
    assert state.chosen is None
    assert state.info is None
    assert not state.can_export


def test_what_comes_with_sdseg_stays_as_it_is(state):
    assert state.can_export
    assert not state.can_change
    assert "comes with SDSeg" in state.why_fixed()
    state.choose("a")
    assert state.can_change
    assert not state.why_fixed()


def test_a_deletion_can_be_undone_until_something_else_is_said(state):
    state.say("Deleted a", deleted=Path("t/a"))
    assert state.message == "Deleted a."
    assert state.can_undo
    state.choose("c")
    assert not state.can_undo
    assert state.message == ""


def test_work_goes_through_its_phases(state):
    assert state.begin("Downloading lab/x")
    assert not state.begin("Adding y")
    assert not any((state.can_add, state.can_change, state.can_export))
    assert state.progress_text() == "Downloading lab/x …"
    state.advance(12_000_000, 80_000_000)
    assert state.progress_text() == "Downloading lab/x: 12 of 80 MB"
    state.cancel()
    state.advance(13_000_000, 80_000_000)
    assert (state.phase, state.done) == (Phase.CANCELLING, 12_000_000)
    assert state.progress_text() == "Stopping …"
    state.end("Cancelled")
    assert not state.busy
    assert state.message == "Cancelled."
    assert state.can_add


@pytest.mark.parametrize(
    ("size", "text"),
    [(900, "1 kB"), (23_400_000, "23 MB"), (1_440_000, "1.4 MB"), (1_940_000_000, "1.9 GB")],
)
def test_sizes_are_readable(size, text):
    assert size_text(size) == text


def test_a_card_in_words():
    card = Card(
        "liver",
        scores={"Dice": 0.9437},
        training_data="20 scans",
        classes=(ClassInfo("liver"),),
        placement="fit",
        channels=1,
        pixel_size=0.7,
        unit="mm",
        parent="organs",
    )
    rows = dict(card_rows(card, 23_400_000))
    assert rows["Measured"] == "Dice: 0.944"
    assert rows["Works on"] == "grey images, resized as a whole to 256\u00a0×\u00a0256, 0.7 mm a pixel"
    assert rows["Made from"] == "organs"
    assert rows["On disk"] == "23 MB"
    assert rows["Licence"].startswith("not said")
    assert "Fails on" not in rows


def run(job, stop=None):
    return [u for u in jobs.work(job, stop or Event()) if u is not None]


def test_a_job_tells_how_far_it_is_and_what_came_of_it():
    def slowly(report):
        for k in range(3):
            report(k, 3)
            time.sleep(1.5 * jobs.TICK)
        return "x"

    *moved, last = run(jobs.Job("Doing", slowly, str))
    assert jobs.Moved(1, 3) in moved
    assert last == jobs.Done("x")


@pytest.mark.parametrize("error", [RuntimeError("odd"), SDSegError("odd"), OSError("odd")])
def test_every_error_is_an_update_and_none_is_a_runtime_error(error):
    def fail(report):
        raise error

    (failed,) = run(jobs.Job("Doing", fail, str))
    assert isinstance(failed, jobs.Failed)
    assert not isinstance(failed.error, RuntimeError)
    assert "odd" in str(failed.error)


def test_a_stopped_job_answers_at_once_and_ends_at_its_next_report():
    stop, ended = Event(), threading.Event()

    def forever(report):
        try:
            while True:
                report(1, 2)
                time.sleep(0.05)
        finally:
            ended.set()

    updates = jobs.work(jobs.Job("Doing", forever, str), stop)
    next(updates)
    begun = time.monotonic()
    stop.set()
    assert list(updates) in ([], [jobs.Moved(1, 2)])
    assert time.monotonic() - begun < 1
    assert ended.wait(2)


def test_it_needs_no_qt_and_no_torch():
    code = (
        "import sys, napari_sdseg.widgets.models.state, napari_sdseg.widgets.models.work as w;"
        "w.from_hub('a/b'); bad = {'torch', 'qtpy', 'napari', 'huggingface_hub'} & set(sys.modules);"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
