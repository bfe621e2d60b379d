"""The thread that all panels compute in, and how to wait for it. No Qt.

torch is imported and the networks run in one long-lived thread, `DEVICE`: cuDNN's tuning and the
current device belong to a thread. Who waits for it does so in short steps, so that a request to stop
is answered at once even while a batch is being computed.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from sdseg.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Generator
    from threading import Event

__all__ = ["DEVICE", "TICK", "waited", "warm_up"]

DEVICE = ThreadPoolExecutor(1, thread_name_prefix="sdseg-device")

#: Seconds between looks at the request to stop.
TICK = 0.1

T = TypeVar("T")


def warm_up(*more: str) -> None:
    """Import the engine, and more modules, in the background, so that the first run starts sooner."""

    def load() -> None:
        import pandas  # noqa: F401 - napari imports it for the first layer with features

        import sdseg.pipeline
        import sdseg.stack  # noqa: F401

        for name in more:
            import_module(name)

    DEVICE.submit(load)


def waited(future: Future[T], stop: Event | None = None) -> Generator[None, None, T]:
    """Return a future's result, yielding now and then; `Cancelled` once ``stop`` is set."""
    while not (wait([future], timeout=TICK).done or (stop is not None and stop.is_set())):
        yield None
    if stop is not None and stop.is_set():  # also if it is done by now: nobody waits for it
        future.cancel()
        raise Cancelled("stopped")
    return future.result()
