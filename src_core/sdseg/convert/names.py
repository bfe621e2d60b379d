"""What the tensors of our networks are called in latent diffusion's checkpoints.

Each function takes a name of ours and returns where its values lie in the original: see the table in
docs/paper.md. Going from ours to theirs, nothing can be forgotten: every tensor of a network asks
for its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Source", "autoencoder_source", "denoiser_source", "renamed_attention"]


@dataclass(frozen=True)
class Source:
    """Where a tensor's values lie.

    Attributes
    ----------
    key
        The original's name.
    part
        0, 1 or 2 where queries, keys and values share one tensor; None where it is a tensor's own.
    """

    key: str
    part: int | None = None


_RESIDUAL = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_OUTSIDE = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "class_embedding": "label_emb",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_PACKED = ("to_q", "to_k", "to_v")


def denoiser_source(name: str, layers: int, attended: Sequence[bool]) -> Source:
    """Return the source of a tensor of the denoiser.

    Parameters
    ----------
    name
        Of `sdseg.models.Denoiser`'s state.
    layers
        Residual blocks a level on the way down; the way up has one more.
    attended
        Whether each level of the way up, from the deepest, has attention.
    """
    stem, kind = name.rsplit(".", 1)
    if stem in _OUTSIDE:
        return Source(f"{_OUTSIDE[stem]}.{kind}")
    where = re.fullmatch(
        r"(down_blocks\.(\d+)|up_blocks\.(\d+)|mid_block)"
        r"\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)",
        stem,
    )
    if where is None:
        raise KeyError(name)
    _, down, up, part, number, inner = where.groups()
    j, run = int(number), layers + 1
    if down is not None:  # a level is its blocks, then what halves it
        at = run * int(down) + 1 + (layers if part == "downsamplers" else j)
        block = f"input_blocks.{at}.{int(part == 'attentions')}"
    elif up is not None:  # what doubles a level is the last part of its last block
        at = run * int(up) + (layers if part == "upsamplers" else j)
        place = {"resnets": 0, "attentions": 1, "upsamplers": 2 if attended[int(up)] else 1}[part]
        block = f"output_blocks.{at}.{place}"
    else:
        block = f"middle_block.{1 if part == 'attentions' else 2 * j}"
    if part != "attentions":
        return Source(f"{block}.{_RESIDUAL[inner]}.{kind}")
    if inner in _PACKED:
        return Source(f"{block}.qkv.{kind}", _PACKED.index(inner))
    return Source(f"{block}.{ {'group_norm': 'norm', 'to_out.0': 'proj_out'}[inner] }.{kind}")


_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def autoencoder_source(name: str, levels: int) -> Source:
    """Return the source of a tensor of the mask autoencoder, or of an encoder like its own.

    Parameters
    ----------
    name
        Of `diffusers.AutoencoderKL`'s state.
    levels
        How many there are: the original counts those of its decoder from the image, we from the
        latent.
    """
    stem, kind = name.rsplit(".", 1)
    stem = stem.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    stem = re.sub(r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block.", stem)
    stem = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", stem)

    def up(found: re.Match[str]) -> str:
        part = "block." if found[2].startswith("resnets") else "upsample"
        return f"up.{levels - 1 - int(found[1])}.{part}"

    stem = re.sub(r"up_blocks\.(\d+)\.(resnets\.|upsamplers\.0)", up, stem)
    stem = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", stem)
    inside = re.fullmatch(r"(.*)mid_block\.attentions\.0\.(.+)", stem)
    if inside is not None:
        stem = f"{inside[1]}mid.attn_1.{_ATTENTION[inside[2]]}"
    return Source(f"{stem}.{kind}")


_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def renamed_attention(name: str) -> str:
    """Return diffusers' name of today for one that its early releases saved."""
    return re.sub(
        r"(attentions\.\d+)\.(query|key|value|proj_attn)\.",
        lambda m: f"{m[1]}.{_OLD_ATTENTION[m[2]]}.",
        name,
    )
