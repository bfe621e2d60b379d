"""The trainable vision encoder: an image -> its condition latent."""

from __future__ import annotations

import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import Encoder
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from .published import encoder_as_published

__all__ = ["VisionEncoder"]


class VisionEncoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """An autoencoder's encoder followed by a 1x1 convolution; no sampling, no latent scale.

    The encoder is built as the mask autoencoder's (twice the latent's channels at its end), so that
    it can start from that one's weights; ``out`` brings it to the condition's channels.

    Parameters
    ----------
    in_channels
        Image channels.
    out_channels
        Channels of the condition latent.
    encoder_channels
        Channels of the encoder's latent, half of what its last convolution gives.
    block_out_channels
        Width a level; the image is halved between levels, so the latent's side is
        ``image // 2 ** (levels - 1)``.
    dropout
        Probability in every residual block, active in training. `diffusers`' encoder takes no such
        argument, so it is kept in this class's config and set here.
    mid_attention
        Self-attention in the middle block (quadratic in the latent's pixels).
    as_published
        Work as the published implementation does, to the last bit (`sdseg.models.published`): for
        networks converted from it.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 4,
        encoder_channels: int = 4,
        block_out_channels: tuple[int, ...] = (128, 256, 512, 512),
        layers_per_block: int = 2,
        norm_num_groups: int = 32,
        dropout: float = 0.2,
        mid_attention: bool = True,
        as_published: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(
            in_channels=in_channels,
            out_channels=encoder_channels,
            down_block_types=("DownEncoderBlock2D",) * len(block_out_channels),
            block_out_channels=tuple(block_out_channels),
            layers_per_block=layers_per_block,
            norm_num_groups=norm_num_groups,
            double_z=True,
            mid_block_add_attention=mid_attention,
        )
        self.out = nn.Conv2d(2 * encoder_channels, out_channels, kernel_size=1)
        for module in self.modules():
            if isinstance(module, ResnetBlock2D):
                module.dropout.p = dropout
        if as_published:
            encoder_as_published(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in [-1, 1] -> (N, C, H/f, W/f)."""
        latent: torch.Tensor = self.out(self.encoder(images))
        return latent
