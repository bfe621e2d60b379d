"""Arrays too large for memory, for as long as they are needed."""

from __future__ import annotations

import math
import os
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["zeros"]

#: Bytes above which an array lies in a file.
LARGEST = 2**29


def zeros(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an array of zeros, in memory, or mapped from a nameless file where it is large.

    The file lies where temporary files do (``TMPDIR``) and is gone with the array, or the process.

    Raises
    ------
    OSError
        If the disk is too full for it.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size <= LARGEST:
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile() as file:
        # Reserved beforehand where that can be done: a mapped file that meets a full disk later
        # ends the process instead of raising an error.
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                raise OSError(
                    error.errno,
                    f"{tempfile.gettempdir()} has no room for {size / 1e9:.1f} GB of intermediate "
                    "results; set TMPDIR to a folder with more",
                ) from error
        else:
            file.truncate(size)
        return np.memmap(file, dtype, "r+", shape=shape)
