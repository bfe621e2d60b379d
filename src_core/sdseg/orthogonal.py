"""A volume sliced in its three directions: the mean of what is seen in each."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from . import scratch
from .axes import plan
from .errors import InputError
from .predict import Prediction, find_limits, predict_planes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from .axes import Index, StackPlan
    from .card import Card
    from .store import Model

__all__ = ["count", "predict_orthogonal", "turned"]


def turned(work: StackPlan, card: Card, dtype: npt.DTypeLike) -> list[StackPlan]:
    """Return the plans that slice along the other two axes of the volume.

    Planes across the sliced axis of an anisotropic scan are resized to square pixels if the spacing
    is known (`sdseg.scale.zoom`).

    Raises
    ------
    InputError
        If the image has no three axes to slice along.
    """
    ndim = len(work.output_shape)
    if not work.looped:
        raise InputError("orthogonal: the image is a single plane; there is one direction only")
    if work.looped[-1] < ndim - 3:
        raise InputError(
            f"orthogonal: axis {work.axis} is none of the last three (the volume's); slice along "
            "one of those"
        )
    left = [a for a in range(len(work.shape)) if a != work.channel_axis]
    return [
        plan(
            work.shape,
            dtype,
            card,
            axis=left[axis],
            channel_axis=work.channel_axis,
            spacing=work.spacing,
            unit=work.unit,
            placement=work.placement,
        )
        for axis in work.plane_axes
    ]


def count(work: StackPlan) -> int:
    """Return how many planes are predicted, in all directions and volumes."""
    volumes = len(list(work.volumes()))
    across = sum(work.output_shape[a] for a in work.plane_axes)
    return volumes * across + work.n_planes


class _Held:
    """One volume of an image, in memory or in a scratch file, indexed as the image is.

    Slicing a stack of plane-wise chunks across them would read all of it for every plane.
    """

    def __init__(self, image: Any, work: StackPlan) -> None:
        self.shape, self.dtype = work.shape, np.dtype(image.dtype).newbyteorder("=")
        volume = {work.looped[-1], *work.plane_axes}
        left = [a for a in range(len(work.shape)) if a != work.channel_axis]
        self.leading = {left[a] for a in range(len(left)) if a not in volume}
        kept = tuple(n for a, n in enumerate(work.shape) if a not in self.leading)
        self.array = scratch.zeros(kept, self.dtype)
        every = tuple(range(work.output_shape[work.looped[-1]]))
        for _, index in dataclasses.replace(work, planes=every).indices():
            self.array[self._inner(work.source(index))] = work.read(image, index)

    def _inner(self, index: Index) -> Index:
        return tuple(i for a, i in enumerate(index) if a not in self.leading)

    def __getitem__(self, index: Index) -> npt.NDArray[Any]:
        return self.array[self._inner(index)]


def predict_orthogonal(
    image: Any,
    model: Model,
    work: StackPlan,
    *,
    progress: Callable[[int], object],
    limits: tuple[float, float] | None = None,
    **options: Any,
) -> Iterator[Prediction]:
    """Yield the mean probabilities of three slicing directions, plane by plane along the plan's own.

    A volume's probabilities are held, beyond 512 MB in a scratch file.

    Parameters
    ----------
    image, model, work, limits
        As for `predict_planes`, which takes the ``options``.
    progress
        Called with the number of planes predicted so far, of `count`, in whichever direction; an
        exception it raises ends the work.
    """
    others = turned(work, model.card, image.dtype)
    limits = limits or find_limits(image, work, model.card)
    axes = sorted({work.looped[-1], *work.plane_axes})
    shape = tuple(work.output_shape[a] for a in axes)
    done = 0

    def inner(index: Index) -> Index:
        return (slice(None), *(index[a] for a in axes))

    for volume in work.volumes():
        held = image if isinstance(image, np.ndarray) else _Held(image, volume)
        total: Any = None
        spread: Any = None
        for other in others:
            across = dataclasses.replace(other, volume=volume.volume)
            for plane in predict_planes(held, model, across, limits=limits, **options):
                if total is None:
                    total = scratch.zeros((len(plane.probability), *shape), np.float32)
                    if plane.stability is not None:
                        spread = scratch.zeros(total.shape, np.float32)
                total[inner(plane.index)] += plane.probability
                if spread is not None:
                    spread[inner(plane.index)] += plane.stability
                done += 1
                progress(done)
        for plane in predict_planes(held, model, volume, limits=limits, **options):
            mean = (total[inner(plane.index)] + plane.probability) / 3
            stability = plane.stability
            if stability is not None:
                stability = (spread[inner(plane.index)] + stability) / 3
            done += 1
            progress(done)
            yield dataclasses.replace(plane, probability=mean, stability=stability)
