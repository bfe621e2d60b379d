"""Segment microscopy and CT/MR images with SDSeg: a napari plugin, a library, a command line.

Importing this package costs next to nothing: torch, diffusers and napari are imported when
something is segmented or shown, not before.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._finetune import finetune
    from .api import segment

try:
    __version__ = version("napari-sdseg")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__", "finetune", "segment"]


def __getattr__(name: str) -> Any:
    if name == "segment":
        from .api import segment

        return segment
    if name == "finetune":
        from ._finetune import finetune

        return finetune
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
