"""Weights to start from: the published autoencoder of photographs, and a denoiser of photographs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..card import CARD_FILE
from ..convert import read_tensors
from ..convert.fill import fill, refuse_others
from ..convert.names import Source, autoencoder_source, renamed_attention
from ..convert.original import denoiser_names
from ..errors import ModelFormatError, ModelNotFoundError
from ..store import list_models

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from diffusers import AutoencoderKL

    from ..models import Denoiser, VisionEncoder

__all__ = [
    "find_autoencoder", "find_denoiser", "start_autoencoder", "start_denoiser", "start_vision_encoder",
]  # fmt: skip

_WEIGHTS = "diffusion_pytorch_model"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_WANTED = {
    "init_autoencoder": (
        "Download kl-f8 (https://ommer-lab.com/files/latent-diffusion/kl-f8.zip), unpack it and give "
        "its model.ckpt; or download the folder vae/ of a Stable Diffusion v1 model "
        "(stable-diffusion-v1-5/stable-diffusion-v1-5 on the hub: vae/config.json and "
        f"vae/{_WEIGHTS}.safetensors) and give that folder"
    ),
    "init_denoiser": (
        "Download the LSUN-churches latent diffusion model "
        "(https://ommer-lab.com/files/latent-diffusion/lsun_churches.zip), unpack it and give its "
        "model.ckpt; or give the folder of a model of this project"
    ),
}
#: Where the original's names of an autoencoder's own parts begin.
_PARTS = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.")


def find_autoencoder(source: str | Path) -> Path:
    """Find what a recipe's ``init_autoencoder`` names.

    Parameters
    ----------
    source
        A ``.ckpt`` or safetensors file in kl-f8's layout; a folder in diffusers' layout (``vae`` of a
        Stable Diffusion v1 model, or the folder above it); or the hub id of such a model.

    Returns
    -------
    Path
        A file in the original's layout, or a folder in diffusers'.

    Raises
    ------
    ModelNotFoundError
        If it is not there and cannot be had; the message says what to download.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return path
    for folder in (path, path / "vae"):
        if any((folder / f"{_WEIGHTS}{end}").is_file() for end in (".safetensors", ".bin")):
            return folder
    if not path.exists() and _HUB_ID.fullmatch(str(source)):
        return _from_hub(str(source))
    raise _missing("init_autoencoder", source)


def find_denoiser(source: str | Path) -> Path:
    """Find what a recipe's ``init_denoiser`` names.

    Parameters
    ----------
    source
        A ``.ckpt`` or safetensors file of latent diffusion or of the original SDSeg, or a model of this
        project: its folder, or its name.
    """
    path = Path(source).expanduser()
    if path.is_file() or (path / CARD_FILE).is_file():
        return path
    named = {m.name: m.path for m in list_models()}
    if str(source) in named:
        return named[str(source)]
    raise _missing("init_denoiser", source)


def start_autoencoder(vae: AutoencoderKL, path: Path) -> None:
    """Put the weights that `find_autoencoder` found into a mask autoencoder."""
    levels = len(vae.config.block_out_channels)
    against = "the preset's autoencoder"
    if path.is_dir():
        file = next(
            f for f in (path / f"{_WEIGHTS}.safetensors", path / f"{_WEIGHTS}.bin") if f.is_file()
        )
        tensors = {renamed_attention(k): v for k, v in read_tensors(file).items()}
        used = fill(vae, tensors, Source, file=file, against=against)
        refuse_others(tensors, used, file=file, against=against)
        return
    tensors = read_tensors(path)
    prefix = "first_stage_model." if _some(tensors, "first_stage_model.") else ""

    def source(name: str) -> Source:
        return Source(prefix + autoencoder_source(name, levels).key)

    used = fill(vae, tensors, source, file=path, against=against)
    theirs = [k for k in tensors if k.startswith(tuple(prefix + part for part in _PARTS))]
    refuse_others(theirs, used, file=path, against=against)


def start_vision_encoder(vision_encoder: VisionEncoder, vae: AutoencoderKL) -> None:
    """Start the vision encoder from the autoencoder's encoder; its last convolution stays random."""
    fill(
        vision_encoder.encoder,
        vae.encoder.state_dict(),
        Source,
        file="the autoencoder's encoder",
        against="the preset's vision encoder",
    )


def start_denoiser(unet: Denoiser, vision_encoder: VisionEncoder, path: Path) -> None:
    """Put the weights that `find_denoiser` found into the denoiser.

    The raw weights are taken, as published, not their average. A denoiser of photographs has no
    input channels for the image: they are added as zeros, so that it starts as what it was. Class
    embeddings that the file lacks, or has another number of, stay random. What was trained on masks
    already brings its vision encoder along.
    """
    against = "the preset's denoiser"
    if path.is_dir():
        place = path / "unet" / f"{_WEIGHTS}.safetensors"
        tensors = read_tensors(place)
        _fill_denoiser(unet, tensors, Source, place, against)
        place = path / "vision_encoder" / f"{_WEIGHTS}.safetensors"
        fill(
            vision_encoder,
            read_tensors(place),
            Source,
            file=place,
            against="the preset's vision encoder",
        )
        return
    tensors = read_tensors(path)
    prefix = "model.diffusion_model." if _some(tensors, "model.diffusion_model.") else ""
    inside = denoiser_names(unet)

    def source(name: str) -> Source:
        return Source(prefix + inside(name).key, inside(name).part)

    used = _fill_denoiser(unet, tensors, source, path, against)
    theirs = [k for k in tensors if prefix and k.startswith(prefix) and "label_emb" not in k]
    refuse_others(theirs, used, file=path, against=against)
    if _some(tensors, "cond_stage_model.encoder.") and "cond_stage_model.out.weight" in tensors:
        levels = len(vision_encoder.config.block_out_channels)

        def seen(name: str) -> Source:
            key = name if name.startswith("out.") else autoencoder_source(name, levels).key
            return Source(f"cond_stage_model.{key}")

        fill(vision_encoder, tensors, seen, file=path, against="the preset's vision encoder")


def _fill_denoiser(
    unet: Denoiser,
    tensors: Mapping[str, torch.Tensor],
    source: Callable[[str], Source],
    file: Path,
    against: str,
) -> set[str]:
    tensors = dict(tensors)
    first = source("conv_in.weight").key
    missing = unet.config.in_channels - tensors[first].shape[1] if first in tensors else 0
    if missing > 0:
        kernel = tensors[first]
        zeros = kernel.new_zeros(kernel.shape[0], missing, *kernel.shape[2:])
        tensors[first] = torch.cat([kernel, zeros], dim=1)
    optional = ("class_embedding.weight",)
    if unet.config.num_class_embeds is not None:
        key, wanted = source(optional[0]).key, unet.class_embedding.weight.shape
        if key in tensors and tensors[key].shape != wanted:
            del tensors[key]
    heads = unet.config.num_heads or 1
    return fill(
        unet, tensors, source, file=file, against=against, heads=lambda width: heads, optional=optional
    )


def _some(tensors: Mapping[str, torch.Tensor], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in tensors)


def _missing(option: str, source: object) -> ModelNotFoundError:
    return ModelNotFoundError(f"{option}: {source} is not on this machine. {_WANTED[option]}")


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    files = ["vae/config.json", f"vae/{_WEIGHTS}.safetensors"]
    try:
        folder = Path(snapshot_download(name, allow_patterns=files)) / "vae"
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise _missing("init_autoencoder", name) from error
    if not (folder / f"{_WEIGHTS}.safetensors").is_file():
        raise ModelFormatError(f"init_autoencoder: {name} on the hub has no {files[1]}")
    return folder
