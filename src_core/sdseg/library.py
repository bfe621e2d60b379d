"""The user's own models: added, renamed, deleted, given away."""

from __future__ import annotations

import atexit
import dataclasses
import itertools
import re
import shutil
import time
import uuid
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from .atomic import atomic_folder
from .card import CARD_FILE, Card
from .errors import InputError, ModelFormatError
from .hub import download
from .packing import in_folder, in_zip, to_folder, to_zip
from .store import ModelInfo, check_index, list_models, user_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .packing import Part, Report
    from .store import Model

__all__ = [
    "add",
    "add_checkpoint",
    "add_from_hub",
    "check_name",
    "delete",
    "empty_trash",
    "export",
    "keep",
    "rename",
    "restore",
    "size_on_disk",
]

_NAME = re.compile(r"\w[\w.-]{0,63}")


def _silent(done: int, total: int) -> None:
    pass


# -- in ------------------------------------------------------------------------------------------


def add(source: str | Path, name: str | None = None, report: Report = _silent) -> ModelInfo:
    """Copy a model into the user's folder; it appears whole or not at all.

    Parameters
    ----------
    source
        A model folder, or a ``.zip`` that `export` wrote. Only the files that make a model are taken.
    name
        What to call it; None: as its card does, with a number if that is taken.
    report
        Called with the bytes copied and the bytes there are; what it raises ends the work.

    Raises
    ------
    ModelNotFoundError, ModelFormatError
        If there is no model, or it is damaged.
    InputError
        If the name is taken or cannot be one.
    """
    source = Path(source)
    if not source.is_file():
        Card.read(source)  # says what is missing before anything is copied
        return _take(in_folder(source), source, name, report)
    try:
        with zipfile.ZipFile(source) as archive:
            return _take(in_zip(archive, source), source, name, report)
    except zipfile.BadZipFile as error:
        raise ModelFormatError(f"{source} is damaged or no zip file: {error}") from error


def add_from_hub(hub_id: str, name: str | None = None, report: Report = _silent) -> ModelInfo:
    """Download a model (``owner/name``) and add it; `sdseg.hub.download` says what can go wrong."""
    # copied out of the hub's cache in a moment: all is here, but it can still be stopped
    return add(download(hub_id, report), name, lambda _, total: report(total, total))


def add_checkpoint(
    checkpoint: str | Path,
    config: str | Path,
    name: str | None = None,
    *,
    classes: Sequence[str] | None = None,
    report: Report = _silent,
) -> ModelInfo:
    """Convert a checkpoint of the original SDSeg and add it; see `sdseg.convert.convert`.

    The conversion cannot be stopped midway; ``report`` is asked before and after.
    """
    from .convert import convert

    if name is not None:
        check_name(name)
    report(0, 0)
    model = convert(checkpoint, config, name=name, classes=classes)
    report(0, 0)
    target = _place(name, model.card)
    with atomic_folder(target) as fresh:
        model.write(fresh)
        report(0, 0)
        return _named(fresh, target)


def keep(model: Model, name: str, *, overwrite: bool = False) -> ModelInfo:
    """Save a model that is in memory, such as a fine-tuned one; it appears whole or not at all.

    Parameters
    ----------
    name
        What to call it from then on.
    overwrite
        Replace a model of the user's of that name.
    """
    target = user_folder() / name
    if not (overwrite and (target / CARD_FILE).is_file()):
        check_name(name)
    card = dataclasses.replace(model.card, name=name)
    dataclasses.replace(model, card=card).save(target)
    return ModelInfo(name, target, "user", card)


def _take(parts: list[Part], source: Path, name: str | None, report: Report) -> ModelInfo:
    """Copy the files of a model, look whether they are one, and put it in its place."""
    if name is not None:
        check_name(name)
    # in the trash until it is whole: what a kill leaves is deleted with the rest
    fresh = _trash() / uuid.uuid4().hex / "adding"
    fresh.mkdir(parents=True)
    try:
        size, free = sum(size for _, size, _ in parts), shutil.disk_usage(fresh).free
        if size > free:
            raise OSError(f"{source}: has {size >> 20} MB, the disk has {free >> 20} MB left")
        to_folder(parts, fresh, report)
        check_index(fresh)
        target = _place(name, Card.read(fresh))
        info = _named(fresh, target)
        fresh.rename(target)
        return info
    finally:
        shutil.rmtree(fresh.parent, ignore_errors=True)


