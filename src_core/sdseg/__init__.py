"""The core of napari-sdseg: SDSeg on diffusers, without napari and without Qt.

The public names are loaded when first used, so importing this package does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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
