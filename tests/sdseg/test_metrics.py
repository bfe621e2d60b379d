from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sdseg.errors import InputError
from sdseg.metrics import PrecisionCounts, average_precision, dice, iou

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
