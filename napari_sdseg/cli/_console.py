"""Where the commands print, and how they show that something is going on."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Task

__all__ = ["console", "errors", "progress"]

# Without markup: paths and messages hold brackets of their own ('pip install "napari-sdseg[medical]"').
console = Console(markup=False, emoji=False)
errors = Console(stderr=True, markup=False, emoji=False)


class _Pace(ProgressColumn):
    """Items a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(
            "" if speed is None else f"{speed:.1f} {self.unit}/s".replace(" /", "/"), style="cyan"
        )


@contextmanager
def progress(unit: str = "planes") -> Iterator[Progress]:
    """Show bars with a count, a pace and the time left; they stay when done."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Pace(unit),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        yield bars
