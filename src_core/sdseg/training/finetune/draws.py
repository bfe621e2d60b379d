"""Batches of painted planes, varied anew each time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from ..bend import bent_grid, sample_at
from ..disturb import disturbed
from .examples import known_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .examples import Example

__all__ = ["Drawn", "Draws", "Variation"]


@dataclass(frozen=True)
class Variation:
    """How far painted planes are varied.

    Attributes
    ----------
    bend
        Standard deviation of the smooth deformation, as a fraction of half the side.
    rotate
        In radians.
    gamma, shift, noise
        Largest change of contrast (an exponent), brightness and noise, of the [-1, 1] range.
    flips
        Whether objects may be mirrored: not where the place in the picture says what is what.
    """

    bend: float = 0.05
    rotate: float = 0.12
    gamma: float = 1.2
    shift: float = 0.06
    noise: float = 0.04
    flips: bool = False


@dataclass
class Drawn:
    """A batch; see `sdseg.training.finetune.examples.Example`.

    ``guess`` is a wrong guess of every mask: what neighbours said, or the mask bent; ``startable``
    says of which it can be started from: not of those of which only strokes are known.
    """

    images: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    complete: torch.Tensor
    startable: torch.Tensor
    guess: torch.Tensor


class Draws:
    """Draw batches from the examples of one or more stacks.

    Parameters
    ----------
    groups
        A pair of lists for each stack: painted planes, and planes between them.
    size
        Planes a batch.
    side
        Largest side of what is drawn; larger planes are cropped to it.
    variation
        How far they are varied.
    seed
        Decides everything.
    """

    #: Of a batch, how much comes from planes that were painted.
    PAINTED = 0.6
    #: And how much at least from planes that show something: else networks soon draw nothing at all.
    SHOWN = 0.75

    def __init__(
        self,
        groups: Sequence[tuple[Sequence[Example], Sequence[Example]]],
        size: int,
        side: int,
        variation: Variation,
        seed: int,
    ) -> None:
        self.groups = [g for g in groups if g[0] or g[1]]
        self.size, self.side, self.variation = size, side, variation
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self) -> Drawn:
        """Draw the next batch, from one of the stacks."""
        g = self.generator
        own, between = self.groups[self._integer(len(self.groups))]
        chosen = []
        for _ in range(self.size):
            pool = own if own and (not between or self._uniform() < self.PAINTED) else between
            shown = [e for e in pool if e.shows]
            # The part that is shown anyway is `share`: so much must be added to it.
            share = len(shown) / len(pool)
            if shown and self._uniform() < (self.SHOWN - share) / max(1 - share, 1e-6):
                pool = shown
            chosen.append(self._crop(pool[self._integer(len(pool))]))
        n, (height, width) = len(chosen), chosen[0].image.shape[1:]
        channels = chosen[0].target.shape[0]
        images = torch.stack([e.image for e in chosen])
        targets = torch.stack([e.target for e in chosen])
        weights = torch.stack([e.weight for e in chosen])
        guesses = torch.stack([e.target if e.guess is None else e.guess for e in chosen])
        # A stroke is a few pixels wide: its values must not mix with those of the unknown beside it.
        maps = torch.cat([images, targets, targets * weights, weights, guesses], dim=1)
        v = self.variation
        strength = v.bend * torch.rand((n,), generator=g)
        grid = bent_grid(
            strength, (height, width), g, scale=2.0, rotate=v.rotate, flips=(v.flips, v.flips)
        )
        maps = sample_at(maps, grid, padding="reflection")
        images, targets, weighed, weights, guesses = torch.split(
            maps, [3, channels, channels, 1, channels], dim=1
        )
        targets = known_mean(weighed, weights, targets)
        weights = torch.where(weights > 0.999, weights.ceil(), weights)
        # What neighbours say is bent a little more; where they say nothing, the mask is bent.
        alone = torch.tensor([e.guess is None for e in chosen]).reshape(-1, 1, 1, 1)
        bent = disturbed(guesses, g)
        keep = alone | (torch.rand((n, 1, 1, 1), generator=g) < 0.5)
        return Drawn(
            self._shaded(images),
            targets,
            weights,
            torch.tensor([e.complete for e in chosen]),
            torch.tensor([e.complete or e.carried for e in chosen]),
            torch.where(keep, bent, guesses),
        )

    def _shaded(self, images: torch.Tensor) -> torch.Tensor:
        """Vary brightness, contrast, sharpness and noise of (N, 3, H, W) in [-1, 1]."""
        g, v, n = self.generator, self.variation, len(images)

        def uniform(low: float, high: float) -> torch.Tensor:
            return low + (high - low) * torch.rand((n, 1, 1, 1), generator=g)

        unit = ((images + 1) / 2).clamp(0, 1)
        unit = unit ** (v.gamma ** uniform(-1, 1))
        out = (unit * 2 - 1) * uniform(1 - v.shift, 1 + v.shift) + uniform(-v.shift, v.shift)
        if self._uniform() < 0.2:
            out = F.avg_pool2d(out, 3, stride=1, padding=1, count_include_pad=False)
        noise = torch.randn(out.shape, generator=g) * uniform(0, v.noise)
        return (out + noise).clamp(-1, 1)

    def _crop(self, example: Example) -> Example:
        height, width = example.image.shape[1:]
        h, w = min(height, self.side), min(width, self.side)
        if (h, w) == (height, width):
            return example
        y, x = self._integer(height - h + 1), self._integer(width - w + 1)
        if self._uniform() < 0.5:  # half of the crops hold something that was painted
            inside = torch.nonzero((example.target > 0).any(dim=0) & (example.weight[0] > 0))
            if len(inside):
                cy, cx = inside[self._integer(len(inside))].tolist()
                y, x = (
                    min(max(c - self._integer(s), 0), n - s)
                    for c, s, n in ((cy, h, height), (cx, w, width))
                )

        def cut(maps: torch.Tensor) -> torch.Tensor:
            return maps[:, y : y + h, x : x + w]

        return replace(
            example,
            image=cut(example.image),
            target=cut(example.target),
            weight=cut(example.weight),
            guess=None if example.guess is None else cut(example.guess),
        )

    def _integer(self, below: int) -> int:
        return int(torch.randint(0, max(1, below), (1,), generator=self.generator))

    def _uniform(self) -> float:
        return float(torch.rand((1,), generator=self.generator))
