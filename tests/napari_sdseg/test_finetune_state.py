"""What the *Fine-tune* panel knows and says, without a viewer."""

from __future__ import annotations

from threading import Event

import numpy as np
import pytest

from napari_sdseg.widgets import _made
from napari_sdseg.widgets.finetune import painted
from napari_sdseg.widgets.finetune.classes import class_ids, class_rows, default_names
from napari_sdseg.widgets.finetune.state import (
    Curve,
    FineTuneState,
    LabelsFacts,
    Phase,
    Style,
    verdict,
)
from napari_sdseg.widgets.segment.state import ImageFacts
from sdseg import Card
from sdseg.axes import plan
from sdseg.card import ClassInfo

BASE = Card("base", coding="binary", size=32)
ORGANS = Card("organs", classes=(ClassInfo("liver"), ClassInfo("bone")), coding="multiclass", size=32)
DOTS = Card("dots", classes=(ClassInfo("dot"),), coding="instances", size=32)


def facts(shape=(5, 40, 48)):
    return ImageFacts("scan", shape, np.dtype(np.uint16), tuple("tzyx"[-len(shape) :]))


def ready(labels, card=BASE, **choices):
    """A state that knows what is painted."""
    state = FineTuneState()
    state.choose(image=facts(labels.shape), model=card.name, card=card)
    state.choose(labels=LabelsFacts("mine", labels.shape, "1"))
    state.choose(found=look(labels, state.plan()), **choices)
    return state


def look(labels, work):
    (found,) = painted.scan(painted.Scan(labels, work), Event())
    return found


@pytest.fixture
def whole():
    labels = np.zeros((5, 40, 48), np.uint16)
    labels[1, 5:30, 5:40] = 1
    labels[3, 5:30, 5:40] = 2
    return labels


@pytest.fixture
def strokes():
    labels = np.zeros((5, 40, 48), np.uint16)
    labels[2, 20, 10:20] = 1
    labels[2, 30, 10:40] = 2
    labels[2, 5, 10:40] = 3
    return labels


# -- what is painted -----------------------------------------------------------------------------


def test_planes_that_are_painted_are_found_with_their_labels(whole):
    work = plan(whole.shape, np.uint16, BASE)
    first, second = look(whole, work)
    assert (first.at, dict(first.counts), first.size) == ((1,), {1: 25 * 35}, 40 * 48)
    assert (second.at, first.strokes) == ((3,), False)
    assert look(whole * 0, work) == ()
    huge = whole.astype(np.int64) * 1_000_000
    assert dict(look(huge, work)[1].counts) == {2_000_000: 25 * 35}


def test_other_axes_and_a_single_plane(whole):
    along = plan(whole.shape, np.uint16, BASE, axis=2)
    assert [f.at for f in look(whole, along)] == [(x,) for x in range(5, 40)]
    assert [f.at for f in look(whole[1], plan((40, 48), np.uint16, BASE))] == [()]
    many = np.stack([whole * 0, whole])
    assert [f.at for f in look(many, plan(many.shape, np.uint16, BASE))] == [(1, 1), (1, 3)]


def test_a_scan_stops_when_asked_and_tells_of_what_cannot_be_read(whole):
    stop = Event()
    stop.set()
    job = painted.Scan(whole, plan(whole.shape, np.uint16, BASE))
    assert not list(painted.scan(job, stop))

    class Broken:
        def __getitem__(self, index):
            raise OSError("the disk is gone")

    (said,) = painted.scan(painted.Scan(Broken(), job.plan), Event())
    assert "the disk is gone" in str(said)


def test_copies_do_not_change_with_the_layer(whole):
    work = plan(whole.shape, np.uint16, BASE)
    copies = painted.PlaneCopies(whole, work, [(1,)])
    before = whole[1].copy()
    whole[:] = 7
    np.testing.assert_array_equal(copies[1, :, :], before)
    assert not copies[3, :, :].any(), "it was not copied"
    assert (copies.shape, copies.dtype, copies.ndim) == ((5, 40, 48), np.uint16, 3)


# -- how it is read ------------------------------------------------------------------------------


def test_the_guess_can_be_overruled(whole, strokes):
    state = ready(whole)
    assert state.reading() == "Looks like whole planes: what is not painted on them is background."
    assert state.background_label is None
    state.choose(style=Style.STROKES)
    assert state.reading() == "Taken as strokes: label 2 says background; unpainted is unknown."
    state = ready(strokes)
    assert state.reading() == "Looks like strokes: label 3 says background; unpainted is unknown."
    state.choose(background=1)
    assert state.background_label == 1
    state.choose(background=9)
    assert state.background_label == 3, "it is not painted"
    state.choose(style=Style.WHOLE)
    assert state.reading().startswith("Taken as whole planes")


