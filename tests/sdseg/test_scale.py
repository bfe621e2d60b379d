from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdseg import Card
from sdseg.axes import plan
from sdseg.errors import InputError, InputTypeError, ModelFormatError
from sdseg.scale import zoom
from sdseg.units import in_unit, known

CELLS = Card("cells", pixel_size=0.5, unit="um")


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("micron", "um"), ("µm", "um"), ("μm", "um"), ("micrometer", "um"), ("Micrometre", "um"),
        ("millimeter", "mm"), (" mm ", "mm"), ("nm", "nm"), ("pixel", None), (None, None), ("s", None),
    ],
)  # fmt: skip
def test_units_are_known_by_their_names(name, short):
    assert known(name) == short


def test_units_convert():
    assert in_unit(250, "nm", "um") == pytest.approx(0.25)
    assert in_unit(1.5, "mm", "um") == pytest.approx(1500)


@pytest.mark.parametrize(
    ("spacing", "unit", "wanted"),
    [
        ((0.25, 0.25), "um", (0.5, 0.5)),
        ((250.0, 125.0), "nm", (0.5, 0.25)),
        ((0.51, 0.49), "um", (1.0, 1.0)),  # near enough
        ((3.0, 1.0), "pixel", (3.0, 1.0)),  # no length: only the shape of a pixel is known
        ((3.0, 1.0), None, (3.0, 1.0)),
        (None, "um", (1.0, 1.0)),
    ],
)
def test_planes_come_to_the_models_pixels(spacing, unit, wanted):
    factors, said = zoom(CELLS, spacing, unit)
    assert factors == pytest.approx(wanted)
    assert (said is None) == (wanted == (1.0, 1.0))


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_without_a_pixel_size_planes_come_to_square_pixels_and_lose_nothing(y, x):
    try:
        factors, _ = zoom(Card("any"), (y, x), "um")
    except InputError:
        assert max(y, x) / min(y, x) > 32
        return
    assert min(factors) >= 1
    assert factors[0] / factors[1] == pytest.approx(y / x, rel=0.05)


def test_a_wrong_unit_is_noticed():
    with pytest.raises(InputError, match=r"0\.25 x 0\.25 mm would have to be resized"):
        zoom(CELLS, (0.25, 0.25), "mm")


def test_the_plan_takes_the_sliced_planes_own_spacing():
    shape = (40, 300, 320)
    spacing = (2.0, 0.5, 0.5)
    assert plan(shape, np.uint8, CELLS, spacing=spacing, unit="um").zoom == (1.0, 1.0)
    across = plan(shape, np.uint8, CELLS, axis=2, spacing=spacing, unit="um")
    assert across.zoom == (4.0, 1.0)
    assert "0.5 um a pixel" in across.note
    film = plan((3, 2, *shape), np.uint8, CELLS, spacing=spacing, unit="um")
    assert film.spacing == (1.0, 1.0, *spacing)
    colour = plan((*shape, 3), np.uint8, CELLS, axis=1, spacing=spacing, unit="um")
    assert colour.zoom == (4.0, 1.0)
    assert plan((90, 80), np.uint8, CELLS, spacing=0.25, unit="um").zoom == (0.5, 0.5)
    fitted = plan(shape, np.uint8, CELLS, axis=2, spacing=spacing, unit="um", placement="fit")
    assert (fitted.placement, fitted.zoom) == ("fit", (1.0, 1.0))


@pytest.mark.parametrize("spacing", [(1, 2, 3, 4), (0.0, 1.0), (-1.0, 1.0), float("nan")])
def test_impossible_spacings_are_refused(spacing):
    with pytest.raises(InputError, match="spacing"):
        plan((30, 30, 30), np.uint8, CELLS, spacing=spacing)
    with pytest.raises(InputTypeError, match="spacing"):
        plan((30, 30, 30), np.uint8, CELLS, spacing="fine")


def test_a_card_with_half_a_pixel_size_is_refused():
    for size, unit in ((0.5, None), (0.5, "parsec"), (-1.0, "um")):
        with pytest.raises(ModelFormatError, match="pixel_size"):
            Card("odd", pixel_size=size, unit=unit)


def test_a_grey_model_refuses_colours():
    grey = Card("ct", channels=1)
    for shape, options in (((60, 50, 3), {}), ((3, 60, 50), {"channel_axis": 0})):
        with pytest.raises(InputError, match="takes grey images; select one channel"):
            plan(shape, np.uint8, grey, **options)
    assert plan((1, 60, 50), np.uint8, grey, channel_axis=0).output_shape == (60, 50)


def test_volumes_are_worked_on_one_by_one():
    work = plan((2, 3, 5, 40, 40), np.uint8, CELLS, axis=2, planes=[1, 3])
    whole = list(work.indices())
    parts = [item for volume in work.volumes() for item in volume.indices()]
    assert parts == whole
    assert [volume.n_planes for volume in work.volumes()] == [2] * 6
    one = next(iter(work.volumes()))
    assert one.all_planes().n_planes == 30
