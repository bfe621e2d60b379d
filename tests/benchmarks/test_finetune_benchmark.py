"""The benchmarks of fine-tuning, without a model: what is painted, what is scored, the baselines."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import torch

import napari_sdseg
from sdseg import Card
from sdseg.metrics import dice

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def bench():
    """Return the scripts as modules; they find each other as they do when one is run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield SimpleNamespace(
            painted=importlib.import_module("_painted"),
            baselines=importlib.import_module("_painted_baselines"),
            finetune=importlib.import_module("finetune"),
            next_plane=importlib.import_module("next_plane"),
        )


def ball(shape=(15, 24, 28), radius=(6, 8, 9)) -> np.ndarray:
    grid = np.indices(shape) - (np.array(shape).reshape(3, 1, 1, 1) - 1) / 2
    return ((grid / np.array(radius).reshape(3, 1, 1, 1)) ** 2).sum(0) < 1


def look(truth: np.ndarray, dtype=np.uint16) -> np.ndarray:
    noise = np.random.default_rng(0).normal(60, 5, truth.shape)
    return (noise + 100 * truth).astype(dtype)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return a folder laid out like the real data, less the CT."""
    root = tmp_path_factory.mktemp("data")
    for folder in ("left_atrium", "vnc_em", "nuclei3d/images", "nuclei3d/masks"):
        (root / folder).mkdir(parents=True)
    for name, radius in {"A": (6, 8, 9), "B": (5, 6, 9), "C": (6, 9, 7)}.items():
        truth = ball(radius=radius)
        tifffile.imwrite(root / "left_atrium" / f"{name}_image.tif", look(truth))
        tifffile.imwrite(root / "left_atrium" / f"{name}_label.tif", 255 * truth.astype(np.uint8))
    truth = ball((20, 24, 24), (12, 7, 7))
    tifffile.imwrite(root / "vnc_em" / "image.tif", look(truth, np.uint8))
    tifffile.imwrite(root / "vnc_em" / "mitochondria.tif", truth.astype(np.uint8))
    truth = ball()
    tifffile.imwrite(root / "nuclei3d" / "images" / "n.tif", look(truth))
    tifffile.imwrite(root / "nuclei3d" / "masks" / "n.tif", 7 * truth.astype(np.uint32))
    return root


# What is painted


def test_five_planes_lie_evenly_between_the_first_and_the_last_that_show_something(bench):
    truth = np.zeros((60, 4, 4), bool)
    truth[10:35, 1, 1] = True
    assert bench.painted.spread(truth) == [14, 18, 22, 26, 30]  # 10 and 34 are the ends
    assert bench.painted.spread(truth, 2) == [18, 26]


def test_painting_gives_the_truth_of_those_planes_and_nothing_else(bench):
    truth = ball()
    made = bench.painted.paint("ball", look(truth), 3 * truth, [4, 9])
    assert made.labels.dtype == np.uint8
    assert set(np.unique(made.labels)) == {0, 1}
    np.testing.assert_array_equal(np.flatnonzero(made.labels.any((1, 2))), [4, 9])
    np.testing.assert_array_equal(made.labels[[4, 9]] > 0, truth[[4, 9]])


@pytest.mark.parametrize("radius", [3, 12, 40])
def test_strokes_cover_two_percent_with_both_classes_and_never_cross_the_outline(bench, radius):
    truth = ball((1, 120, 140), (1, radius, radius))[0]
    made = bench.painted.strokes(truth, np.random.default_rng(0))
    assert set(np.unique(made)) == {0, 1, 255}
    assert abs((made != 255).mean() - 0.02) < 0.001
    np.testing.assert_array_equal(truth[made != 255], made[made != 255] == 1)
    # Brush marks, not dust: nearly every painted pixel has two painted neighbours or more.
    known = np.pad(made != 255, 1)
    beside = sum(np.roll(known, s, a).astype(int) for s in (-1, 1) for a in (0, 1))
    assert (beside[known] >= 2).mean() > 0.9
    np.testing.assert_array_equal(made, bench.painted.strokes(truth, np.random.default_rng(0)))


def test_a_volume_of_strokes_knows_nothing_of_other_planes(bench):
    truth = ball((15, 80, 80), (6, 25, 25))
    made = bench.painted.with_strokes(bench.painted.paint("ball", look(truth), truth, [4, 9]))
    assert made.ignore == 255
    assert (np.delete(made.labels, [4, 9], axis=0) == 255).all()
    assert set(np.unique(made.labels[9])) == {0, 1, 255}


def test_the_liver_takes_in_what_it_surrounds(bench):
    ids = {"liver": 2, "artery": 5, "livertumor1": 6}
    labels = np.zeros((1, 12, 12), np.uint8)
    labels[0, 2:10, 2:10] = 2
    labels[0, 4:6, 4:6] = 5  # inside
    labels[0, 7:9, 7:11] = 6  # a tumour, reaching out of the liver
    labels[0, 0, 0] = 5  # elsewhere
    found = bench.painted.liver(labels, ids)
    wanted = (labels > 0) & (np.arange(12) > 0)
    np.testing.assert_array_equal(found, wanted)


# What is scored


def test_planes_that_were_painted_are_not_scored(bench, data):
    tasks = {name: list(case(data)) for name, case in bench.painted.CASES.items()}
    assert {name: len(found) for name, found in tasks.items()} == {
        "left_atrium": 3, "strokes": 3, "transfer": 3, "vnc_em": 1, "ircad_ct": 0, "nuclei3d": 1,
    }  # fmt: skip
    task = tasks["left_atrium"][0]
    assert task.target.planes == [4, 5, 7, 9, 10]  # of 2 to 12
    np.testing.assert_array_equal(task.scored, [0, 1, 2, 3, 6, 8, 11, 12, 13, 14])
    assert tasks["vnc_em"][0].target.planes == [2, 6, 10, 14, 18]
    for task in tasks["transfer"]:
        assert task.target.name not in [p.name for p in task.painted]
        assert len(task.painted) == 2
        np.testing.assert_array_equal(task.scored, np.arange(15))
    assert {t.seconds for t in tasks["transfer"]} == {240}


# The baselines


def test_interpolating_a_cylinder_between_its_planes_is_exact(bench):
    truth = np.broadcast_to(ball((1, 30, 30), (1, 9, 7)), (11, 30, 30))
    found = bench.baselines.interpolate(truth.astype(np.uint8), [2, 5, 9])
    np.testing.assert_array_equal(found[2:10], truth[2:10])
    assert found[1].sum() < truth[1].sum()
    assert not (found[1] & ~truth[1]).any()


def test_interpolating_moves_an_outline_linearly_and_shrinks_it_beyond_by_a_pixel_a_plane(bench):
    truth = np.zeros((9, 40, 40), np.uint8)
    truth[2, 16:24, 16:24] = 1
    truth[6, 10:30, 10:30] = 1
    found = bench.baselines.interpolate(truth, [2, 6])
    # Halfway sides of 11 and 17 lie even about the middle: a pixel cut in half does not count.
    assert found[:, 20].sum(axis=1).tolist() == [4, 6, 8, 10, 14, 16, 20, 18, 16]


def test_interpolating_reaches_no_plane_without_a_shape(bench):
    truth = np.zeros((5, 20, 20), np.uint8)
    truth[0, 5:15, 5:15] = 1
    found = bench.baselines.interpolate(truth, [0, 4])
    assert found[0].sum() == 100
    assert not found[2:].any()


def test_shapes_are_not_interpolated_where_there_are_none(bench, data):
    cases = {
        name: next(bench.painted.CASES[name](data)) for name in ("left_atrium", "strokes", "transfer")
    }
    said = {name: bench.baselines.why_not("shapes", task) for name, task in cases.items()}
    assert said["left_atrium"] is None
    assert "no outline" in said["strokes"]
    assert "nothing is painted" in said["transfer"]


@pytest.mark.parametrize("case", ["left_atrium", "strokes", "transfer"])
def test_a_forest_tells_bright_from_dark(bench, data, case):
    pytest.importorskip("sklearn", reason="the forest needs scikit-learn")
    task = next(bench.painted.CASES[case](data))
    found = bench.finetune.by_baseline("forest", task, 1, None)
    assert bench.finetune.scored(task, found).dice > 0.8


def test_a_unet_learns_for_the_seconds_it_is_given(bench, data, monkeypatch):
    from monai.networks.nets import UNet

    monkeypatch.setattr(bench.baselines, "CROP", 32)
    monkeypatch.setattr(bench.baselines, "unet", lambda: UNet(2, 3, 1, (4, 8, 8, 8, 8), (2,) * 4))
    task = next(bench.painted.CASES["strokes"](data))
    found = bench.finetune.by_baseline("unet", task, 0.3, "cpu")
    assert found.mask.shape == task.target.image.shape
    assert 0.3 <= found.seconds < 10
    assert int(found.note.split()[0]) >= 1


def test_the_unet_is_of_like_size_and_learns(bench):
    # As MONAI has it, with one channel at its end, it stays at a Dice of 0.5: no opponent at all.
    torch.manual_seed(0)
    net = bench.baselines.unet()
    assert 9e6 < sum(p.numel() for p in net.parameters()) < 11e6
    truth = torch.from_numpy(ball((1, 64, 64), (1, 20, 14))).long()[None]
    images = (truth * 0.5 + 0.2 * torch.randn(1, 3, 64, 64)).float()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    for _ in range(15):
        optimizer.zero_grad()
        bench.baselines._loss(net(images), truth).backward()
        optimizer.step()
    assert dice((net(images) > 0).numpy(), truth.numpy()) > 0.95


def test_a_model_that_is_not_there_is_said(bench, monkeypatch):
    monkeypatch.setattr(napari_sdseg, "finetune", print, raising=False)
    monkeypatch.setattr(napari_sdseg, "segment", lambda image, model, guide: None, raising=False)
    assert "no model 'no-such-model'" in bench.finetune.missing("no-such-model")
    monkeypatch.setattr(napari_sdseg, "segment", lambda image, model: None, raising=False)
    assert "guide" in bench.finetune.missing("no-such-model")


def test_pixels_that_were_not_painted_have_no_say_in_the_loss(bench):
    logits = torch.zeros(1, 1, 4, 4, requires_grad=True)
    labels = torch.full((1, 1, 4, 4), 255)
    labels[..., 0, 0], labels[..., 0, 1] = 1, 0
    bench.baselines._loss(logits, labels).backward()
    moved = logits.grad[0, 0]
    assert moved[0, 0] < 0 < moved[0, 1]
    assert not moved[1:].any()


# The scripts, with a model that draws what is bright


@pytest.fixture
def bright(bench, monkeypatch):
    """Put a model in place that thresholds, and copies what guides it; return the calls made."""
    calls = []
    tuned = SimpleNamespace(card=Card("tuned", size=32, overlap=8))

    def finetune(
        model, images, labels, *, annotated=None, ignore_label=None, seconds=None, device=None
    ):
        calls.append(
            SimpleNamespace(labels=labels, annotated=annotated, ignore=ignore_label, s=seconds)
        )
        return tuned

    def segment(image, model, *, axis, guide=None, annotated=()):
        assert axis == 0
        found = (image > 110).astype(np.uint8)
        found[: len(found) // 2] = 0  # a mistake, which the guide mends where it can
        for z in annotated:
            found[z] = guide[z]
        return found

    monkeypatch.setattr(bench.finetune, "locate", lambda model: Path())
    monkeypatch.setattr(napari_sdseg, "finetune", finetune, raising=False)
    monkeypatch.setattr(napari_sdseg, "segment", segment, raising=False)
    monkeypatch.setattr(bench.next_plane, "next_plane", lambda image, model, work, annotated, guide: 13)
    return calls


def test_all_cases_run_and_their_rows_are_kept(bench, data, bright, tmp_path, capsys):
    out = tmp_path / "rows.json"
    words = [str(data), "--baselines", "shapes", "--ceiling", "--json", str(out), "--seconds", "3"]
    bench.finetune.main(words)
    said = capsys.readouterr().out
    assert "ircad_ct:" in said
    assert "left out" in said
    assert "ceiling" in said
    rows = json.loads(out.read_text())["rows"]
    methods = {case: [r["method"] for r in rows if r["case"] == case] for case in bench.painted.CASES}
    whole = [
        "SDSeg, image alone", "SDSeg, guided", "shape interpolation",
        "ceiling: SDSeg that has seen all planes",
    ]  # fmt: skip
    assert methods["left_atrium"] == 3 * whole
    assert methods["vnc_em"] == whole
    assert methods["strokes"] == methods["transfer"] == 3 * ["SDSeg, image alone"]
    assert methods["nuclei3d"] == [whole[0], *whole[2:]]
    assert {c.s for c in bright} == {3}
    strokes = [c for c in bright if c.ignore == 255]
    assert len(strokes) == 3
    assert all((c.labels == 255).mean() > 0.9 for c in strokes)
    transfers = [c for c in bright if isinstance(c.labels, list)]
    assert [len(c.annotated) for c in transfers] == [2, 2, 2]
    # The guide mends painted planes only, and those are not scored.
    atrium = [r["dice"] for r in rows if r["case"] == "left_atrium"][:2]
    task = next(bench.painted.CASES["left_atrium"](data))
    drawn = napari_sdseg.segment(task.target.image, model="tuned", axis=0) > 0
    assert atrium == [dice(drawn[task.scored], task.target.truth[task.scored])] * 2


def test_without_a_model_the_baselines_run_alone(bench, data, monkeypatch, capsys):
    monkeypatch.setattr(napari_sdseg, "finetune", None, raising=False)
    bench.finetune.main([str(data), "--cases", "vnc_em", "--baselines", "shapes"])
    said = capsys.readouterr().out
    assert "Only the baselines run" in said
    assert "shape interpolation" in said
    assert "SDSeg," not in said


def test_the_middle_of_the_widest_gap(bench):
    assert bench.next_plane.middle_of_gap([3, 11], 15) == 7
    assert bench.next_plane.middle_of_gap([1, 5], 30) == 17
    assert bench.next_plane.middle_of_gap([1, 7], 9) == 4


def test_planes_are_asked_for_and_picked_at_random(bench, data, bright, capsys):
    bench.next_plane.main([str(data), "--rounds", "1", "--seeds", "2", "--seconds", "1"])
    assert len(bright) == 3 * (1 + 1 + 2 + 1)
    said = capsys.readouterr().out
    assert "asked      round 1: planes [5, 9, 13]" in said
    assert "gap        round 1: planes [2, 5, 9]" in said
    assert all(len(c.annotated) in (2, 3) and len(set(c.annotated)) == len(c.annotated) for c in bright)
