from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from published_sets import copy, some
from sdseg import Recipe, files
from sdseg.datasets import (
    CVC_SEQUENCES,
    DATA_SETS,
    PARTS,
    cases,
    check,
    data_set,
    sequence_of,
    split_names,
)
from sdseg.errors import DataError, InputError
from sdseg.training.data import Planes

NAMES = list(DATA_SETS)


def parts(name, scheme):
    return [split_names(data_set(name), scheme, part) for part in PARTS]


# ------------------------------------------------------------------ splits


@pytest.mark.parametrize("name", NAMES)
def test_splits_keep_train_validation_and_test_apart(name):
    kept = parts(name, None)
    for one, other in itertools.combinations(kept, 2):
        assert not set(one) & set(other)
    assert all(names for names in kept)
    for scheme in data_set(name).schemes:
        for names in parts(name, scheme):
            assert len(set(names)) == len(names)
            key = int if name == "cvc" else str
            assert list(names) == sorted(names, key=key)


def test_btcv_tests_on_the_twelve_volumes():
    train, val, test = parts("btcv", "published")
    twelve = (1, 2, 3, 4, 8, 22, 25, 29, 32, 35, 36, 38)
    assert test == val == tuple(f"{i:04}" for i in twelve)
    assert (len(train), len(set(train) | set(test))) == (18, 30)
    sound = parts("btcv", "sound")
    assert sound[2] == test
    assert set(sound[0]) | set(sound[1]) == set(train)


def test_the_published_splits_have_the_published_sizes():
    sizes = {name: [len(p) for p in parts(name, DATA_SETS[name].published_scheme)] for name in NAMES}
    assert sizes["cvc"] == [492, 60, 60]
    assert sizes["kvasir"] == [800, 100, 100]
    assert sizes["refuge2-cup"] == sizes["refuge2-disc"] == [800, 400, 400]
    assert sizes["sts3d"] == [9, 3, 3]
    train, _, test = parts("refuge2-cup", "published")
    assert all(n.startswith("T") for n in test)
    assert not any(n.startswith("T") for n in train)


def test_no_video_sequence_of_cvc_is_in_two_parts():
    where = {}
    for part, names in zip(PARTS, parts("cvc", "sequence"), strict=True):
        for frame in names:
            where.setdefault(sequence_of(int(frame)), set()).add(part)
    assert sorted(where) == list(range(1, 30))
    assert all(len(of) == 1 for of in where.values())
    assert sum(map(len, parts("cvc", "sequence"))) == 612
    # The sorted split cuts two sequences, which is why there is the other one.
    cut = [sequence_of(int(names[-1])) for names in parts("cvc", "sorted")[:2]]
    assert [sequence_of(int(names[0])) for names in parts("cvc", "sorted")[1:]] == cut


def test_sequences_are_numbered_from_one():
    assert len(CVC_SEQUENCES) == 29
    assert [sequence_of(f) for f in (1, 25, 26, 612)] == [1, 1, 2, 29]
    for wrong in (0, 613):
        with pytest.raises(InputError, match="1 to 612"):
            sequence_of(wrong)


def test_unknown_names_are_said():
    with pytest.raises(InputError, match="btcv, sts3d"):
        data_set("isic")
    with pytest.raises(InputError, match="sequence, sorted"):
        split_names(data_set("cvc"), "random", "train")
    with pytest.raises(InputError, match="train, val, test"):
        split_names(data_set("cvc"), None, "holdout")
    assert data_set("CVC-ClinicDB") is DATA_SETS["cvc"]


# ------------------------------------------------------------------ what is there


@pytest.mark.parametrize("name", NAMES)
def test_check_counts_what_is_there(name, tmp_path):
    wanted = some(name, 3, 1, 2)
    report = check(name, copy(name, tmp_path, wanted), every=True)
    assert report.there == tuple(wanted)
    assert report.opened == 6
    assert not report.problems
    assert not report.unknown
    assert not report.complete
    scheme = report.parts[data_set(name).schemes[0]]
    assert [there for there, _ in scheme.values()] == [3, 1, 2]
    total = len(set().union(*parts(name, None)))
    assert len(report.without_image) == len(report.without_mask) == total - 6


