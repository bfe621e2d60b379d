"""Wrong guesses of a mask, as a person's neighbouring planes would give them."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from .bend import bent_grid, sample_at

__all__ = ["disturbed"]


def disturbed(
    masks: torch.Tensor, generator: torch.Generator, *, largest: float = 0.06
) -> torch.Tensor:
    """Bend, shift, grow and shrink masks at random, each its own way.

    Parameters
    ----------
    masks
        (N, K, H, W) in [-1, 1].
    generator
        Decides everything; on the CPU.
    largest
        Largest standard deviation of the displacement, as a fraction of half the side; drawn for each
        mask between a tenth of it and all of it.

    Returns
    -------
    Tensor
        (N, K, H, W) in [-1, 1].
    """
    n, _, height, width = masks.shape
    strength = largest * 10 ** -torch.rand((n,), generator=generator)
    bent = sample_at(masks, bent_grid(strength, (height, width), generator))
    # Grown where a blurred mask is cut low, shrunk where it is cut high.
    reach = int(torch.randint(1, 6, (1,), generator=generator))
    blurred = F.avg_pool2d(bent, 2 * reach + 1, stride=1, padding=reach, count_include_pad=False)
    cut = (torch.rand((n, 1, 1, 1), generator=generator) - 0.5).to(masks.device)
    return ((blurred - cut) * (2 * reach + 1)).clamp(-1, 1)
