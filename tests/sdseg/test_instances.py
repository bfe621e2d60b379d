from __future__ import annotations

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sdseg import Card
from sdseg.card import ClassInfo
from sdseg.errors import InputError, InputTypeError
from sdseg.instances import Linker, drop_sizes, find, match, objects
from sdseg.linking import tables
from sdseg.masks import decode

BINARY = Card("binary", coding="binary")
CLASSES = Card("classes", coding="multiclass", classes=(ClassInfo("a"), ClassInfo("b")))
SIDE = 160
Y, X = np.mgrid[:SIDE, :SIDE]


def disc(y, x, radius):
    return (Y - y) ** 2 + (X - x) ** 2 < radius**2


def count(mask, card=BINARY):
    return int(find(mask[None].astype(np.float32), card).max())


@pytest.mark.parametrize("radius", [2.5, 4, 8, 20, 60])
def test_a_round_blob_is_one_object(radius):
    assert count(disc(80, 80, radius)) == 1
    assert count(disc(80, 0, radius)) == 1  # cut by the plane's edge


@pytest.mark.parametrize("radius", [5, 8, 13, 25])
def test_touching_discs_are_two(radius):
    both = disc(50, 50, radius) | disc(50, 50 + 1.7 * radius, radius)
    found = find(both[None].astype(np.float32), BINARY)
    assert found.dtype == np.uint32
    assert set(np.unique(found)) == {0, 1, 2}
    assert np.array_equal(found > 0, both)
    sizes = np.bincount(found.ravel())[1:]
    assert sizes.min() > 0.8 * sizes.max()


def test_long_and_rough_shapes_stay_whole():
    assert count((Y - 80) ** 2 / 300 + (X - 80) ** 2 / 3000 < 1) == 1
    assert count((abs(Y - 80) < 8) & (abs(X - 80) < 60)) == 1
    assert count(np.ones((SIDE, SIDE), bool)) == 1
    angle = np.arctan2(Y - 80, X - 80)
    assert count(np.hypot(Y - 80, X - 80) < 25 + 1.5 * np.sin(11 * angle)) == 1


def test_small_pieces_are_dropped_and_numbers_have_no_holes():
    mask = disc(20, 20, 8) | disc(60, 60, 1.5) | disc(100, 100, 8)
    assert count(mask) == 2
    everything = find(mask[None].astype(np.float32), BINARY, smallest=1)
    assert set(np.unique(everything)) == {0, 1, 2, 3}
    assert not find(np.zeros((1, 9, 9), np.float32), BINARY).any()


def test_classes_never_share_an_object():
    probability = np.zeros((2, SIDE, SIDE), np.float32)
    probability[0, disc(80, 60, 20)] = 0.9
    probability[1, disc(80, 80, 20)] = 0.8  # the first is surer where both are
    found = find(probability, CLASSES)
    inside_a, inside_b = disc(80, 60, 20), disc(80, 80, 20) & ~disc(80, 60, 20)
    assert not set(np.unique(found[inside_a])) & set(np.unique(found[inside_b]))
    assert np.array_equal(found > 0, inside_a | inside_b)


@given(hnp.arrays(np.float32, (2, 9, 11), elements=st.sampled_from([0.1, 0.6, 0.7]), fill=st.nothing()))
@settings(deadline=None, max_examples=60)
def test_every_pixel_of_a_class_is_in_an_object_of_that_class(probability):
    found, classes = find(probability, CLASSES, smallest=1), decode(probability, CLASSES)
    assert np.array_equal(found > 0, classes > 0)
    pairs = np.unique(np.stack([found, classes]).reshape(2, -1), axis=1)
    assert pairs.shape[1] == len(np.unique(found)) == found.max() + (found == 0).any()


def test_the_threshold_is_the_cards():
    mask = 0.6 * disc(80, 80, 20)[None].astype(np.float32)
    assert find(mask, BINARY).any()
    assert not find(mask, Card("strict", coding="binary", threshold=0.7)).any()


def test_an_instance_model_draws_its_own_depth():
    rng = np.random.default_rng(0)
    probability = rng.random((2, 40, 40)).astype(np.float32)
    card = Card("own", coding="instances", threshold=0.4)
    assert np.array_equal(find(probability, card), objects(probability, threshold=0.4))


def test_match_takes_the_largest_overlap_once():
    before = np.array([[1, 1, 1, 1, 0, 2, 2, 0]])
    after = np.array([[1, 1, 2, 2, 2, 3, 0, 4]])
    # 1 and 2 of the new plane both want the old 1, by two pixels each: the first has it.
    assert match(before, after).tolist() == [0, 1, 0, 2, 0]
    assert match(before, after, overlap=1.0).tolist() == [0, 1, 0, 2, 0]
    assert match(before, np.zeros_like(after)).tolist() == [0]


