"""Stage two: the denoiser and the vision encoder, with the mask autoencoder frozen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from ..schedule import clean_latent, signal_and_noise
from .disturb import disturbed
from .losses import balance_weights, latent_losses, mask_loss

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..datasets import Case
    from ..store import Model
    from .data import Batch
    from .recipe import StageRecipe

__all__ = ["DenoiserStage"]


class _Trained(nn.Module):
    """Vision encoder and denoiser as one call, so that data-parallel wrappers see it."""

    def __init__(self, vision_encoder: nn.Module, unet: nn.Module) -> None:
        super().__init__()
        self.vision_encoder, self.unet = vision_encoder, unet

    def forward(
        self,
        images: torch.Tensor,
        noisy: torch.Tensor,
        timesteps: torch.Tensor,
        class_labels: torch.Tensor | None = None,
    ) -> torch.Tensor:
        both = torch.cat([noisy, self.vision_encoder(images).to(noisy.dtype)], dim=1)
        output: torch.Tensor = self.unet(both, timesteps, class_labels=class_labels).sample
        return output.float()


class DenoiserStage:
    """Train what turns an image and noise into a mask latent."""

    name = "denoiser"

    def __init__(self, model: Model, settings: StageRecipe, validation: Sequence[Case]) -> None:
        self.model, self.settings, self.validation = model, settings, validation
        self.pipeline = p = model.pipeline
        p.vae.requires_grad_(False).eval()
        self.network: nn.Module = _Trained(p.vision_encoder, p.unet)
        self.alphas = p.scheduler.alphas_cumprod

    def timesteps(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Draw a timestep for each sample of a batch."""
        last = len(self.alphas) - 1
        drawn = torch.randint(0, last + 1, (n,), generator=generator)
        at_end = torch.rand((n,), generator=generator) < self.settings.last_step
        return torch.where(at_end, torch.full_like(drawn, last), drawn)

    def losses(
        self, network: nn.Module, batch: Batch, generator: torch.Generator, done: float
    ) -> dict[str, torch.Tensor]:
        s, p, device = self.settings, self.pipeline, batch.images.device
        with torch.no_grad():
            clean = p.encode_masks(batch.masks)
        n = len(clean)
        t = self.timesteps(n, generator)
        a = self.alphas[t]
        root, rest = (v.to(device) for v in signal_and_noise(a))
        noise = torch.randn(clean.shape, generator=generator).to(device)
        # Where the single step starts, inference has noise alone and no trace of the mask.
        trace = (t < len(self.alphas) - 1).to(clean).to(device).reshape(-1, 1, 1, 1)
        known, guessing = clean, torch.zeros(n)
        if s.guess:
            guessing = (torch.rand((n,), generator=generator) < s.guess).float()
            with torch.no_grad():
                wrong = p.encode_masks(disturbed(batch.masks, generator))
            which = guessing.to(device).reshape(-1, 1, 1, 1)
            known = which * wrong + (1 - which) * clean
        noisy = root * known * trace + rest * noise
        output = network(batch.images, noisy, t.to(device), batch.classes)
        estimate = clean_latent(output, noisy, a, p.scheduler.config.prediction_type)
        weight = None
        if s.balance:
            share = s.balance * (1 - done)
            weight = balance_weights(batch.masks, clean, share, separate=p.config.separate)
        noise_loss, latent_loss = latent_losses(clean, estimate, a, weight)
        # A guess is not the mask with noise on it: what the noise was, is no fair question there.
        noise_loss = (noise_loss * (1 - guessing.to(device))).mean()
        latent_loss = latent_loss.mean()
        loss = s.noise_weight * noise_loss + s.latent_weight * latent_loss
        parts = {"noise": noise_loss, "latent": latent_loss}
        if s.mask_weight:
            k = max(1, round(n * s.mask_fraction))
            parts["mask"] = mask_loss(p.decode_latents(estimate[:k]), batch.masks[:k]).mean()
            loss = loss + s.mask_weight * parts["mask"]
        return {"loss": loss, **parts}

    def validate(self) -> float:
        """Mean foreground Dice over the validation images, as `segment` would do them."""
        from ..evaluation import evaluate

        scores = [case.mean_dice for case in evaluate(self.model, self.validation)]
        return float(np.mean(scores))

    def save(self, folder: Path, score: float) -> None:
        """Write the model with the score in its card."""
        scores = {**self.model.card.scores, "validation Dice": round(score, 4)}
        replace(self.model, card=replace(self.model.card, scores=scores)).write(folder)
