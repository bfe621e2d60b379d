"""The same work on dask arrays: a dask array in, lazy dask arrays out."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np

from .. import intensity, masks
from ..errors import InputError
from ..linking import tables
from ..stack import label_dtype, sampled
from .slabs import Face, How, Slab, faces_match, segment_slab

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..axes import StackPlan
    from ..card import Card
    from ..store import Model

Chunks = tuple[tuple[int, ...], ...]

__all__ = ["lazy_labels", "lazy_results"]


def lazy_labels(
    image: da.Array,
    model: Model,
    work: StackPlan,
    *,
    instances: bool,
    min_size: int = 0,
    max_size: int | None = None,
    **options: Any,
) -> da.Array:
    """Return the labels of a dask array as a dask array; nothing is computed yet.

    One task a slab of planes, as the image is chunked along the axes that are not drawn. The
    brightness limits of the stack are a task of their own, shared by all slabs. A plane's noise
    depends on its number in the whole stack, and a CPU computes with as many threads as this
    process, so slabs give what one pass over the stack gives, bit for bit on processors of one kind.

    Objects are numbered within a slab first. Neighbouring slabs' facing planes are matched by small
    tasks; one more makes a table a slab of what its objects are called in the stack. So any part of
    the result needs the whole stack segmented, and its labels wait, compressed, in the workers.

    Parameters
    ----------
    image
        Chunked in any way; chunks that cut a plane are joined, and for instances chunks that span
        volumes are cut.
    model
        What segments. A worker process loads it by its folder once; one without a folder travels.
    work
        From `sdseg.axes.plan`, for the whole array.
    instances
        uint32 objects instead of class ids.
    min_size, max_size
        Only objects of so many voxels in the whole stack, both included.
    options
        For `sdseg.stack.segment_planes`.
    """
    parts, chunks = _parts(image, model, work, instances=instances, options=options)
    return _labels(parts, chunks, model, work, instances, (min_size, max_size))


def lazy_results(
    image: da.Array,
    model: Model,
    work: StackPlan,
    *,
    instances: bool,
    min_size: int = 0,
    max_size: int | None = None,
    **options: Any,
) -> tuple[da.Array, ...]:
    """Return labels, probability and, if ``samples`` is above 1, stability as lazy dask arrays.

    Each slab is segmented once for all of them if they are computed together:
    ``dask.compute(*results)``. Parameters as for `lazy_labels`.

    Returns
    -------
    labels
        As `lazy_labels` gives them.
    probability, stability
        (K, ...) float32.
    """
    parts, chunks = _parts(
        image, model, work, instances=instances, options={**options, "probabilities": True}
    )
    out = [_labels(parts, chunks, model, work, instances, (min_size, max_size))]
    channels = masks.channel_count(model.card)
    for name in ("probability", "stability")[: 1 if options.get("samples", 1) == 1 else 2]:
        out.append(
            da.map_blocks(
                _values,
                parts,
                name=f"sdseg-{name}-{uuid.uuid4().hex}",
                what=name,
                channels=channels,
                new_axis=0,
                chunks=((channels,), *chunks),
                dtype=np.float32,
                meta=np.zeros((0,) * (len(chunks) + 1), np.float32),
            )
        )
    return tuple(out)


def _parts(
    image: da.Array,
    model: Model,
    work: StackPlan,
    *,
    instances: bool,
    options: dict[str, Any],
) -> tuple[da.Array, Chunks]:
    """Return an array of one `Slab` a block, and the chunks of their labels."""
    left = [a for a in range(image.ndim) if a != work.channel_axis]
    wanted: dict[int, int] = {left[a]: -1 for a in work.plane_axes}
    if work.channel_axis is not None:
        wanted[work.channel_axis] = -1
    if instances:  # a slab's objects are joined from plane to plane: it may not span volumes
        wanted |= {left[a]: 1 for a in work.looped[:-1]}
    image = image.rechunk(wanted)
    carried: Any = str(model.path)
    if model.path is None:
        carried = dask.delayed(model, name=f"sdseg-model-{uuid.uuid4().hex}", pure=False)
    parts = da.map_blocks(
        _slab,
        image,
        lazy_limits(image, work, model.card),
        name=f"sdseg-slab-{uuid.uuid4().hex}",
        model=carried,
        how=How.like(model),
        work=work,
        instances=instances,
        options=options,
        dtype=object,
        chunks=tuple((1,) * len(image.chunks[a]) for a in left),
        drop_axis=[] if work.channel_axis is None else [work.channel_axis],
        meta=np.zeros((0,) * len(left), object),
    )
    return parts, tuple(image.chunks[a] for a in left)


def _labels(
    parts: da.Array,
    chunks: Chunks,
    model: Model,
    work: StackPlan,
    instances: bool,
    sizes: tuple[int, int | None],
) -> da.Array:
    """Return the labels of slabs, with the stack's numbers for objects."""
    if not instances and sizes != (0, None):
        raise InputError("min_size, max_size: class ids have no objects to count; use instances=True")
    if sizes[0] < 0 or (sizes[1] is not None and sizes[1] < sizes[0]):
        raise InputError(f"min_size, max_size: need 0 <= {sizes[0]} <= {sizes[1]}")
    dtype = label_dtype(model.card, instances)
    arguments = [_each(parts, _without_probabilities, "objects")]
    if instances:
        arguments.append(_tables(arguments[0], work, sizes))
    return da.map_blocks(
        _open,
        *arguments,
        name=f"sdseg-labels-{uuid.uuid4().hex}",
        dtype=dtype,
        chunks=chunks,
        meta=np.zeros((0,) * parts.ndim, dtype),
    )