def test_match_leaves_classes_apart():
    plane = np.array([[1, 1, 2, 2]])
    kinds = np.array([[1, 1, 2, 2]])
    assert match(plane, plane, classes=(kinds, kinds)).tolist() == [0, 1, 2]
    assert match(plane, plane, classes=(kinds, kinds[:, ::-1])).tolist() == [0, 0, 0]


def test_linker_numbers_by_first_appearance():
    linker = Linker()
    assert linker.link(np.array([[1, 0, 2]], np.uint32)).tolist() == [[1, 0, 2]]
    assert linker.link(np.array([[0, 1, 2]], np.uint32)).tolist() == [[0, 3, 2]]
    assert linker.link(np.array([[1, 2, 0]], np.uint32)).tolist() == [[4, 3, 0]]
    linker.reset()
    assert linker.link(np.array([[1, 2, 0]], np.uint32)).tolist() == [[5, 6, 0]]


def dense(plane):
    return (
        np.unique(np.append(0, plane), return_inverse=True)[1][1:]
        .reshape(plane.shape)
        .astype(np.uint32)
    )


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_slabs_joined_are_the_stack_in_one_go(data):
    """Few pixels and few numbers: ties and rivals everywhere."""
    planes = data.draw(st.integers(1, 7))
    raw = data.draw(
        hnp.arrays(np.uint32, (planes, 3, 5), elements=st.integers(0, 6), fill=st.nothing())
    )
    raw = np.stack([dense(p) for p in raw])
    gaps = data.draw(st.sets(st.integers(1, planes)))  # no link from the plane before to these
    cuts = sorted(data.draw(st.sets(st.integers(1, planes - 1))) if planes > 1 else [])
    overlap = data.draw(st.sampled_from([0.0, 0.3, 0.5, 1.0]))
    limits = data.draw(st.sampled_from([(0, None), (3, None), (2, 6)]))

    def link(numbers):
        linker, out = Linker(overlap), []
        for number in numbers:
            if number in gaps:
                linker.reset()
            out.append(linker.link(raw[number]))
        return np.stack(out)

    wanted = link(range(planes))
    wanted_count = drop_sizes(wanted, *limits)
    slabs = [link(range(a, b)) for a, b in zip([0, *cuts], [*cuts, planes], strict=True)]
    names = [
        None if a in gaps or a == 0 else match(before[-1], after[0], overlap)
        for a, before, after in zip([0, *cuts], [raw[:1], *slabs], slabs, strict=False)
    ]
    luts = tables([np.bincount(s.ravel(), minlength=1) for s in slabs], names, *limits)
    got = np.concatenate([lut[s] for lut, s in zip(luts, slabs, strict=True)])
    assert np.array_equal(got, wanted)
    assert got.max(initial=0) == wanted_count


def test_sizes_are_counted_over_the_stack():
    labels = np.zeros((3, 4, 4), np.uint32)
    labels[:, 0, 0] = 7  # three voxels, one a plane
    labels[1, 2] = 2  # four
    labels[0, 3, 3] = 5  # one
    one = labels.copy()
    assert drop_sizes(one, 3) == 2
    assert (one[1, 2] == 1).all()
    assert (one[:, 0, 0] == 2).all()
    assert one[0, 3, 3] == 0
    assert drop_sizes(labels, 1, 3) == 2
    assert set(np.unique(labels)) == {0, 1, 2}
    assert labels[0, 3, 3] == 1  # the order of the old numbers


@pytest.mark.parametrize("kind", ["numpy", "memmap", "zarr", "plane", "volumes"])
def test_sizes_of_every_kind_of_array(kind, tmp_path):
    rng = np.random.default_rng(0)
    start = rng.choice([0, 0, 3, 9, 200, 201], (6, 8, 8)).astype(np.uint16)
    start[2, :3, 0] = 150
    wanted = np.where(start == 150, 0, start)
    wanted = np.unique(wanted, return_inverse=True)[1].reshape(start.shape)
    labels = start.copy()
    if kind == "memmap":
        labels = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint16, start.shape)
        labels[:] = start
    elif kind == "zarr":
        labels = zarr.array(start, chunks=(4, 8, 8))
    elif kind == "plane":
        labels = labels.reshape(48, 8)
    elif kind == "volumes":
        labels = labels.reshape(2, 3, 8, 8)
    assert drop_sizes(labels, 4) == 4
    assert np.array_equal(np.asarray(labels[:]).reshape(start.shape), wanted)


def test_sizes_that_cannot_be():
    with pytest.raises(InputError, match="minimum"):
        drop_sizes(np.zeros((2, 2), int), 5, 3)
    with pytest.raises(InputTypeError, match="float"):
        drop_sizes(np.zeros((2, 2)))
    assert drop_sizes(np.zeros((2, 3, 3), np.uint32), 5) == 0
