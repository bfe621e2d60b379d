"""Work of the *Models* panel as a generator of typed updates, for a thread. No Qt here.

The files are copied, fetched and converted in a thread of their own. The generator only waits for it,
in short steps, so that a request to stop is answered at once; the thread takes back what it began.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from sdseg.errors import Cancelled, SDSegError

from .._device import TICK
from .._failures import Failed, readable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path
    from threading import Event

__all__ = [
    "Done",
    "Failed",
    "Job",
    "Moved",
    "Update",
    "add",
    "checkpoint",
    "export",
    "from_hub",
    "tidy",
    "work",
]

log = logging.getLogger(__name__)

_FILES = ThreadPoolExecutor(1, thread_name_prefix="sdseg-models")

#: Seconds after which what a killed napari left in the trash is deleted.
_DAY = 24 * 3600


@dataclass(frozen=True)
class Job:
    """Something long.

    Attributes
    ----------
    doing
        What it is called.
    run
        What does it, given what bytes are reported to; it returns a result.
    said
        What to say of the result.
    adds
        Whether the result is a new model.
    """

    doing: str
    run: Callable[[Callable[[int, int], None]], Any]
    said: Callable[[Any], str]
    adds: bool = True


@dataclass(frozen=True)
class Moved:
    """``done`` of ``total`` bytes are there; a total of 0: there is no telling."""

    done: int
    total: int


@dataclass(frozen=True)
class Done:
    """It is finished; ``result`` is what the job gave."""

    result: Any


Update: TypeAlias = Moved | Done | Failed | None


def tidy() -> None:
    """Delete, in the background, what a killed napari left."""
    from sdseg import library

    _FILES.submit(library.empty_trash, older_than=_DAY)


def add(source: Path) -> Job:
    """Return the job of adding a model folder or an exported ``.zip``."""
    from sdseg import library

    return Job(f"Adding {source.name}", lambda report: library.add(source, report=report), _added_as)


def from_hub(hub_id: str) -> Job:
    """Return the job of downloading and adding a model of the hub."""
    from sdseg import library

    return Job(
        f"Downloading {hub_id}",
        lambda report: library.add_from_hub(hub_id, report=report),
        _added_as,
    )


def checkpoint(file: Path, config: Path) -> Job:
    """Return the job of converting a checkpoint of the original SDSeg and adding it."""

    def run(report: Callable[[int, int], None]) -> Any:
        from sdseg import library

        return library.add_checkpoint(file, config, report=report)

    def said(info: Any) -> str:
        return (
            f"{_added_as(info)} Look at its card: a checkpoint does not say which pixel values it "
            "wants, nor its licence."
        )

    return Job(f"Converting {file.name}", run, said)


def export(name: str, target: Path) -> Job:
    """Return the job of writing a model into a folder or a ``.zip``."""
    from sdseg import library

    return Job(
        f"Exporting {name}",
        lambda report: library.export(name, target, report),
        lambda path: f"Exported to {path}",
        adds=False,
    )


def _added_as(info: Any) -> str:
    return f"Added as {info.name}."


def work(job: Job, stop: Event) -> Generator[Update, None, None]:
    """Do a job; yield updates, and None now and then while waiting.

    Errors are yielded, never raised: a Qt generator worker takes any RuntimeError for its own
    deletion, and goes quiet.
    """
    latest = (0, 0)

    def report(done: int, total: int) -> None:
        nonlocal latest
        if stop.is_set():
            raise Cancelled("stopped")
        latest = (done, total)

    future = _FILES.submit(job.run, report)
    told = latest
    while not wait([future], timeout=TICK).done:
        if stop.is_set():
            return
        yield Moved(*latest) if latest != told else None
        told = latest
    try:
        yield Done(future.result())
    except Cancelled:
        return
    except (SDSegError, OSError) as error:
        yield Failed(error)
    except Exception as error:  # whatever it is, the person must hear of it
        log.error("%s failed", job.doing, exc_info=error)
        yield Failed(readable(error))
