"""A model against a folder of image and mask pairs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import instances as objects_
from .axes import plan
from .datasets import Pair, pairs
from .errors import InputError
from .metrics import PrecisionCounts, average_precision, dice, iou
from .stack import segment_planes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .store import Model

__all__ = ["CaseScore", "Pair", "evaluate", "pairs", "summary"]


@dataclass(frozen=True)
class CaseScore:
    """The measures of one image or volume.

    Attributes
    ----------
    name
        The stem of its files.
    dice, iou
        A value a class, by the class's name.
    counts
        Objects matched at IoU > 0.5, for models that draw instances.
    planes, seconds
        How many planes it has and how long they took.
    """

    name: str
    dice: dict[str, float]
    iou: dict[str, float]
    counts: PrecisionCounts | None
    planes: int
    seconds: float

    @property
    def mean_dice(self) -> float:
        """Return the mean over the classes."""
        return float(np.mean(list(self.dice.values())))


def evaluate(
    model: Model,
    cases: Sequence[Pair],
    *,
    instances: bool = False,
    samples: int = 1,
    steps: int = 1,
    seed: int = 0,
) -> Iterator[CaseScore]:
    """Segment every case and compare it with its mask, in the image's own pixels.

    Parameters
    ----------
    cases
        From `pairs`.
    instances
        Count matched objects too; the masks then hold instance labels.

    Yields
    ------
    CaseScore
    """
    card = model.card
    if instances and card.coding != "instances":
        raise InputError(f"instances: the model {card.name!r} draws classes, not single objects")
    for case in cases:
        image, true, channel_axis = case.read()
        work = plan(image.shape, image.dtype, card, channel_axis=channel_axis)
        predicted = np.zeros(work.output_shape, np.uint16)
        objects: Any = np.zeros(work.output_shape, np.uint32) if instances else None
        linker = objects_.Linker()
        started = time.perf_counter()
        for plane in segment_planes(
            image, model, work, instances=False, samples=samples, steps=steps, seed=seed
        ):
            predicted[plane.index] = plane.labels
            if instances:
                found = objects_.objects(plane.probability, threshold=card.threshold)
                objects[plane.index] = linker.link(found)
        seconds = time.perf_counter() - started
        classes = enumerate(card.classes, start=1)
        single = len(card.classes) == 1
        of = {c.name: (predicted == k, true > 0 if single else true == k) for k, c in classes}
        yield CaseScore(
            case.name,
            {name: dice(*both) for name, both in of.items()},
            {name: iou(*both) for name, both in of.items()},
            average_precision(objects, true) if instances else None,
            work.n_planes,
            seconds,
        )


def summary(scores: Sequence[CaseScore]) -> dict[str, Any]:
    """Reduce case scores to the figures of a table, ready for JSON."""
    if not scores:
        raise InputError("scores: there are none to summarise")
    each = np.array([s.mean_dice for s in scores])
    counts = [s.counts for s in scores if s.counts is not None]
    out: dict[str, Any] = {
        "cases": len(scores),
        "dice": float(each.mean()),
        "dice median": float(np.median(each)),
        "dice worst": float(each.min()),
        "iou": float(np.mean([list(s.iou.values()) for s in scores])),
        "dice by class": {
            name: float(np.mean([s.dice[name] for s in scores])) for name in scores[0].dice
        },
        "ms a plane": 1e3 * sum(s.seconds for s in scores) / sum(s.planes for s in scores),
    }
    if counts:
        out["AP50"] = sum(counts, PrecisionCounts()).score
    return out
