"""The same work on processes of a dask cluster: slabs out to workers, planes back in order."""

from __future__ import annotations

import contextlib
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, SDSegError
from ..linking import numbering
from .dispatch import Block, File, Sender, blocks
from .slabs import How, Slab, faces_match

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt
    from distributed import Client, Future

    from ..axes import Index, StackPlan
    from ..linking import Names
    from ..store import Model

__all__ = ["connect", "segment_slabs"]

#: Seconds in which a scheduler, and then a worker of it, must have answered.
_PATIENCE = 8
#: Planes of a slab where the image's chunks do not say.
_PLANES = 8


@contextlib.contextmanager
def connect(scheduler: str | None = None, workers: int | None = None) -> Iterator[Client]:
    """Connect to a running dask cluster, or start one of processes here; closed at the end.

    A script that starts processes needs ``if __name__ == "__main__":`` around its work, as any
    that uses multiprocessing.

    Parameters
    ----------
    scheduler
        Address of a running scheduler, such as ``"tcp://10.0.0.1:8786"``. Its workers need this
        package, the model's folder and the image under the same paths.
    workers
        Or how many processes to start on this machine, of one task at a time each.

    Yields
    ------
    distributed.Client

    Raises
    ------
    InputError
        If nobody answers, there are no workers, or `distributed` is not installed.

    Notes
    -----
    On a CPU the labels depend, by rounding, on the number of threads that it computes with, so
    `segment_slabs` has every worker compute with as many as the process that asks (see
    `sdseg.cluster.slabs.How`): labels are then those of one process, bit for bit. N workers of T
    threads want N * T cores; set fewer for all with OMP_NUM_THREADS before the start, or for the
    workers alone with ``threads=1``, equal but for rounding.
    """
    try:
        from distributed import Client, LocalCluster
        from distributed.system import MEMORY_LIMIT
    except ImportError as error:
        raise InputError(
            'workers, scheduler: need dask.distributed; pip install "dask[distributed]"'
        ) from error
    if (scheduler is None) == (workers is None):
        raise InputError(f"give either a scheduler or workers, got {scheduler!r} and {workers!r}")
    if workers is not None:
        if workers < 1:
            raise InputError(f"workers: need at least 1, got {workers}")
        with (
            LocalCluster(  # type: ignore[no-untyped-call]
                n_workers=workers,
                processes=True,
                threads_per_worker=1,
                memory_limit=MEMORY_LIMIT // workers,
                dashboard_address=None,
            ) as cluster,
            Client(cluster, set_as_default=False) as client,  # type: ignore[no-untyped-call]
        ):
            yield client
        return
    try:
        client = Client(scheduler, timeout=_PATIENCE, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(
            f"scheduler: nobody answers at {scheduler!r} ({error}); "
            "start one with 'dask scheduler' and give the address that it prints"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError as error:
            raise InputError(
                f"scheduler: {scheduler!r} has no workers; start some with 'dask worker {scheduler}'"
            ) from error
        yield client


def segment_slabs(
    source: Any,
    model: Model,
    work: StackPlan,
    client: Client,
    *,
    instances: bool = False,
    slab: int | None = None,
    device: str | None = None,
    threads: int | None = None,
    reading: Mapping[str, Any] | None = None,
    **options: Any,
) -> Iterator[tuple[Index, npt.NDArray[Any]]]:
    """Segment a stack on a cluster's workers; planes come back in order.

    A few slabs for each worker are under way at any time, so memory does not grow with the stack,
    neither here nor there. A worker that dies has its slabs done again by another. Closing the
    generator cancels what is under way.

    Parameters
    ----------
    source
        Path of an image, which every worker opens for itself; or an array: of a numpy array only
        the slab travels, of a dask array its tasks.
    model
        A worker loads it from its folder, once; one without a folder travels to each worker once.
    work
        From `sdseg.axes.plan`, for the whole array.
    client
        From `connect`.
    instances
        uint32 objects, joined from plane to plane and from slab to slab, instead of class ids.
    slab
        Planes a task; None: as the image is chunked, else 8, and fewer if workers would be idle.
        Labels do not depend on it.
    device
        What workers compute on, if not what ``model`` is on here: ``"cuda"`` asked for from a
        machine without a GPU.
    threads
        That a worker's CPU computes with; None: as many as here, for labels that are equal bit for
        bit.
    reading
        Keywords for `sdseg.files.read`, if ``source`` is a path.
    options
        For `sdseg.stack.segment_planes`.

    Yields
    ------
    index, labels
        ``output[index] = labels``, in the order of ``work.indices()``; (H, W), dtype as
        `sdseg.stack.label_dtype` says. There are ``work.n_planes``.

    Raises
    ------
    SDSegError
        If a slab cannot be read or segmented, with the worker's message.
    """
    if slab is not None and slab < 1:
        raise InputError(f"slab: need at least 1 plane, got {slab}")
    if isinstance(source, str | Path):
        source = File.of(source, reading or {})
    options = {k: v for k, v in options.items() if v is not None}
    options["instances"] = instances
    send = Sender(source, model, work, client, How.like(model, device, threads), options)
    return _planes(send, work, client, slab or _slab_length(source, work, _workers(client)))


def _workers(client: Client) -> int:
    return max(1, sum(client.nthreads().values()))  # type: ignore[no-untyped-call]


def _slab_length(source: Any, work: StackPlan, workers: int) -> int:
    chunks = getattr(source, "shards", None) or getattr(source, "chunks", None)
    length = _PLANES
    if chunks and work.axis is not None:
        length = int(np.max(chunks[work.axis]))
    return max(1, min(length, -(-work.n_planes // (2 * workers))))


def _planes(
    send: Sender, work: StackPlan, client: Client, length: int
) -> Iterator[tuple[Index, npt.NDArray[Any]]]:
    """Keep slabs under way, and give their planes in order with the stack's numbers."""
    waiting: deque[tuple[Block, Future[Any]]] = deque()
    coming = blocks(work, length)
    names = _Names()
    order = work.indices()
    try:
        while True:
            while len(waiting) < 2 * _workers(client):
                block = next(coming, None)
                if block is None:
                    break
                waiting.append((block, send(block)))
            if not waiting:
                return
            block, future = waiting[0]
            done = _result(future, block)
            waiting.popleft()
            labels = done.labels.open()
            if send.options["instances"]:
                labels = names(block, done)[labels]
            for _, within in work.part(block.start, block.shape).indices():
                yield next(order)[1], labels[within]
    finally:
        if client.status == "running":
            client.cancel([future for _, future in waiting])  # type: ignore[no-untyped-call]


class _Names:
    """What a slab's objects are called in the stack, slab after slab."""

    def __init__(self) -> None:
        self.start = 1
        self.before: tuple[Block, Slab, Names] | None = None

    def __call__(self, block: Block, done: Slab) -> Names:
        matched = called = None
        if self.before is not None and self.before[0].volume == block.volume:
            called = self.before[2]
            matched = faces_match(self.before[1].last, done.first)
        table = numbering(len(done.sizes) - 1, matched, called, self.start)
        self.start = max(self.start, int(table.max(initial=0)) + 1)
        self.before = (block, done, table)
        return table


def _result(future: Future[Any], block: Block) -> Slab:
    try:
        done: Slab = future.result()
    except SDSegError:
        raise
    # Whatever goes wrong on a worker, from a damaged chunk to a worker out of memory.
    except Exception as error:
        raise SDSegError(
            f"the slab at {block.start} of shape {block.shape} failed on a worker: "
            f"{type(error).__name__}: {error}"
        ) from error
    return done
