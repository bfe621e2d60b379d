"""Any stack in, probabilities of its planes out, in order, in constant memory.

Planes are read a little ahead in a thread; tiles of several planes go through the networks together.
"""

from __future__ import annotations

import math
import warnings
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from . import intensity, tiles
from .devices import at_once, default_batch_size
from .errors import InputError, OutOfMemoryError, SDSegError
from .flow import ahead
from .guide import Start
from .pipeline import plane_noise

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from .axes import Index, StackPlan
    from .card import Card
    from .guide import Guidance
    from .store import Model

__all__ = ["Prediction", "colours", "find_limits", "predict_planes", "sampled"]

#: Planes and pixels a plane that brightness limits are found from.
_SAMPLED_PLANES, _SAMPLED_PIXELS = 16, 2**18


@dataclass(frozen=True)
class Prediction:
    """What the networks say of a plane.

    Attributes
    ----------
    number
        Of the plane, in the whole stack.
    index
        Of the plane, in the labels.
    probability
        (K, H, W) float32 in [0, 1], K as `sdseg.masks` says.
    stability
        (K, H, W) float32 standard deviation over the samples; None for a single sample.
    """

    number: int
    index: Index
    probability: npt.NDArray[np.float32]
    stability: npt.NDArray[np.float32] | None


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


def colours(plane: npt.NDArray[Any], low: float, high: float, channels: int) -> npt.NDArray[np.float32]:
    """(H, W) or (H, W, C) raw -> (channels, H, W) in [-1, 1]."""
    normal = intensity.normalize(plane, low, high)
    stacked = normal[None] if normal.ndim == 2 else np.moveaxis(normal[..., :3], -1, 0)
    if len(stacked) != channels:
        stacked = np.broadcast_to(stacked[:1], (channels, *stacked.shape[1:]))
    return np.ascontiguousarray(stacked)


def _not_numbers(plane: npt.NDArray[Any]) -> npt.NDArray[np.bool_] | None:
    """(H, W) bool where a plane holds NaN or infinity; None: nowhere."""
    if plane.dtype.kind != "f":
        return None
    finite = np.isfinite(plane)
    if finite.all():
        return None
    odd: npt.NDArray[np.bool_] = ~(finite if finite.ndim == 2 else finite.all(axis=-1))
    return odd