def test_several_organs_are_no_strokes_however_little_they_cover():
    labels = np.zeros((3, 96, 96), np.uint16)
    labels[1, 10:40, 10:40] = 1
    labels[1, 60:75, 60:75] = 2
    assert not ready(labels).strokes
    labels[1] = 0
    labels[1, 10:13, 10:40] = 1
    labels[1, 60:80, 10:80] = 2
    assert ready(labels).strokes, "with a broad brush for the background"
    assert not ready(labels, DOTS).strokes, "objects are small anyway"
    for k in range(20):
        labels[1, 4 * k : 4 * k + 2, :4] = k + 1
    assert not ready(labels).strokes, "so many labels are objects"


def test_classes_are_counted_without_the_background():
    assert class_ids([1, 2, 3], None) == {1: 1, 2: 2, 3: 3}
    assert class_ids([1, 2, 3], 2) == {1: 1, 3: 2}
    assert default_names(ORGANS, [1, 3]) == ["liver", "bone", "class 3"]
    assert default_names(BASE, [1]) == ["foreground"]
    assert default_names(BASE, [1, 2]) == ["class 1", "class 2"]
    rows = class_rows(ORGANS, [1, 2, 3], 2, {3: "vessel"})
    assert [(r.label, r.id, r.name) for r in rows] == [
        (1, 1, "liver"), (2, None, "background"), (3, 2, "vessel"),
    ]  # fmt: skip
    assert [r.name for r in class_rows(DOTS, [1, 2, 3], None, {})] == ["dot"]


def test_classes_have_names(whole):
    state = ready(whole)
    assert state.class_names() == ["class 1", "class 2"]
    state.rename(2, " nerve ")
    assert state.class_names() == ["class 1", "nerve"]
    state.rename(2, "")
    assert state.class_names() == ["class 1", "class 2"]
    state.choose(card=DOTS)
    state.rename(0, "cell")
    assert state.class_names() == ["cell"]


# -- what stands in the way ----------------------------------------------------------------------


def test_what_stands_in_the_way(whole, strokes):
    state = FineTuneState()
    assert state.problem().startswith("Open an image first")
    state.choose(image=facts(), model="base", card=BASE)
    assert state.problem().startswith("Choose the Labels layer")
    state.choose(labels=LabelsFacts("mine", (5, 40, 40)))
    assert state.problem() == (
        "mine is 5 × 40 × 40 and the image 5 × 40 × 48: paint in a layer of the image's shape."
    )
    assert not state.fits()
    state.choose(labels=LabelsFacts("mine", (5, 40, 48)))
    assert state.problem().startswith("Nothing is painted yet")
    state = ready(whole)
    assert state.problem() is None
    for at in ((1,), (3,)):
        state.tick(at, False)
    assert state.problem().startswith("All painted planes are left out")
    only = np.where(strokes == 1, strokes, 0)
    assert ready(only, style=Style.STROKES).problem().startswith("For strokes, paint the background")
    assert ready(-whole.astype(np.int32)).problem() == (
        "Label -2 is negative; classes are counted from 1."
    )


def test_planes_can_be_left_out_or_said_to_be_empty(whole):
    state = ready(whole)
    state.say_empty((0,), True)
    assert state.annotated() == ((0,), (1,), (3,))
    state.tick((1,), False)
    assert state.annotated() == ((0,), (3,))
    assert state.painted_labels == [2]
    assert state.status() == "2 planes to learn from; some are left out at first, to measure on."
    state.choose(style=Style.STROKES)
    assert state.annotated() == ((3,),), "of strokes, an unpainted plane says nothing"
    state.choose(style=Style.GUESS)
    state.say_empty((0,), False)
    assert state.annotated() == ((3,),)
    assert state.status().startswith("1 plane to learn from. Paint a second one")


def test_another_layer_begins_anew_and_a_renamed_one_does_not(whole):
    state = ready(whole)
    state.rename(1, "liver")
    state.tick((1,), False)
    assert LabelsFacts("other", whole.shape, "1").is_same(state.labels)
    state.choose(labels=LabelsFacts("mine", whole.shape, "2"))
    assert not state.entries()
    assert not state.names
    assert not state.left_out


# -- a task --------------------------------------------------------------------------------------


