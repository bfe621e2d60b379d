"""Folders that appear whole or not at all."""

from __future__ import annotations

import shutil
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["atomic_folder", "recover"]


@contextmanager
def atomic_folder(final: str | Path) -> Iterator[Path]:
    """Give a fresh folder to write into; on leaving without an error it becomes ``final``.

    An older ``final`` is replaced. A folder cannot be replaced in one system call, so for a moment
    the old one lies beside under ``.<name>.old``; `recover` puts it back if a kill fell just there.
    """
    final = Path(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    fresh = final.with_name(f".{final.name}.{uuid.uuid4().hex[:8]}.new")
    fresh.mkdir()
    try:
        yield fresh
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    old = final.with_name(f".{final.name}.old")
    if final.exists():
        shutil.rmtree(old, ignore_errors=True)
        final.rename(old)
    fresh.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def recover(final: str | Path) -> bool:
    """Put a folder back that a kill left under its old name; say whether ``final`` is there."""
    final = Path(final)
    old = final.with_name(f".{final.name}.old")
    if not final.exists() and old.exists():
        old.rename(final)
    for left in final.parent.glob(f".{final.name}.*.new"):
        shutil.rmtree(left, ignore_errors=True)
    return final.exists()
