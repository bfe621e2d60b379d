"""The *Segment* panel's rules and its run, without Qt."""

from __future__ import annotations

import subprocess
import sys
from threading import Event

import numpy as np
import pytest

from napari_sdseg.widgets.segment import work
from napari_sdseg.widgets.segment.state import ImageFacts, Phase, SegmentState
from sdseg import Card
from sdseg.axes import plan
from sdseg.errors import OutOfMemoryError, SDSegError

NUCLEI = Card("nuclei", coding="instances")
ORGANS = Card("organs")
STACK = ImageFacts("ct", (40, 128, 96), np.dtype(np.int16), ("z", "y", "x"))
PHOTO = ImageFacts("photo", (64, 64, 3), np.dtype(np.uint8), ("y", "x", "colour"), 2)


@pytest.fixture
def state():
    return SegmentState(image=STACK, card=NUCLEI)


def test_says_what_is_missing():
    state = SegmentState()
    assert state.problem().startswith("Open an image first")
    assert not state.begin()
    state.image = STACK
    assert "no model" in state.problem()
    state.card = NUCLEI
    assert state.problem() is None


def test_says_what_it_will_do_with_the_viewers_names(state):
    assert state.intention().startswith("40 planes of 128 × 96.")
    assert "axis z" in state.intention()
    state.axis = 2
    assert state.intention().startswith("96 planes of 40 × 128.")
    assert "axis x" in state.intention()


def test_an_image_that_cannot_be_segmented_is_refused_in_words(state):
    state.image = ImageFacts("odd", (40, 128, 96), np.dtype(complex), ("z", "y", "x"))
    assert "complex" in state.problem()
    assert state.status() == state.problem()
    assert not state.begin()


def test_axes_are_offered_for_stacks_only(state):
    assert state.axis_choices() == [
        ("auto", None),
        ("z  (40 planes)", 0),
        ("y  (128 planes)", 1),
        ("x  (96 planes)", 2),
    ]
    state.axis = 1
    state.image = PHOTO
    assert state.axis_choices() == []
    assert state.problem() is None  # the axis chosen for another image does not count
    assert state.plan().axis is None
    assert state.intention() == "A single plane of 64 × 64, in colour."


def test_objects_are_told_apart_on_request(state):
    assert "instances" not in state.settings()  # as `segment` does unless told
    state.separate = True
    assert state.settings()["instances"] is True
    state.card = ORGANS
    assert state.settings()["instances"] is True


def test_a_run_from_press_to_end(state):
    seen = []
    state.events.connect(lambda info: seen.append(info.signal.name))
    assert state.begin()
    assert not state.begin(), "a second press while running does nothing"
    assert state.phase is Phase.STARTING
    assert state.progress_text() == ""
    state.ready(40, "CPU.", now=100.0)
    assert state.progress_text() == "0 of 40 planes"
    state.advance(10, now=102.0)
    assert state.progress_text() == "10 of 40 planes, 5.0 a second, 6.0 s left"
    assert "CPU." in state.status()
    state.advance(40, now=108.0)
    state.end()
    assert state.message == "Done: 40 planes in 8.0 s."
    assert not state.busy
    assert {"phase", "done", "message"} <= set(seen)


def test_slow_planes_are_given_in_seconds_each(state):
    state.begin()
    state.ready(40, "", now=0.0)
    state.advance(2, now=5.0)
    assert state.progress_text() == "2 of 40 planes, 2.5 s each, 95 s left"


def test_cancelling_keeps_what_is_done(state):
    state.begin()
    state.ready(40, "", now=0.0)
    state.advance(3, now=1.0)
    state.cancel()
    assert state.phase is Phase.CANCELLING
    state.end()
    assert state.message == "Cancelled. The labels of 3 of 40 planes are kept."
    state.choose(axis=1)
    assert state.message == "", "a new choice makes the last message old"


def test_ends_that_are_no_success(state):
    state.begin()
    state.end("memory ran out")
    assert state.message == "Failed: memory ran out."
    state.begin()
    state.ready(40, "", now=0.0)
    state.advance(40, now=1.0)
    state.end(why="The labels layer was removed.", kept=False)
    assert state.message == "The labels layer was removed."


# -- the run -------------------------------------------------------------------------------------


class Plane:
    def __init__(self, index):
        self.index, self.labels = index, np.full((4, 4), 7, np.uint32)
        self.probability, self.stability = np.ones((2, 4, 4), np.float32), None


def request():
    return work.Request(np.zeros((3, 4, 4)), "nuclei", plan((3, 4, 4), float, NUCLEI), True)


def standin(monkeypatch, planes):
    """Put a generator in the engine's place."""
    ready = work.Ready(NUCLEI, np.dtype(np.uint32), "here")
    ready.go.set()
    monkeypatch.setattr(work, "_open", lambda _, count: (ready, planes))


def test_updates_come_in_order(monkeypatch):
    standin(monkeypatch, (Plane((i, ...)) for i in range(3)))
    updates = [u for u in work.work(request(), Event()) if u is not None]
    assert isinstance(updates[0], work.Ready)
    assert [u.done for u in updates[1:]] == [1, 2, 3]
    assert updates[1].highest == 7


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (RuntimeError("CUDA out of memory"), SDSegError, "RuntimeError: CUDA out of memory"),
        (MemoryError(), OutOfMemoryError, "memory ran out"),
        (KeyError("unet"), SDSegError, "KeyError: 'unet'"),
        (SDSegError("the model is odd"), SDSegError, "the model is odd"),
    ],
)
def test_every_error_becomes_an_update(monkeypatch, error, kind, words):
    def planes():
        yield Plane((0, ...))
        raise error

    standin(monkeypatch, planes())
    *_, last = [u for u in work.work(request(), Event()) if u is not None]
    assert isinstance(last, work.Failed)
    assert isinstance(last.error, kind)
    assert not isinstance(last.error, RuntimeError)
    assert words in str(last.error)


def test_the_engine_runs_in_one_thread_and_is_closed_there(monkeypatch):
    import threading

    names, closed = set(), Event()

    def planes():
        try:
            for i in range(9):
                names.add(threading.current_thread().name)
                yield Plane((i, ...))
        finally:
            names.add(threading.current_thread().name)
            closed.set()

    for _ in range(2):
        closed.clear()
        stop = Event()
        standin(monkeypatch, planes())
        for update in work.work(request(), stop):
            if isinstance(update, work.PlaneDone) and update.done == 2:
                stop.set()
        assert closed.wait(5)
    assert len(names) == 1
    assert names.pop().startswith("sdseg-device")


def test_import_is_light():
    code = (
        "import sys, napari_sdseg.widgets.segment.state, napari_sdseg.widgets.segment.work;"
        "print(sorted({'napari', 'torch', 'qtpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
