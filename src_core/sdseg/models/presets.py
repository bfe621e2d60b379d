"""The sizes a model comes in.

``paper`` is the published architecture to the parameter: 294,973,828 (denoiser) + 83,653,863 (mask
autoencoder, kl-f8) + 34,163,628 (vision encoder). ``tiny`` and ``small`` have autoencoders sized for
masks, trained by this project: a mask needs far less of a decoder than a photograph, and the decoder
is 60 % of the published model's time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InputError
from .autoencoder import mask_autoencoder
from .denoiser import Denoiser
from .vision_encoder import VisionEncoder

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

__all__ = ["PRESETS", "Preset", "build"]


@dataclass(frozen=True)
class Preset:
    """Widths and depths of the three networks.

    Attributes
    ----------
    latent_channels, condition_channels
        Channels of the mask latent and of the condition latent.
    autoencoder, vision_encoder, denoiser
        Width a level of each; autoencoder and vision encoder have as many levels, so that their
        latents have the same side.
    autoencoder_layers, vision_layers, denoiser_layers
        Residual blocks a level.
    groups
        Groups of every GroupNorm.
    denoiser_attention
        Levels of the denoiser, from the top, that have self-attention.
    heads
        Attention heads, the same at every level.
    mask_channels
        Fixed number of mask channels of the autoencoder, or None: as many as the coding has.
        The published autoencoder is one of photographs and sees a mask three times over.
    """

    latent_channels: int
    condition_channels: int
    autoencoder: tuple[int, ...]
    vision_encoder: tuple[int, ...]
    denoiser: tuple[int, ...]
    autoencoder_layers: int
    vision_layers: int
    denoiser_layers: int
    groups: int
    dropout: float
    denoiser_attention: int
    heads: int
    mid_attention: bool
    mask_channels: int | None = None

    @property
    def factor(self) -> int:
        """Return f, how many times smaller the latent's side is."""
        return int(2 ** (len(self.autoencoder) - 1))


PRESETS: dict[str, Preset] = {
    "tiny": Preset(
        latent_channels=8,
        condition_channels=16,
        autoencoder=(16, 32, 64),
        vision_encoder=(32, 64, 96),
        denoiser=(64, 96, 128, 160),
        autoencoder_layers=1,
        vision_layers=1,
        denoiser_layers=2,
        groups=8,
        dropout=0.05,
        denoiser_attention=0,
        heads=8,
        mid_attention=False,
    ),
    "small": Preset(
        latent_channels=8,
        condition_channels=32,
        autoencoder=(32, 64, 96),
        vision_encoder=(64, 128, 192),
        denoiser=(128, 192, 256, 384),
        autoencoder_layers=1,
        vision_layers=2,
        denoiser_layers=2,
        groups=16,
        dropout=0.1,
        denoiser_attention=0,
        heads=8,
        mid_attention=False,
    ),
    "paper": Preset(
        latent_channels=4,
        condition_channels=4,
        autoencoder=(128, 256, 512, 512),
        vision_encoder=(128, 256, 512, 512),
        denoiser=(192, 384, 384, 768, 768),
        autoencoder_layers=2,
        vision_layers=2,
        denoiser_layers=2,
        groups=32,
        dropout=0.2,
        denoiser_attention=4,
        heads=8,
        mid_attention=True,
        mask_channels=3,
    ),
}


def build(
    preset: str | Preset,
    *,
    mask_channels: int = 1,
    image_channels: int = 3,
    num_class_embeds: int | None = None,
    size: int = 256,
) -> tuple[AutoencoderKL, VisionEncoder, Denoiser]:
    """Build the three networks of a preset, with random weights.

    Parameters
    ----------
    preset
        A name of `PRESETS`, or sizes of your own.
    mask_channels
        Channels of the mask's coding; a preset with a fixed number keeps its own.
    num_class_embeds
        Number of classes of a class-conditioned denoiser, or None.
    size
        Side of the square in pixels, recorded in the configs.

    Returns
    -------
    vae, vision_encoder, unet
    """
    if isinstance(preset, str):
        if preset not in PRESETS:
            raise InputError(f"preset: got {preset!r}; use one of {', '.join(PRESETS)}")
        preset = PRESETS[preset]
    p = preset
    vae = mask_autoencoder(
        p.mask_channels or mask_channels,
        p.latent_channels,
        p.autoencoder,
        layers_per_block=p.autoencoder_layers,
        norm_num_groups=p.groups,
        mid_attention=p.mid_attention,
        sample_size=size,
    )
    vision_encoder = VisionEncoder(
        in_channels=image_channels,
        out_channels=p.condition_channels,
        encoder_channels=max(p.latent_channels, p.condition_channels),
        block_out_channels=p.vision_encoder,
        layers_per_block=p.vision_layers,
        norm_num_groups=p.groups,
        dropout=p.dropout,
        mid_attention=p.mid_attention,
    )
    levels, attended = len(p.denoiser), p.denoiser_attention
    unet = Denoiser(
        sample_size=size // p.factor,
        in_channels=p.latent_channels + p.condition_channels,
        out_channels=p.latent_channels,
        num_heads=p.heads,
        down_block_types=("AttnDownBlock2D",) * attended + ("DownBlock2D",) * (levels - attended),
        # Without attention too, the res-block samplers are wanted: plain UpBlock2D has conv ones.
        up_block_types=("ResnetUpsampleBlock2D",) * (levels - attended) + ("AttnUpBlock2D",) * attended,
        block_out_channels=p.denoiser,
        layers_per_block=p.denoiser_layers,
        dropout=p.dropout,
        attention_head_dim=p.denoiser[0] // p.heads,
        norm_num_groups=p.groups,
        attn_norm_num_groups=p.groups,
        add_attention=p.mid_attention,
        num_class_embeds=num_class_embeds,
    )
    return vae, vision_encoder, unet
