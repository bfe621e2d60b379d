"""Pictures of many looks: what they promise about types, classes and visibility."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_sdseg._samples import __main__ as command
from napari_sdseg._samples.look_parts import Scene, field, fill_tube, picture, star, tube
from napari_sdseg._samples.looks import FAMILIES, look, looks
from sdseg.datasets import pairs


@pytest.fixture(scope="module")
def sixty():
    return list(looks(0, 60, 128))


def same(one, other):
    return (
        np.array_equal(one.image, other.image)
        and np.array_equal(one.labels, other.labels)
        and (one.names, one.family) == (other.names, other.family)
    )


def test_seed_decides(sixty):
    again = list(looks(0, 20, 128))  # of fewer, the first ones are the same
    assert all(same(one, other) for one, other in zip(sixty, again, strict=False))
    assert not any(same(one, other) for one, other in zip(sixty, looks(1, 20, 128), strict=False))


def test_one_look():
    one, same_one, other = (look(np.random.default_rng(s), 96) for s in (3, 3, 4))
    assert same(one, same_one)
    assert not same(one, other)


@pytest.mark.parametrize("size", [64, 100, 192])
def test_shapes_and_types(size):
    for made in looks(2, 12, size):
        assert made.image.shape == made.labels.shape == (size, size)
        assert (made.image.dtype, made.labels.dtype) == (np.uint8, np.uint8)


def test_too_small():
    with pytest.raises(ValueError, match="size: 63, but a look has at least 64 pixels a side"):
        look(np.random.default_rng(0), 63)


def test_every_family_occurs(sixty):
    assert {made.family for made in sixty} == set(FAMILIES)


def test_no_two_pictures_are_alike_in_contrast(sixty):
    means = np.array([made.image.mean() for made in sixty])
    assert np.ptp(means) > 100
    assert all(made.image.std() > 5 for made in sixty)


def test_every_class_is_there(sixty):
    for made in sixty:
        assert 1 <= len(made.names) <= 5
        assert len(set(made.names)) == len(made.names)
        counts = np.bincount(made.labels.ravel(), minlength=len(made.names) + 1)
        assert len(counts) == len(made.names) + 1
        assert (counts[1:] >= 30).all(), (made.family, made.names)


def test_classes_are_brighter_or_darker_than_what_is_next_to_them(sixty):
    for made in sixty:
        for number in range(1, len(made.names) + 1):
            mask = made.labels == number
            around = ndimage.binary_dilation(mask, iterations=3) & ~mask
            beside = around & (made.labels == 0)
            differences = [
                abs(made.image[mask].mean() - made.image[ring].mean())
                for ring in (around, beside)
                if ring.any()
            ]
            assert max(differences) > 3, (made.family, made.names[number - 1])


@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "abdomen"])
def test_borders_are_where_the_contrast_is(sixty, family):
    """The mean edge strength at the labels' borders is above that of borders set elsewhere."""
    there, elsewhere = [], []
    for made in sixty:
        if made.family == family:
            edges = ndimage.gaussian_gradient_magnitude(made.image.astype(float), 1.0)
            edges /= edges.mean()
            mask = made.labels > 0
            border = mask ^ ndimage.binary_erosion(mask, border_value=1)
            there.append(edges[border].mean())
            elsewhere.append(edges[np.roll(border, (9, 7), (0, 1))].mean())
    assert np.mean(there) > 1.15 * np.mean(elsewhere)


def test_command_writes_pairs(tmp_path, capsys):
    command.main(["looks", str(tmp_path / "set"), "--count", "21", "--size", "64", "--seed", "3"])
    assert len(capsys.readouterr().out.splitlines()) == 21
    training, held = (pairs(tmp_path / "set", name) for name in ("train.txt", "val.txt"))
    assert (len(training), [p.name for p in held]) == (20, ["look0019"])
    read = {p.name: p.read() for p in training + held}
    for number, made in enumerate(looks(3, 21, 64)):
        image, mask, channels = read[f"look{number:04d}"]
        np.testing.assert_array_equal(image, made.image)
        np.testing.assert_array_equal(mask, made.labels)
        assert channels is None


def test_command_still_wants_a_folder_for_the_stacks(capsys):
    with pytest.raises(SystemExit):
        command.main([])
    assert "--out" in capsys.readouterr().err


def test_a_field_is_as_long_as_it_is_told():
    made = field(np.random.default_rng(0), 256, 2.0, 5.0, angle=0.0)
    assert made.std() == pytest.approx(1)
    for axis, length in ((0, 2.0), (1, 10.0)):  # of x is angle 0
        # the correlation of Gaussian-smoothed noise falls to exp(-1/4) at one length
        fall = (made * np.roll(made, int(length), axis)).mean()
        assert fall == pytest.approx(np.exp(-0.25), abs=0.05)


def test_a_star_has_the_area_of_its_radius():
    box, level = star(np.random.default_rng(0), 128, (64.0, 60.0), 20.0, 1.5, 0.0)
    assert (level < 1).sum() == pytest.approx(np.pi * 20**2, rel=0.02)
    beyond, level = star(np.random.default_rng(0), 128, (-90.0, 300.0), 20.0)
    assert level.size == 0
    assert box != beyond


def test_a_straight_tube():
    discs = tube(np.random.default_rng(0), (32.0, 10.0), 0.0, 4.0, 40.0, 0.0, taper=1.0)
    depth = fill_tube(64, discs)
    assert depth[32, 10:45].min() >= 0.75
    assert (depth[:, 30] > 0).sum() == pytest.approx(8, abs=1)
    assert depth[:, 60].max() == 0


def test_a_picture_keeps_the_range_and_differs_each_time():
    rng = np.random.default_rng(0)
    scene = Scene(np.zeros((64, 64)), np.zeros((64, 64), np.uint8), ())
    scene.values[20:40, 20:40] = 1
    one, other = picture(rng, scene), picture(rng, scene)
    assert one.dtype == np.uint8
    assert not np.array_equal(one, other)
