"""Models that were made here and not saved yet: in memory, by name, for all panels.

Whoever changes them emits `models_changed`.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from typing import TYPE_CHECKING

from sdseg.store import list_models

if TYPE_CHECKING:
    from sdseg.card import Card
    from sdseg.store import Model

__all__ = ["add", "called_now", "cards", "find", "free_name", "named", "saved", "source"]

_models: dict[str, Model] = {}

#: What unsaved models were called, and are called since they were saved.
_renamed: dict[str, str] = {}


def find(name: str) -> Model | None:
    """Return a model that was made here; None: it is to be loaded by its name, as any other."""
    return _models.get(name)


def source(name: str) -> Model | str:
    """Return what `sdseg.store.load_model` takes for a name: a model, or the name it is saved by."""
    return _models.get(name) or _renamed.get(name, name)


def cards() -> dict[str, Card]:
    """Return the cards of the models that are not saved, by name, the oldest first."""
    return {name: model.card for name, model in _models.items()}


def free_name(source: str) -> str:
    """Return a name for what was made from a model of this name: "base-tuned", "base-tuned-2"."""
    stem = re.sub(r"(-tuned(-\d+)?)+$", "", source) + "-tuned"
    taken = {*_models, *(m.name for m in list_models())}
    numbered = (f"{stem}-{k}" for k in itertools.count(2))
    return next(n for n in itertools.chain([stem], numbered) if n not in taken)


def add(model: Model, name: str) -> Model:
    """Keep a model under a name; it is returned as it is called now."""
    model = _models[name] = named(model, name)
    _renamed.pop(name, None)
    return model


def named(model: Model, name: str) -> Model:
    """Return a model under another name; its networks are shared."""
    return dataclasses.replace(model, name=name, card=dataclasses.replace(model.card, name=name))


def saved(name: str, new: str) -> None:
    """Forget a model that is a saved one now, but for what it was called."""
    _models.pop(name, None)
    if new != name:
        _renamed[name] = new


def called_now(name: str | None) -> str | None:
    """Return what a model is called that may have been saved under another name."""
    return _renamed.get(name, name) if name is not None and name not in _models else name