class _Runner:
    """Tiles through the pipeline, in batches that fit the memory."""

    def __init__(self, model: Model, samples: int, steps: int, batch_size: int) -> None:
        self.model, self.samples, self.steps, self.batch_size = model, samples, steps, batch_size
        self.classes = model.pipeline.class_count  # of a tile, that go through the networks together

    def __call__(self, waiting: list[_Tile]) -> list[Any]:
        out: list[Any] = []
        while waiting:
            n = min(at_once(self.model.device, self.batch_size), len(waiting))
            now = waiting[:n]
            try:
                done = self.model.pipeline(
                    torch.stack([t.image for t in now]),
                    noise=torch.stack([t.noise for t in now]),
                    samples=self.samples,
                    steps=self.steps,
                    at_once=self.classes,
                    **self._starts(now),
                )
            except RuntimeError as error:
                self._smaller(error)
                continue
            stability = [None] * n if done.stability is None else done.stability.cpu()
            out.extend(zip(done.probability.cpu(), stability, strict=True))
            waiting = waiting[n:]
        return out

    def _starts(self, tiles_: list[_Tile]) -> dict[str, Any]:
        """Return what the pipeline starts from, if any tile has a guess."""
        guesses = [t.owner.guesses for t in tiles_]
        if not any(guesses):
            return {}
        shape = next(g[0].shape for g in guesses if g)
        # A tile without a guess starts from the last timestep, which leaves nothing of one.
        last = len(self.model.pipeline.scheduler.alphas_cumprod) - 1
        return {
            "guess": torch.stack(
                [t.owner.guesses[t.number] if t.owner.guesses else torch.zeros(shape) for t in tiles_]
            ),
            "start": torch.tensor([t.owner.timestep if t.owner.guesses else last for t in tiles_]),
        }

    def _smaller(self, error: RuntimeError) -> None:
        if not (isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)):
            raise SDSegError(f"the networks failed on {self.model.device}: {error}") from error
        several = (self.classes or 1) > 1
        if self.batch_size == 1 and not several:
            raise OutOfMemoryError(
                f"{self.model.device} has too little memory even for one tile of "
                f"{self.model.card.size} pixels; try device='cpu' or close other programs"
            ) from error
        if self.batch_size > 1:
            self.batch_size //= 2
            said = f"batches of {self.batch_size}"
        else:
            self.classes = -(-(self.classes or 1) // 2)
            said = f"{self.classes} classes at once"
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()
        warnings.warn(f"memory ran out; going on with {said}", stacklevel=2)


@dataclass
class _Open:
    """A plane whose tiles are not all back."""

    number: int
    index: Index
    odd: npt.NDArray[np.bool_] | None
    start: Start = field(default_factory=Start)
    guesses: list[torch.Tensor] = field(default_factory=list)
    wanted: int = 0
    pieces: list[Any] = field(default_factory=list)

    @property
    def timestep(self) -> int:
        return self.start.timestep or 0

    def close(self, lay: tiles.Layout, samples: int) -> Prediction:
        if self.start.complete:
            assert self.start.drawn is not None
            drawn = self.start.drawn
            return Prediction(
                self.number, self.index, drawn, None if samples == 1 else np.zeros_like(drawn)
            )
        probability = tiles.blend([p for p, _ in self.pieces], lay)
        spread = self.pieces[0][1]
        stability = None if spread is None else tiles.blend([s for _, s in self.pieces], lay)
        if self.odd is not None:  # what has no value is background, whatever surrounds it
            probability[:, self.odd] = 0
        self.start.keep(probability)
        return Prediction(self.number, self.index, probability, stability)


@dataclass
class _Tile:
    """A square on its way through the networks: the ``number``-th of its plane."""

    image: torch.Tensor
    noise: torch.Tensor
    owner: _Open
    number: int


def predict_planes(
    image: Any,
    model: Model,
    work: StackPlan,
    *,
    samples: int = 1,
    seed: int = 0,
    steps: int = 1,
    batch_size: int | None = None,
    limits: tuple[float, float] | None = None,
    shared_noise: bool = False,
    guide: Guidance | None = None,
) -> Iterator[Prediction]:
    """Yield the probabilities of a stack's planes, in order.

    Parameters are those of `sdseg.stack.segment_planes`; ``shared_noise`` gives every plane the noise
    of plane 0, as the published implementation does; ``guide`` says what planes start from instead of
    noise alone.
    """
    for name, value in (("samples", samples), ("steps", steps), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise InputError(f"{name}: need at least 1, got {value}")
    card, pipeline = model.card, model.pipeline
    lay = tiles.layout(
        work.plane_shape,
        card,
        pipeline.factor,
        pipeline.multiple,
        placement=work.placement,
        zoom=work.zoom,
    )
    # A class-conditioned denoiser is called once a class, all classes of a tile together.
    size = batch_size or max(
        1, default_batch_size(model.device, max(lay.tile)) // (pipeline.class_count or 1)
    )
    runner = _Runner(model, samples, steps, size)
    channels = pipeline.vision_encoder.config.in_channels
    noise_shape = (pipeline.latent_channels, *lay.latent_shape)
    side = tuple(n // lay.factor for n in lay.tile)
    low, high = limits if limits is not None else find_limits(image, work, card)

    def prepare(item: tuple[int, Index]) -> tuple[_Open, list[_Tile]]:
        number, index = item
        start = Start() if guide is None else guide.start(index)
        if start.complete:
            return _Open(number, index, None, start), []
        plane = work.take(image, index)
        of = 0 if shared_noise else number
        field = torch.from_numpy(
            np.stack([plane_noise(seed, of, k, noise_shape) for k in range(samples)])
        )
        parts = [
            field[:, :, y // lay.factor :, x // lay.factor :][:, :, : side[0], : side[1]]
            for y, x in lay.starts
        ]
        guesses = [] if start.masks is None else tiles.cut(start.masks, lay)
        opened = _Open(number, index, _not_numbers(plane), start, guesses, len(parts))
        cuts = tiles.cut(colours(plane, low, high, channels), lay)
        return opened, [
            _Tile(cut, part, opened, i) for i, (cut, part) in enumerate(zip(cuts, parts, strict=True))
        ]

    waiting: deque[_Open] = deque()  # planes in order, complete or not
    queue: list[_Tile] = []
    warned = False

    def send(count: int) -> None:
        nonlocal queue
        for tile, piece in zip(queue, runner(queue[:count]), strict=False):
            tile.owner.pieces.append(piece)
        queue = queue[count:]

    for opened, cut in ahead(prepare, work.indices()):
        if opened.odd is not None and not warned:
            warned = True
            warnings.warn("image: NaN or infinite pixels are taken for background", stacklevel=2)
        waiting.append(opened)
        queue += cut
        while len(queue) >= size:
            send(size)
        while waiting and len(waiting[0].pieces) == waiting[0].wanted:
            yield waiting.popleft().close(lay, samples)
    if queue:
        send(len(queue))
    while waiting:
        yield waiting.popleft().close(lay, samples)
