"""A model against cases with ground truth."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .datasets import Pair, pairs
from .errors import InputError
from .metrics import (
    PrecisionCounts,
    average_precisions,
    bootstrap_interval,
    dice,
    iou,
    published_dice,
    published_iou,
    surface_distances,
)
from .protocols import Protocol, View, draw

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from .card import Card
    from .datasets import Case
    from .store import Model

__all__ = ["CaseScore", "Pair", "Protocol", "evaluate", "pairs", "summary"]

Values = dict[str, float]


@dataclass(frozen=True)
class CaseScore:
    """The measures of one image or volume.

    Attributes
    ----------
    name
        What the case is called.
    dice, iou
        A value a class, by the class's name, in the case's own resolution; 1 where both masks are
        empty.
    counts
        Objects matched at IoU > 0.5, for models that draw instances.
    planes, seconds
        How many planes it has and how long they took.
    square_dice, square_iou
        The same in the network's resolution; empty if it was not compared there.
    published_dice, published_iou
        By the published conventions (`sdseg.metrics.published_dice`), in the network's resolution if
        it was compared there, else in the case's own.
    hd95, assd
        Surface distances in ``unit``, a value a class; NaN where one mask is empty, and empty
        altogether if they were not asked for.
    unit
        ``"mm"``, or ``"px"`` if the size of a pixel is not known.
    precision
        Matched objects by threshold of their IoU.
    """

    name: str
    dice: Values
    iou: Values
    counts: PrecisionCounts | None
    planes: int
    seconds: float
    square_dice: Values = field(default_factory=dict)
    square_iou: Values = field(default_factory=dict)
    published_dice: Values = field(default_factory=dict)
    published_iou: Values = field(default_factory=dict)
    hd95: Values = field(default_factory=dict)
    assd: Values = field(default_factory=dict)
    unit: str = "px"
    precision: dict[float, PrecisionCounts] = field(default_factory=dict)

    @property
    def mean_dice(self) -> float:
        """Return the mean over the classes."""
        return float(np.mean(list(self.dice.values())))


def evaluate(
    model: Model,
    cases: Sequence[Case],
    *,
    protocol: Protocol = "sound",
    instances: bool = False,
    thresholds: Sequence[float] = (0.5,),
    surfaces: bool = False,
    samples: int = 1,
    steps: int = 1,
    seed: int = 0,
) -> Iterator[CaseScore]:
    """Segment every case and compare it with its mask.

    Parameters
    ----------
    cases
        From `pairs` or `sdseg.datasets.cases`.
    protocol
        How cases go through the model, see `sdseg.protocols`. Both kinds of figures are computed
        either way.
    instances
        Count matched objects too; the masks then hold instance labels.
    thresholds
        Of their intersection over union, 0.5 among them.
    surfaces
        Measure surface distances too.

    Yields
    ------
    CaseScore
    """
    card = model.card
    if protocol not in ("sound", "published"):
        raise InputError(f"protocol: got {protocol!r}; use 'sound' or 'published'")
    if instances and card.coding != "instances":
        raise InputError(f"instances: the model {card.name!r} draws classes, not single objects")
    if instances and protocol == "published":
        raise InputError("instances: the published protocol has none; use 'sound'")
    for case in cases:
        drawn = draw(
            model, case, protocol, instances=instances, samples=samples, steps=steps, seed=seed
        )
        precision = {}
        if drawn.objects is not None:
            precision = average_precisions(drawn.objects, drawn.own.true, thresholds)
        spacing = drawn.own.spacing
        score = CaseScore(
            case.name, {}, {}, precision.get(0.5), drawn.planes, drawn.seconds,
            unit="px" if spacing is None else "mm", precision=precision,
        )  # fmt: skip
        for k, c in enumerate(card.classes, start=1):
            own = _class(drawn.own, k, card)
            score.dice[c.name], score.iou[c.name] = dice(*own), iou(*own)
            if surfaces:
                distances = surface_distances(*own, spacing)
                score.hd95[c.name], score.assd[c.name] = distances.hd95, distances.assd
            if drawn.square is not None:
                square = _class(drawn.square, k, card)
                score.square_dice[c.name], score.square_iou[c.name] = dice(*square), iou(*square)
            else:
                square = own
            score.published_dice[c.name] = published_dice(*square)
            score.published_iou[c.name] = published_iou(*square)
        yield score


def _class(view: View, k: int, card: Card) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return what was drawn and what is true of class k; a single class is all that is not 0."""
    true = view.true > 0 if len(card.classes) == 1 else view.true == k
    return view.predicted == k, true


