"""A thread's worker that is stopped by asking its generator."""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING, Any

from napari.qt.threading import GeneratorWorker, create_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["make_worker"]


class _Worker(GeneratorWorker):  # type: ignore[misc]
    """Stops by asking its generator, instead of dropping it.

    superqt leaves an unfinished generator to the garbage collector, and the engine with it; napari
    quits workers that way when its window is closed.
    """

    def __init__(self, func: Any, request: Any, stop: Event) -> None:
        super().__init__(func, request, stop)
        self._asked = stop

    def quit(self) -> None:
        """Ask the generator to end; it looks ten times a second, or at every plane."""
        self._asked.set()


def make_worker(work: Callable[[Any, Event], Generator[Any, None, None]], request: Any) -> Any:
    """Return a worker of ``work(request, stop)``, not started; its ``quit`` sets ``stop``.

    Errors are to come as updates: raised ones would go to napari twice, and a RuntimeError nowhere.
    """
    return create_worker(
        work, request, Event(), _start_thread=False, _ignore_errors=True, _worker_class=_Worker
    )
