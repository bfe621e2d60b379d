from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdseg import Card
from sdseg.tiles import blend, cut, layout

TILE = Card("t", size=64, overlap=16)
FIT = Card("f", size=64, placement="fit")
TILE_LIKE_FIT = Card("t", size=64)


@given(st.integers(1, 300), st.integers(1, 300))
@settings(deadline=None, max_examples=150)
def test_tiles_cover_the_plane_and_give_it_back(height, width):
    lay = layout((height, width), TILE, factor=4, multiple=32)
    assert all(side % 32 == 0 and side <= 64 for side in lay.tile)
    assert all(y % 4 == x % 4 == 0 for y, x in lay.starts)
    assert (lay.total > 0).all()
    plane = np.random.default_rng(0).random((2, height, width)).astype(np.float32)
    back = blend(cut(plane, lay), lay)
    assert back.shape == plane.shape
    np.testing.assert_allclose(back, plane, atol=1e-6)


@given(st.integers(65, 400))
@settings(deadline=None, max_examples=60)
def test_neighbours_share_at_least_the_overlap(length):
    lay = layout((length, 64), TILE, factor=4, multiple=32)
    ys = [y for y, _ in lay.starts]
    assert ys[0] == 0
    assert ys[-1] + 64 == lay.worked[0]
    # Starts are rounded to the latent's grid, by at most half of it.
    assert max(np.diff(ys)) <= 64 - 16 + 4


def test_fit_resizes_there_and_back():
    y, x = np.mgrid[:150, :90]
    plane = np.stack([y / 150, x / 90]).astype(np.float32)
    lay = layout((150, 90), FIT, factor=8, multiple=32)
    assert lay.worked == (64, 64)
    back = blend(cut(plane, lay), lay)
    assert back.shape == plane.shape
    np.testing.assert_allclose(back[:, 5:-5, 5:-5], plane[:, 5:-5, 5:-5], atol=0.02)


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (1, 200)])
def test_planes_smaller_than_a_tile_are_padded(shape):
    lay = layout(shape, TILE, factor=4, multiple=32)
    plane = np.full((3, *shape), 0.5, np.float32)
    tiles = cut(plane, lay)
    assert {tuple(t.shape[1:]) for t in tiles} == {lay.tile}
    assert all((t == 0.5).all() for t in tiles)


@given(st.integers(2, 200), st.integers(2, 200), st.sampled_from([0.5, 0.8, 1.7, 3.0]))
@settings(deadline=None, max_examples=60)
def test_a_resized_plane_comes_back_in_its_own_pixels(height, width, factor):
    lay = layout((height, width), TILE, factor=4, multiple=32, zoom=(factor, 1.0))
    assert lay.resized == (max(1, round(height * factor)), width)
    assert all(w >= n for w, n in zip(lay.worked, lay.resized, strict=True))
    y, x = np.mgrid[:height, :width]
    plane = np.stack([y / height, x / width]).astype(np.float32)
    back = blend(cut(plane, lay), lay)
    assert back.shape == plane.shape
    np.testing.assert_allclose(back[:, 4:-4], plane[:, 4:-4], atol=0.06)


def test_placement_may_be_overridden():
    shape = (150, 90)
    assert layout(shape, FIT, 4, 32, placement="tile") == layout(shape, TILE_LIKE_FIT, 4, 32)
    assert layout(shape, TILE, 4, 32, placement="fit").resized == (64, 64)
