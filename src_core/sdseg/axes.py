"""Which axes of an array are sliced, drawn, or colour."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from . import scale
from .errors import InputError, InputTypeError, SDSegError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from .card import Card, Placement

__all__ = ["StackPlan", "colours", "plan"]

Index = tuple[int | slice, ...]


@dataclass(frozen=True)
class StackPlan:
    """How an array is worked through, plane by plane.

    Attributes
    ----------
    shape
        Of the image.
    axis
        The axis that is sliced, in the image's own numbering; None for a single plane.
    channel_axis
        The axis of colours, or None.
    output_shape
        Of the labels: the image's, less the channel axis.
    plane_axes
        The two axes of a plane, in the labels' numbering.
    looped
        The other axes, in the labels' numbering; the sliced one is last, so that neighbouring
        planes come one after another.
    planes
        Positions along the sliced axis that are worked on.
    note
        A sentence saying what was decided, and why.
    placement, zoom
        How planes meet the network's square, and what tiled ones are resized by, (y, x).
    spacing, unit
        Pixel size along the labels' axes, 1 where it is not known, and its unit; None: not known.
    volume
        Position along all looped axes but the sliced one; None: all volumes are worked on.
    origin, whole
        Of a part of a larger stack: where it begins along the looped axes, and how long those are
        in the whole. Empty: it is the whole.
    """

    shape: tuple[int, ...]
    axis: int | None
    channel_axis: int | None
    output_shape: tuple[int, ...]
    plane_axes: tuple[int, int]
    looped: tuple[int, ...]
    planes: tuple[int, ...]
    note: str
    placement: Placement = "tile"
    zoom: tuple[float, float] = (1.0, 1.0)
    spacing: tuple[float, ...] | None = None
    unit: str | None = None
    volume: tuple[int, ...] | None = None
    origin: tuple[int, ...] = ()
    whole: tuple[int, ...] = ()

    @property
    def plane_shape(self) -> tuple[int, int]:
        """Return (H, W)."""
        return self.output_shape[self.plane_axes[0]], self.output_shape[self.plane_axes[1]]

    @property
    def n_planes(self) -> int:
        """Return how many planes are worked on."""
        volumes = 1 if self.volume is not None else math.prod(self._volumes())
        return volumes * (len(self.planes) if self.looped else 1)

    def _volumes(self) -> list[int]:
        return [self.output_shape[a] for a in self.looped[:-1]]

    def volumes(self) -> Iterator[StackPlan]:
        """Yield the plan of each volume: the positions along the looped axes but the sliced one."""
        for position in itertools.product(*map(range, self._volumes())):
            yield replace(self, volume=position)

    def indices(self) -> Iterator[tuple[int, Index]]:
        """Yield, for every plane in order, its number in the whole stack and its index.

        ``labels[index]`` is the plane. The number does not depend on which planes were chosen: it
        is what the plane's noise is made from.
        """
        lengths = [self.output_shape[a] for a in self.looped]
        whole, origin = self.whole or lengths, self.origin or (0,) * len(lengths)
        chosen: list[Sequence[int]] = [range(n) for n in lengths[:-1]]
        if self.volume is not None:
            chosen = [(at,) for at in self.volume]
        chosen += [self.planes] if self.looped else []
        for position in itertools.product(*chosen):
            there = [at + start for at, start in zip(position, origin, strict=True)]
            number = int(np.ravel_multi_index(there, whole)) if lengths else 0
            index: list[int | slice] = [slice(None)] * len(self.output_shape)
            for axis, at in zip(self.looped, position, strict=True):
                index[axis] = at
            yield number, tuple(index)

    def all_planes(self) -> StackPlan:
        """Return the same plan with every plane of every volume chosen."""
        if not self.looped:
            return self
        return replace(self, planes=tuple(range(self.output_shape[self.looped[-1]])), volume=None)

    def part(self, start: Sequence[int], shape: Sequence[int]) -> StackPlan:
        """Return the plan of a block of the image, whose planes keep the numbers they have here.

        Parameters
        ----------
        start, shape
            Of the block, in the image's axes; it holds whole planes.
        """
        left = [a for a in range(len(self.shape)) if a != self.channel_axis]
        begins = tuple(int(start[left[a]]) for a in self.looped)
        output = tuple(int(shape[a]) for a in left)
        planes = self.planes
        if self.looped:
            first, count = begins[-1], output[self.looped[-1]]
            planes = tuple(p - first for p in planes if first <= p < first + count)
        return replace(
            self,
            shape=tuple(int(n) for n in shape),
            output_shape=output,
            planes=planes,
            volume=None,
            origin=begins,
            whole=tuple(self.output_shape[a] for a in self.looped),
        )

    def source(self, index: Index) -> Index:
        """Turn an index into the labels into one into the image."""
        if self.channel_axis is None:
            return index
        return (*index[: self.channel_axis], slice(None), *index[self.channel_axis :])

    def read(self, image: Any, index: Index) -> npt.NDArray[Any]:
        """Read one plane of an image as it lies there, in native byte order.

        Raises
        ------
        InputError
            If it cannot be read: a damaged chunk, a file that is gone, a failing dask task.
        """
        try:
            plane = image[self.source(index)]
            if hasattr(plane, "compute"):
                plane = plane.compute(scheduler="synchronous")
            elif hasattr(plane, "detach"):
                plane = plane.detach().cpu().numpy()
            plane = np.asarray(plane)
        except (SDSegError, MemoryError):
            raise
        except Exception as error:
            where = [i for i in index if not isinstance(i, slice)]
            raise InputError(
                f"image: plane {where} cannot be read ({type(error).__name__}: {error}); "
                "the file may be damaged or incomplete"
            ) from error
        return plane if plane.dtype.isnative else plane.astype(plane.dtype.newbyteorder("="))

    def take(self, image: Any, index: Index) -> npt.NDArray[Any]:
        """Read one plane of an image: (H, W) or (H, W, channels), native byte order."""
        plane = self.read(image, index)
        if self.channel_axis is not None:
            before = sum(isinstance(i, slice) for i in index[: self.channel_axis])
            plane = np.moveaxis(plane, before, -1)
        return plane


def _check(shape: Sequence[int], dtype: Any) -> None:
    dtype = np.dtype(dtype)
    if dtype.kind not in "buif":
        raise InputTypeError(
            f"image: dtype {dtype} cannot be segmented; use bool, integers or real numbers"
        )
    if len(shape) < 2:
        raise InputError(f"image: need at least two axes (a plane), got shape {tuple(shape)}")
    if 0 in shape:
        raise InputError(f"image: empty, shape {tuple(shape)}")


def _axis(name: str, axis: int | None, ndim: int) -> int | None:
    if axis is None:
        return None
    if not isinstance(axis, int | np.integer) or isinstance(axis, bool):
        raise InputTypeError(f"{name}: need a whole number or None, got {axis!r}")
    if not -ndim <= axis < ndim:
        raise InputError(f"{name}: {axis} is out of range for {ndim} axes")
    return int(axis) % ndim


def _selection(planes: Any, length: int) -> tuple[int, ...]:
    if planes is None:
        return tuple(range(length))
    if isinstance(planes, slice):
        chosen = tuple(range(length)[planes])
    else:
        many = [planes] if isinstance(planes, int | np.integer) else planes
        try:
            listed = [int(p) for p in many]
        except (TypeError, ValueError) as error:
            raise InputTypeError(
                f"planes: need a slice, a position or a list of them, got {planes!r}"
            ) from error
        wrong = [p for p in listed if not -length <= p < length]
        if wrong:
            raise InputError(f"planes: {wrong} out of range, the sliced axis has {length} planes")
        chosen = tuple(sorted({p % length for p in listed}))
    if not chosen:
        raise InputError(f"planes: {planes!r} chooses none of the {length} planes")
    return chosen


def colours(
    shape: Sequence[int], channel_axis: int | None = None, axis: int | None = None
) -> int | None:
    """Return the axis of colours: the one named, or a last axis of 3 or 4 behind two longer ones.

    An axis that is to be sliced is none.
    """
    ndim = len(shape)
    if channel_axis is not None:
        return _axis("channel_axis", channel_axis, ndim)
    coloured = ndim >= 3 and shape[-1] in (3, 4) and min(shape[-3:-1]) > 4
    return ndim - 1 if coloured and axis not in (-1, ndim - 1) else None


def _spacing(spacing: Any, ndim: int) -> tuple[float, ...] | None:
    """Return a pixel size for each of the labels' axes, 1 for leading ones."""
    if spacing is None:
        return None
    try:
        given = [float(s) for s in np.atleast_1d(np.asarray(spacing, np.float64))]
    except (TypeError, ValueError) as error:
        raise InputTypeError(f"spacing: need one number an axis, got {spacing!r}") from error
    if np.ndim(spacing) == 0:
        given *= min(ndim, 3)
    if len(given) > ndim:
        raise InputError(f"spacing: {len(given)} numbers for {ndim} axes, {spacing!r}")
    if not all(math.isfinite(s) and s > 0 for s in given):
        raise InputError(f"spacing: pixel sizes must be above 0, got {spacing!r}")
    return (1.0,) * (ndim - len(given)) + tuple(given)


