"""Files that appear whole or not at all; folders do by `sdseg.atomic`."""

from __future__ import annotations

import glob
import os
import shutil
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["parents", "put_back", "whole_file"]

#: Seconds after which what a killed process left is removed: no plane takes that long.
_STALE = 24 * 3600


@contextmanager
def parents(path: Path) -> Iterator[None]:
    """Make the folders that a file lies in; take them away again if it is not written."""
    made = [p for p in path.parents if not p.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for folder in made:
            try:
                folder.rmdir()
            except OSError:
                break
        raise


@contextmanager
def whole_file(path: Path, suffix: str) -> Iterator[Path]:
    """Give a fresh name to write to; on leaving without an error the file takes its place."""
    fresh = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part{suffix}")
    try:
        yield fresh
        with open(fresh, "rb+") as file:
            os.fsync(file.fileno())  # some disks tell only here that they are full
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def put_back(path: Path) -> None:
    """Mend what a kill left: the old folder under its other name, and unfinished work of long ago."""
    old = path.with_name(f".{path.name}.old")
    if old.is_dir() and not path.exists():
        old.rename(path)
    beside = glob.escape(str(path.with_name(f".{path.name}.")))
    for left in [*glob.glob(f"{beside}*.new"), *glob.glob(f"{beside}*.part*")]:
        try:
            if time.time() - os.stat(left).st_mtime < _STALE:
                continue
            shutil.rmtree(left) if os.path.isdir(left) else os.unlink(left)
        except OSError:  # in use, or gone by now
            continue
