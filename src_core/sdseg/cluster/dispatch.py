"""Slabs on their way to workers: what is sent of an image, and what a worker does with it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np

from ..errors import InputError
from ..stack import find_limits
from .lazy import lazy_limits
from .slabs import How, Slab, segment_slab

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt
    from distributed import Client, Future

    from ..axes import StackPlan
    from ..card import Card
    from ..store import Model

__all__ = ["Block", "File", "Sender", "blocks"]


@dataclass(frozen=True)
class File:
    """A file that a worker opens, and its state when the work began."""

    path: str
    changed: int
    reading: tuple[tuple[str, Any], ...]

    @classmethod
    def of(cls, path: str | Path, reading: Mapping[str, Any]) -> File:
        place = Path(path).expanduser()
        if not place.exists():
            raise InputError(f"image: no file {place}")
        return cls(str(place.resolve()), place.stat().st_mtime_ns, tuple(sorted(reading.items())))


@lru_cache(maxsize=4)
def _open(file: File) -> Any:
    from .. import files

    return files.read(file.path, **dict(file.reading)).data


@dataclass(frozen=True)
class Block:
    """A run of neighbouring planes of one volume, in the image's axes."""

    volume: tuple[int, ...]
    start: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def slices(self) -> tuple[slice, ...]:
        return tuple(slice(a, a + n) for a, n in zip(self.start, self.shape, strict=True))


def blocks(work: StackPlan, length: int) -> Iterator[Block]:
    """Cut the chosen planes into runs of at most ``length`` that begin at its multiples."""
    if not work.looped:
        yield Block((), (0,) * len(work.shape), work.shape)
        return
    left = [a for a in range(len(work.shape)) if a != work.channel_axis]
    axes = [left[a] for a in work.looped]
    runs: list[list[int]] = []
    for p in work.planes:
        if runs and p == runs[-1][-1] + 1 and p % length:
            runs[-1].append(p)
        else:
            runs.append([p])
    every = np.ndindex(tuple(work.shape[a] for a in axes[:-1]))
    for volume in every if work.volume is None else [work.volume]:
        for run in runs:
            start, shape = [0] * len(work.shape), list(work.shape)
            for axis, at in zip(axes, (*volume, run[0]), strict=True):
                start[axis], shape[axis] = at, 1
            shape[axes[-1]] = len(run)
            yield Block(volume, tuple(start), tuple(shape))


class Sender:
    """Slabs on their way to the workers."""

    def __init__(
        self,
        source: Any,
        model: Model,
        work: StackPlan,
        client: Client,
        how: How,
        options: dict[str, Any],
    ) -> None:
        self.source, self.work, self.client, self.how = source, work, client, how
        self.options = options
        # As a task's result, which can be had again when the worker that held it is gone; what is
        # scattered cannot.
        self.model: Any = str(model.path) if model.path is not None else self._submit(_same, model)
        self.limits: Any = options.pop("limits", None)
        if self.limits is None:
            self.limits = self._limits(model.card)

    def _limits(self, card: Card) -> Any:
        if isinstance(self.source, File):
            return self._submit(_limits, self.source, self.work, card)
        if isinstance(self.source, da.Array):
            return self._compute(lazy_limits(self.source, self.work, card))
        return find_limits(self.source, self.work, card)

    def _submit(self, function: Any, *args: Any, **named: Any) -> Future[Any]:
        with warnings.catch_warnings():
            # A slab of pixels is meant to travel, and is bounded; one warning a slab helps nobody.
            warnings.filterwarnings("ignore", "Sending large graph")
            return self.client.submit(function, *args, pure=False, **named)

    def _compute(self, task: Any) -> Future[Any]:
        future: Future[Any] = self.client.compute(task)  # type: ignore[no-untyped-call]
        return future

    def __call__(self, block: Block) -> Future[Any]:
        part = self.work.part(block.start, block.shape)
        rest = (self.model, self.how, part, self.limits, self.options)
        if isinstance(self.source, File):
            return self._submit(_segment, self.source, block.slices, *rest)
        pixels = self.source[block.slices]
        if isinstance(pixels, da.Array):
            return self._compute(dask.delayed(_segment, pure=False)(pixels, None, *rest))
        return self._submit(_segment, _plain(pixels), None, *rest)


# What follows runs in workers.


def _same(model: Model) -> Model:
    return model


def _limits(file: File, work: StackPlan, card: Card) -> tuple[float, float]:
    return find_limits(_open(file), work, card)


def _plain(pixels: Any) -> npt.NDArray[Any]:
    """Return an array's values, of whatever library, in memory."""
    if hasattr(pixels, "compute"):
        pixels = pixels.compute(scheduler="synchronous")
    elif hasattr(pixels, "detach"):
        pixels = pixels.detach().cpu().numpy()
    return np.asarray(pixels)


def _segment(
    source: Any,
    slices: tuple[slice, ...] | None,
    model: str | Model,
    how: How,
    part: StackPlan,
    limits: tuple[float, float],
    options: dict[str, Any],
) -> Slab:
    """Segment a slab; ``slices`` of a file, or the pixels themselves."""
    pixels = source if slices is None else _plain(_open(source)[slices])
    return segment_slab(pixels, how.load(model), part, limits=limits, **options)
