"""What painted planes say of how an image should be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from ...intensity import Intensity
from .draws import Variation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...axes import StackPlan
    from ...card import Card, Placement
    from ...painted import Painted

__all__ = ["intensity_for", "placement_for", "scattered", "variation_for"]

#: Hounsfield units are recognised by air: values far below zero.
_AIR = -500
#: From so many objects a plane on, their place in the picture says nothing.
_MANY = 6


def placement_for(works: Sequence[StackPlan], card: Card) -> Placement:
    """Return how planes meet the model's square.

    Cut at their own pixel size if they are hardly larger than it, or if it draws single objects,
    which need no context; else resized to it, so that the whole plane is seen.
    """
    largest = max(max(w.plane_shape) for w in works)
    whole = card.coding != "instances" and largest > 1.25 * card.size
    return "fit" if whole else card.placement


def intensity_for(stacks: Sequence[Painted], rule: Intensity) -> Intensity:
    """Return the rule that makes [-1, 1] of raw values.

    Of CT, whose values mean the same in every scan, a window around the painted values: what is
    painted differs from its surroundings by a small part of the whole range.
    """
    if rule.kind != "percentile":
        return rule
    inside = []
    for stack in stacks:
        for index in stack.planes:
            ids, _ = stack.plane(index)
            plane = stack.work.take(stack.image, index)
            if plane.ndim != 2 or not np.nanmin(plane) < _AIR:
                return rule
            inside.append(plane[ids > 0].astype(np.float64))
    values = np.concatenate(inside)
    values = values[np.isfinite(values)]
    if values.size < 16:
        return rule
    low, high = np.percentile(values, (2, 98))
    room = max(1.5 * (high - low), 150.0)
    return Intensity("window", float(np.floor(low - room)), float(np.ceil(high + room)))


def variation_for(stacks: Sequence[Painted]) -> Variation:
    """Return how far painted planes are varied.

    Little, and brightness least, if one image alone is painted: it is that one which will be segmented,
    and what is a little brighter there is something else. Together with learning as empty what shapes
    rule out, image alone: Dice of three atria 0.886, 0.860 and 0.749, before 0.858, 0.802 and 0.765.
    Much if several are: others are to be segmented. Of an atrium with nothing painted, Dice is 0.59 so
    after learning from two others, and 0.30 before.
    """
    flips = scattered(stacks)
    if len(stacks) > 1:
        return Variation(bend=0.1, rotate=0.25, gamma=1.8, shift=0.2, noise=0.25, flips=flips)
    return Variation(flips=flips)


def scattered(stacks: Sequence[Painted]) -> bool:
    """Whether painted planes hold many objects each, such as cells: then any may be mirrored."""
    counts = []
    for stack in stacks:
        for index in stack.planes:
            ids, known = stack.plane(index)
            if known.all() and ids.any():
                several = len(np.unique(ids[ids > 0]))
                counts.append(max(several, int(ndimage.label(ids > 0)[1])))
    return bool(counts) and float(np.median(counts)) >= _MANY