def test_one_task_at_a_time(whole):
    state = ready(whole)
    assert state.begin("learn", "Loading the model …")
    assert not state.begin("seek", "")
    assert state.status() == "Loading the model …"
    state.advance(0.25, 45.2, 30)
    assert (state.phase, state.progress_text()) == (Phase.RUNNING, "Step 30, 45 s left")
    state.stopping()
    assert (state.phase, state.progress_text()) == (Phase.STOPPING, "")
    state.end("Stopped.", "Look at it.")
    assert (state.status(), state.warning, state.busy) == ("Stopped.", "Look at it.", False)


def test_segmenting_the_rest_keeps_what_is_painted(whole, strokes):
    state = ready(whole)
    assert state.rest_problem() == "Fine-tune first."
    state.choose(result="base-tuned", result_card=ORGANS)
    assert state.rest_problem() is None
    assert state.keeps
    state.choose(keep=False)
    assert not state.keeps
    state.choose(keep=None, result_card=BASE)
    assert state.rest_problem() == (
        "base-tuned does not know all that is painted by now; fine-tune again."
    )
    state.choose(result_card=DOTS)
    assert not state.can_keep, "objects have no classes to guide by"
    assert state.rest_problem() is None
    state = ready(strokes, result="t", result_card=ORGANS)
    assert not state.keeps
    assert state.can_keep
    assert state.segmenting("t", ORGANS).settings() == {"model": "t"}
    assert state.segmenting("t", DOTS).separate


@pytest.mark.parametrize(
    ("before", "after", "count", "said", "warning"),
    [
        (0.41, 0.83, 1,
         "Dice 0.41 before, 0.83 after, measured on 1 painted plane that was left out.", ""),
        (None, 0.83, 2, "Dice 0.83, measured on 2 painted planes that were left out.", ""),
        (0.5, 0.4, 1, "Dice 0.50 before, 0.40 after", "That is no better than before"),
        (0.5, 0.503, 1, "Dice 0.50 before", "That is no better than before"),
        (0.5, 0.506, 1, "Dice 0.50 before, 0.51 after", ""),
        (None, None, 0, "", "A single plane teaches"),
        (0.5, None, 1, "", "Nothing was measured in so short a time"),
    ],
)  # fmt: skip
def test_the_verdict_is_plain(before, after, count, said, warning):
    found, warned = verdict(before, after, count)
    assert found.startswith(said)
    assert bool(found) == bool(said)
    assert warned.startswith(warning)
    assert bool(warned) == bool(warning)


def test_a_curve_begins_empty():
    assert (Curve().loss, Curve().dice, Curve().before) == ([], [], None)


# -- models that are not saved -------------------------------------------------------------------


def test_models_made_here_are_found_by_name(monkeypatch):
    from types import SimpleNamespace

    from sdseg.store import Model

    monkeypatch.setattr(_made, "_models", {})
    monkeypatch.setattr(_made, "_renamed", {})
    monkeypatch.setattr(_made, "list_models", lambda: [SimpleNamespace(name="base-tuned")])
    model = Model("x", BASE, None, None)
    assert _made.free_name("base") == "base-tuned-2", "one is saved under that name"
    kept = _made.add(model, "base-tuned-2")
    assert (kept.name, kept.card.name) == ("base-tuned-2", "base-tuned-2")
    assert _made.find("base-tuned-2") is kept
    assert _made.source("base-tuned-2") is kept
    assert list(_made.cards()) == ["base-tuned-2"]
    assert _made.free_name("base-tuned-2") == "base-tuned-3"
    _made.saved("base-tuned-2", "mine")
    assert _made.find("base-tuned-2") is None
    assert _made.source("base-tuned-2") == "mine"
    assert _made.called_now("base-tuned-2") == "mine"
    assert _made.called_now(None) is None


def test_older_models_go_to_the_disk_and_come_back(monkeypatch, random_starts):
    import numpy as np

    from napari_sdseg import segment
    from sdseg import load_model

    monkeypatch.setattr(_made, "_models", {})
    source = load_model(random_starts / "thing", device="cpu", precision="float32")
    for name in ("one", "two", "three"):
        _made.add(source, name)
    _made.put_by()
    in_memory = [n for n, made in _made._models.items() if not isinstance(made, _made._PutBy)]
    assert in_memory == ["three"]
    assert list(_made.cards()) == ["one", "two", "three"]
    found = _made.find("one")
    assert found.name == found.card.name == "one"
    image = np.random.default_rng(0).random((40, 40))
    options = {"device": "cpu", "precision": "float32"}
    assert (segment(image, found, **options) == segment(image, source)).all()
    _made.add(source, "one")
    assert _made.find("one").pipeline is source.pipeline, "made anew, so in memory again"