def plan(
    shape: Sequence[int],
    dtype: npt.DTypeLike,
    card: Card,
    *,
    axis: int | None = None,
    channel_axis: int | None = None,
    planes: slice | Sequence[int] | int | None = None,
    spacing: Sequence[float] | float | None = None,
    unit: str | None = None,
    placement: Placement | None = None,
) -> StackPlan:
    """Decide which axis is sliced, which holds colours, and at what size planes are seen.

    Colours: the axis named, or a last axis of 3 or 4 behind two longer ones. The sliced axis: the
    one named; else, of the last three axes, one that is less than half as long as both others (the
    slices of an anisotropic scan), or the first of them. Axes before those are looped over.

    Parameters
    ----------
    shape, dtype
        Of the image.
    card
        The model's.
    axis, channel_axis
        In the image's numbering; negative ones count from the end.
    planes
        Which positions along the sliced axis to work on; None: all.
    spacing, unit
        Pixel size along the last axes that are not colours (one number: along all of up to three),
        and its unit of length, if it has one. See `sdseg.scale.zoom`.
    placement
        ``"tile"`` or ``"fit"``; None: as the card says.

    Raises
    ------
    InputError, InputTypeError
        If the image cannot be a stack of planes; the message says why.
    """
    _check(shape, dtype)
    shape = tuple(int(n) for n in shape)
    ndim = len(shape)
    channels, said = colours(shape, channel_axis, axis), []
    if channel_axis is not None and channels is not None:
        if ndim < 3:
            raise InputError(f"channel_axis: a plane would be left with one axis of shape {shape}")
        if shape[channels] not in (1, 3, 4):
            raise InputError(
                f"channel_axis: axis {channels} holds {shape[channels]} channels; the model "
                f"{card.name!r} takes 1 (grey), 3 (RGB) or 4 (RGBA). Select one channel."
            )
        said.append(f"axis {channels} holds the channels")
    elif channels is not None:
        said.append(f"the last axis, of {shape[-1]}, holds colours")

    if channels is not None and shape[channels] > 1 and card.channels == 1:
        raise InputError(
            f"image: axis {channels} holds {shape[channels]} colours, and the model {card.name!r} "
            "takes grey images; select one channel, or average them"
        )

    left = [a for a in range(ndim) if a != channels]
    sliced = _axis("axis", axis, ndim)
    if sliced is not None and sliced == channels:
        raise InputError(f"axis: {axis} is the channel axis; slice along another")
    if len(left) == 2:
        if sliced is not None:
            raise InputError(f"axis: {axis} given, but the image is a single plane {shape}")
        said.append("a single plane")
    elif sliced is not None:
        said.append(f"sliced along axis {sliced} (as asked)")
    else:
        last = left[-3:]
        shortest = min(last, key=lambda a: shape[a])
        others = [shape[a] for a in last if a != shortest]
        if 2 * shape[shortest] < min(others):
            sliced = shortest
            said.append(f"sliced along axis {sliced}, by far the shortest")
        else:
            sliced = last[0]
            said.append(f"sliced along axis {sliced}, the first of the three")

    # From here on in the labels' numbering, which has no channel axis.
    number = {a: i for i, a in enumerate(left)}
    rest = [number[a] for a in left if a != sliced]
    looped = rest[:-2] + ([] if sliced is None else [number[sliced]])
    length = 1 if sliced is None else shape[sliced]
    if sliced is None and planes is not None:
        _selection(planes, 1)
    if placement not in (None, "tile", "fit"):
        raise InputError(f"placement: got {placement!r}; use 'tile', 'fit' or None")
    placement = placement or card.placement
    sizes = _spacing(spacing, len(left))
    zoom = (1.0, 1.0)
    if placement == "tile" and sizes is not None:
        zoom, why = scale.zoom(card, (sizes[rest[-2]], sizes[rest[-1]]), unit)
        said += [why] if why else []
    note = "; ".join(said)
    return StackPlan(
        shape=shape,
        axis=sliced,
        channel_axis=channels,
        output_shape=tuple(shape[a] for a in left),
        plane_axes=(rest[-2], rest[-1]),
        looped=tuple(looped),
        planes=_selection(planes, length) if sliced is not None else (0,),
        note=note[0].upper() + note[1:] + ".",
        placement=placement,
        zoom=zoom,
        spacing=sizes,
        unit=unit,
    )
