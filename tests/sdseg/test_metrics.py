from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sdseg.errors import InputError
from sdseg.metrics import (
    IOU_THRESHOLDS,
    PrecisionCounts,
    average_precision,
    average_precisions,
    bootstrap_interval,
    dice,
    iou,
    published_dice,
    published_iou,
    surface_distances,
)

SHAPE = (6, 7)
MASKS = hnp.arrays(bool, SHAPE)
LABELS = hnp.arrays(np.uint16, SHAPE, elements=st.integers(0, 4))


@given(MASKS, MASKS)
@settings(deadline=None)
def test_dice_and_iou_agree_and_are_symmetric(a, b):
    d, j = dice(a, b), iou(a, b)
    assert d == dice(b, a)
    assert d == pytest.approx(2 * j / (1 + j))
    assert dice(a, a) == iou(a, a) == 1


@given(LABELS, LABELS)
@settings(deadline=None)
def test_average_precision_counts_every_object_once(a, b):
    counts = average_precision(a, b)
    assert counts.tp + counts.fp == len(np.unique(a[a > 0]))
    assert counts.tp + counts.fn == len(np.unique(b[b > 0]))
    by_hand = 0
    for k in np.unique(b[b > 0]):
        by_hand += any(iou(a == i, b == k) > 0.5 for i in np.unique(a[a > 0]))
    assert counts.tp == by_hand
    assert average_precision(a, a).score == 1


def test_known_values():
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    a[:2], b[1:3] = True, True
    assert dice(a, b) == 0.5
    assert iou(a, b) == pytest.approx(1 / 3)
    assert dice(a, ~a) == 0
    assert dice(np.zeros(3), np.zeros(3)) == 1
    assert PrecisionCounts(2, 1, 1) + PrecisionCounts(1, 0, 0) == PrecisionCounts(3, 1, 1)
    assert PrecisionCounts(3, 1, 1).score == 0.6


def test_mistakes_are_named():
    with pytest.raises(InputError, match="shapes"):
        dice(np.zeros(3), np.zeros(4))
    with pytest.raises(InputError, match=r"0\.5"):
        average_precision(np.zeros((2, 2), int), np.zeros((2, 2), int), 0.3)
    with pytest.raises(InputError, match="2 axes"):
        surface_distances(np.ones((4, 4)), np.ones((4, 4)), (1, 1, 1))


@given(MASKS, MASKS)
@settings(deadline=None)
def test_published_conventions_differ_only_where_a_mask_is_empty(p, t):
    if p.any() and t.any():
        assert published_dice(p, t) == pytest.approx(dice(p, t))
        assert published_iou(p, t) == pytest.approx(iou(p, t))
    elif p.any():
        assert (published_dice(p, t), dice(p, t)) == (1, 0)
        assert published_iou(p, t) == iou(p, t) == 0
    elif t.any():
        assert published_dice(p, t) == dice(p, t) == 0
    else:
        assert (published_dice(p, t), dice(p, t)) == (0, 1)
        assert (published_iou(p, t), iou(p, t)) == (0, 1)


def test_surface_distances_of_shifted_boxes_are_in_millimetres():
    p, t = np.zeros((12, 20, 20), bool), np.zeros((12, 20, 20), bool)
    p[4:7, 5:15, 5:15], t[6:9, 5:15, 5:15] = True, True
    moved = surface_distances(p, t, (3.0, 0.5, 0.5))
    assert moved.hd95 == 6.0  # two planes of 3 mm
    assert 0 < moved.assd < 6.0
    assert surface_distances(p, p, (3.0, 0.5, 0.5)).assd == 0
    # A line beside a line: every pixel of one is five from the other.
    a, b = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    a[1], b[6] = True, True
    assert (surface_distances(a, b).hd95, surface_distances(a, b).assd) == (5, 5)
    assert surface_distances(a, b, (0.2, 1)).assd == pytest.approx(1)


def test_there_is_no_distance_to_nothing():
    full, empty = np.ones((4, 4), bool), np.zeros((4, 4), bool)
    assert math.isnan(surface_distances(full, empty).hd95)
    assert math.isnan(surface_distances(empty, full).assd)
    assert surface_distances(empty, empty).hd95 == surface_distances(empty, empty).assd == 0


def test_higher_thresholds_match_fewer_objects():
    true = np.zeros((40, 40), np.int32)
    true[2:12, 2:12], true[20:30, 20:30] = 1, 2
    predicted = np.zeros_like(true)
    predicted[2:12, 2:12], predicted[20:30, 22:32] = 5, 9  # IoU 1 and 80 / 120
    counts = average_precisions(predicted, true)
    assert tuple(counts) == IOU_THRESHOLDS
    assert [counts[t].tp for t in IOU_THRESHOLDS] == [2] * 4 + [1] * 6
    assert counts[0.9] == PrecisionCounts(1, 1, 1)
    assert counts[0.5] == average_precision(predicted, true)


def test_interval_holds_the_mean_and_narrows_with_cases():
    rng = np.random.default_rng(0)
    few, many = rng.normal(0.8, 0.1, 10), rng.normal(0.8, 0.1, 1000)
    low, high = bootstrap_interval(many)
    assert low < many.mean() < high
    # The standard error of the mean times 1.96, which resampling finds without knowing it.
    assert high - low == pytest.approx(2 * 1.96 * many.std() / math.sqrt(1000), rel=0.1)
    wide = bootstrap_interval(few)
    assert wide[1] - wide[0] > 3 * (high - low)
    assert bootstrap_interval(few) == wide
    assert bootstrap_interval([0.5, math.nan]) == (0.5, 0.5)
    assert all(map(math.isnan, bootstrap_interval([])))
