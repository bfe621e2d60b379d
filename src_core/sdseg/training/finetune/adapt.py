"""A trainable copy of a model, with an output for every class that was painted."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING

import torch
from torch import nn

from ... import masks
from ...card import ClassInfo
from ...devices import move
from ...errors import InputError
from ...models import widened
from ...pipeline import SDSegPipeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...card import Card
    from ...models import Denoiser
    from ...store import Model

__all__ = ["adapted", "classes_for"]

#: Colours of classes that come without one: Okabe & Ito's, told apart by the colour-blind.
_COLORS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#999999")


def classes_for(card: Card, count: int, names: Sequence[str] | None = None) -> tuple[ClassInfo, ...]:
    """Return the classes of a model that draws ``count`` of them.

    Those of the source model stay, renamed if ``names`` says so; more are added after them.

    Raises
    ------
    InputError
        If there are fewer names than classes were painted.
    """
    if card.coding == "instances":
        count = 1
    if names is not None and len(names) < count:
        raise InputError(f"classes: {len(names)} names for {count} painted classes, {list(names)}")
    if names is not None and card.coding == "instances":
        names = names[:1]
    total = max(count, len(card.classes)) if names is None else max(count, len(names))
    out = []
    for k in range(total):
        old = card.classes[k] if k < len(card.classes) else None
        name = names[k] if names is not None else old.name if old else f"class {k + 1}"
        out.append(ClassInfo(name, old.color if old else _COLORS[k % len(_COLORS)]))
    return tuple(out)


def adapted(model: Model, classes: Sequence[ClassInfo]) -> tuple[SDSegPipeline, Card]:
    """Copy a model, in float32 on its device, so that it can learn these classes.

    The mask autoencoder is kept. One of a single mask draws several classes by drawing each alone,
    their latents side by side, in one denoising call: the denoiser's first and last convolution are
    repeated for them. A class-conditioned denoiser gets more embeddings.

    Raises
    ------
    InputError
        If the model's autoencoder cannot draw so many.
    """
    source, card, count = model.pipeline, model.card, len(classes)
    vae, vision_encoder, unet = (
        copy.deepcopy(part).float() for part in (source.vae, source.vision_encoder, source.unet)
    )
    separate, channels, coding = source.config.separate, source.config.mask_channels, card.coding
    if card.coding == "conditioned":
        _more_embeddings(unet, count + 1)
    elif card.coding != "instances" and count != channels:
        alone = separate or channels == 1
        if not alone:
            raise InputError(
                f"classes: the autoencoder of {card.name!r} draws {channels} classes together and "
                f"cannot draw {count}; paint those, or start from a model of one class such as 'base'"
            )
        latent = int(vae.config.latent_channels)
        unet = widened(unet, latent, channels, count)
        separate, channels, coding = True, count, "multiclass" if count > 1 else "binary"
    card = dataclasses.replace(card, classes=tuple(classes), coding=coding)
    pipeline = SDSegPipeline(
        vae, vision_encoder, unet, copy.deepcopy(source.scheduler),
        mask_channels=channels, separate=separate,
    )  # fmt: skip
    for part in (vae, vision_encoder, unet):
        move(part, model.device, training=True)
        part.requires_grad_(True)
        for module in part.modules():
            # Planes are varied enough, and drawing the zeros takes a fifth of a step on a CPU.
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    vae.requires_grad_(False)
    assert masks.autoencoder_channels(card) == channels or card.coding == "conditioned"
    return pipeline, card


def _more_embeddings(unet: Denoiser, count: int) -> None:
    old = unet.class_embedding
    if old.num_embeddings >= count:
        return
    new = nn.Embedding(count, old.embedding_dim)
    with torch.no_grad():
        # A new class starts as the mean of those there are, the background apart.
        new.weight[:] = old.weight[1:].mean(dim=0) + 0.02 * torch.randn(new.weight.shape)
        new.weight[: old.num_embeddings] = old.weight
    unet.class_embedding = new
    unet.register_to_config(num_class_embeds=count)
