"""The slice-wise engine: any stack in, planes of labels out, in order.

One generator serves the library, the widget, the command line and the cluster. Reading, the
networks, and what makes labels of their probabilities go on side by side, and only the planes in
flight are held, so memory does not grow with the stack.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import instances as objects_
from . import masks
from .axes import Index, StackPlan, plan
from .errors import InputError
from .flow import ahead
from .linking import Linker
from .orthogonal import count, predict_orthogonal
from .predict import Prediction, find_limits, predict_planes, sampled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy.typing as npt

    from .card import Card, Placement
    from .guide import Guidance
    from .store import Model

__all__ = [
    "PlaneResult",
    "StackPlan",
    "find_limits",
    "label_dtype",
    "label_planes",
    "plan",
    "sampled",
    "segment_planes",
]


@dataclass(frozen=True)
class PlaneResult:
    """A finished plane.

    Attributes
    ----------
    number, total
        0, 1, ... in the order of work, and how many there will be.
    index
        ``output[index] = labels``.
    labels
        (H, W), dtype as `label_dtype` says.
    probability
        (K, H, W) float32 in [0, 1].
    stability
        (K, H, W) float32 standard deviation over the samples; None for a single sample.
    """

    number: int
    total: int
    index: Index
    labels: npt.NDArray[Any]
    probability: npt.NDArray[np.float32]
    stability: npt.NDArray[np.float32] | None


def wants_instances(card: Card, instances: bool | None) -> bool:
    """Resolve ``instances``: None is what the model is made for."""
    return card.coding == "instances" if instances is None else instances


def with_threshold(card: Card, threshold: float | None) -> Card:
    """Return the card with another threshold, if one is given."""
    if threshold is None:
        return card
    if not 0 <= threshold <= 1:
        raise InputError(f"threshold: need a probability from 0 to 1, got {threshold}")
    return dataclasses.replace(card, threshold=float(threshold))


def label_dtype(card: Card, instances: bool | None = None) -> np.dtype[Any]:
    """Return the dtype of the labels: uint32 for instances, else uint8 (uint16 above 255 classes)."""
    if wants_instances(card, instances):
        return np.dtype(np.uint32)
    return np.dtype(np.uint8 if len(card.classes) < 256 else np.uint16)


def segment_planes(
    image: Any,
    model: Model,
    work: StackPlan | None = None,
    *,
    axis: int | None = None,
    channel_axis: int | None = None,
    planes: slice | Sequence[int] | int | None = None,
    spacing: Sequence[float] | float | None = None,
    placement: Placement | None = None,
    instances: bool | None = None,
    threshold: float | None = None,
    orthogonal: bool = False,
    samples: int = 1,
    seed: int = 0,
    steps: int = 1,
    batch_size: int | None = None,
    limits: tuple[float, float] | None = None,
    guide: Guidance | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Iterator[PlaneResult]:
    """Segment a stack plane by plane.

    Parameters
    ----------
    image
        Anything with ``shape``, ``dtype`` and numpy indexing: numpy, dask, zarr, torch, memory map.
    model
        A loaded model.
    work
        What `plan` decided; None plans with ``axis``, ``channel_axis``, ``planes``, ``spacing`` (in
        the unit of the model's card) and ``placement``.
    instances
        Single objects, joined across planes, instead of classes; None: what the model is made for.
    threshold
        Probability above which a pixel is foreground; None: the card's.
    orthogonal
        Average the probabilities of three slicing directions.
    samples, seed, steps
        Noise samples, the seed of their noise, and reverse steps.
    batch_size
        Tiles that go through a GPU together; None chooses. Labels do not depend on it but for
        rounding, and on a CPU, which takes one at a time, not at all.
    limits
        Brightness limits of the whole stack, if ``image`` is only a part of it.
    guide
        Painted planes, which are kept as painted and from whose shapes the others start.
    progress
        Called with the planes predicted so far and their number, in all directions; an exception it
        raises ends the work.

    Yields
    ------
    PlaneResult
        In order. Closing the generator cancels; planes already yielded are complete.

    Raises
    ------
    InputError, InputTypeError
        If an argument cannot be used, or a plane cannot be read.
    OutOfMemoryError
        If the device's memory is too small for a single tile.
    """
    card = model.card
    if work is None:
        work = plan(
            image.shape,
            image.dtype,
            card,
            axis=axis,
            channel_axis=channel_axis,
            planes=planes,
            spacing=spacing,
            unit=card.unit,
            placement=placement,
        )
    options: dict[str, Any] = {
        "samples": samples, "seed": seed, "steps": steps, "batch_size": batch_size, "limits": limits,
    }  # fmt: skip
    if orthogonal:
        if guide is not None:
            raise InputError("orthogonal: painted planes guide one slicing direction; leave one out")
        total = count(work)
        predicted = predict_orthogonal(
            image,
            model,
            work,
            progress=lambda done: progress(done, total) if progress is not None else None,
            **options,
        )
    else:
        predicted = _told(
            predict_planes(image, model, work, guide=guide, **options), work.n_planes, progress
        )
    yield from label_planes(predicted, card, work, instances=instances, threshold=threshold)


def label_planes(
    predicted: Iterable[Prediction],
    card: Card,
    work: StackPlan,
    *,
    instances: bool | None = None,
    threshold: float | None = None,
) -> Iterator[PlaneResult]:
    """Make labels of probabilities, wherever they come from: the networks, or a place they were kept.

    Parameters
    ----------
    predicted
        Planes of the plan, in its order.
    card, work, instances, threshold
        As for `segment_planes`.
    """
    card = with_threshold(card, threshold)
    finish = _Finish(card, work, wants_instances(card, instances))
    yield from ahead(finish, predicted, depth=1, eager=True)


def _told(
    planes: Iterator[Prediction], total: int, progress: Callable[[int, int], object] | None
) -> Iterator[Prediction]:
    for done, plane in enumerate(planes, start=1):
        if progress is not None:
            progress(done, total)
        yield plane


class _Finish:
    """Probabilities -> labels, keeping what must be carried from plane to plane."""

    def __init__(self, card: Card, work: StackPlan, single: bool) -> None:
        self.card, self.total, self.single = card, work.n_planes, single
        self.axis = work.looped[-1] if work.looped else None
        self.linker = Linker()
        self.count = 0
        self.before: tuple[int, Index] | None = None

    def __call__(self, plane: Prediction) -> PlaneResult:
        if self.single:
            if not self._neighbours(plane.number, plane.index):
                self.linker.reset()
            found = objects_.find(plane.probability, self.card)
            several = len(self.card.classes) > 1
            classes = masks.decode(plane.probability, self.card) if several else None
            labels: npt.NDArray[Any] = self.linker.link(found, classes)
            self.before = (plane.number, plane.index)
        else:
            labels = masks.decode(plane.probability, self.card)
        self.count += 1
        return PlaneResult(
            self.count - 1, self.total, plane.index, labels, plane.probability, plane.stability
        )

    def _neighbours(self, number: int, index: Index) -> bool:
        """Whether this plane lies next to the one before, in the same volume."""
        if self.before is None or self.axis is None or number != self.before[0] + 1:
            return False
        return int(index[self.axis]) != 0  # type: ignore[arg-type]
