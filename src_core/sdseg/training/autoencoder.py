"""Stage one: the mask autoencoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from ..models.autoencoder import measure_scale, repeated
from .losses import kl_to_normal, mask_loss

if TYPE_CHECKING:
    from pathlib import Path

    from diffusers import AutoencoderKL

    from .data import Batch, Batches
    from .recipe import StageRecipe

__all__ = ["AutoencoderStage"]


class _Reconstruction(nn.Module):
    """Encode, sample, disturb, decode: one call, so that data-parallel wrappers see it."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae

    def forward(
        self, masks: torch.Tensor, noise: torch.Tensor, disturbance: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        posterior = self.vae.encode(masks).latent_dist
        mean, log_variance = posterior.mean.float(), posterior.logvar.float()
        latent = mean + (0.5 * log_variance).exp() * noise
        spread = latent.detach().std().clamp(min=1e-6)
        latent = latent + disturbance * spread
        return self.vae.decode(latent).sample.float(), mean, log_variance


class AutoencoderStage:
    """Train the autoencoder to give masks back, also from a disturbed latent."""

    name = "autoencoder"

    def __init__(self, vae: AutoencoderKL, settings: StageRecipe, validation: Batches) -> None:
        self.vae, self.settings, self.validation = vae, settings, validation
        self.network: nn.Module = _Reconstruction(vae)

    def losses(
        self, network: nn.Module, batch: Batch, generator: torch.Generator, done: float
    ) -> dict[str, torch.Tensor]:
        masks, s = repeated(self.vae, batch.masks), self.settings
        n, _, height, width = masks.shape
        f = 2 ** (len(self.vae.config.block_out_channels) - 1)
        shape = (n, self.vae.config.latent_channels, height // f, width // f)
        noise = torch.randn(shape, generator=generator).to(masks)
        # A different strength a sample, none for some.
        strength = torch.rand((n, 1, 1, 1), generator=generator) * s.latent_noise
        disturbance = (torch.randn(shape, generator=generator) * strength).to(masks)
        drawn, mean, log_variance = network(masks, noise, disturbance)
        reconstruction = mask_loss(drawn, masks).mean()
        kl = kl_to_normal(mean, log_variance).mean()
        return {"loss": reconstruction + s.kl * kl, "reconstruction": reconstruction, "kl": kl}

    def validate(self) -> float:
        """Dice of masks given back, on fixed crops of the validation split.

        Empty masks are left out: they are easy, and where most are, they would hide the others.
        """
        scores = []
        for number in range(4):
            masks = repeated(self.vae, self.validation[number].masks.to(self.vae.device))
            drawn = self.vae.decode(self.vae.encode(masks).latent_dist.mean).sample.float()
            p, t = (drawn > 0).flatten(0, 1), (masks > 0).flatten(0, 1)
            size = t.sum(dim=(1, 2))
            dice = 2.0 * (p & t).sum(dim=(1, 2)) / (p.sum(dim=(1, 2)) + size).clamp(min=1)
            scores.append(dice[size > 0])
        found = torch.cat(scores)
        return float(found.mean()) if len(found) else 1.0

    def save(self, folder: Path, score: float) -> None:
        """Measure the latent's scale, store it in the config, and write the autoencoder."""
        batches = (self.validation[i].masks for i in range(4))
        measure_scale(self.vae, batches)
        self.vae.save_pretrained(folder / "vae", safe_serialization=True)
