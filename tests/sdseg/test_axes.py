from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdseg import Card
from sdseg.axes import plan
from sdseg.errors import InputError, InputTypeError

CARD = Card("test")


@st.composite
def stacks(draw):
    """Draw a shape with, perhaps, a sliced axis and a channel axis."""
    shape = draw(st.lists(st.integers(1, 6), min_size=2, max_size=5))
    ndim = len(shape)
    channel = draw(st.none() | st.integers(-ndim, ndim - 1)) if ndim >= 3 else None
    if channel is not None:
        shape[channel] = draw(st.sampled_from([1, 3, 4]))
    axis = draw(st.none() | st.integers(-ndim, ndim - 1))
    return tuple(shape), axis, channel


@given(stacks())
@settings(deadline=None, max_examples=200)
def test_every_plane_is_visited_once_and_covers_the_image(stack):
    shape, axis, channel = stack
    try:
        work = plan(shape, np.uint8, CARD, axis=axis, channel_axis=channel)
    except InputError:
        # Slicing along the channels, or a single plane: the only ways these shapes can be refused.
        left = len(shape) - (channel is not None)
        assert axis is not None
        assert left == 2 or (channel is not None and axis % len(shape) == channel % len(shape))
        return
    seen = np.zeros(work.output_shape, int)
    numbers = []
    image = np.arange(np.prod(shape)).reshape(shape)
    for number, index in work.indices():
        numbers.append(number)
        seen[index] += 1
        assert work.take(image, index).shape[:2] == work.plane_shape
    assert (seen == 1).all()
    assert sorted(numbers) == list(range(work.n_planes))
    assert len(work.output_shape) == len(shape) - (work.channel_axis is not None)


@given(stacks(), st.data())
@settings(deadline=None, max_examples=100)
def test_a_block_numbers_its_planes_as_the_whole_does(stack, data):
    shape, axis, channel = stack
    try:
        whole = plan(shape, np.uint8, CARD, axis=axis, channel_axis=channel)
    except InputError:
        return
    image = np.arange(np.prod(shape)).reshape(shape)
    drawn = {a for i, a in enumerate(x for x in range(len(shape)) if x != whole.channel_axis)
             if i in whole.plane_axes} | {whole.channel_axis}  # fmt: skip
    cuts = []
    for a, n in enumerate(shape):
        low = 0 if a in drawn else data.draw(st.integers(0, n - 1))
        cuts.append(slice(low, n if a in drawn else data.draw(st.integers(low + 1, n))))
    block = image[tuple(cuts)]
    part = whole.part([c.start for c in cuts], block.shape)
    by_number = dict(whole.indices())
    for number, index in part.indices():
        assert np.array_equal(part.take(block, index), whole.take(image, by_number[number]))


def test_decisions_are_made_and_said():
    def decided(shape, **options):
        work = plan(shape, np.uint8, CARD, **options)
        return work.axis, work.channel_axis, work.output_shape

    assert decided((80, 60)) == (None, None, (80, 60))
    assert decided((80, 60, 3)) == (None, 2, (80, 60))
    assert decided((512, 512, 40)) == (2, None, (512, 512, 40))
    assert decided((30, 512, 512)) == (0, None, (30, 512, 512))
    assert decided((35, 51, 35)) == (0, None, (35, 51, 35))
    assert decided((6, 5, 443, 512)) == (1, None, (6, 5, 443, 512))
    assert decided((7, 80, 60, 3)) == (0, 3, (7, 80, 60))
    assert decided((7, 3, 80, 60), channel_axis=1) == (0, 1, (7, 80, 60))
    assert decided((4, 70, 90), axis=-1) == (2, None, (4, 70, 90))
    assert "shortest" in plan((512, 512, 40), np.uint8, CARD).note
    assert "colours" in plan((80, 60, 3), np.uint8, CARD).note


@pytest.mark.parametrize(
    ("shape", "dtype", "options", "error", "said"),
    [
        ((0, 5), "u1", {}, InputError, "empty"),
        ((9,), "u1", {}, InputError, "two axes"),
        ((9, 9), complex, {}, InputTypeError, "complex128"),
        ((9, 9), object, {}, InputTypeError, "object"),
        ((9, 9, 9), "u1", {"axis": 3}, InputError, "out of range"),
        ((9, 9, 9), "u1", {"axis": "z"}, InputTypeError, "whole number"),
        ((9, 9), "u1", {"axis": 0}, InputError, "single plane"),
        ((9, 9, 2), "u1", {"channel_axis": 2}, InputError, "Select one channel"),
        ((9, 9, 3), "u1", {"channel_axis": 2, "axis": 2}, InputError, "channel axis"),
        ((9, 9, 9), "u1", {"planes": [9]}, InputError, "out of range"),
        ((9, 9, 9), "u1", {"planes": slice(4, 4)}, InputError, "none of"),
        ((9, 9, 9), "u1", {"planes": "all"}, InputTypeError, "planes"),
    ],
)
def test_mistakes_are_named(shape, dtype, options, error, said):
    with pytest.raises(error, match=said):
        plan(shape, dtype, CARD, **options)


def test_planes_can_be_chosen():
    work = plan((9, 20, 20), np.uint8, CARD, planes=[-1, 2, 2])
    assert work.planes == (2, 8)
    assert [n for n, _ in work.indices()] == [2, 8]
    assert plan((9, 20, 20), np.uint8, CARD, planes=slice(None, None, 4)).planes == (0, 4, 8)
    assert plan((9, 20, 20), np.uint8, CARD, planes=4).planes == (4,)


def test_planes_are_read_lazily_and_in_native_byte_order():
    touched = []

    def load(block, block_info=None):
        touched.append(block_info[0]["chunk-location"][0])
        return block

    lazy = da.zeros((6, 8, 8), chunks=(1, 8, 8), dtype=">u2").map_blocks(
        load, dtype=">u2", meta=np.zeros((0, 0, 0), ">u2")
    )
    work = plan(lazy.shape, lazy.dtype, CARD, axis=0, planes=[4])
    plane = work.take(lazy, next(iter(work.indices()))[1])
    assert touched == [4]
    assert plane.dtype.isnative
