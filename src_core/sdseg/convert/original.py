"""A checkpoint of the original SDSeg and its yaml in, a model out."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..card import Card, ClassInfo
from ..devices import choose
from ..errors import InputError, ModelFormatError
from ..intensity import Intensity
from ..pipeline import SDSegPipeline, make_scheduler
from ..store import Model
from .checkpoint import read_tensors
from .fill import fill, refuse_others
from .names import Source, autoencoder_source, denoiser_source
from .settings import Entries, Settings, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from diffusers import DDIMScheduler

    from ..models import Denoiser

__all__ = ["convert", "source_of"]

_RAW, _AVERAGED = "model.diffusion_model.", "model_ema."
_FIRST, _COND = "first_stage_model.", "cond_stage_model."

#: How the published loaders bring images to [-1, 1], by a word of their classes' module.
_INTENSITIES = {
    "synapse": Intensity("window", -125.0, 275.0),
    "sts3d": Intensity("window", -100.0, 1100.0),
}
#: The classes of the published nine-class model of abdominal organs, background left out.
_ORGANS = (
    "spleen", "right kidney", "left kidney", "gallbladder", "liver", "stomach", "aorta", "pancreas",
)  # fmt: skip
#: Okabe and Ito's colours, which the colour-blind can tell apart.
_COLORS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#999999")


def convert(
    checkpoint: str | Path,
    config: str | Path,
    *,
    name: str | None = None,
    classes: Sequence[str] | None = None,
    raw: bool = False,
) -> Model:
    """Convert an original SDSeg checkpoint, binary or class-conditioned.

    Parameters
    ----------
    checkpoint
        A Lightning ``.ckpt``. Its optimiser's state is left out.
    config
        The yaml it was trained with: widths, number of heads, number of classes.
    name
        Of the model; None: the yaml's.
    classes
        Names of the classes, background left out.
    raw
        The denoiser's weights as training left them, instead of their running average. The vision
        encoder was never averaged.

    Returns
    -------
    Model
        On the CPU in float32, its tensors still views of the checkpoint's file; `Model.save` writes
        it.

    Raises
    ------
    ModelNotFoundError, ModelFormatError, InputError
        If a file is missing, if it cannot be read safely, if the two do not fit together (naming the
        first tensor that disagrees), or if there are more or fewer names than classes.
    """
    settings = read_settings(config)
    card = _card(Entries(Path(config)), settings, name, classes)
    tensors = read_tensors(checkpoint)
    scheduler = _scheduler(settings, tensors, checkpoint)
    files: dict[str, Any] = {"file": checkpoint, "against": config}
    used = fill(settings.vae, tensors, source_of("vae", settings.vae), **files)
    used |= fill(
        settings.vision_encoder, tensors, source_of("vision_encoder", settings.vision_encoder), **files
    )
    if not raw and not any(key.startswith(_AVERAGED) for key in tensors):
        raise ModelFormatError(
            f"checkpoint: {checkpoint} holds no averaged weights (no name starts with {_AVERAGED}); "
            "raw=True, or --raw, takes the others"
        )
    which = "unet" if raw else "averaged unet"
    used |= fill(settings.unet, tensors, source_of(which, settings.unet), heads=settings.heads, **files)
    wanted = (_RAW if raw else _AVERAGED, _FIRST, _COND)
    aside = (f"{_AVERAGED}decay", f"{_AVERAGED}num_updates", f"{_FIRST}loss.")
    theirs = [k for k in tensors if k.startswith(wanted) and not k.startswith(aside)]
    refuse_others(theirs, used, **files)
    scale = float(tensors["scale_factor"]) if "scale_factor" in tensors else settings.scale
    settings.vae.register_to_config(scaling_factor=scale)
    pipeline = SDSegPipeline(
        settings.vae, settings.vision_encoder, settings.unet, scheduler, mask_channels=1
    )
    for network in (settings.vae, settings.vision_encoder, settings.unet):
        network.eval().requires_grad_(False)
    return Model(card.name, card, pipeline, choose("cpu", "float32"))


def source_of(component: str, network: Any) -> Callable[[str], Source]:
    """Return where each tensor of a network lies in an original SDSeg checkpoint.

    Parameters
    ----------
    component
        ``"vae"``, ``"vision_encoder"``, ``"unet"`` or ``"averaged unet"``.
    """
    levels = len(network.config.block_out_channels)
    if component == "vae":
        return lambda n: _behind(_FIRST, autoencoder_source(n, levels))
    if component == "vision_encoder":
        return lambda n: _behind(
            _COND, Source(n) if n.startswith("out.") else autoencoder_source(n, levels)
        )
    inside = denoiser_names(network)
    if component == "unet":
        return lambda n: _behind(_RAW, inside(n))
    # The averages are buffers, whose names cannot hold dots.
    return lambda n: Source(
        _AVERAGED + f"diffusion_model.{inside(n).key}".replace(".", ""), inside(n).part
    )


def denoiser_names(unet: Denoiser) -> Callable[[str], Source]:
    """Return where each tensor of a denoiser lies among the original's, prefixes left out."""
    attended = ["Attn" in kind for kind in unet.config.up_block_types]
    return partial(denoiser_source, layers=unet.config.layers_per_block, attended=attended)


def _behind(prefix: str, source: Source) -> Source:
    return Source(prefix + source.key, source.part)


def _scheduler(settings: Settings, tensors: dict[str, torch.Tensor], file: str | Path) -> DDIMScheduler:
    """Return the yaml's schedule, which must be the one that the checkpoint holds."""
    scheduler = make_scheduler(
        settings.prediction_type,
        timesteps=settings.timesteps,
        beta_start=settings.beta_start,
        beta_end=settings.beta_end,
    )
    ours, theirs = scheduler.alphas_cumprod, tensors.get("alphas_cumprod")
    if theirs is not None and (
        theirs.shape != ours.shape or not torch.allclose(theirs.double(), ours, rtol=1e-3, atol=1e-7)
    ):
        raise ModelFormatError(
            f"checkpoint: {file}: alphas_cumprod is another schedule than the yaml's timesteps "
            f"({settings.timesteps}), linear_start ({settings.beta_start}) and linear_end "
            f"({settings.beta_end}) give"
        )
    return scheduler


def _card(
    entries: Entries, settings: Settings, name: str | None, classes: Sequence[str] | None
) -> Card:
    loader = str(entries.get("data.params.train.target", "")).lower()
    count = 1 if settings.classes is None else settings.classes - 1
    if classes is None:
        organs = "synapse" in loader and count == len(_ORGANS)
        plain = ["foreground"] if count == 1 else [f"class {k}" for k in range(1, count + 1)]
        classes = _ORGANS if organs else plain
    if len(classes) != count:
        raise InputError(
            f"classes: the model draws {count} (background is not named), got {len(classes)}: "
            f"{', '.join(classes)}"
        )
    infos = tuple(ClassInfo(c, _COLORS[i % len(_COLORS)]) for i, c in enumerate(classes))
    rule = next((v for k, v in _INTENSITIES.items() if k in loader), Intensity("rgb"))
    return Card(
        name or entries.path.stem,
        summary="SDSeg (Lin et al., MICCAI 2024), converted from a checkpoint of the original.",
        classes=infos,
        coding="binary" if settings.classes is None else "conditioned",
        channels=1 if rule.kind == "window" else 3,
        intensity=rule,
        size=settings.size,
        placement="fit",
        overlap=0,
    )
