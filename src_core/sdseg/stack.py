"""The slice-wise engine: any stack in, planes of labels out, in order.

One generator serves the library, the widget and the command line. It reads a plane ahead in a
thread, sends tiles of several planes through the networks together, and holds only the planes in
flight, so memory does not grow with the stack.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from . import instances as objects_
from . import intensity, masks, tiles
from .axes import Index, StackPlan, plan
from .devices import at_once, default_batch_size
from .errors import InputError, OutOfMemoryError, SDSegError
from .pipeline import plane_noise

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from .card import Card
    from .store import Model

__all__ = ["PlaneResult", "StackPlan", "find_limits", "label_dtype", "plan", "segment_planes"]

log = logging.getLogger(__name__)

#: Planes and pixels a plane that brightness limits are found from.
_SAMPLED_PLANES, _SAMPLED_PIXELS = 16, 2**18


@dataclass(frozen=True)
class PlaneResult:
    """A finished plane.

    Attributes
    ----------
    number, total
        0, 1, ... in the order of work, and how many there will be.
    index
        ``output[index] = labels``.
    labels
        (H, W), dtype as `label_dtype` says.
    probability
        (K, H, W) float32 in [0, 1].
    stability
        (K, H, W) float32 standard deviation over the samples; None for a single sample.
    """

    number: int
    total: int
    index: Index
    labels: npt.NDArray[Any]
    probability: npt.NDArray[np.float32]
    stability: npt.NDArray[np.float32] | None


def wants_instances(card: Card, instances: bool | None) -> bool:
    """Resolve ``instances``: None is what the model is made for."""
    can = card.coding == "instances"
    if instances and not can:
        raise InputError(f"instances: the model {card.name!r} draws classes, not single objects")
    return can if instances is None else instances


def label_dtype(card: Card, instances: bool | None = None) -> np.dtype[Any]:
    """Return the dtype of the labels: uint32 for instances, else uint8 (uint16 above 255 classes)."""
    if wants_instances(card, instances):
        return np.dtype(np.uint32)
    return np.dtype(np.uint8 if len(card.classes) < 256 else np.uint16)


def sampled(work: StackPlan) -> tuple[list[Index], int]:
    """Choose the planes, and the pixel step within them, that brightness limits are found from.

    They are spread over the whole stack, whichever planes are worked on, so that a preview of one
    plane looks like that plane in the full run.
    """
    everything = [index for _, index in work.all_planes().indices()]
    count = min(len(everything), _SAMPLED_PLANES)
    wanted = np.unique(np.linspace(0, len(everything) - 1, count).round().astype(int))
    step = math.ceil(math.sqrt(math.prod(work.plane_shape) / _SAMPLED_PIXELS))
    return [everything[i] for i in wanted], max(1, step)


def find_limits(image: Any, work: StackPlan, card: Card) -> tuple[float, float]:
    """Find the stack's brightness limits from a sample of all its planes."""
    indices, step = sampled(work)
    parts = [work.take(image, index)[::step, ::step, ...].reshape(-1) for index in indices]
    return intensity.limits(np.concatenate(parts), card.intensity)


def _colours(
    plane: npt.NDArray[Any], low: float, high: float, channels: int
) -> npt.NDArray[np.float32]:
    """(H, W) or (H, W, C) raw -> (channels, H, W) in [-1, 1]."""
    normal = intensity.normalize(plane, low, high)
    stacked = normal[None] if normal.ndim == 2 else np.moveaxis(normal[..., :3], -1, 0)
    if len(stacked) != channels:
        stacked = np.broadcast_to(stacked[:1], (channels, *stacked.shape[1:]))
    return np.ascontiguousarray(stacked)


class _Runner:
    """Tiles through the pipeline, in batches that fit the memory."""

    def __init__(self, model: Model, samples: int, steps: int, batch_size: int) -> None:
        self.model, self.samples, self.steps, self.batch_size = model, samples, steps, batch_size

    def __call__(self, images: list[torch.Tensor], noise: list[torch.Tensor]) -> list[Any]:
        out: list[Any] = []
        while images:
            n = min(at_once(self.model.device, self.batch_size), len(images))
            try:
                done = self.model.pipeline(
                    torch.stack(images[:n]),
                    noise=torch.stack(noise[:n]),
                    samples=self.samples,
                    steps=self.steps,
                )
            except RuntimeError as error:
                self._smaller(error)
                continue
            stability = [None] * n if done.stability is None else done.stability.cpu()
            out.extend(zip(done.probability.cpu(), stability, strict=True))
            images, noise = images[n:], noise[n:]
        return out

    def _smaller(self, error: RuntimeError) -> None:
        if not (isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)):
            raise SDSegError(f"the networks failed on {self.model.device}: {error}") from error
        if self.batch_size == 1:
            raise OutOfMemoryError(
                f"{self.model.device} has too little memory even for one tile of "
                f"{self.model.card.size} pixels; try device='cpu' or close other programs"
            ) from error
        self.batch_size //= 2
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()
        warnings.warn(f"memory ran out; going on with batches of {self.batch_size}", stacklevel=2)


@dataclass
class _Open:
    """A plane whose tiles are not all back."""

    number: int
    index: Index
    pieces: list[Any]