def _named(folder: Path, target: Path) -> ModelInfo:
    """Write the name a model will have into its card."""
    card = dataclasses.replace(Card.read(folder), name=target.name)
    card.write(folder)
    return ModelInfo(target.name, target, "user", card)


def _place(name: str | None, card: Card) -> Path:
    """Return the folder for a new model."""
    if name is not None:
        check_name(name)
        return user_folder() / name
    plain = re.sub(r"[^\w.-]+", "-", card.name).strip("-.")[:60] or "model"
    taken = _taken()
    numbered = (f"{plain}-{k}" for k in itertools.count(2))
    name = next(n for n in itertools.chain([plain], numbered) if n not in taken)
    return user_folder() / name


def _taken() -> set[str]:
    """Return the names in use, also of models that are damaged."""
    folder = user_folder()
    there = {p.name for p in folder.iterdir()} if folder.is_dir() else set()
    return there | {m.name for m in list_models()}


def check_name(name: str) -> None:
    """Refuse a name that a new model cannot have.

    Raises
    ------
    InputError
        If it is taken, or holds more than letters, digits, dots, hyphens and underscores.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"name: {name!r} cannot be used; letters, digits, '.', '-' and '_' can, at most 64, "
            "beginning with a letter or digit"
        )
    if name in _taken():
        raise InputError(f"name: there is a model {name!r} already; give another name")


# -- out -----------------------------------------------------------------------------------------


def export(name: str, target: str | Path, report: Report = _silent) -> Path:
    """Write a model into a folder of its own, or into one ``.zip``, to be shared.

    Raises
    ------
    FileExistsError
        If a folder is there; a file is replaced.
    """
    target = Path(target)
    parts = in_folder(_find(name).path)
    if target.suffix.lower() == ".zip":
        to_zip(parts, target, name, report)
    elif target.exists():
        raise FileExistsError(f"{target} exists; give another name")
    else:
        with atomic_folder(target) as fresh:
            to_folder(parts, fresh, report)
    return target


# -- changed -------------------------------------------------------------------------------------


def rename(name: str, new: str) -> ModelInfo:
    """Give one of the user's models another name.

    Raises
    ------
    InputError
        If it is bundled, or the name is taken or cannot be one.
    """
    info = _own(name, "renamed")
    check_name(new)
    target = info.path.with_name(new)
    info.path.rename(target)
    try:
        return _named(target, target)
    except OSError:
        target.rename(info.path)
        raise


def delete(name: str) -> Path:
    """Put one of the user's models into the trash, until this process ends.

    Returns
    -------
    Path
        What `restore` takes.

    Raises
    ------
    InputError
        If it is bundled.
    """
    info = _own(name, "deleted")
    place = _trash() / uuid.uuid4().hex / name
    place.parent.mkdir(parents=True)
    info.path.rename(place)
    atexit.register(shutil.rmtree, place.parent, ignore_errors=True)
    return place


def restore(place: Path) -> ModelInfo:
    """Bring a deleted model back; under its name with a number if that was given away meanwhile."""
    target = _place(None, dataclasses.replace(Card.read(place), name=place.name))
    info = _named(place, target)
    place.rename(target)
    place.parent.rmdir()
    return info


def empty_trash(older_than: float = 0) -> None:
    """Delete for good what has lain in the trash for some seconds, as after a kill."""
    for place in _trash().glob("*"):
        try:
            if time.time() - place.stat().st_mtime >= older_than:
                shutil.rmtree(place, ignore_errors=True)
        except OSError:  # gone by now
            continue


def size_on_disk(folder: Path) -> int:
    """Return the bytes that a model's files have together."""
    return sum(size for _, size, _ in in_folder(folder))


def _trash() -> Path:
    return user_folder() / ".trash"


def _find(name: str) -> ModelInfo:
    found = next((m for m in list_models() if m.name == name), None)
    if found is None:
        raise InputError(f"model: there is no model {name!r}; it may have been deleted or renamed")
    return found


def _own(name: str, what: str) -> ModelInfo:
    info = _find(name)
    if info.origin != "user":
        raise InputError(f"model: {name!r} comes with SDSeg and cannot be {what}; export a copy")
    return info