def test_a_whole_set_is_complete(tmp_path):
    copy("sts3d", tmp_path, [f"Teeth_{i:04}_0000" for i in range(1, 13)])
    assert check("sts3d", tmp_path).complete
    (tmp_path / "labelled" / "label" / "Teeth_0004_0000.nii.gz").unlink()
    report = check("sts3d", tmp_path)
    assert report.without_mask == ("Teeth_0004_0000",)
    assert report.without_image == ()
    assert not report.complete


def test_damaged_and_unfitting_files_are_found(tmp_path):
    copy("cvc", tmp_path, ["1", "2", "3"])
    (tmp_path / "Original" / "2.png").write_bytes(b"not a picture")
    Image.new("L", (20, 10)).save(tmp_path / "Ground Truth" / "3.png")
    Image.new("RGB", (48, 36)).save(tmp_path / "Original" / "700.png")
    assert not check("cvc", tmp_path).problems  # the first is in order
    report = check("cvc", tmp_path, every=True)
    assert len(report.problems) == 2
    assert "2.png" in report.problems[0]
    assert "differ in size" in report.problems[1]
    assert report.unknown == ("700",)


def test_missing_folders_are_said(tmp_path):
    with pytest.raises(DataError, match="no folder"):
        check("cvc", tmp_path / "nowhere")
    report = check("kvasir", tmp_path)
    assert (report.images_in, report.masks_in, report.there) == (None, None, ())
    (tmp_path / "images").mkdir()
    report = check("kvasir", tmp_path)
    assert report.images_in == tmp_path / "images"
    assert report.masks_in is None


def test_missing_cases_are_named_unless_a_part_is_asked_for(tmp_path):
    copy("cvc", tmp_path, some("cvc"))
    with pytest.raises(DataError, match=r"3, 4, 5, 6, 7 and 471 more; .* data check cvc"):
        cases("cvc", tmp_path, "train")
    assert [c.name for c in cases("cvc", tmp_path, "train", partial=True)] == ["1", "2"]
    with pytest.raises(DataError, match="read with 1 classes; the model draws 3"):
        cases("cvc", tmp_path, "train", classes=3, partial=True)


def test_other_folders_and_formats_of_a_set_are_found(tmp_path):
    copy("cvc", tmp_path / "set", ["1"])
    (tmp_path / "set").rename(tmp_path / "TIF")
    for file in (tmp_path / "TIF").rglob("*.png"):
        Image.open(file).save(file.with_suffix(".tif"))
        file.unlink()
    (case,) = cases("cvc", tmp_path, "train", partial=True)
    assert case.image.name == "1.tif"
    assert case.square().own_labels.any()
    copy("refuge2-cup", tmp_path, ["T0001"])
    for file in (tmp_path / "Train_crop").rglob("*.png"):  # as the crop's script names them
        file.rename(file.with_stem("T0001_800"))
    assert [c.name for c in cases("refuge2-cup", tmp_path, "test", partial=True)] == ["T0001"]
    for file in (tmp_path / "Train_crop").rglob("*.png"):
        (file.with_stem("T0001_600")).write_bytes(file.read_bytes())
    with pytest.raises(DataError, match="two files for T0001"):
        cases("refuge2-cup", tmp_path, "test", partial=True)


# ------------------------------------------------------------------ the published preprocessing


def first(name, root, part="test", **options):
    """Return a case of a fresh copy."""
    copy(name, root, some(name, 1, 1, 1))
    return cases(name, root, part, partial=True, **options)[0]


@pytest.mark.parametrize(("name", "how"), [("cvc", "BILINEAR"), ("kvasir", "BICUBIC")])
def test_polyps_are_resized_by_pillow_and_cut_at_128(name, how, tmp_path):
    case = first(name, tmp_path)
    square = case.square()
    image = Image.open(case.image).convert("RGB").resize((256, 256), Image.Resampling[how])
    mask = Image.open(case.mask).convert("RGB").resize((256, 256), Image.Resampling.NEAREST)
    assert np.array_equal(square.image, np.asarray(image))
    assert np.array_equal(square.labels, np.asarray(mask)[..., 0] > 128)
    assert square.own_labels.shape == Image.open(case.mask).size[::-1]
    assert (square.limits, square.channel_axis, square.spacing) == ((0, 255), 2, None)
    # What the network sees: value / 255 * 2 - 1.
    planes = Planes([case], Recipe.read(name).card)
    seen, labels = planes.crop(0, 256, np.random.default_rng(0))
    assert np.allclose(seen, np.moveaxis(np.asarray(image) / 255.0 * 2 - 1, -1, 0), atol=1e-6)
    assert np.array_equal(labels, square.labels)


