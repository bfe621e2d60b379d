"""The files of a model, out of a folder or a zip, into a folder or a zip."""

from __future__ import annotations

import uuid
import zipfile
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from .card import CARD_FILE
from .errors import ModelFormatError
from .hub import FILES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    #: Where a file goes within a model, its size, and what opens it.
    Part: TypeAlias = tuple[str, int, Callable[[], AbstractContextManager[IO[bytes]]]]
    #: Called with bytes done and bytes in all (0: not known); what it raises ends the work.
    Report: TypeAlias = Callable[[int, int], None]

__all__ = ["in_folder", "in_zip", "to_folder", "to_zip"]

#: Bytes copied between two reports.
_PIECE = 2**22


def in_folder(folder: Path) -> list[Part]:
    """List the files that make a model, and no others."""
    places = ((path, path.relative_to(folder).as_posix()) for path in sorted(folder.rglob("*")))
    return [
        (place, path.stat().st_size, _opener(path))
        for path, place in places
        if _wanted(place) and path.is_file()
    ]


def _opener(path: Path) -> Any:
    return partial(path.open, "rb")


def in_zip(archive: zipfile.ZipFile, source: Path) -> list[Part]:
    """List a model's files in a zip, at its top or within a folder.

    Raises
    ------
    ModelFormatError
        If it holds no model, or several.
    """
    cards = [n for n in archive.namelist() if PurePosixPath(n).name == CARD_FILE]
    if len(cards) != 1:
        many = "no model" if not cards else f"{len(cards)} models"
        raise ModelFormatError(f"{source} holds {many}; add a .zip with the {CARD_FILE} of one")
    top = cards[0][: -len(CARD_FILE)]
    inside = (
        (i, i.filename.removeprefix(top)) for i in archive.infolist() if i.filename.startswith(top)
    )
    return [(n, i.file_size, partial(archive.open, i)) for i, n in inside if _wanted(n)]


def _wanted(place: str) -> bool:
    """Say whether a file belongs to a model. A name that leads out of its folder does not."""
    steps = place.split("/")
    return ".." not in steps and any(
        fnmatchcase(place, pattern) and len(steps) == pattern.count("/") + 1 for pattern in FILES
    )


def to_folder(parts: Iterable[Part], folder: Path, report: Report) -> None:
    """Write files into a folder."""
    for place, piece in _pieces(list(parts), report):
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            file.writelines(piece)


def to_zip(parts: Iterable[Part], path: Path, top: str, report: Report) -> None:
    """Write files into a zip, within a folder ``top``; it appears whole or not at all.

    They are stored as they are, since weights hardly shrink.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with zipfile.ZipFile(fresh, "w", zipfile.ZIP_STORED) as archive:
            for place, piece in _pieces(list(parts), report):
                with archive.open(f"{top}/{place}", "w", force_zip64=True) as file:
                    for some in piece:
                        file.write(some)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _pieces(parts: list[Part], report: Report) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Read files piece by piece, each to its end before the next."""
    total = sum(size for _, size, _ in parts)
    done = 0

    def read(opened: Any) -> Iterator[bytes]:
        nonlocal done
        with opened() as file:
            while piece := file.read(_PIECE):
                report(done, total)
                yield piece
                done += len(piece)

    for place, _, opened in parts:
        yield place, read(opened)
    report(done, total)
