from __future__ import annotations

import math

import numpy as np
import pytest
import tifffile
import torch
from scipy import ndimage
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from blob_models import SIZES
from published_sets import copy, some
from sdseg import Card, SDSegPipeline, evaluation, files, stability
from sdseg.card import ClassInfo
from sdseg.datasets import Pair, cases
from sdseg.devices import DeviceChoice
from sdseg.errors import InputError
from sdseg.evaluation import CaseScore, evaluate, summary
from sdseg.intensity import Intensity
from sdseg.models import Preset, build
from sdseg.perceptual import why_not
from sdseg.pipeline import make_scheduler, plane_noise
from sdseg.predict import Prediction
from sdseg.protocols import as_square, draw, predict_square, resized
from sdseg.store import Model


def random_model(card):
    """Return a small model with random weights."""
    torch.manual_seed(0)
    vae, encoder, unet = build(Preset(**SIZES), mask_channels=len(card.classes), size=card.size)
    pipeline = SDSegPipeline(vae, encoder, unet, make_scheduler(), mask_channels=len(card.classes))
    for part in (vae, encoder, unet):
        part.eval()
    return Model(card.name, card, pipeline, DeviceChoice(torch.device("cpu"), "float32", "test"))


RGB = Card("rgb", size=32, placement="fit", intensity=Intensity("rgb", 0, 1))
WINDOW = Card("window", size=32, placement="fit", intensity=Intensity("window", -125, 275))


def telling(monkeypatch, probability):
    """Let every plane be drawn as ``probability(index)``, whatever the model says."""

    def predict(image, model, work, **options):
        for number, index in work.indices():
            yield Prediction(number, index, probability(index), None)

    monkeypatch.setattr("sdseg.protocols.predict_planes", predict)


# ------------------------------------------------------------------ protocols


def test_probabilities_go_back_to_the_cases_own_resolution(tmp_path, monkeypatch):
    copy("btcv", tmp_path, some("btcv", 0, 0, 1))
    (case,) = cases("btcv", tmp_path, "test", side=32, partial=True)
    square = case.square()
    telling(monkeypatch, lambda index: square.labels[index][None].astype(np.float32))
    drawn = draw(random_model(WINDOW), case)
    assert drawn.planes == 5
    assert np.array_equal(drawn.square.predicted, square.labels)
    assert drawn.own.true.shape == (5, 44, 40)
    assert drawn.own.spacing == pytest.approx((3.0, 0.8, 0.7))
    # Resized by scipy's grid and back by the same: outer pixels stay outer pixels.
    back = [
        ndimage.zoom(p.astype(np.float64), (44 / 32, 40 / 32), order=1) > 0.5 for p in square.labels
    ]
    assert np.mean(drawn.own.predicted != np.stack(back)) < 1e-3


def test_resizing_keeps_the_grid_it_was_made_on():
    ramp = np.broadcast_to(np.linspace(0, 1, 8, dtype=np.float32), (1, 8, 8)).copy()
    assert np.allclose(resized(ramp, (15, 15), aligned=True)[0, 0], np.linspace(0, 1, 15), atol=1e-6)
    centres = (np.arange(16) + 0.5) / 2 - 0.5  # edges on edges
    assert np.allclose(
        resized(ramp, (8, 16), aligned=False)[0, 0], np.clip(centres, 0, 7) / 7, atol=1e-6
    )


def test_published_protocol_shares_one_noise_and_the_sound_one_does_not(tmp_path):
    model = random_model(WINDOW)
    copy("btcv", tmp_path, some("btcv", 0, 0, 1))
    (case,) = cases("btcv", tmp_path, "test", side=32, partial=True)
    square = case.square()
    square.image[:] = square.image[0]  # planes that differ in their noise alone
    shared, own = (
        np.stack([p.probability for p in predict_square(model, square, seed=3, shared_noise=s)])
        for s in (True, False)
    )
    assert np.array_equal(shared[0], shared[-1])
    assert np.array_equal(shared[0], own[0])
    assert not np.array_equal(own[0], own[-1])
    # The network was given exactly the published input, and that noise.
    low, high = square.limits
    image = torch.from_numpy((square.image[0] - low) / (high - low) * 2 - 1)
    noise = torch.from_numpy(plane_noise(3, 0, 0, (4, 8, 8)))[None, None]
    direct = model.pipeline(image[None, None].repeat(1, 3, 1, 1), noise=noise).probability
    assert np.allclose(direct[0], shared[0], atol=1e-5)