def test_cup_and_disc_are_channels_of_one_mask(tmp_path):
    cup = first("refuge2-cup", tmp_path).square()
    disc = cases("refuge2-disc", tmp_path, "test", partial=True)[0].square()
    assert cup.own_labels.any()
    assert cup.own_labels.sum() < disc.own_labels.sum()
    assert np.array_equal(disc.own_labels & cup.own_labels, cup.own_labels)
    assert np.array_equal(cup.image, disc.image)


def test_masks_in_refuges_own_values_are_taken_too(tmp_path):
    case = first("refuge2-cup", tmp_path)
    coloured = case.square()
    mask = np.asarray(Image.open(case.mask))
    own = np.where(mask[..., 1] == 255, 0, np.where(mask[..., 0] == 255, 128, 255)).astype(np.uint8)
    Image.fromarray(own).save(case.mask)
    assert np.array_equal(case.square().own_labels, coloured.own_labels)
    Image.fromarray(own // 2).save(case.mask)
    with pytest.raises(DataError, match="green 255 on the cup"):
        case.square()


def by_hand(case):
    """Read a volume as nibabel does: (X, Y, Z), in float64."""
    import SimpleITK

    read = [SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(p))) for p in (case.image, case.mask)]
    return [a.transpose(2, 1, 0).astype(np.float64) for a in read]


EIGHT = {1: 1, 2: 2, 3: 3, 4: 4, 6: 5, 7: 6, 8: 7, 11: 8}


def test_btcv_is_tested_on_its_window_and_scipys_grid(tmp_path):
    case = first("btcv", tmp_path, classes=8)
    square = case.square()
    image, labels = by_hand(case)
    clipped = np.clip(image, -125, 275)
    wanted = (clipped - clipped.min()) / (clipped.max() - clipped.min()) * 2 - 1
    x, y, _ = image.shape
    wanted = ndimage.zoom(wanted, (256 / x, 256 / y, 1), order=1)
    low, high = square.limits
    assert np.allclose(
        (square.image - low) / (high - low) * 2 - 1, wanted.transpose(2, 0, 1), atol=1e-5
    )
    nine = np.zeros_like(labels)
    for organ, drawn in EIGHT.items():
        nine[labels == organ] = drawn
    assert np.array_equal(square.own_labels, nine.transpose(2, 0, 1))
    small = ndimage.zoom(nine, (256 / x, 256 / y, 1), order=0)
    assert np.array_equal(square.labels, small.transpose(2, 0, 1))
    assert square.spacing == pytest.approx((3.0, 0.8, 0.7))
    union = cases("btcv", tmp_path, "test", partial=True)[0].square()
    assert np.array_equal(union.own_labels, square.own_labels > 0)
    assert cases("btcv", tmp_path, "test", classes=13, partial=True)[0].square().own_labels.max() == 13


def test_btcv_is_trained_on_opencvs_grid_and_its_own_window(tmp_path):
    case = first("btcv", tmp_path, "train", side=20)
    image, labels, channel_axis = case.read()
    raw, _ = by_hand(case)
    raw = np.clip(raw, -175, 250).transpose(2, 0, 1)  # (5, 44, 40) -> (5, 20, 20)
    assert (image.shape, labels.shape, channel_axis) == ((5, 20, 20), (5, 20, 20), None)
    # Along the axis of 40, halving on OpenCV's grid is the mean of two neighbours; check a row of
    # the other axis that falls between two, by linear interpolation on half-pixel centres.
    along = (np.arange(20) + 0.5) * 44 / 20 - 0.5
    low = np.floor(along).astype(int)
    weight = (along - low)[None, :, None]
    rows = raw[:, low] * (1 - weight) + raw[:, low + 1] * weight
    wanted = (rows[:, :, ::2] + rows[:, :, 1::2]) / 2
    assert np.allclose(image, wanted, atol=1e-3)
    # Training maps HU as testing does; what is below its window becomes -1 (published: -1.25).
    card = dataclasses.replace(Recipe.read("btcv").card, size=20)
    seen, _ = Planes([case], card).crop(0, 20, np.random.default_rng(0))
    assert np.allclose(seen[0], np.clip((wanted[0] + 125) / 400 * 2 - 1, -1, 1), atol=1e-4)
    assert seen.max() == pytest.approx(0.875)
    assert seen.min() == -1