def _tables(parts: da.Array, work: StackPlan, sizes: tuple[int, int | None]) -> da.Array:
    """Return an array of one table of numbers a slab, as lazily as the slabs."""
    names: Any = None
    if work.looped and parts.shape[work.looped[-1]] > 1:
        rest: list[slice] = [slice(None)] * parts.ndim
        ahead, behind = list(rest), list(rest)
        ahead[work.looped[-1]], behind[work.looped[-1]] = slice(1, None), slice(None, -1)
        first, last = (
            _each(parts, _pick, "first", what="first"),
            _each(parts, _pick, "last", what="last"),
        )
        names = da.map_blocks(
            _names,
            last[tuple(behind)],
            first[tuple(ahead)],
            name=f"sdseg-names-{uuid.uuid4().hex}",
            dtype=object,
            meta=np.zeros((0,) * parts.ndim, object),
        )
    made = dask.delayed(_number)(
        *_in_order(_each(parts, _pick, "sizes", what="sizes"), names, work),
        parts.shape,
        work.looped,
        *sizes,
    )
    table = da.from_delayed(made, parts.shape, object, meta=np.zeros((0,) * parts.ndim, object))
    return table.rechunk(1)


def _in_order(sizes: da.Array, names: da.Array | None, work: StackPlan) -> tuple[Any, Any]:
    """Return the blocks of both in the order of planes, None where a slab has no neighbour before.

    As single tasks: an array given to `delayed` is optimised on its own, which would put a slab's
    work into each of them, and have it done three times.
    """
    own = sizes.to_delayed(optimize_graph=False)
    continued = np.full(own.shape, None, object)
    if names is not None:
        sliced = work.looped[-1]
        np.moveaxis(continued, sliced, 0)[1:] = np.moveaxis(
            names.to_delayed(optimize_graph=False), sliced, 0
        )
    order = _order(work.looped, own.ndim)
    return list(own.transpose(order).flat), list(continued.transpose(order).flat)


def _order(looped: tuple[int, ...], ndim: int) -> tuple[int, ...]:
    """Return the axes in which slabs come: the looped ones, of which the sliced one is last."""
    return (*looped, *(a for a in range(ndim) if a not in looped))


def _each(parts: da.Array, work: Any, name: str, **named: Any) -> da.Array:
    """Return ``work`` of each slab, as an array of one element a slab."""
    name = f"sdseg-{name}-{uuid.uuid4().hex}"
    meta = np.zeros((0,) * parts.ndim, object)
    return da.map_blocks(work, parts, name=name, dtype=object, meta=meta, **named)


def lazy_limits(image: da.Array, work: StackPlan, card: Card) -> Any:
    """Return the stack's brightness limits as a task, over the few planes they are found from."""
    indices, step = sampled(work)
    parts = []
    for index in indices:
        steps = tuple(slice(None, None, step) if isinstance(i, slice) else i for i in index)
        parts.append(image[work.source(steps)].ravel())
    return dask.delayed(intensity.limits, pure=True)(da.concatenate(parts), card.intensity)


# What follows runs in workers. Blocks of parts are object arrays of one element: dask joins and
# slices them as it does any others.


def _hold(value: Any, ndim: int) -> npt.NDArray[Any]:
    block = np.empty((1,) * ndim, object)
    block.flat[0] = value
    return block


def _slab(
    block: npt.NDArray[Any],
    limits: tuple[float, float],
    *,
    model: str | Model,
    how: How,
    work: StackPlan,
    instances: bool,
    options: dict[str, Any],
    block_info: Any = None,
) -> npt.NDArray[Any]:
    start = [low for low, _ in block_info[0]["array-location"]]
    part = work.part(start, block.shape)
    options = {"limits": limits, **{k: v for k, v in options.items() if v is not None}}
    done = segment_slab(block, how.load(model), part, instances=instances, **options)
    return _hold(done, len(part.output_shape))


def _without_probabilities(parts: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Labels wait for the whole stack; probabilities, far larger, must not wait with them."""
    slab: Slab = parts.flat[0]
    return _hold(Slab(slab.labels, slab.sizes, slab.first, slab.last), parts.ndim)


def _pick(parts: npt.NDArray[Any], *, what: str) -> npt.NDArray[Any]:
    return _hold(getattr(parts.flat[0], what), parts.ndim)


def _names(last: npt.NDArray[Any], first: npt.NDArray[Any]) -> npt.NDArray[Any]:
    before: Face | None = last.flat[0]
    return _hold(faces_match(before, first.flat[0]), last.ndim)


def _number(
    sizes: list[npt.NDArray[Any]],
    names: list[npt.NDArray[Any] | None],
    shape: tuple[int, ...],
    looped: tuple[int, ...],
    minimum: int,
    maximum: int | None,
) -> npt.NDArray[Any]:
    """Return every slab's table, in an array like that of the slabs."""
    found = tables(
        [s.flat[0] for s in sizes],
        [None if n is None else n.flat[0] for n in names],
        minimum,
        maximum,
    )
    out = np.empty(shape, object)
    turned = out.transpose(_order(looped, out.ndim))
    for at, table in zip(np.ndindex(turned.shape), found, strict=True):
        turned[at] = table
    return out


def _open(parts: npt.NDArray[Any], table: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
    labels = parts.flat[0].labels.open()
    out: npt.NDArray[Any] = labels if table is None else table.flat[0][labels]
    return out


def _values(parts: npt.NDArray[Any], *, what: str, channels: int) -> npt.NDArray[np.float32]:
    slab: Slab = parts.flat[0]
    values: npt.NDArray[np.float32] | None = getattr(slab, what)
    if values is None:  # no plane of the slab was asked for
        values = np.zeros((channels, *slab.labels.shape), np.float32)
    return values
