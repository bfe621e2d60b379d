"""The losses of the two stages, in float32."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

__all__ = ["balance_weights", "kl_to_normal", "latent_losses", "mask_loss", "probability"]


def latent_losses(
    clean: torch.Tensor,
    estimate: torch.Tensor,
    alpha_bar: torch.Tensor,
    weight: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return SDSeg's two losses for each sample of a batch.

    The latent estimation loss is L1 between the mask latent and its one-step estimate. The noise
    loss is L1 between the noise and the noise that this estimate implies; as
    z_t = sqrt(a) z_0 + sqrt(1 - a) e holds for both, it is the same difference times
    sqrt(a / (1 - a)). So one expression serves every parameterisation, and for epsilon it equals the
    loss on the network's own output.

    Parameters
    ----------
    clean, estimate
        (N, C, h, w) float32.
    alpha_bar
        (N,) cumulative product of alphas at each sample's timestep.
    weight
        What each element counts, broadcast to the latents; None: 1, as published.

    Returns
    -------
    noise, latent
        (N,) each.
    """
    each = (clean - estimate).abs()
    latent = (each if weight is None else each * weight).mean(dim=(1, 2, 3))
    a = alpha_bar.cpu().double()
    return latent * (a / (1 - a)).sqrt().to(latent), latent


def balance_weights(
    masks: torch.Tensor, latent: torch.Tensor, share: float, *, separate: bool = False
) -> torch.Tensor:
    """Return weights with which what is drawn counts as much as the empty rest.

    Where most of a mask is empty, L1 is smallest for an empty mask as long as the image tells too
    little, and a decoder that draws nothing gives no gradient either: nothing is learned for long.

    Parameters
    ----------
    masks
        (N, K, H, W) around [-1, 1].
    latent
        (N, C, h, w), their latents; its shape counts.
    share
        0: 1 everywhere; 1: both halves count the same over the batch.
    separate
        The channels of the latent are those of class 1, then of class 2, ...; otherwise all classes
        are drawn in each.

    Returns
    -------
    Tensor
        (N, 1 or C, h, w), with a mean of 1.
    """
    there = F.adaptive_max_pool2d((masks > 0).float(), latent.shape[2:])
    if separate:
        there = there.repeat_interleave(latent.shape[1] // masks.shape[1], dim=1)
    else:
        there = there.amax(dim=1, keepdim=True)
    part = there.mean()
    if not 0 < part < 1:
        return torch.ones_like(there)
    return 1 - share + share * 0.5 * (there / part + (1 - there) / (1 - part))


class _Cut(torch.autograd.Function):
    """Cut off at 0 and 1; what is beyond feels the gradients that lead back, and no others."""

    @staticmethod
    def forward(ctx: Any, unit: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(unit)
        return unit.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        (unit,) = ctx.saved_tensors
        outward = ((unit < 0) & (gradient > 0)) | ((unit > 1) & (gradient < 0))
        return gradient.masked_fill(outward, 0)


def probability(drawn: torch.Tensor) -> torch.Tensor:
    """Return what is drawn around [-1, 1] as values in [0, 1].

    A decoder draws nothing as a little less than -1. Were it simply cut off, the gradient would be
    gone there, and soft Dice could never call a missing object back.
    """
    found: torch.Tensor = _Cut.apply((drawn + 1) / 2)  # type: ignore[no-untyped-call]
    return found


def mask_loss(drawn: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return how far a decoded mask is from the true one, for each sample.

    L1 in [-1, 1], plus one minus the soft Dice of each mask channel, which keeps small objects from
    vanishing in the mean.

    Parameters
    ----------
    drawn, target
        (N, K, H, W) around [-1, 1].

    Returns
    -------
    Tensor
        (N,)
    """
    p, t = probability(drawn), (target + 1) / 2
    overlap = (p * t).sum(dim=(2, 3))
    size = (p + t).sum(dim=(2, 3))
    # One pixel of smoothing: an empty mask drawn empty costs nothing.
    soft_dice = ((2 * overlap + 1) / (size + 1)).mean(dim=1)
    return F.l1_loss(drawn, target, reduction="none").mean(dim=(1, 2, 3)) + (1 - soft_dice)


def kl_to_normal(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Return KL(N(mean, variance) || N(0, 1)) a latent element, for each sample: (N,)."""
    each = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
    return each.mean(dim=(1, 2, 3))