def summary(scores: Sequence[CaseScore], kind: str = "sound") -> dict[str, Any]:
    """Reduce case scores to the figures of a table, ready for JSON.

    Parameters
    ----------
    scores
        Of `evaluate`.
    kind
        ``"sound"``: in the cases' own resolution; ``"square"``: in the network's; ``"published"``: by
        the published conventions.

    Returns
    -------
    dict
        Means over the cases of the mean over their classes, with the interval that 95 % of resampled
        means lie in; empty for ``"square"`` if cases were not compared there.
    """
    if not scores:
        raise InputError("scores: there are none to summarise")
    of = {"sound": "", "square": "square_", "published": "published_"}
    if kind not in of:
        raise InputError(f"kind: got {kind!r}; use one of {', '.join(of)}")
    dices = [getattr(s, f"{of[kind]}dice") for s in scores]
    ious = [getattr(s, f"{of[kind]}iou") for s in scores]
    if not dices[0]:
        return {}
    each = np.array([np.mean(list(d.values())) for d in dices])
    out: dict[str, Any] = {
        "cases": len(scores),
        "dice": float(each.mean()),
        "dice interval": list(bootstrap_interval(each.tolist())),
        "dice median": float(np.median(each)),
        "dice worst": float(each.min()),
        **_mean("iou", ious),
        **_each("dice", dices),
        **_each("iou", ious),
        "ms a plane": 1e3 * sum(s.seconds for s in scores) / sum(s.planes for s in scores),
    }
    if kind == "sound":
        if scores[0].hd95:
            units = {s.unit for s in scores}
            unit = units.pop() if len(units) == 1 else "in mixed units"
            out |= _mean(f"hd95 {unit}", [s.hd95 for s in scores])
            out |= _mean(f"assd {unit}", [s.assd for s in scores])
            out |= _each(f"hd95 {unit}", [s.hd95 for s in scores])
            out |= _each(f"assd {unit}", [s.assd for s in scores])
            undefined = sum(math.isnan(v) for s in scores for v in s.hd95.values())
            out["without a distance"] = undefined
        out |= _precision(scores)
    return out


def _mean(name: str, values: Sequence[Values]) -> dict[str, Any]:
    """Mean over the classes, then over the cases; NaN is left out, and None if nothing is left."""
    each = [[v for v in case.values() if not math.isnan(v)] for case in values]
    means = [float(np.mean(case)) for case in each if case]
    if not means:
        return {name: None}
    return {name: float(np.mean(means)), f"{name} interval": list(bootstrap_interval(means))}


def _each(name: str, values: Sequence[Values]) -> dict[str, Any]:
    """Mean over the cases, class by class."""
    of = {k: [case[k] for case in values if not math.isnan(case[k])] for k in values[0]}
    return {
        f"{name} by class": {k: float(np.mean(v)) if v else None for k, v in of.items()},
        f"{name} by class interval": {k: list(bootstrap_interval(v)) for k, v in of.items() if v},
    }


def _precision(scores: Sequence[CaseScore]) -> dict[str, Any]:
    """Average precision of the objects of all cases counted together."""
    of: dict[float, PrecisionCounts] = {}
    for s in scores:
        for threshold, counts in s.precision.items():
            of[threshold] = of.get(threshold, PrecisionCounts()) + counts
    out: dict[str, Any] = {}
    if 0.5 in of:
        out["AP50"] = of[0.5].score
    if len(of) > 1:
        out["AP"] = float(np.mean([c.score for c in of.values()]))
        out["AP by threshold"] = {f"{t:g}": c.score for t, c in of.items()}
    return out