def test_teeth_are_cleaned_for_training_and_not_for_testing(tmp_path):
    test = first("sts3d", tmp_path, side=64).square()
    image, labels = by_hand(first("sts3d", tmp_path, side=64))
    clipped = np.clip(image, -100, 1100)
    wanted = (clipped - clipped.min()) / (clipped.max() - clipped.min() + 1e-8)
    wanted = ndimage.zoom(wanted, (64 / 40, 64 / 40, 1), order=1)
    assert np.allclose(test.image, wanted.transpose(2, 0, 1), atol=1e-5)
    assert np.array_equal(test.own_labels, labels.transpose(2, 0, 1))
    assert test.own_labels[2, 1:4, 1].all()  # (Z, X, Y): the bit of label is in what is tested on

    trained = first("sts3d", tmp_path, "train", side=40)
    planes, cleaned, _ = trained.read()
    assert planes.shape == (5, 40, 40)  # the plane of one value is left out
    assert cleaned[2].any()
    assert not cleaned[2, 1:4, 1].any()
    assert files.read(trained.mask).data.shape == (6, 40, 40)


def test_volumes_that_do_not_fit_are_refused(tmp_path):
    case = first("btcv", tmp_path)
    labels = np.asarray(files.read(case.mask).data).copy()
    files.write_labels(case.mask, labels + 1)
    with pytest.raises(DataError, match="0 to 13, got 1 to 14"):
        case.square()
    files.write_labels(case.mask, labels[:-1])
    with pytest.raises(DataError, match="do not fit"):
        case.square()


# ------------------------------------------------------------------ recipes


@pytest.mark.parametrize("name", NAMES)
def test_every_set_has_a_recipe_with_the_published_settings(name):
    recipe = Recipe.read(name)
    assert recipe.dataset == name
    assert recipe.preset == "paper"
    assert recipe.init_autoencoder.endswith("kl-f8/model.ckpt")
    assert recipe.init_denoiser.endswith("lsun_churches/model.ckpt")
    d, a = recipe.denoiser, recipe.augmentation
    assert (d.batch, d.learning_rate, d.warmup, d.ema, d.clip) == (4, 4e-5, 10_000, 0.9999, 0)
    assert (d.prediction_type, d.noise_weight, d.latent_weight, d.mask_weight) == ("epsilon", 1, 1, 0)
    assert (d.last_step, d.crop, recipe.card.size, recipe.seed) == (0, 256, 256, 23)
    assert (a.scale, a.rotate, a.quarter_turns, a.flip_horizontal) == (0, 0, 0, 0.5)
    assert a.flip_vertical == (0 if name == "sts3d" else 0.5)


def test_published_augmentation_is_flips_alone():
    from sdseg.training.augment import Augment

    rng = np.random.default_rng(0)
    image = rng.uniform(-1, 1, (3, 32, 32)).astype(np.float32)
    labels = rng.integers(0, 2, (32, 32))
    for name, expected in (("cvc", 4), ("sts3d", 2)):
        augment = Augment(Recipe.read(name).augmentation, 32)
        assert augment.reach == 32
        flips = {(v, h): image[:, ::v, ::h] for v in (1, -1) for h in (1, -1)}
        seen = set()
        for _ in range(40):
            varied, placed = augment(image, labels, rng)
            (flip,) = [k for k, of in flips.items() if np.allclose(varied, of, atol=1e-4)]
            assert np.array_equal(placed, labels[:: flip[0], :: flip[1]])
            seen.add(flip)
        assert len(seen) == expected
