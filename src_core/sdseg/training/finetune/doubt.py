"""Which plane is worth painting next."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InputError
from ...painted import spread
from ...predict import predict_planes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from ...axes import StackPlan
    from ...guide import Guidance
    from ...store import Model

__all__ = ["next_plane", "room", "unsureness"]


def next_plane(
    image: Any,
    model: Model,
    work: StackPlan,
    annotated: Sequence[int],
    *,
    guide: Guidance | None = None,
    samples: int = 4,
    at_most: int = 24,
    progress: Callable[[int, int], object] | None = None,
) -> int:
    """Return the plane that is least sure.

    Parameters
    ----------
    image, work
        The image and its plan; of several volumes the first, unless the plan names one.
    model
        What would segment it.
    annotated
        Positions along the sliced axis that are painted already.
    guide
        What was painted, if that will guide the segmentation: what counts then are the pixels that
        painted shapes leave in doubt as well, and the model's doubt when it starts from them.
    samples
        Noise samples a plane, whose disagreement is its doubt.
    at_most
        Planes that are looked at, spread evenly over the unpainted ones.
    progress
        Called with planes done and their number.

    Returns
    -------
    int
        Position along the sliced axis. Of the planes looked at, the one with the largest doubt times
        its distance from the painted planes and the ends of the stack: painting it clears the doubt
        of as many around it.

    Raises
    ------
    InputError
        If there is no plane left to paint.
    """
    if not work.looped:
        raise InputError("image: a single plane; there is no next one to annotate")
    axis = work.looped[-1]
    count = work.output_shape[axis]
    painted = sorted({p % count for p in annotated})
    free = [z for z in range(count) if z not in painted]
    if not free:
        raise InputError("annotated: every plane is painted already")
    looked = spread(free, at_most)
    volume = work.volume if work.volume is not None else (0,) * (len(work.looped) - 1)
    part = dataclasses.replace(work, planes=tuple(looked), volume=volume)
    doubts = []
    for done, found in enumerate(
        predict_planes(image, model, part, samples=samples, guide=guide), start=1
    ):
        assert found.stability is not None
        if guide is None:
            doubts.append(unsureness(found.probability, found.stability))
        else:
            doubts.append(float(found.stability.sum()) + guide.in_doubt(found.index))
        if progress is not None:
            progress(done, len(looked))
    return looked[int((np.array(doubts) * room(looked, painted, count)).argmax())]


def room(planes: Sequence[int], painted: Sequence[int], count: int) -> npt.NDArray[np.float64]:
    """Return how far planes are from the next painted one, or from the end of the ``count`` planes.

    The ends count because little is to be learned there: things mostly end before the stack does.
    """
    known = [-1, *painted, count]
    return np.array([min(abs(z - p) for p in known) for z in planes], float)


def unsureness(probability: np.ndarray, stability: np.ndarray) -> float:
    """Return how much noise samples disagree on a plane, against how much they see.

    Parameters
    ----------
    probability, stability
        (K, H, W) mean and standard deviation over the samples.

    Returns
    -------
    float
        The summed deviation over the square root of the summed probability: an outline's length grows
        as the root of the area, so that large shapes are not in doubt merely for being large.
    """
    return float(stability.sum() / np.sqrt(probability.sum() + 16.0))
