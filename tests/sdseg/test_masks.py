from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sdseg import Card, masks
from sdseg.card import ClassInfo
from sdseg.errors import InputError, ModelFormatError
from sdseg.instances import Linker, objects

PLANES = hnp.arrays(
    st.sampled_from([np.uint8, np.uint16, np.int32]),
    st.tuples(st.integers(1, 24), st.integers(1, 24)),
    elements=st.integers(0, 3),
)
CONDITIONED = Card("c", classes=tuple(ClassInfo(n) for n in "abc"), coding="conditioned")
MULTI = Card("m", classes=tuple(ClassInfo(n) for n in "abc"), coding="multiclass")


@given(PLANES)
@settings(deadline=None, max_examples=60)
def test_class_ids_come_back(labels):
    drawn = masks.encode(labels, MULTI)
    assert drawn.shape == (3, *labels.shape)
    assert set(np.unique(drawn)) <= {-1.0, 1.0}
    assert np.array_equal(masks.decode((drawn + 1) / 2, MULTI), labels)


@given(PLANES)
@settings(deadline=None, max_examples=60)
def test_class_conditioned_ids_come_back(labels):
    drawn = masks.encode(labels, CONDITIONED)
    assert drawn.shape == (masks.channel_count(CONDITIONED), *labels.shape)
    assert np.array_equal(masks.decode((drawn + 1) / 2, CONDITIONED), labels)
    there = masks.present(labels, CONDITIONED)
    assert set(there) == set(np.unique(labels))
    for number in there:
        one = masks.encode_class(labels, int(number))
        assert one.shape == (masks.autoencoder_channels(CONDITIONED), *labels.shape)
        assert np.array_equal(one[0] > 0, labels == number if number else labels > 0)


def test_class_conditioned_takes_the_most_probable_of_all():
    """Four classes that are even but for one lie far below one half, and it is drawn."""
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(4, 30, 30)).astype(np.float32)
    every = np.exp(scores) / np.exp(scores).sum(0)
    assert np.array_equal(masks.decode(every[1:], CONDITIONED), scores.argmax(0))
    cautious = dataclasses.replace(CONDITIONED, threshold=0.9)
    bold = dataclasses.replace(CONDITIONED, threshold=0.1)
    counts = [np.count_nonzero(masks.decode(every[1:], c)) for c in (cautious, CONDITIONED, bold)]
    assert counts[0] < counts[1] < counts[2]


@given(PLANES)
@settings(deadline=None, max_examples=60)
def test_binary_and_instances_keep_the_foreground(labels):
    for coding in ("binary", "instances"):
        card = Card("b", coding=coding)
        drawn = masks.encode(labels, card)
        assert drawn.shape[0] == masks.channel_count(card)
        assert np.array_equal(masks.decode((drawn + 1) / 2, card) == 1, labels > 0)


@given(PLANES)
@settings(deadline=None, max_examples=60)
def test_depth_is_one_at_every_core_and_none_outside(labels):
    depth = masks.depth(labels)
    assert depth.dtype == np.float32
    assert (depth[labels == 0] == 0).all()
    for k in np.unique(labels[labels > 0]):
        assert depth[labels == k].max() == 1.0
        assert depth[labels == k].min() > 0


def test_touching_discs_are_told_apart():
    y, x = np.mgrid[:60, :90]
    truth = np.zeros((60, 90), np.uint16)
    truth[(y - 30) ** 2 + (x - 30) ** 2 < 200] = 1
    truth[((y - 30) ** 2 + (x - 56) ** 2 < 200) & (truth == 0)] = 2
    card = Card("i", coding="instances")
    found = objects((masks.encode(truth, card) + 1) / 2)
    assert found.dtype == np.uint32
    assert found.max() == 2
    assert np.array_equal(found > 0, truth > 0)
    agreement = max((found == truth).mean(), (np.array([0, 2, 1])[found] == truth).mean())
    assert agreement > 0.99


def test_specks_are_dropped_and_coreless_pieces_kept():
    probability = np.zeros((2, 40, 40), np.float32)
    probability[0, 5:25, 5:25] = 1  # no core anywhere
    probability[0, 35, 35] = 1
    found = objects(probability)
    assert set(np.unique(found)) == {0, 1}
    assert (found > 0).sum() == 400


def test_objects_keep_their_number_through_the_planes():
    a, b = np.zeros((20, 20), np.uint32), np.zeros((20, 20), np.uint32)
    a[2:8, 2:8], a[12:18, 12:18] = 1, 2
    b[12:18, 11:17], b[2:8, 12:18] = 1, 2  # the second object, moved; and a new one
    linker = Linker()
    first, second = linker.link(a), linker.link(b)
    assert second[14, 14] == first[14, 14]
    assert second[4, 14] not in first
    linker.reset()
    third = linker.link(b)
    assert not set(np.unique(third)) & (set(np.unique(second)) - {0})


def test_one_object_never_gets_two_numbers_in_a_plane():
    whole, halves = np.zeros((10, 20), np.uint32), np.zeros((10, 20), np.uint32)
    whole[2:8, 2:18] = 1
    halves[2:8, 2:9], halves[2:8, 10:18] = 1, 2
    linker = Linker()
    before = linker.link(whole)
    after = linker.link(halves)
    assert len(np.unique(after)) == 3
    assert after[4, 14] == before[4, 14]  # the larger half carries on


def test_mistakes_are_named():
    with pytest.raises(InputError, match=r"\(H, W\)"):
        masks.encode(np.zeros((2, 3, 4), int), MULTI)
    with pytest.raises(ModelFormatError, match="coding"):
        Card("x", coding="colours")
    with pytest.raises(ModelFormatError, match="one class"):
        Card("x", classes=(ClassInfo("a"), ClassInfo("b")), coding="binary")
