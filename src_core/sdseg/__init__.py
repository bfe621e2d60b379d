"""The core of napari-sdseg: SDSeg on diffusers, without napari and without Qt.

The public names are loaded when first used, so importing this package does not import torch.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

# GNU OpenMP's threads wait for each other by spinning. When something else wants a core too, such as
# a window that is drawn by the processor, each waits for one that is not running: on two cores with
# one busy a plane took 1.9 to 4.3 s; 0.15 s with this, and no longer than before on an idle machine.
# It counts only if set before torch is imported.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

if TYPE_CHECKING:
    from . import errors
    from .card import Card
    from .pipeline import SDSegPipeline
    from .store import Model, list_models, load_model
    from .training import Recipe, Trainer

_HOME = {
    "Card": "card",
    "Model": "store",
    "Recipe": "training",
    "SDSegPipeline": "pipeline",
    "Trainer": "training",
    "errors": "errors",
    "list_models": "store",
    "load_model": "store",
}

__all__ = [
    "Card",
    "Model",
    "Recipe",
    "SDSegPipeline",
    "Trainer",
    "errors",
    "list_models",
    "load_model",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f".{_HOME[name]}", __name__)
    value = module if name == "errors" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
