"""A slab: a run of neighbouring planes that is one task, and what it hands on to the next."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .. import masks
from ..linking import match
from ..stack import label_dtype, segment_planes, with_threshold
from ..store import load_model

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..axes import StackPlan
    from ..linking import Names
    from ..store import Model

__all__ = ["Face", "How", "Packed", "Slab", "faces_match", "segment_slab"]


@dataclass(frozen=True)
class Packed:
    """Labels, compressed: they travel, or wait for the rest of the stack, at a fraction of their size.

    zlib at its lowest level packs a plane of 2048 x 2048 uint32 objects 54 times in 20 ms
    (benchmarks/scaling.py).
    """

    data: bytes
    shape: tuple[int, ...]
    dtype: str

    @classmethod
    def of(cls, labels: npt.NDArray[Any]) -> Packed:
        return cls(zlib.compress(labels.tobytes(), 1), labels.shape, labels.dtype.str)

    def open(self) -> npt.NDArray[Any]:
        return np.frombuffer(zlib.decompress(self.data), self.dtype).reshape(self.shape)


@dataclass(frozen=True)
class How:
    """What a worker segments with: the same for all slabs of a stack.

    Attributes
    ----------
    device, precision
        The model's.
    threads
        Threads that a CPU computes with. Sums of floats depend on their number: with another one
        bfloat16 probabilities moved by 0.03, float32 ones by 0.0002, and the labels of 1 pixel in
        2000 and in 250 000 of blurred noise. So workers take as many as the process that asks.
    """

    device: str
    precision: str
    threads: int

    @classmethod
    def like(cls, model: Model, device: str | None = None, threads: int | None = None) -> How:
        """Return what gives the same labels as this process, or what is named."""
        return cls(
            str(model.device) if device is None else device,
            model.precision,
            torch.get_num_threads() if threads is None else threads,
        )

    def load(self, model: str | Model) -> Model:
        """Load a model in this process; a named one is kept for the next slab."""
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        return load_model(model, device=self.device, precision=self.precision)


@dataclass(frozen=True)
class Face:
    """A slab's first or last plane: what its neighbour must know to join objects.

    Attributes
    ----------
    position
        Along the sliced axis of the whole stack.
    labels
        (H, W) uint32, numbers within the slab.
    classes
        (H, W) class ids, for models of several; else None.
    """

    position: int
    labels: Packed
    classes: Packed | None


@dataclass
class Slab:
    """A finished slab.

    Attributes
    ----------
    labels
        Of the block's shape less the channel axis.
    sizes
        (count + 1,) voxels of its objects, numbered 1..count by first appearance; empty for classes.
    first, last
        The faces; None for classes, or if no plane was worked on.
    probability, stability
        (K, ...) float32, if asked for.
    """

    labels: Packed
    sizes: npt.NDArray[np.int64]
    first: Face | None = None
    last: Face | None = None
    probability: npt.NDArray[np.float32] | None = None
    stability: npt.NDArray[np.float32] | None = None


def segment_slab(
    block: Any,
    model: Model,
    part: StackPlan,
    *,
    instances: bool,
    limits: tuple[float, float],
    probabilities: bool = False,
    **options: Any,
) -> Slab:
    """Segment a block of a stack.

    Parameters
    ----------
    block
        Array, as `StackPlan.part` says; for instances a run of planes of one volume.
    part
        The plan of the block; its planes keep the numbers, and so the noise, of the whole stack.
    limits
        Brightness limits of the whole stack.
    probabilities
        Keep them, and the stability.
    options
        For `segment_planes`.
    """
    labels = np.zeros(part.output_shape, label_dtype(model.card, instances))
    kept: list[npt.NDArray[np.float32] | None] = [None, None]
    faces: list[Face] = []
    if part.planes:
        card = with_threshold(model.card, options.get("threshold"))
        several = len(card.classes) > 1
        for done in segment_planes(block, model, part, instances=instances, limits=limits, **options):
            labels[done.index] = done.labels
            if instances and done.number in (0, done.total - 1):
                classes = Packed.of(masks.decode(done.probability, card)) if several else None
                faces.append(Face(_position(part, done.index), Packed.of(done.labels), classes))
            if probabilities:
                for i, values in enumerate((done.probability, done.stability)):
                    if values is not None:
                        kept[i] = _put(kept[i], values, done.index, part.output_shape)
    return Slab(
        Packed.of(labels),
        np.bincount(labels.ravel()) if instances else np.zeros(1, np.int64),
        faces[0] if faces else None,
        faces[-1] if faces else None,
        *kept,
    )


def _put(
    whole: npt.NDArray[np.float32] | None,
    values: npt.NDArray[np.float32],
    index: tuple[int | slice, ...],
    shape: tuple[int, ...],
) -> npt.NDArray[np.float32]:
    if whole is None:
        whole = np.zeros((len(values), *shape), np.float32)
    whole[:, *index] = values
    return whole


def _position(part: StackPlan, index: tuple[int | slice, ...]) -> int:
    """Return where a plane of a part lies along the sliced axis of the whole."""
    if not part.looped:
        return 0
    within = index[part.looped[-1]]
    assert isinstance(within, int)
    return within + (part.origin[-1] if part.origin else 0)


def faces_match(before: Face | None, after: Face | None) -> Names | None:
    """Match two slabs' facing planes; None if they are not next to each other.

    For slabs of one volume. The numbers are the slabs' own.
    """
    if before is None or after is None or before.position + 1 != after.position:
        return None
    classes = None
    if before.classes is not None and after.classes is not None:
        classes = (before.classes.open(), after.classes.open())
    return match(before.labels.open(), after.labels.open(), classes=classes)
