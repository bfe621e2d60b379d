"""The mask autoencoder, frozen while the denoiser learns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKL

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["mask_autoencoder", "measure_scale", "repeated"]


def mask_autoencoder(
    channels: int,
    latent_channels: int,
    block_out_channels: tuple[int, ...],
    *,
    layers_per_block: int = 1,
    norm_num_groups: int = 8,
    mid_attention: bool = False,
    sample_size: int = 256,
) -> AutoencoderKL:
    """Build an autoencoder of masks of so many channels.

    The latent's side is ``mask // 2 ** (len(block_out_channels) - 1)``. Its scale is not known yet:
    training measures it and stores it in the config as ``scaling_factor``.
    """
    levels = len(block_out_channels)
    return AutoencoderKL(
        in_channels=channels,
        out_channels=channels,
        latent_channels=latent_channels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=tuple(block_out_channels),
        layers_per_block=layers_per_block,
        norm_num_groups=norm_num_groups,
        mid_block_add_attention=mid_attention,
        sample_size=sample_size,
        scaling_factor=1.0,
    )


def repeated(vae: AutoencoderKL, masks: torch.Tensor) -> torch.Tensor:
    """Return masks as often as the autoencoder has channels for them, in its precision.

    One of photographs sees a mask three times over: (N, K, H, W) -> (N, copies * K, H, W).
    """
    copies = vae.config.in_channels // masks.shape[1]
    seen: torch.Tensor = (masks.repeat(1, copies, 1, 1) if copies > 1 else masks).to(vae.dtype)
    return seen


@torch.no_grad()
def measure_scale(vae: AutoencoderKL, masks: Iterable[torch.Tensor]) -> float:
    """Store one over the standard deviation of the mask latents as the config's ``scaling_factor``.

    Mask latents are far from unit variance (near 8 for the published autoencoder), so the factor of
    the photographs it was trained on would be wrong.

    Parameters
    ----------
    masks
        Batches (N, K, H, W) in [-1, 1].
    """
    latents = [vae.encode(repeated(vae, m.to(vae.device))).latent_dist.mean.float() for m in masks]
    factor = 1.0 / float(torch.cat(latents).std().clamp(min=1e-6))
    vae.register_to_config(scaling_factor=factor)
    return factor
