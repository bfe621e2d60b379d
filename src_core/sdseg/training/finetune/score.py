"""How well a model draws planes that were painted."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import masks
from ...predict import predict_planes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...axes import Index
    from ...store import Model
    from .examples import Stack

__all__ = ["dice_on"]


def dice_on(model: Model, stacks: Sequence[Stack], planes: Sequence[Sequence[Index]]) -> float:
    """Return the Dice over all known pixels of some painted planes, the mean over the classes there.

    Parameters
    ----------
    model
        Its networks are put into evaluation mode.
    stacks, planes
        Painted images, and some of the planes of each.
    """
    model.pipeline.vision_encoder.eval()
    model.pipeline.unet.eval()
    count = len(model.card.classes)
    overlap, total = np.zeros(count), np.zeros(count)
    for stack, chosen in zip(stacks, planes, strict=True):
        for index in chosen:
            drawn = _labels(model, stack, index)
            truth, known = stack.painted.plane(index)
            if model.card.coding == "instances":
                truth = (truth > 0).astype(truth.dtype)
            for k in range(count):
                a, b = (drawn == k + 1) & known, (truth == k + 1) & known
                overlap[k] += 2 * int((a & b).sum())
                total[k] += int(a.sum()) + int(b.sum())
    there = total > 0
    return float((overlap[there] / total[there]).mean()) if there.any() else 1.0


def _labels(model: Model, stack: Stack, index: Index) -> Any:
    work = stack.painted.work
    if work.looped:
        at = tuple(int(index[a]) for a in work.looped)  # type: ignore[arg-type]
        work = dataclasses.replace(work, planes=at[-1:], volume=at[:-1])
    (found,) = predict_planes(stack.painted.image, model, work, limits=stack.limits, seed=0)
    return masks.decode(found.probability, model.card)