def segment_planes(
    image: Any,
    model: Model,
    work: StackPlan | None = None,
    *,
    axis: int | None = None,
    channel_axis: int | None = None,
    planes: slice | Sequence[int] | int | None = None,
    instances: bool | None = None,
    samples: int = 1,
    seed: int = 0,
    steps: int = 1,
    batch_size: int | None = None,
    limits: tuple[float, float] | None = None,
) -> Iterator[PlaneResult]:
    """Segment a stack plane by plane.

    Parameters
    ----------
    image
        Anything with ``shape``, ``dtype`` and numpy indexing: numpy, dask, zarr, torch, memory map.
    model
        A loaded model.
    work
        What `plan` decided; None plans with ``axis``, ``channel_axis`` and ``planes``.
    instances
        Single objects, joined across planes, instead of classes; None: what the model is made for.
    samples, seed, steps
        Noise samples, the seed of their noise, and reverse steps.
    batch_size
        Tiles that go through a GPU together; None chooses. Labels do not depend on it but for
        rounding, and on a CPU, which takes one at a time, not at all.
    limits
        Brightness limits of the whole stack, if ``image`` is only a part of it.

    Yields
    ------
    PlaneResult
        In order. Closing the generator cancels; planes already yielded are complete.
    """
    card, pipeline = model.card, model.pipeline
    if work is None:
        work = plan(image.shape, image.dtype, card, axis=axis, channel_axis=channel_axis, planes=planes)
    single = wants_instances(card, instances)
    for name, value in (("samples", samples), ("steps", steps), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise InputError(f"{name}: need at least 1, got {value}")
    lay = tiles.layout(work.plane_shape, card, pipeline.factor, pipeline.multiple)
    size = batch_size or default_batch_size(model.device, max(lay.tile))
    runner = _Runner(model, samples, steps, size)
    channels = pipeline.vision_encoder.config.in_channels
    noise_shape = (pipeline.latent_channels, *lay.latent_shape)
    side = tuple(n // lay.factor for n in lay.tile)
    finish = _Finish(card, work, single)

    low, high = limits if limits is not None else find_limits(image, work, card)

    def prepare(item: tuple[int, Index]) -> tuple[_Open, list[torch.Tensor], list[torch.Tensor]]:
        number, index = item
        ready = _colours(work.take(image, index), low, high, channels)
        field = torch.from_numpy(
            np.stack([plane_noise(seed, number, k, noise_shape) for k in range(samples)])
        )
        parts = [
            field[:, :, y // lay.factor :, x // lay.factor :][:, :, : side[0], : side[1]]
            for y, x in lay.starts
        ]
        return _Open(number, index, []), tiles.cut(ready, lay), parts

    waiting: deque[_Open] = deque()  # planes in order, complete or not
    images: list[torch.Tensor] = []
    noise: list[torch.Tensor] = []
    owners: list[_Open] = []

    def send(count: int) -> None:
        nonlocal images, noise, owners
        for owner, piece in zip(owners, runner(images[:count], noise[:count]), strict=False):
            owner.pieces.append(piece)
        images, noise, owners = images[count:], noise[count:], owners[count:]

    with ThreadPoolExecutor(1, thread_name_prefix="sdseg-read") as pool:
        for opened, cuts, parts in _ahead(pool, prepare, work.indices()):
            waiting.append(opened)
            images += cuts
            noise += parts
            owners += [opened] * len(cuts)
            while len(images) >= size:
                send(size)
            while waiting and len(waiting[0].pieces) == len(lay.starts):
                yield finish(waiting.popleft(), lay)
        if images:
            send(len(images))
        while waiting:
            yield finish(waiting.popleft(), lay)


def _ahead(pool: ThreadPoolExecutor, work: Any, items: Iterator[Any]) -> Iterator[Any]:
    """Yield ``work(item)`` in order, with one item being worked on ahead."""
    pending: deque[Any] = deque()
    for item in items:
        pending.append(pool.submit(work, item))
        if len(pending) > 2:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


class _Finish:
    """Blended probabilities -> labels, keeping what must be carried from plane to plane."""

    def __init__(self, card: Card, work: StackPlan, single: bool) -> None:
        self.card, self.total, self.single = card, work.n_planes, single
        self.axis = work.looped[-1] if work.looped else None
        self.linker = objects_.Linker()
        self.count = 0
        self.before: tuple[int, Index] | None = None

    def __call__(self, opened: _Open, lay: tiles.Layout) -> PlaneResult:
        probability = tiles.blend([p for p, _ in opened.pieces], lay)
        spread = opened.pieces[0][1]
        stability = None if spread is None else tiles.blend([s for _, s in opened.pieces], lay)
        if self.single:
            if not self._neighbours(opened.number, opened.index):
                self.linker.reset()
            found = objects_.objects(probability, threshold=self.card.threshold)
            labels: npt.NDArray[Any] = self.linker.link(found)
            self.before = (opened.number, opened.index)
        else:
            labels = masks.decode(probability, self.card)
        self.count += 1
        return PlaneResult(self.count - 1, self.total, opened.index, labels, probability, stability)

    def _neighbours(self, number: int, index: Index) -> bool:
        """Whether this plane lies next to the one before, in the same volume."""
        if self.before is None or self.axis is None or number != self.before[0] + 1:
            return False
        return int(index[self.axis]) != 0  # type: ignore[arg-type]
