"""What an original yaml says of the networks, and those networks without weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml

from ..errors import ModelFormatError, ModelNotFoundError
from ..models import Denoiser, VisionEncoder, mask_autoencoder

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

__all__ = ["Entries", "Settings", "read_settings"]

#: Groups of every GroupNorm of the original; its yaml cannot change them.
_GROUPS = 32


class Entries:
    """A yaml's entries by dotted path; one that is missing or odd is an error that names it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise ModelNotFoundError(f"config: there is no file {path}")
        try:
            self.values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ModelFormatError(f"config: {path} is not valid yaml: {error}") from error
        self.used: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        """Return an entry as it is, or the default."""
        found: Any = self.values
        for part in name.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        return default if found is None else found

    def number(self, name: str, default: float | None = None) -> float:
        """Return an entry that must be a number."""
        found = self.get(name, default)
        try:
            return float(found)  # yaml takes 1e-4, without a point, for text
        except (TypeError, ValueError):
            raise self.wrong(name, "need a number") from None

    def count(self, name: str, default: int | None = None) -> int:
        """Return an entry that must be a positive integer."""
        found = self.get(name, default)
        if not isinstance(found, int) or isinstance(found, bool) or found < 1:
            raise self.wrong(name, "need a positive integer")
        return found

    def counts(self, name: str) -> tuple[int, ...]:
        """Return an entry that must be a list of positive integers."""
        found = self.get(name)
        if not isinstance(found, list) or any(not isinstance(v, int) or v < 1 for v in found):
            raise self.wrong(name, "need a list of integers")
        return tuple(found)

    def only(self, name: str, allowed: tuple[Any, ...], default: Any) -> Any:
        """Return an entry that must be one of a few values."""
        found = self.get(name, default)
        if found not in allowed:
            said = " or ".join(str(v) for v in allowed)
            raise self.wrong(name, f"only {said} can be converted")
        return found

    def wrong(self, name: str, why: str) -> ModelFormatError:
        """Return the error of an entry."""
        return ModelFormatError(f"config: {self.path}: {name} is {self.get(name)!r}; {why}")


@dataclass(frozen=True)
class Settings:
    """Networks on the ``meta`` device, and what else the yaml decides.

    Attributes
    ----------
    classes
        Number of class embeddings, background's included; None for a binary model.
    head_count, head_width
        Attention heads at every width, or the width of each head: one of them is None.
    packed
        Whether queries, keys and values follow one another head by head.
    prediction_type, timesteps, beta_start, beta_end
        Of the schedule.
    scale
        Of the mask latent where the checkpoint does not hold one.
    size
        Side of the square the model was trained on.
    """

    vae: AutoencoderKL
    vision_encoder: VisionEncoder
    unet: Denoiser
    classes: int | None
    head_count: int | None
    head_width: int | None
    packed: bool
    prediction_type: str
    timesteps: int
    beta_start: float
    beta_end: float
    scale: float
    size: int

    def heads(self, width: int) -> int:
        """Return in how many runs of queries, keys and values a layer of this width is packed."""
        if not self.packed:
            return 1
        return self.head_count or width // (self.head_width or width)


_TOP, _UNET = "model.params", "model.params.unet_config.params"
_FIRST, _COND = "model.params.first_stage_config.params", "model.params.cond_stage_config.params"


def read_settings(path: str | Path) -> Settings:
    """Read an original SDSeg yaml.

    Raises
    ------
    ModelNotFoundError, ModelFormatError
        If it is not there, or naming the entry that is missing, odd, or of no known counterpart.
    """
    e = Entries(Path(path))
    e.only(f"{_TOP}.conditioning_key", ("concat", "class_embed", "hybrid"), None)
    kinds = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
    kind = e.only(f"{_TOP}.parameterization", tuple(kinds), "eps")
    e.only(f"{_TOP}.beta_schedule", ("linear",), "linear")
    classes = None
    if e.get(f"{_TOP}.conditioning_key") == "class_embed" or e.get(f"{_UNET}.num_classes") is not None:
        classes = e.count(f"{_UNET}.num_classes")
        if classes < 2:
            raise e.wrong(f"{_UNET}.num_classes", "need at least 2, background's included")
    head_width = e.get(f"{_UNET}.num_head_channels", -1)
    head_width = None if head_width == -1 else e.count(f"{_UNET}.num_head_channels")
    with torch.device("meta"):
        vae, first = _encoder(e, f"{_FIRST}.ddconfig", e.count(f"{_FIRST}.embed_dim"), vision=False)
        vision_encoder, cond = _encoder(e, _COND, e.count(f"{_COND}.embed_dim"), vision=True)
        if first != cond:
            raise e.wrong(f"{_COND}.ch_mult", "it must have as many levels as the first stage")
        unet = _denoiser(e, classes, head_width)
    both = vae.config.latent_channels, vision_encoder.config.out_channels
    for name, wanted in (("in_channels", sum(both)), ("out_channels", both[0])):
        if e.count(f"{_UNET}.{name}") != wanted:
            raise e.wrong(f"{_UNET}.{name}", f"the two encoders make it {wanted}")
    return Settings(
        vae, vision_encoder, unet, classes,
        head_count=None if head_width else e.count(f"{_UNET}.num_heads"),
        head_width=head_width,
        packed=not e.get(f"{_UNET}.use_new_attention_order", False),
        prediction_type=kinds[kind],
        timesteps=e.count(f"{_TOP}.timesteps", 1000),
        beta_start=e.number(f"{_TOP}.linear_start", 1e-4),
        beta_end=e.number(f"{_TOP}.linear_end", 2e-2),
        scale=e.number(f"{_TOP}.scale_factor", 1.0),
        size=e.count(f"{_FIRST}.ddconfig.resolution"),
    )  # fmt: skip


