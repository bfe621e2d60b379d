"""The denoising UNet."""

from __future__ import annotations

from typing import Any

import torch

# ModelMixin is not used here, but `DiffusionPipeline.from_pretrained` tells what a component is by
# looking for the names of its base classes in the component's module.
from diffusers import ModelMixin, UNet2DModel  # noqa: F401
from diffusers.configuration_utils import register_to_config
from diffusers.models.attention_processor import Attention

from .published import denoiser_as_published

__all__ = ["Denoiser", "widened"]

#: What this class adds to the parameters of `UNet2DModel`.
_OURS = ("num_heads", "as_published")


class Denoiser(UNet2DModel):  # type: ignore[misc]
    """`diffusers.UNet2DModel` with the same number of attention heads at every width.

    `UNet2DModel` takes the *width* of a head, so wide layers get more heads; latent diffusion's UNet,
    and so SDSeg's, has a fixed *number* of heads. The weights have the same shapes either way: a
    wrong choice loads without a word and computes something else (differences near 0.1 were
    measured). The number is therefore part of this class's own config and survives save and load.

    Parameters
    ----------
    num_heads
        Attention heads in every attention layer. None leaves `UNet2DModel`'s rule as it is.
    as_published
        Work as the published implementation does, to the last bit (`sdseg.models.published`): for
        networks converted from it.
    **kwargs
        As for `diffusers.UNet2DModel`. Input is ``[noisy mask latent, condition latent]`` on the
        channels, in this order.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        sample_size: int | None = None,
        in_channels: int = 8,
        out_channels: int = 4,
        num_heads: int | None = None,
        as_published: bool = False,
        center_input_sample: bool = False,
        time_embedding_type: str = "positional",
        time_embedding_dim: int | None = None,
        freq_shift: int = 0,
        flip_sin_to_cos: bool = True,
        down_block_types: tuple[str, ...] = ("DownBlock2D", "DownBlock2D"),
        mid_block_type: str | None = "UNetMidBlock2D",
        up_block_types: tuple[str, ...] = ("UpBlock2D", "UpBlock2D"),
        block_out_channels: tuple[int, ...] = (64, 128),
        layers_per_block: int = 2,
        mid_block_scale_factor: float = 1.0,
        downsample_padding: int = 1,
        downsample_type: str = "resnet",
        upsample_type: str = "resnet",
        dropout: float = 0.0,
        act_fn: str = "silu",
        attention_head_dim: int | None = 8,
        norm_num_groups: int = 32,
        attn_norm_num_groups: int | None = 32,
        norm_eps: float = 1e-5,
        resnet_time_scale_shift: str = "scale_shift",
        add_attention: bool = True,
        class_embed_type: str | None = None,
        num_class_embeds: int | None = None,
        num_train_timesteps: int | None = None,
    ) -> None:
        arguments: dict[str, Any] = {
            k: v for k, v in locals().items() if k not in ("self", *_OURS, "__class__")
        }
        super().__init__(**arguments)
        if num_heads is not None:
            for module in self.modules():
                if isinstance(module, Attention):
                    module.heads = num_heads
                    module.scale = (module.inner_dim // num_heads) ** -0.5
        if as_published:
            denoiser_as_published(self)


def widened(unet: Denoiser, latent: int, before: int, after: int) -> Denoiser:
    """Return a denoiser that draws more mask latents in one call; it starts by drawing all alike.

    Parameters
    ----------
    unet
        Its input is ``before`` mask latents and the condition latent, its output the mask latents.
    latent
        Channels of a mask latent.
    before, after
        Number of mask latents, side by side on the channels.
    """
    config = dict(unet.config)
    condition = config["in_channels"] - latent * before
    config |= {"in_channels": latent * after + condition, "out_channels": latent * after}
    new: Denoiser = type(unet).from_config(config)
    state = unet.state_dict()
    for name, axis in (("conv_in.weight", 1), ("conv_out.weight", 0), ("conv_out.bias", 0)):
        parts = list(state[name].split(latent, dim=axis))
        own, rest = parts[:before], parts[before:]
        mean = torch.stack(own).mean(dim=0)
        grown = [own[k] if k < before else mean for k in range(after)]
        if axis == 1:  # as many latents add up to what fewer did
            grown = [part * (before / after) for part in grown]
        state[name] = torch.cat([*grown, *rest], dim=axis)
    new.load_state_dict(state)
    return new
