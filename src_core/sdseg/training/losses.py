"""The losses of the two stages, in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional as F

if TYPE_CHECKING:
    import torch

__all__ = ["kl_to_normal", "latent_losses", "mask_loss"]


def latent_losses(
    clean: torch.Tensor, estimate: torch.Tensor, alpha_bar: torch.Tensor
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

    Returns
    -------
    noise, latent
        (N,) each.
    """
    latent = (clean - estimate).abs().mean(dim=(1, 2, 3))
    a = alpha_bar.cpu().double()
    return latent * (a / (1 - a)).sqrt().to(latent), latent


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
    p, t = ((drawn + 1) / 2).clamp(0, 1), (target + 1) / 2
    overlap = (p * t).sum(dim=(2, 3))
    size = (p + t).sum(dim=(2, 3))
    # One pixel of smoothing: an empty mask drawn empty costs nothing.
    soft_dice = ((2 * overlap + 1) / (size + 1)).mean(dim=1)
    return F.l1_loss(drawn, target, reduction="none").mean(dim=(1, 2, 3)) + (1 - soft_dice)


def kl_to_normal(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Return KL(N(mean, variance) || N(0, 1)) a latent element, for each sample: (N,)."""
    each = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
    return each.mean(dim=(1, 2, 3))
