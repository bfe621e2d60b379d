"""The same work on dask: a dask array in, a lazy dask array out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np

from . import intensity
from .errors import InputError
from .stack import label_dtype, sampled, segment_planes
from .store import load_model

if TYPE_CHECKING:
    import numpy.typing as npt

    from .axes import StackPlan
    from .card import Card
    from .store import Model

__all__ = ["lazy_labels"]


def lazy_labels(
    image: da.Array,
    model: Model,
    work: StackPlan,
    *,
    instances: bool,
    samples: int = 1,
    seed: int = 0,
    batch_size: int | None = None,
) -> da.Array:
    """Return the labels of a dask array as a dask array; nothing is computed yet.

    One task a slab of planes, as the image is chunked along the axes that are not drawn. The
    brightness limits of the stack are a task of their own, shared by all slabs. A plane's noise
    depends on its number in the whole stack, so slabs give what one pass over the stack gives.

    Parameters
    ----------
    image
        Chunked in any way; chunks that cut a plane are joined.
    model
        What segments. A worker process loads it by name once; an unnamed one travels with the tasks.
    work
        From `sdseg.axes.plan`, for the whole array.
    """
    if instances:
        raise InputError(
            "instances: objects are joined from plane to plane, which a lazy result cannot do yet; "
            "pass a numpy array (image.compute()), or ask for class ids"
        )
    left = [a for a in range(image.ndim) if a != work.channel_axis]
    joined = {left[a]: -1 for a in work.plane_axes}
    if work.channel_axis is not None:
        joined[work.channel_axis] = -1
    image = image.rechunk(joined)
    dtype = label_dtype(model.card, instances)
    return da.map_blocks(
        _slab,
        image,
        _lazy_limits(image, work, model.card),
        model=model if model.path is None else str(model.path),
        device=str(model.device),
        precision=model.precision,
        work=work,
        options={"samples": samples, "seed": seed, "batch_size": batch_size},
        dtype=dtype,
        chunks=tuple(image.chunks[a] for a in left),
        drop_axis=[] if work.channel_axis is None else [work.channel_axis],
        meta=np.zeros((0,) * len(left), dtype),
    )


def _lazy_limits(image: da.Array, work: StackPlan, card: Card) -> Any:
    """Return the stack's brightness limits as a task, over the few planes they are found from."""
    indices, step = sampled(work)
    parts = []
    for index in indices:
        steps = tuple(slice(None, None, step) if isinstance(i, slice) else i for i in index)
        parts.append(image[work.source(steps)].ravel())
    return dask.delayed(intensity.limits, pure=True)(da.concatenate(parts), card.intensity)


def _slab(
    block: npt.NDArray[Any],
    limits: tuple[float, float],
    *,
    model: str | Model,
    device: str,
    precision: str,
    work: StackPlan,
    options: dict[str, Any],
    block_info: Any = None,
) -> npt.NDArray[Any]:
    loaded = load_model(model, device=device, precision=precision)
    start = [low for low, _ in block_info[0]["array-location"]]
    part = work.part(start, block.shape)
    labels = np.zeros(part.output_shape, label_dtype(loaded.card, instances=False))
    if part.planes:
        for done in segment_planes(block, loaded, part, instances=False, limits=limits, **options):
            labels[done.index] = done.labels
    return labels