def test_any_folder_can_be_scored_by_the_published_protocol(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (40, 50, 3)).astype(np.uint8)
    mask = np.zeros((40, 50), np.uint8)
    mask[10:30, 10:30] = 7
    tifffile.imwrite(tmp_path / "image.tif", image, photometric="rgb")
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    pair = Pair("a", tmp_path / "image.tif", tmp_path / "mask.tif")
    model = random_model(RGB)
    square = as_square(pair, model)
    assert np.array_equal(square.labels, ndimage.zoom(mask, (32 / 40, 32 / 50), order=0))
    wanted = ndimage.zoom(image.astype(np.float32), (32 / 40, 32 / 50, 1), order=1)
    assert np.allclose(square.image, wanted, atol=1e-3)
    assert square.limits == (0, 255)
    telling(monkeypatch, lambda index: (square.labels > 0)[None].astype(np.float32))
    (score,) = evaluate(model, [pair], protocol="published")
    assert score.square_dice == {"foreground": 1}
    assert score.published_dice == {"foreground": pytest.approx(1)}
    assert 0.9 < score.dice["foreground"] < 1
    with pytest.raises(InputError, match="published protocol has none"):
        list(evaluate(_instances(), [pair], instances=True, protocol="published"))
    with pytest.raises(InputError, match="'sound' or 'published'"):
        list(evaluate(model, [pair], protocol="loud"))


def _instances():
    card = Card("cells", coding="instances", size=32, overlap=8)
    return Model(card.name, card, None, DeviceChoice(torch.device("cpu"), "float32", "test"))


# ------------------------------------------------------------------ figures


def test_empty_masks_are_where_the_conventions_differ(tmp_path, monkeypatch):
    """One image rightly empty, one wrongly drawn on, one right: three Dice by either convention."""
    copy("cvc", tmp_path, ["547", "548", "549"])
    listed = cases("cvc", tmp_path, "test", side=32, partial=True)
    truths = [np.zeros((36, 48), np.uint8), np.zeros((36, 48), np.uint8), np.ones((36, 48), np.uint8)]
    for case, truth in zip(listed, truths, strict=True):
        files.write_labels(case.mask, truth * 255)
    answers = iter([0.0, 1.0, 1.0])
    telling(monkeypatch, lambda index: np.full((1, 32, 32), next(answers), np.float32))
    scores = list(evaluate(random_model(RGB), listed, surfaces=True))
    assert [s.dice["foreground"] for s in scores] == [1, 0, 1]
    assert [s.published_dice["foreground"] for s in scores] == [0, 1, pytest.approx(1)]
    assert [s.published_iou["foreground"] for s in scores] == [0, 0, pytest.approx(1)]
    assert [s.unit for s in scores] == ["px"] * 3
    sound, published = summary(scores), summary(scores, "published")
    assert sound["dice"] == pytest.approx(2 / 3)
    assert published["dice"] == pytest.approx(2 / 3)
    assert sound["iou"] == pytest.approx(2 / 3)
    assert published["iou"] == pytest.approx(1 / 3)
    assert sound["hd95 px"] == 0  # of the two that have a distance
    assert sound["without a distance"] == 1
    assert summary(scores, "square")["dice"] == sound["dice"]
    assert summary(scores, "square").keys() <= sound.keys()


def score(name, **values):
    return CaseScore(name, values, values, None, 2, 0.5, {}, {}, values, values)


def test_summary_means_over_classes_then_cases_with_an_interval():
    scores = [score("a", liver=0.8, spleen=0.6), score("b", liver=1.0, spleen=0.4)]
    figures = summary(scores)
    assert figures["dice"] == pytest.approx(0.7)
    assert figures["dice by class"] == {"liver": pytest.approx(0.9), "spleen": pytest.approx(0.5)}
    assert figures["dice by class interval"]["liver"] == [0.8, 1.0]
    assert figures["dice worst"] == pytest.approx(0.7)
    assert figures["ms a plane"] == pytest.approx(250)
    low, high = summary([score("a", x=0.2), score("b", x=0.4), score("c", x=0.9)])["dice interval"]
    assert 0.2 <= low < 0.5 < high <= 0.9
    assert summary(scores, "square") == {}
    with pytest.raises(InputError, match="none to summarise"):
        summary([])
    with pytest.raises(InputError, match="sound, square, published"):
        summary(scores, "loud")


def test_classes_are_scored_each(tmp_path, monkeypatch):
    organs = tuple(ClassInfo(f"organ {k}") for k in range(1, 9))
    card = Card("organs", classes=organs, coding="multiclass", size=32, placement="fit")
    copy("btcv", tmp_path, some("btcv", 0, 0, 1))
    (case,) = cases("btcv", tmp_path, "test", side=32, classes=8, partial=True)
    square = case.square()
    # All is right but for the liver, which is taken for the stomach.
    said = np.where(square.labels == 5, 6, square.labels)
    telling(
        monkeypatch,
        lambda index: np.stack([(said[index] == k) for k in range(1, 9)]).astype(np.float32),
    )
    (scored,) = evaluate(random_model(card), [case], surfaces=True)
    wrong = {"organ 5", "organ 6"}
    assert {name for name, v in scored.square_dice.items() if v < 1} == wrong
    assert scored.square_dice["organ 5"] == 0
    assert scored.unit == "mm"
    assert math.isnan(scored.hd95["organ 5"])
    assert scored.hd95["organ 6"] > 0.5
    assert summary([scored])["without a distance"] == 1


