"""Models that were made here and not saved yet, by name, for all panels, until napari ends.

The newest is in memory. Older ones are put by on the disk, so that memory does not grow with each
round of painting and learning. Whoever changes them emits `models_changed`.
"""

from __future__ import annotations

import atexit
import dataclasses
import itertools
import logging
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sdseg.store import list_models, load_model

if TYPE_CHECKING:
    from sdseg.card import Card
    from sdseg.devices import DeviceChoice
    from sdseg.store import Model

log = logging.getLogger(__name__)

__all__ = ["add", "called_now", "cards", "find", "free_name", "named", "put_by", "saved", "source"]


@dataclasses.dataclass(frozen=True)
class _PutBy:
    """A model in a folder that goes when napari does."""

    card: Card
    folder: Path
    choice: DeviceChoice


_models: dict[str, Model | _PutBy] = {}

#: What unsaved models were called, and are called since they were saved.
_renamed: dict[str, str] = {}


def find(name: str) -> Model | None:
    """Return a model that was made here; None: it is to be loaded by its name, as any other."""
    made = _models.get(name)
    if isinstance(made, _PutBy):
        where = made.choice
        return named(load_model(made.folder, device=where.device, precision=where.precision), name)
    return made


def put_by() -> None:
    """Write all but the newest model to the disk, and let go of them. May take a second."""
    for name, made in list(_models.items())[:-1]:
        if isinstance(made, _PutBy):
            continue
        folder = Path(tempfile.mkdtemp(prefix="napari-sdseg-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        try:
            made.save(folder / name)
        except OSError:  # a full disk: memory is what is left
            log.warning("%s stays in memory", name, exc_info=True)
            continue
        if _models.get(name) is made:  # neither saved nor made anew meanwhile
            _models[name] = _PutBy(made.card, folder / name, made.choice)


def source(name: str) -> Model | str:
    """Return what `sdseg.store.load_model` takes for a name: a model, or the name it is saved by."""
    return find(name) or _renamed.get(name, name)


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
    model = named(model, name)
    _models.pop(name, None)  # the newest is the last
    _models[name] = model
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
