"""What can go wrong, said to the person reading it.

Every message names the argument or file, what it got and what would work. None of these is a
``RuntimeError``: generator-based Qt workers take a ``RuntimeError`` for a deleted worker and drop it.
"""

from __future__ import annotations

__all__ = [
    "Cancelled",
    "DataError",
    "InputError",
    "InputTypeError",
    "ModelFormatError",
    "ModelNotFoundError",
    "OutOfMemoryError",
    "SDSegError",
]


class SDSegError(Exception):
    """Base of every error this project raises on purpose."""


class InputError(SDSegError, ValueError):
    """An argument has the right type and a value that cannot be used."""


class InputTypeError(SDSegError, TypeError):
    """An argument has a type (or dtype) that cannot be used."""


class ModelNotFoundError(SDSegError, ValueError):
    """No model of that name, or no model in that folder."""


class ModelFormatError(SDSegError, ValueError):
    """A model folder or checkpoint is there, and it is not one that can be used."""


class DataError(SDSegError, ValueError):
    """A data set on disk is incomplete or does not fit together."""


class OutOfMemoryError(SDSegError):
    """The device's memory is too small even for a batch of one."""


class Cancelled(SDSegError):
    """The work was stopped on request."""
