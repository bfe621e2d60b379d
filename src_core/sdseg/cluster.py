"""The same work on dask: a dask array in, a lazy dask array out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np

from .axes import plan
from .stack import find_limits, label_dtype, segment_planes

if TYPE_CHECKING:
    import numpy.typing as npt

    from .axes import StackPlan
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
        from .errors import InputError

        raise InputError(
            "instances: objects are joined from plane to plane, which a lazy result cannot do yet; "
            "pass a numpy array (image.compute()), or ask for class ids"
        )
    channel = work.channel_axis
    whole = {work_axis: -1 for work_axis in _image_axes(work, work.plane_axes)}
    if channel is not None:
        whole[channel] = -1
    image = image.rechunk(whole)
    drop = [] if channel is None else [channel]
    chunks = tuple(c for a, c in enumerate(image.chunks) if a != channel)
    limits = dask.delayed(_limits, pure=True)(image.to_delayed().ravel().tolist() if False else image, work, model.card)
    chosen = model.path if model.path is not None else model
    return da.map_blocks(
        _slab,
        image,
        limits=limits,
        model=chosen,
        device=str(model.device),
        precision=model.precision,
        work=work,
        samples=samples,
        seed=seed,
        batch_size=batch_size,
        dtype=label_dtype(model.card, instances),
        chunks=chunks,
        drop_axis=drop,
        meta=np.zeros((0,) * len(work.output_shape), label_dtype(model.card, instances)),
    )


def _image_axes(work: StackPlan, axes: tuple[int, ...]) -> list[int]:
    """Turn axes of the labels into axes of the image."""
    left = [a for a in range(len(work.shape)) if a != work.channel_axis]
    return [left[a] for a in axes]