def test_millimetres_come_from_the_images_file(tmp_path):
    box = np.zeros((6, 30, 30), np.uint8)
    box[2:4, 10:20, 10:20] = 1
    for name in ("image", "mask"):
        files.write_labels(tmp_path / f"{name}.nii.gz", box, spacing=(3.0, 0.5, 0.5), unit="mm")
    pair = Pair("box", tmp_path / "image.nii.gz", tmp_path / "mask.nii.gz")
    assert pair.load()[3] == pytest.approx((3.0, 0.5, 0.5))
    (scored,) = evaluate(random_model(Card("any", size=32, overlap=8)), [pair], surfaces=True)
    assert scored.unit == "mm"


def test_the_folders_of_old_are_scored_as_before(blob_data):
    model = random_model(Card("any", size=32, overlap=8))
    (scored,) = evaluate(model, evaluation.pairs(blob_data, "val.txt")[:1])
    assert scored.square_dice == scored.hd95 == {}
    assert scored.published_dice["foreground"] == pytest.approx(scored.dice["foreground"])


# ------------------------------------------------------------------ stability


def test_stability_figures_are_those_of_scikit_image():
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=(3, 1, 176, 176)), (0, 0, 4, 4))
    smooth[1:] = smooth[0] + 0.3 * smooth[1:]
    each = ((smooth - smooth.min()) / np.ptp(smooth)).astype(np.float32)
    psnr, ssim, ms_ssim, lpips = stability.compare(each)
    a, *others = (each * 255).astype(np.uint8).astype(np.float64)[:, 0]
    wanted_psnr = [peak_signal_noise_ratio(a, b, data_range=a.max()) for b in others]
    assert psnr == pytest.approx(np.mean(wanted_psnr), abs=1e-3)
    wanted = []
    for b in others:
        span = max(np.ptp(a), np.ptp(b))
        _, full = structural_similarity(
            a,
            b,
            data_range=span,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        wanted.append(full[5:-5, 5:-5].mean())
    assert ssim == pytest.approx(np.mean(wanted), abs=1e-3)
    assert 0 < ms_ssim < 1
    assert math.isnan(lpips) == (why_not() is not None)


def test_identical_and_empty_samples_are_left_out():
    one = np.zeros((1, 180, 180), np.float32)
    one[0, 50:90, 50:90] = 1
    psnr, ssim, ms_ssim, _ = stability.compare(np.stack([one, one]))
    assert math.isnan(psnr)
    assert ssim == pytest.approx(1, abs=1e-4)
    assert ms_ssim == pytest.approx(1, abs=1e-4)
    nothing = np.zeros_like(one)
    for pair in ((one, nothing), (nothing, one)):
        assert all(map(math.isnan, stability.compare(np.stack(pair))[:3]))
    assert math.isnan(stability.compare(np.stack([one, one])[..., :100, :100])[2])  # too small


def test_samples_differ_by_their_noise_and_planes_without_label_are_left_out(tmp_path):
    model = random_model(WINDOW)
    copy("btcv", tmp_path, some("btcv", 0, 0, 2))
    listed = cases("btcv", tmp_path, "test", side=32, partial=True)
    planes = list(stability.stability(model, listed, samples=3, shared_noise=True))
    assert [(p.name, p.plane) for p in planes] == [
        (name, z) for name in ("0036", "0038") for z in (1, 2, 3)
    ]
    assert all(len(p.dice) == 3 for p in planes)
    assert all(p.spread.max() > 0 and p.mean.shape == (1, 32, 32) for p in planes)
    figures = stability.summary(planes)
    assert figures["Dice of the worst"] <= figures["Dice of one sample"]
    assert figures["Dice of one sample"] <= figures["Dice of the best"]
    assert figures["MS-SSIM"] is None
    assert figures["planes"] == 6
    kept = [stability.without_pictures(p) for p in planes]
    assert stability.summary(kept) == pytest.approx(figures)
    again = list(stability.stability(model, listed, samples=3, shared_noise=True))
    assert stability.summary(again) == figures
    own = list(stability.stability(model, listed, samples=3))
    assert stability.summary(own) != figures
    with pytest.raises(InputError, match="at least 2"):
        list(stability.stability(model, listed, samples=1))
    with pytest.raises(InputError, match="no plane with label"):
        stability.summary([])


def test_single_images_have_noise_of_their_own_too(tmp_path):
    copy("cvc", tmp_path, ["611", "612"])
    one, other = cases("cvc", tmp_path, "test", side=32, partial=True)
    for kind in ("Original", "Ground Truth"):
        (tmp_path / kind / "612.png").write_bytes((tmp_path / kind / "611.png").read_bytes())
    for shared in (True, False):
        planes = list(
            stability.stability(random_model(RGB), [one, other], samples=2, shared_noise=shared)
        )
        assert np.array_equal(planes[0].mean, planes[1].mean) == shared


def test_lpips_says_what_it_lacks():
    missing = why_not()
    assert missing is None or missing.startswith("LPIPS needs")
