from __future__ import annotations

import numpy as np
import pytest

from sdseg import Card
from sdseg.axes import plan
from sdseg.errors import InputError, InputTypeError
from sdseg.painted import Strokes, annotated_planes, looks_like_strokes, painted, plane_step

CARD = Card("one")


def work(shape, **options):
    return plan(shape, np.uint8, CARD, **options)


@pytest.fixture
def stack():
    image = np.random.default_rng(0).integers(0, 255, (6, 20, 24), np.uint8)
    labels = np.zeros(image.shape, np.uint8)
    labels[1, 4:9, 5:12] = 1
    labels[4, 4:9, 5:12] = 1
    return image, labels


def test_planes_with_paint_on_them_are_found(stack):
    found = painted(*stack, work(stack[0].shape))
    assert [found.position(i) for i in found.planes] == [1, 4]
    assert found.axis == 0


def test_planes_can_be_named_even_empty_ones(stack):
    found = painted(*stack, work(stack[0].shape), annotated=[4, -1])
    assert [found.position(i) for i in found.planes] == [4, 5]
    ids, known = found.plane(found.planes[1])
    assert not ids.any()
    assert known.all()


def test_other_axes_and_time_points(stack):
    image, labels = (np.moveaxis(a, 0, 2) for a in stack)
    found = painted(image, labels, work(image.shape, axis=2))
    assert [found.position(i) for i in found.planes] == [1, 4]
    both = np.stack([stack[1], np.zeros_like(stack[1])])
    found = painted(np.stack([stack[0]] * 2), both, work((2, 6, 20, 24)), annotated=[(0, 1), (1, 4)])
    assert [found.at(i) for i in found.planes] == [(0, 1), (1, 4)]
    found = painted(np.stack([stack[0]] * 2), both, work((2, 6, 20, 24)), annotated=[4])
    assert [found.at(i) for i in found.planes] == [(0, 4), (1, 4)]
    assert found.index((1,), 4) == (1, 4, slice(None), slice(None))


def test_a_single_plane_is_annotated_as_it_is(stack):
    found = painted(stack[0][1], stack[1][1], work((20, 24)))
    assert found.planes == ((slice(None), slice(None)),)
    assert found.position(found.planes[0]) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.zeros((6, 20, 20), np.uint8)}, "does not match"),
        ({"labels": np.zeros((6, 20, 24), np.uint8)}, "nothing is painted"),
        ({"annotated": [9]}, "out of range"),
        ({"annotated": []}, "no planes"),
        ({"ignore_label": 0}, "background_label"),
        ({"ignore_label": 3, "background_label": 3}, "unknown"),
        ({"annotated": [0], "ignore_label": 0, "background_label": 5}, "unknown"),
    ],
)
def test_what_cannot_be_used_is_said(stack, change, message):
    image, labels = stack
    options = {k: v for k, v in change.items() if k != "labels"}
    with pytest.raises(InputError, match=message):
        painted(image, change.get("labels", labels), work(image.shape), **options)


def test_wrong_types_are_said(stack):
    with pytest.raises(InputTypeError, match="whole numbers"):
        painted(stack[0], stack[1].astype(float), work(stack[0].shape))
    with pytest.raises(InputTypeError, match="need an array"):
        painted(stack[0], stack[1].tolist(), work(stack[0].shape))
    with pytest.raises(InputTypeError, match="list of positions"):
        painted(*stack, work(stack[0].shape), annotated=["a"])


def test_strokes_are_read_as_known_pixels_and_classes():
    plane = np.array([[0, 1, 3], [2, 0, 0]])
    ids, known = Strokes(ignore=0, background=2).read(plane)
    assert known.tolist() == [[False, True, True], [True, False, False]]
    # The background's label is none of the classes: 3 is the second of them.
    assert ids.tolist() == [[0, 1, 2], [0, 0, 0]]
    ids, known = Strokes(ignore=255).read(np.array([[255, 0, 1]]))
    assert known.tolist() == [[False, True, True]]
    assert ids.tolist() == [[0, 0, 1]]


def test_strokes_are_told_from_whole_shapes():
    plane = np.zeros((40, 40), np.uint8)
    plane[10:12, 5:30] = 1
    plane[30:32, 5:30] = 2
    assert looks_like_strokes(plane)
    plane[:] = 0
    plane[10:30, 10:30] = 1
    assert not looks_like_strokes(plane)
    plane[2:8, 2:30] = 2  # two organs, and most of the plane is neither
    assert not looks_like_strokes(plane)


def test_lazy_labels_are_read_plane_by_plane(stack):
    import dask.array as da

    lazy = da.from_array(stack[1], chunks=(1, 20, 24))
    assert len(annotated_planes(lazy, work(stack[0].shape))) == 2


def test_the_step_between_planes_is_in_pixels():
    assert plane_step(work((6, 20, 24))) == 1
    assert plane_step(work((6, 20, 24), spacing=(2.0, 0.5, 0.5))) == 4
