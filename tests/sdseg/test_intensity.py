from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sdseg.errors import InputError
from sdseg.intensity import Intensity, limits, normalize

DTYPES = [bool, np.uint8, np.int16, np.uint16, np.int64, np.float16, np.float32, np.float64]


@given(st.data(), st.sampled_from(DTYPES))
@settings(deadline=None, max_examples=100)
def test_whatever_comes_in_what_goes_out_is_in_range(data, dtype):
    plane = data.draw(hnp.arrays(dtype, st.tuples(st.integers(1, 9), st.integers(1, 9))))
    for rule in (Intensity(), Intensity("window", -100, 200), Intensity("rgb")):
        low, high = limits(plane, rule)
        assert low < high
        out = normalize(plane, low, high)
        assert out.dtype == np.float32
        assert out.shape == plane.shape
        assert np.isfinite(out).all()
        assert ((out >= -1) & (out <= 1)).all()


def test_ct_window_maps_its_ends():
    rule = Intensity("window", -125, 275)
    hu = np.array([[-1000, -125, 75, 275, 3000]], np.int16)
    out = normalize(hu, *limits(hu, rule))
    assert out[0].tolist() == pytest.approx([-1, -1, 0, 1, 1])


def test_percentiles_ignore_nan_and_brightness_scale():
    rng = np.random.default_rng(0)
    plane = rng.random((64, 64)).astype(np.float32)
    holed = plane.copy()
    holed[::7] = np.nan
    holed[3, 3], holed[4, 4] = np.inf, -np.inf
    low, high = limits(holed, Intensity())
    out = normalize(holed, low, high)
    assert (out[::7] == -1).all()
    assert (out[3, 3], out[4, 4]) == (-1, -1)
    scaled = normalize(plane * 4000 + 100, *limits(plane * 4000 + 100, Intensity()))
    np.testing.assert_allclose(scaled, normalize(plane, *limits(plane, Intensity())), atol=1e-4)


def test_a_constant_plane_is_background():
    plane = np.full((5, 5), 7, np.uint8)
    assert (normalize(plane, *limits(plane, Intensity())) == -1).all()


def test_mistakes_are_named():
    with pytest.raises(InputError, match="kind"):
        Intensity("log")
    with pytest.raises(InputError, match="below"):
        Intensity("window", 3, 3)