def _widths(e: Entries, width: str, factors: str) -> tuple[int, ...]:
    """Width a level; GroupNorm needs multiples of 32."""
    widths = tuple(e.count(width) * factor for factor in e.counts(factors))
    if not widths or any(w % _GROUPS for w in widths):
        raise e.wrong(width, f"times {factors} it must give multiples of {_GROUPS}, got {widths}")
    return widths


def _encoder(e: Entries, at: str, embedded: int, *, vision: bool) -> tuple[Any, int]:
    """Build the mask autoencoder or the vision encoder; and say how many levels it has."""
    e.only(f"{at}.double_z", (True,), None)
    e.only(f"{at}.attn_resolutions", ([],), None)
    widths = _widths(e, f"{at}.ch", f"{at}.ch_mult")
    latent, layers = e.count(f"{at}.z_channels"), e.count(f"{at}.num_res_blocks")
    channels = e.count(f"{at}.in_channels")
    if vision:
        encoder = VisionEncoder(
            in_channels=channels,
            out_channels=embedded,
            encoder_channels=latent,
            block_out_channels=widths,
            layers_per_block=layers,
            norm_num_groups=_GROUPS,
            dropout=e.number(f"{at}.dropout", 0.0),
            mid_attention=True,
            as_published=True,
        )
        return encoder, len(widths)
    if (latent, channels) != (embedded, e.count(f"{at}.out_ch")):
        raise e.wrong(at, "need z_channels as large as embed_dim, and out_ch as in_channels")
    vae = mask_autoencoder(
        channels,
        latent,
        widths,
        layers_per_block=layers,
        norm_num_groups=_GROUPS,
        mid_attention=True,
        sample_size=e.count(f"{at}.resolution"),
    )
    return vae, len(widths)


def _denoiser(e: Entries, classes: int | None, head_width: int | None) -> Denoiser:
    e.only(f"{_UNET}.resblock_updown", (True,), None)
    e.only(f"{_UNET}.use_spatial_transformer", (False,), False)
    e.only(f"{_UNET}.dims", (2,), 2)
    e.only(f"{_UNET}.num_heads_upsample", (-1,), -1)
    widths = _widths(e, f"{_UNET}.model_channels", f"{_UNET}.channel_mult")
    layers, levels = e.count(f"{_UNET}.num_res_blocks"), len(widths)
    reductions = e.counts(f"{_UNET}.attention_resolutions")
    attended = [2**level in reductions for level in range(levels)]
    if head_width is None and any(w % e.count(f"{_UNET}.num_heads") for w in widths):
        raise e.wrong(f"{_UNET}.num_heads", f"it must divide the widths {widths}")
    down = ["AttnDownBlock2D" if a else "ResnetDownsampleBlock2D" for a in attended]
    up = ["AttnUpBlock2D" if a else "ResnetUpsampleBlock2D" for a in reversed(attended)]
    unet: Denoiser = Denoiser(
        sample_size=e.count(f"{_UNET}.image_size"),
        in_channels=e.count(f"{_UNET}.in_channels"),
        out_channels=e.count(f"{_UNET}.out_channels"),
        num_heads=None if head_width else e.count(f"{_UNET}.num_heads"),
        as_published=True,
        down_block_types=tuple(down),
        up_block_types=tuple(up),
        block_out_channels=widths,
        layers_per_block=layers,
        dropout=e.number(f"{_UNET}.dropout", 0.0),
        attention_head_dim=head_width or math.gcd(*widths),
        norm_num_groups=_GROUPS,
        attn_norm_num_groups=_GROUPS,
        resnet_time_scale_shift="scale_shift"
        if e.only(f"{_UNET}.use_scale_shift_norm", (True, False), False)
        else "default",
        num_class_embeds=classes,
    )
    return unet
