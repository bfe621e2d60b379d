"""The loss of a batch of painted planes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ...devices import training_format
from ...schedule import clean_latent, signal_and_noise
from ..losses import balance_weights, latent_losses, probability

if TYPE_CHECKING:
    from ...pipeline import SDSegPipeline
    from .draws import Drawn
    from .settings import FineTuneSettings

__all__ = ["known_mask_loss", "loss"]


def known_mask_loss(drawn: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return how far decoded masks are from what is known of the true ones, for each sample.

    As `sdseg.training.losses.mask_loss` (L1 and soft Dice), with a weight a pixel.

    Parameters
    ----------
    drawn, target
        (N, K, H, W) around [-1, 1].
    weight
        (N, 1, H, W) in [0, 1]; 0 where nothing is known.

    Returns
    -------
    Tensor
        (N,), scaled by the largest weight of the sample.
    """
    p, t = probability(drawn), (target + 1) / 2
    largest = weight.amax(dim=(1, 2, 3))
    each = (drawn - target).abs().mean(dim=1, keepdim=True) * weight
    l1 = each.sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3)).clamp(min=1e-6) * largest
    overlap = (p * t * weight).sum(dim=(2, 3))
    size = ((p + t) * weight).sum(dim=(2, 3))
    soft_dice = ((2 * overlap + 1) / (size + 1)).mean(dim=1)
    return l1 + (1 - soft_dice) * largest


def loss(
    pipeline: SDSegPipeline,
    batch: Drawn,
    settings: FineTuneSettings,
    generator: torch.Generator,
    device: torch.device,
    share: float = 0.0,
) -> torch.Tensor:
    """Return the mean loss of a batch.

    Part of it is drawn from noise alone; part starts from a wrong guess, noised; the rest from the
    noised truth. Planes that are not known completely have no latent to compare with: they are
    compared where they are known, through the frozen decoder; and to begin with, by ``share``, with
    the latent of what probably is there. ``share`` is that of `sdseg.training.losses.balance_weights`.
    """
    s, p = settings, pipeline
    alphas = p.scheduler.alphas_cumprod
    last, n = len(alphas) - 1, len(batch.images)
    images = batch.images.to(device, memory_format=training_format(device))
    targets = batch.targets.to(device)
    draw = torch.rand((n,), generator=generator)
    t = torch.randint(0, last + 1, (n,), generator=generator)
    alone = (draw < s.alone) | ~batch.startable | (~batch.complete & (draw > s.alone + s.guided))
    # What is carried is no truth to be noised: it is started from as a guess, or not at all.
    guided = ~alone & (draw < s.alone + s.guided)
    t = torch.where(guided, torch.randint(50, 700, (n,), generator=generator), t)
    t = torch.where(alone, torch.full_like(t, last), t)
    classes = None
    if p.class_count is not None:
        classes = torch.randint(0, p.class_count, (n,), generator=generator).to(device)
        targets = _one_class(targets, classes)
    guess = batch.guess.to(device)
    if classes is not None:
        guess = _one_class(guess, classes)
    # Strokes have no latent, but a rough one to begin with.
    filled = torch.where(batch.startable.to(device).reshape(-1, 1, 1, 1), targets, guess)
    with torch.no_grad():
        clean = p.encode_masks(filled)
        known = clean
        if guided.any():
            which = guided.to(clean).to(device).reshape(-1, 1, 1, 1)
            known = which * p.encode_masks(guess) + (1 - which) * clean
    a = alphas[t]
    root, rest = (v.to(device) for v in signal_and_noise(a))
    noise = torch.randn(clean.shape, generator=generator).to(device)
    trace = (t < last).to(clean).to(device).reshape(-1, 1, 1, 1)
    noisy = root * known * trace + rest * noise
    condition = p.vision_encoder(images)
    both = torch.cat([noisy.to(condition.dtype), condition], dim=1)
    output = p.unet(both, t.to(device), class_labels=classes).sample.float()
    estimate = clean_latent(output, noisy, a, p.scheduler.config.prediction_type)
    weight = balance_weights(filled, clean, share, separate=p.config.separate) if share else None
    noise_loss, latent_loss = latent_losses(clean, estimate, a, weight)
    complete = batch.complete.to(clean).to(device)
    fair = complete * (~guided).to(clean).to(device)
    drawn = p.decode_latents(estimate)
    mask = known_mask_loss(drawn, targets, batch.weights.to(device))
    total = s.mask_weight * mask + s.latent_weight * latent_loss * complete.clamp(min=share)
    return (total + s.noise_weight * noise_loss * fair).mean()


def _one_class(targets: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """(N, K, H, W) masks -> (N, 1, H, W), that of each sample's class; class 0 is all of them."""
    whole = targets.amax(dim=1, keepdim=True)
    every = torch.cat([whole, targets], dim=1)
    return every[torch.arange(len(every), device=every.device), classes][:, None]
