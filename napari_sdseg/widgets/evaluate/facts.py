"""What the *Evaluate* panel must know of two Labels layers, and how their classes meet. No Qt here."""

from __future__ import annotations

from dataclasses import dataclass, field
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from .counts import MOST_CLASSES, Naming

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "LabelsFacts",
    "class_colors",
    "class_names",
    "naming",
    "same_place",
    "short_name",
    "sliced_axis",
    "unrelated",
]

#: Characters of a layer's name in a sentence.
_LONGEST_NAME = 24


@dataclass(frozen=True)
class LabelsFacts:
    """What must be known of a Labels layer to compare it.

    Attributes
    ----------
    names
        The classes of its labels, where it says so.
    objects
        Whether its labels are single objects, as far as can be told without looking at them.
    axis
        The axis it was sliced along, where it says so.
    axis_names
        As the viewer shows them.
    corners
        Where the array's origin and its unit vectors lie in the world.
    colors
        Of labels, where the layer gives each its own.
    """

    name: str
    shape: tuple[int, ...]
    names: Mapping[int, str] = field(default_factory=dict)
    objects: bool = True
    axis: int | None = None
    axis_names: tuple[str, ...] = ()
    corners: tuple[tuple[float, ...], ...] = ()
    colors: Mapping[int, str] = field(default_factory=dict)


def short_name(name: str) -> str:
    """Return a layer's name, in quotes, no longer than a sentence can bear."""
    return f"'{name[: _LONGEST_NAME - 1]}…'" if len(name) > _LONGEST_NAME else f"'{name}'"


def class_names(features: Any, metadata: Mapping[str, Any]) -> dict[int, str]:
    """Return the class of each label, from a layer's features or metadata; empty: not known.

    Parameters
    ----------
    features
        A table with a column ``name`` or ``class``; ``index`` holds the labels, or else they are
        counted from 0.
    metadata
        ``class_names``, of the labels from 1, where the features say nothing.
    """
    for column in ("class", "name"):
        if column in features:
            labels = features["index"] if "index" in features else range(len(features[column]))
            named = zip(labels, features[column], strict=True)
            names = {int(k): v for k, v in named if isinstance(k, Integral) and k and _is_name(v)}
            # or else each object has a name of its own
            return names if len(set(names.values())) <= MOST_CLASSES else {}
    listed = metadata.get("class_names", ())
    if not isinstance(listed, list | tuple):
        return {}
    return {k: str(v) for k, v in enumerate(listed, start=1)}


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def sliced_axis(settings: Mapping[str, Any], ndim: int) -> int | None:
    """Return the axis of the labels that our metadata says was sliced; None: it does not say.

    The settings number the image's axes; its colours are not among the labels'.
    """
    axis, channel = settings.get("axis"), settings.get("channel_axis")
    if not isinstance(axis, int):
        return None
    axis -= isinstance(channel, int) and channel < axis
    return axis if 0 <= axis < ndim and ndim > 2 else None


def unrelated(labels: LabelsFacts, truth: LabelsFacts) -> bool:
    """Whether both layers name their classes, none of them alike."""
    ours, theirs = set(labels.names.values()), set(truth.names.values())
    one_each = len(ours) == len(theirs) == 1
    return bool(ours and theirs) and not ours & theirs and not one_each


def naming(
    labels: LabelsFacts, truth: LabelsFacts, objects: bool
) -> tuple[Naming, Naming, tuple[str, ...]]:
    """Return how labels and ground truth name their classes, and the classes in order.

    By name where they share one; else by number, with the names of the ground truth, or of the
    labels. Where all of a layer is one class, so is whatever is in the other without names.
    """
    ours, theirs = dict(labels.names), dict(truth.names)
    if set(ours.values()) & set(theirs.values()):
        listed = tuple(dict.fromkeys([*theirs.values(), *ours.values()]))
        return _naming(ours), _naming(theirs), listed
    names = theirs or ours
    listed = tuple(dict.fromkeys(names.values()))
    if len(listed) == 1 and not unrelated(labels, truth):
        both = Naming(everything=listed[0])
    elif objects:
        both, listed = Naming(everything="objects"), ("objects",)
    else:
        both = Naming(names)
    return both, both, listed


def _naming(names: dict[int, str]) -> Naming:
    classes = set(names.values())
    return Naming(everything=classes.pop()) if len(classes) == 1 else Naming(names)


def class_colors(labels: LabelsFacts, truth: LabelsFacts, objects: bool) -> dict[str, str]:
    """Return the colours that the layers give to classes; those of the labels come first."""
    ours, theirs, _ = naming(labels, truth, objects)
    colors = {}
    for layer, names in ((truth, theirs), (labels, ours)):
        colors.update({names.of(label): color for label, color in layer.colors.items()})
    return colors


def same_place(a: LabelsFacts, b: LabelsFacts) -> bool:
    """Whether two layers lie at the same place, to a thousandth of a pixel, as far as is known."""
    first, second = np.asarray(a.corners, float), np.asarray(b.corners, float)
    if first.shape != second.shape or not first.size:
        return True
    pixel = np.abs(first[1:] - first[0]).max(axis=0)
    return bool((np.abs(first - second) <= 1e-3 * np.maximum(pixel, 1e-12)).all())
