"""The *Evaluate* panel's rules, its numbers and its work, without Qt."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from dataclasses import replace
from threading import Event

import numpy as np
import pytest

from napari_sdseg.widgets.evaluate import work
from napari_sdseg.widgets.evaluate.counts import Naming, Pairs, measure
from napari_sdseg.widgets.evaluate.facts import LabelsFacts, class_names, naming, sliced_axis
from napari_sdseg.widgets.evaluate.scores import NOTHING, Scores, as_csv, as_tabs
from napari_sdseg.widgets.evaluate.state import EvaluateState
from sdseg.metrics import IOU_THRESHOLDS, average_precision, average_precisions, dice, iou

SHAPE = (5, 24, 32)
ORGANS = {1: "liver", 2: "bone"}


def layer(name="labels", shape=SHAPE, **fields):
    return LabelsFacts(name, shape, axis_names=("t", "z", "y", "x")[-len(shape) :], **fields)


@pytest.fixture
def state():
    return EvaluateState(labels=layer(names=ORGANS, objects=False), truth=layer("truth"), axis=0)


def blobs(shape=SHAPE, labels=6, seed=0):
    """Rectangles that go through all planes, and the same a pixel further, some missing."""
    rng = np.random.default_rng(seed)
    true = np.zeros(shape, np.uint16)
    for label in range(1, labels + 1):
        y, x = rng.integers(0, shape[-2] - 8), rng.integers(0, shape[-1] - 8)
        true[..., y : y + 8, x : x + 8] = label
    predicted = np.roll(true, 1, axis=-1).astype(np.int32)
    predicted[predicted == 3] = 0
    return predicted, true


def compared(predicted, true, looped=(0,), *, axis=0, objects=False, **names):
    """Compare as the panel does, and return the scores."""
    request = work.Request(predicted, true, looped, objects=objects, **names)
    axes = ("t", "z", "y", "x")[-true.ndim :]
    scores = Scores("a", "b", true.shape, axes, looped, axis, objects, request.classes)
    for update in work.compare(request, Event()):
        match update:
            case work.PlanesDone():
                scores.add(update.tallies, update.classes)
            case work.Finished():
                scores.whole = update.whole
            case work.Failed(error=error):
                raise error
    return scores


# -- numbers -------------------------------------------------------------------------------------


def test_classes_are_those_of_the_metrics():
    rng = np.random.default_rng(1)
    predicted, true = rng.integers(0, 4, (2, *SHAPE))
    scores = compared(predicted, true)
    assert scores.names == ["label 1", "label 2", "label 3"]
    for column, label in enumerate((1, 2, 3)):
        for name, expected in (("Dice", dice), ("IoU", iou)):
            assert scores.of_all(name)[column] == expected(predicted == label, true == label)
            for plane in range(5):
                value = scores.of_planes(name)[plane, column]
                assert value == expected(predicted[plane] == label, true[plane] == label)


def test_objects_are_those_of_the_metrics():
    predicted, true = blobs()
    everything = Naming(everything="cell")
    scores = compared(
        predicted,
        true,
        objects=True,
        predicted_names=everything,
        true_names=everything,
        classes=("cell",),
    )
    for get, a, b in (
        (lambda name: scores.of_all(name)[0], predicted, true),
        (lambda name: scores.of_planes(name)[2, 0], predicted[2], true[2]),
    ):
        assert get("Dice") == dice(a > 0, b > 0)
        assert get("AP50") == average_precision(a, b).score
        each = [counts.score for counts in average_precisions(a, b, IOU_THRESHOLDS).values()]
        assert get("AP") == pytest.approx(np.mean(each))
        assert 0 < get("AP") < get("AP50") < 1


def test_objects_of_classes_match_within_their_class():
    true = np.zeros((8, 16), np.uint8)
    true[1:4, 1:4], true[1:4, 8:12] = 1, 2
    ours = Naming({1: "round", 2: "long"})
    swapped = Naming({1: "round", 2: "round"})
    scores = compared(
        true,
        true,
        (),
        axis=None,
        objects=True,
        predicted_names=swapped,
        true_names=ours,
        classes=("round", "long"),
    )
    assert scores.of_all("AP50").tolist() == [0.5, 0.0]
    assert scores.of_all("Dice").tolist() == [18 / 30, 0.0]


def test_objects_are_matched_in_their_volume_and_not_across_time():
    predicted, true = blobs((2, *SHAPE))
    predicted[1][predicted[1] == 1] = 77  # another number in the second volume is no mistake
    everything = Naming(everything="cell")
    scores = compared(
        predicted, true, (0, 1), objects=True, predicted_names=everything, true_names=everything
    )
    counts = average_precision(predicted[0], true[0]) + average_precision(predicted[1], true[1])
    assert scores.of_all("AP50")[0] == counts.score


@pytest.mark.parametrize("looped", [(0,), (1,), (2,)])
def test_any_axis_gives_the_same_whole(looped):
    predicted, true = blobs()
    everything = Naming(everything="cell")
    names = {"predicted_names": everything, "true_names": everything}
    scores = compared(predicted, true, looped, axis=looped[0], objects=True, **names)
    assert scores.total == SHAPE[looped[0]]
    assert scores.of_all("AP50")[0] == average_precision(predicted, true).score
    plane = np.index_exp[:] * looped[0] + (3,)
    assert scores.of_planes("IoU")[3, 0] == pytest.approx(
        iou(predicted[plane] > 0, true[plane] > 0), nan_ok=True
    )


def test_nothing_in_both_is_no_success():
    predicted, true = blobs()
    for empty in (predicted, true):
        empty[0] = 0
    predicted[1] = 0
    everything = Naming(everything="cell")
    scores = compared(predicted, true, predicted_names=everything, true_names=everything)
    along = scores.along("Dice")[:, 0]
    assert np.isnan(along[0])
    assert along[1] == 0, "missed is no success either"
    table = scores.plane_table("Dice")
    assert table[0] == ["z", "Dice", "IoU"]
    assert table[2] == ["0", NOTHING, NOTHING]
    assert float(table[1][1]) == pytest.approx(along[1:].mean(), abs=1e-3)
    assert as_tabs(table).splitlines()[2] == "0\t\t"


def test_both_empty():
    scores = compared(np.zeros(SHAPE, int), np.zeros(SHAPE, int), classes=("cell",))
    assert scores.class_table() == [["Class", "Dice", "IoU"], ["cell", NOTHING, NOTHING]]
    assert "nothing to compare" in scores.summary()


def test_the_plot_of_more_axes_is_the_mean_over_the_others():
    predicted, true = blobs((3, *SHAPE))
    predicted[2, 1:] = 0
    everything = Naming(everything="cell")
    names = {"predicted_names": everything, "true_names": everything}
    scores = compared(predicted, true, (0, 1), axis=1, **names)
    values = [dice(predicted[t, 4] > 0, true[t, 4] > 0) for t in range(3)]
    assert scores.along("Dice").shape == (5, 1)
    assert scores.along("Dice")[4, 0] == pytest.approx(np.mean(values))
    assert scores.position(7) == (1, 2)
    assert scores.number((1, 2)) == 7
    assert "t = 2, z = " in scores.summary().replace("\N{NO-BREAK SPACE}", " ")


def test_pairs_of_large_and_negative_labels():
    a = np.array([[0, 2**32 - 1, 2**32 - 1, 5]], np.uint32)
    b = np.array([[-7, 0, 3, 3]], np.int64)
    pairs = Pairs.of(a, b)
    assert sorted(zip(*map(np.ndarray.tolist, (pairs.drawn, pairs.there)), strict=True)) == [
        (0, -7),
        (5, 3),
        (2**32 - 1, 0),
        (2**32 - 1, 3),
    ]
    assert pairs.pixels.sum() == 4
    joined = Pairs.joined([pairs, pairs])
    assert len(joined.pixels) == 4
    assert joined.pixels.tolist() == [2, 2, 2, 2]


def test_measures_of_no_counts_are_nan():
    assert all(
        np.isnan(measure(name, np.zeros(15, np.int64))) for name in ("Dice", "IoU", "AP50", "AP")
    )


def test_csv_has_everything(state):
    rng = np.random.default_rng(1)
    predicted, true = rng.integers(0, 3, (2, *SHAPE))
    names = Naming(ORGANS)
    scores = compared(
        predicted, true, predicted_names=names, true_names=names, classes=("liver", "bone", "lung")
    )
    header, *rows = csv.reader(io.StringIO(as_csv(scores)))
    assert header == ["labels", "ground truth", "z", "class", "dice", "iou"]
    assert len(rows) == 3 + 5 * 3
    assert rows[0][:4] == ["a", "b", "all", "liver"]
    assert float(rows[0][4]) == pytest.approx(dice(predicted == 1, true == 1), abs=1e-6)
    assert rows[-1] == ["a", "b", "4", "lung", "", ""]
    assert scores.class_table()[-1][0] == "mean"
    assert "(mean of 2 classes)" in scores.summary()


# -- classes -------------------------------------------------------------------------------------


def test_class_names_from_features_and_metadata():
    features = {"index": [0, 1, 4], "name": ["background", "liver", "bone"]}
    assert class_names(features, {}) == {1: "liver", 4: "bone"}
    assert class_names({"class": ["background", "a"]}, {}) == {1: "a"}
    assert class_names({}, {"class_names": ("a", "b")}) == {1: "a", 2: "b"}
    assert class_names({}, {"class_names": 3}) == {}
    odd = {"index": [1, 2.5, float("nan"), 4], "name": ["a", "b", "c", float("nan")]}
    assert class_names(odd, {}) == {1: "a"}
    each = {"index": list(range(1, 200)), "name": [f"cell {i}" for i in range(1, 200)]}
    assert class_names(each, {}) == {}, "names of single objects are no classes"


def test_classes_meet_by_name_or_by_number():
    ours, theirs, listed = naming(layer(names=ORGANS), layer(names={1: "bone", 2: "lung"}), False)
    assert listed == ("bone", "lung", "liver")
    assert (ours.of(2), theirs.of(1)) == ("bone", "bone")
    ours, theirs, listed = naming(layer(names=ORGANS), layer(), False)
    assert (ours.of(2), theirs.of(2), theirs.of(9)) == ("bone", "bone", "label 9")
    one = layer(names={1: "nucleus"})
    for other in (layer(), layer(names={1: "cell", 2: "cell"})):
        ours, theirs, listed = naming(one, other, True)
        assert len(listed) == 1
        assert ours.of(7) == theirs.of(1) == listed[0]
    assert naming(layer(), layer(), True)[2] == ("objects",)


def test_the_sliced_axis_is_in_the_labels_numbers():
    assert sliced_axis({"axis": 2}, 3) == 2
    assert sliced_axis({"axis": 2, "channel_axis": 0}, 3) == 1
    assert sliced_axis({"axis": 1, "channel_axis": 3}, 3) == 1
    assert sliced_axis({"axis": None}, 3) is None
    assert sliced_axis({}, 3) is None


# -- what the panel says ---------------------------------------------------------------------------


def test_says_what_is_missing_or_does_not_fit(state):
    assert EvaluateState().problem().startswith("Two Labels layers are needed")
    state.same = True
    assert "the same layer" in state.problem()
    state.same = False
    assert state.problem() is None
    state.truth = layer("a name that is much too long for a sentence", (5, 24, 33))
    assert state.problem() == (
        "The shapes do not fit: 'labels' is 5 × 24 × 32, 'a name that is much too…' is 5 × 24 × 33."
    )
    assert state.begin() is None


def test_says_what_it_will_do(state):
    assert state.intention() == "5 planes of 24 × 32, compared class by class."
    state.axis, state.objects = 2, True
    assert state.intention() == "32 planes of 5 × 24, objects matched one to one."
    assert state.axis_choices()[0] == ("z  (5 planes)", 0)
    state.labels = state.truth = layer(shape=(24, 32))
    state.axis = None
    assert state.axis_choices() == []
    assert state.intention() == "A single plane of 24 × 32, objects matched one to one."


def test_warns_of_layers_that_lie_elsewhere(state):
    corners = ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    state.labels = replace(state.labels, corners=corners)
    state.truth = replace(state.truth, corners=corners)
    assert state.warning() == ""
    state.truth = replace(state.truth, corners=(*corners[:3], (0.0, 0.0, 2.0)))
    assert "lie at different places" in state.status()
    assert state.problem() is None


def test_warns_of_classes_that_have_nothing_in_common(state):
    state.truth = replace(state.truth, names={1: "Leber", 2: "Knochen"})
    assert "matched by their numbers" in state.warning()


def test_suggestions(state):
    assert not state.suggested_objects()
    assert state.suggested_axis() == 0
    state.truth = replace(state.truth, axis=2)
    assert state.suggested_axis() == 2
    state.labels = replace(state.labels, objects=True)
    assert state.suggested_objects()


# -- a run -----------------------------------------------------------------------------------------


def test_a_run_from_press_to_end(state):
    seen = []
    state.events.connect(lambda info: seen.append(info.signal.name))
    scores = state.begin()
    assert scores is state.scores
    assert state.begin() is None, "a second press while running does nothing"
    assert state.progress_text() == "0 of 5 planes"
    state.add(np.ones((2, 2, 15), np.int64), ("liver", "bone"))
    assert state.progress_text() == "2 of 5 planes"
    assert scores.summary() == ""
    state.add(np.ones((3, 2, 15), np.int64), ("liver", "bone"))
    state.finish(np.ones((2, 15), np.int64), 1.5)
    assert state.message == "Done: 5 planes in 1.5 s."
    assert not state.busy
    assert {"busy", "done", "message", "scores"} <= set(seen)
    state.outdated = "Painted on."
    assert state.status().endswith("Painted on.")
    state.choose(objects=True)
    assert state.message == "", "a new choice makes the last message old"


def test_stopping_keeps_what_is_done(state):
    state.begin()
    state.stop()
    assert (state.message, state.scores) == ("Cancelled.", None)
    state.begin()
    state.add(np.ones((2, 2, 15), np.int64), ("liver", "bone"))
    state.stop(problem="memory ran out")
    assert state.message == "Failed: memory ran out. What is shown is of 2 of 5 planes."
    assert state.scores.done == 2
    assert np.isfinite(state.scores.of_all("Dice")).all()


def test_updates_come_in_batches_and_stop_when_asked(monkeypatch):
    predicted, true = blobs()
    monkeypatch.setattr(work, "PACE", -1)
    updates = list(work.compare(work.Request(predicted, true, (0,)), Event()))
    assert [len(u.tallies) for u in updates[:-1]] == [1] * 5
    assert isinstance(updates[-1], work.Finished)
    stop, done = Event(), 0
    for _ in work.compare(work.Request(predicted, true, (0,)), stop):
        done += 1
        stop.set()
    assert done == 1


def test_pairs_of_many_planes_are_summed_on_the_way(monkeypatch):
    monkeypatch.setattr(work, "_MOST_PAIRS", 10)
    test_objects_are_those_of_the_metrics()


def test_objects_taken_for_classes_are_refused():
    many = np.arange(100).reshape(1, 10, 10)
    (update,) = work.compare(work.Request(many, many, (0,)), Event())
    assert "choose to compare objects" in str(update.error)


@pytest.mark.parametrize(
    ("error", "words"),
    [(RuntimeError("gone"), "RuntimeError: gone"), (MemoryError(), "memory ran out")],
)
def test_every_error_becomes_an_update(error, words):
    class Broken:
        shape, ndim = SHAPE, 3

        def __getitem__(self, index):
            raise error

    (update,) = work.compare(work.Request(Broken(), np.zeros(SHAPE, int), (0,)), Event())
    assert words in str(update.error)
    assert not isinstance(update.error, RuntimeError)


def test_import_is_light():
    modules = "counts facts scores state work"
    code = (
        "import sys;"
        + "".join(f"import napari_sdseg.widgets.evaluate.{name};" for name in modules.split())
        + "print(sorted({'napari', 'torch', 'qtpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
