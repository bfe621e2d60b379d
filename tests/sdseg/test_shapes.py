from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sdseg import Card
from sdseg.card import ClassInfo
from sdseg.errors import InputError
from sdseg.shapes import Shapes, signed_distance, timestep

CARD = Card("one")


def disc(radius: float, centre: tuple[float, float] = (32, 32), side: int = 64) -> np.ndarray:
    y, x = np.mgrid[:side, :side]
    return ((y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2).astype(np.uint8)


@given(arrays(bool, (9, 11)))
def test_signed_distance_is_above_0_inside_and_below_outside(mask):
    distance = signed_distance(mask)
    assert distance.dtype == np.float32
    assert ((distance > 0) == mask).all()
    assert np.abs(distance).min() >= 0.5
    assert np.abs(signed_distance(mask, 2.0)).max() <= 2


def test_the_outline_runs_between_pixels():
    mask = np.zeros((1, 8), bool)
    mask[:, 4:] = True
    assert signed_distance(mask)[0].tolist() == [-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5]


def test_halfway_between_two_discs_lies_the_disc_of_the_mean_radius():
    shapes = Shapes({0: disc(10), 10: disc(20)}, CARD)
    guess = shapes.guess(5)
    area = int((guess.distance[0] > 0).sum())
    assert area == pytest.approx(np.pi * 15**2, rel=0.03)


def test_painted_positions_are_not_looked_at_for_themselves():
    shapes = Shapes({0: disc(10), 5: np.zeros((64, 64), np.uint8), 10: disc(10)}, CARD)
    assert (shapes.guess(5).distance[0] > 0).sum() == disc(10).sum()
    assert (shapes.guess(5, without=(10,)).distance[0] > 0).sum() < disc(10).sum()


def test_beyond_the_outermost_plane_shapes_shrink_until_nothing_is_left():
    shapes = Shapes({0: disc(8), 4: disc(8)}, CARD, step=2.0)
    areas = [(shapes.guess(z).distance > 0).sum() for z in (5, 6, 7, 12)]
    assert areas == sorted(areas, reverse=True)
    assert disc(8).sum() > areas[0] > areas[1] > areas[2] == 0
    # Nothing is left, which is a guess too, and a surer one the farther away.
    assert shapes.guess(40).doubt < shapes.guess(7).doubt
    further = Shapes({0: disc(8), 8: disc(8)}, CARD, step=2.0).guess(11).distance > 0
    assert further.sum() > areas[2]  # painted farther apart, it ends farther away


def test_a_shape_ends_before_the_next_painted_plane_which_is_without_it():
    empty = np.zeros((64, 64), np.uint8)
    free = Shapes({-8: disc(10), 0: disc(10)}, CARD)
    bound = Shapes({-8: disc(10), 0: disc(10), 5: empty}, CARD)

    def areas(shapes, planes):
        return [int((shapes.guess(z).distance > 0).sum()) for z in planes]

    assert areas(free, [5])[0] > 0 == areas(bound, [4])[0]
    assert areas(bound, [1])[0] > areas(bound, [3])[0] > 0, "it does not end at once"
    assert areas(bound, [-4]) == areas(free, [-4])
    # Far away, an empty plane says nothing new.
    far = Shapes({-8: disc(10), 0: disc(10), 60: empty}, CARD)
    assert areas(far, range(1, 9)) == areas(free, range(1, 9))
    # The nearer to the empty plane, the surer; beyond it nothing is expected.
    assert far.guess(8).doubt > far.guess(40).doubt > far.guess(59).doubt
    beyond = bound.guess(20)
    assert not (beyond.distance > 0).any()
    assert beyond.one_sided
    assert not bound.guess(-4).one_sided


def test_the_widest_gap_says_how_long_a_thing_is():
    wide = Shapes({0: disc(10), 10: disc(10)}, CARD)
    also = Shapes({0: disc(10), 10: disc(10), 11: disc(10)}, CARD)
    for z, same in ((-3, -3), (13, 14)):
        assert (wide.guess(z).distance == also.guess(same).distance).all()


def test_doubt_is_largest_in_the_middle_and_grows_with_what_differs():
    alike = Shapes({0: disc(10), 10: disc(11)}, CARD)
    unlike = Shapes({0: disc(10), 10: disc(10, (32, 44))}, CARD)
    assert alike.guess(1).doubt < alike.guess(5).doubt < unlike.guess(5).doubt
    assert timestep(alike.guess(1).doubt) < timestep(unlike.guess(5).doubt) <= 999


def test_a_class_that_ends_in_between_has_no_guess_of_its_own():
    card = Card("two", classes=(ClassInfo("a"), ClassInfo("b")), coding="multiclass")
    first = disc(10) + 2 * disc(3, (10, 10))
    guess = Shapes({0: first, 8: disc(10)}, card).guess(6)
    assert (guess.distance[0] > 0).any()
    assert not (guess.distance[1] > 0).any()


def test_beyond_a_shape_that_was_getting_smaller_there_is_a_limit():
    card = Card("two", classes=(ClassInfo("a"), ClassInfo("b")), coding="multiclass")
    small = 2 * disc(3, (8, 8))
    ending = Shapes({-4: disc(18), 0: disc(16) + small, 4: disc(12)}, card)
    first, later, gone = (ending.guess(z).within for z in (5, 8, 40))
    assert (first[0] > later[0]).any()
    assert (first[0] >= later[0]).all()
    assert (first[0] >= (ending.guess(5).distance[0] > 0)).all()
    assert not gone[0].any()
    assert gone[1].all(), "of what is not on the outermost plane nothing is known"
    assert ending.guess(2).within is None
    growing = Shapes({0: disc(12), 4: disc(14), 8: disc(16)}, CARD)
    assert growing.guess(10).within is None
    assert growing.guess(-2).within is not None
    assert Shapes({0: disc(16), 4: disc(12)}, CARD).guess(5).within is None, "two do not tell"


def test_trust_in_shapes_is_what_inner_planes_show():
    alike = Shapes({0: disc(10), 4: disc(11), 8: disc(10)}, CARD)
    apart = Shapes({0: disc(6, (12, 12)), 4: disc(6, (50, 50)), 8: disc(6, (12, 50))}, CARD)
    assert alike.trust == 1
    assert apart.trust == 0
    assert 0 < Shapes({0: disc(10), 4: disc(10)}, CARD).trust < 1, "nothing to be seen from two"
    tip = Shapes({0: disc(3), 4: disc(12), 8: disc(12)}, CARD)
    assert tip.trust == 1, "the place is right, if not the size"
    empty = np.zeros((64, 64), np.uint8)
    assert not Shapes({0: disc(10), 4: disc(10), 8: empty}, CARD).tested
    gone = Shapes({0: disc(10), 4: empty, 8: disc(10)}, CARD)
    assert gone.tested
    assert gone.trust == 0
    assert timestep(0.25, apart.trust) == 999 > timestep(0.25, alike.trust) == 200


def test_nothing_painted_gives_no_guess():
    assert Shapes({}, CARD).guess(3) is None
    assert Shapes({1: np.zeros((8, 8), np.uint8)}, CARD).guess(3) is None


def test_single_objects_cannot_be_carried():
    with pytest.raises(InputError, match="single objects"):
        Shapes({}, Card("cells", coding="instances"))


@given(st.integers(1, 30), st.integers(1, 30))
def test_a_shape_that_stays_the_same_is_guessed_exactly(gap, at):
    shapes = Shapes({0: disc(9), gap + at: disc(9)}, CARD)
    assert ((shapes.guess(at).distance[0] > 0) == disc(9)).all()
