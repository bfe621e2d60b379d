"""At what size the network sees a plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import InputError
from .units import in_unit, known

if TYPE_CHECKING:
    from .card import Card

__all__ = ["zoom"]

#: Pixel sizes that differ by less are taken for equal: resizing would cost more than it gives.
_ALIKE = 0.05
#: A larger factor is a wrong unit, not a microscope.
_LARGEST = 32.0


def zoom(
    card: Card, spacing: tuple[float, float] | None, unit: str | None
) -> tuple[tuple[float, float], str | None]:
    """Find what tiled planes are to be resized by.

    To the card's pixel size, where it gives one and the image has one too; else to square pixels
    of the finer side, since networks are trained on square ones.

    Parameters
    ----------
    card
        The model's.
    spacing
        Pixel size of a plane, (y, x); None: not known.
    unit
        Of the spacing; None, or one that is no length: only the ratio of the sides is known.

    Returns
    -------
    zoom
        (y, x).
    said
        Why, in words; None: planes keep their size.

    Raises
    ------
    InputError
        If the factor is beyond reason.
    """
    if spacing is None:
        return (1.0, 1.0), None
    ours, theirs = known(unit), known(card.unit)
    matched = card.pixel_size is not None and ours is not None and theirs is not None
    if matched:
        wanted = in_unit(card.pixel_size or 1.0, theirs or "", ours or "")
        why = f"planes resized to the model's {card.pixel_size:g} {card.unit} a pixel"
    else:
        wanted = min(spacing)
        why = "planes resized to square pixels"
    factors = (_unless_alike(spacing[0] / wanted), _unless_alike(spacing[1] / wanted))
    if factors == (1.0, 1.0):
        return factors, None
    if not all(1 / _LARGEST <= f <= _LARGEST for f in factors):
        shown = " x ".join(f"{s:g}" for s in spacing)
        raise InputError(
            f"spacing: pixels of {shown} {unit or ''} would have to be resized by "
            f"{factors[0]:.3g} x {factors[1]:.3g}; check the unit, or give another spacing"
        )
    return factors, why


def _unless_alike(factor: float) -> float:
    return 1.0 if abs(factor - 1) < _ALIKE else factor
