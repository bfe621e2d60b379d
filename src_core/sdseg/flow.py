"""Work that goes on ahead of whoever asks for its results."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["ahead", "behind"]

_END: Any = object()

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    work: Callable[[Item], Result], items: Iterable[Item], *, depth: int = 2, eager: bool = False
) -> Iterator[Result]:
    """Yield ``work(item)`` for every item, in order, computed in one thread ahead of time.

    Parameters
    ----------
    work
        Called in the thread, one item at a time, in order.
    items
        Asked for in the caller's thread.
    depth
        How many results may be waiting or in work while the caller asks for the next item.
    eager
        Yield what is finished before asking for another item, instead of keeping ``depth`` in work.

    Notes
    -----
    Closing the generator waits for the item in work, and drops the rest.
    """
    pending: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(1, thread_name_prefix="sdseg-ahead")
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            while len(pending) > depth or (eager and pending and pending[0].done()):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def behind(items: Iterable[Item], *, depth: int = 2) -> Iterator[Item]:
    """Yield items that one thread asks for, so that the caller's work on them goes on beside it.

    Parameters
    ----------
    items
        Asked for in the thread, always the same one.
    depth
        How many items may be waiting or in work.

    Notes
    -----
    Closing the generator waits for the item in work, and closes ``items``.
    """
    source = iter(items)
    pool = ThreadPoolExecutor(1, thread_name_prefix="sdseg-behind")
    pending: deque[Future[Item]] = deque()
    try:
        for _ in range(depth):
            pending.append(pool.submit(next, source, _END))
        while (item := pending.popleft().result()) is not _END:
            pending.append(pool.submit(next, source, _END))
            yield item
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        close = getattr(source, "close", None)
        if close is not None:
            close()
