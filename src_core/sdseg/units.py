"""Lengths in the units that image files and viewers name."""

from __future__ import annotations

__all__ = ["in_unit", "known"]

_METRES = {"pm": 1e-12, "nm": 1e-9, "um": 1e-6, "mm": 1e-3, "cm": 1e-2, "m": 1.0}
_ALIASES = {
    "micron": "um",
    "microns": "um",
    "µm": "um",  # the micro sign
    "μm": "um",  # the Greek letter
    "picometer": "pm",
    "nanometer": "nm",
    "micrometer": "um",
    "millimeter": "mm",
    "centimeter": "cm",
    "meter": "m",
}


def known(unit: str | None) -> str | None:
    """Return the short name of a unit of length; None for pixels and anything else."""
    if unit is None:
        return None
    name = unit.strip()
    name = _ALIASES.get(name, _ALIASES.get(name.lower().replace("metre", "meter"), name))
    return name if name in _METRES else None


def in_unit(value: float, unit: str, wanted: str) -> float:
    """Convert a length between two known units."""
    return value * _METRES[unit] / _METRES[wanted]
