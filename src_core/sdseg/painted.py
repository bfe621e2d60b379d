"""What a person painted: which planes, how completely, and what it says of the planes between."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import edt
import numpy as np

from .errors import InputError, InputTypeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from .axes import Index, StackPlan

__all__ = [
    "Painted",
    "Strokes",
    "annotated_planes",
    "digest",
    "looks_like_strokes",
    "painted",
    "plane_step",
    "read_labels",
    "spread",
]  # fmt: skip

#: Of an annotated plane's pixels: fewer labelled than this, in at least two classes, are strokes.
_STROKES = 0.3
#: A stroke is thinner than the plane's side over half of this. More labels than that are objects.
_THIN, _MOST_STROKES = 24, 12


@dataclass(frozen=True)
class Strokes:
    """How labels that leave pixels open are read.

    Attributes
    ----------
    ignore
        The label of pixels of which nothing is said; None: every pixel of an annotated plane is said.
    background
        The label that says background, where 0 says nothing; None: 0.
    """

    ignore: int | None = None
    background: int | None = None

    def __post_init__(self) -> None:
        if self.ignore == 0 and self.background is None:
            raise InputError(
                "ignore_label: with 0 for unknown, another label must say background; give "
                "background_label, such as the highest one painted"
            )
        if self.ignore is not None and self.ignore == (self.background or 0):
            raise InputError(f"background_label: {self.ignore} is the label of unknown pixels")

    def read(self, plane: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Return class ids (H, W), background 0, and where they are known (H, W)."""
        ids = plane.astype(np.int64)
        known = np.ones(ids.shape, bool) if self.ignore is None else ids != self.ignore
        ids = np.where(known, ids, 0)
        if self.background:
            ids = np.where(ids == self.background, 0, ids)
            # Classes are counted without it: the ones above move down.
            ids = np.where(ids > self.background, ids - 1, ids)
        return ids, known


@dataclass(frozen=True)
class Painted:
    """An image with the planes of it that are annotated.

    Attributes
    ----------
    image, labels
        Anything with numpy indexing.
    work
        The plan of the image; ``labels`` has its output shape.
    planes
        Index of each annotated plane, in order.
    strokes
        How the labels are read.
    """

    image: Any
    labels: Any
    work: StackPlan
    planes: tuple[Index, ...]
    strokes: Strokes

    @property
    def axis(self) -> int | None:
        """Return the sliced axis, in the labels' numbering; None for a single plane."""
        return self.work.looped[-1] if self.work.looped else None

    def at(self, index: Index) -> tuple[int, ...]:
        """Return where a plane lies along all looped axes, the sliced one last."""
        return tuple(int(index[a]) for a in self.work.looped)  # type: ignore[arg-type]

    def position(self, index: Index) -> int:
        """Return where a plane lies along the sliced axis."""
        return self.at(index)[-1] if self.work.looped else 0

    def volume(self, index: Index) -> tuple[int, ...]:
        """Return where the volume of a plane lies, along the axes before the sliced one."""
        return self.at(index)[:-1]

    def index(self, volume: tuple[int, ...], position: int) -> Index:
        """Return the index of a plane of a volume."""
        at = dict(zip(self.work.looped, (*volume, position), strict=True))
        return tuple(at.get(a, slice(None)) for a in range(len(self.work.output_shape)))

    def plane(self, index: Index) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Return class ids (H, W) of a plane, and where they are known."""
        return self.strokes.read(read_labels(self.labels, index))

    def complete(
        self, planes: Sequence[Index]
    ) -> dict[tuple[int, ...], dict[int, npt.NDArray[np.int64]]]:
        """Return the completely painted ones of some planes: volume -> position -> class ids."""
        volumes: dict[tuple[int, ...], dict[int, npt.NDArray[np.int64]]] = {}
        for index in planes:
            ids, known = self.plane(index)
            if known.all():
                volumes.setdefault(self.volume(index), {})[self.position(index)] = ids
        return volumes

    def digest(self, into: Any) -> None:
        """Add the annotated planes, image and labels, to a hash."""
        for index in self.planes:
            into.update(repr(index).encode())
            into.update(np.ascontiguousarray(self.work.take(self.image, index)).tobytes())
            into.update(np.ascontiguousarray(read_labels(self.labels, index)).tobytes())


def spread(positions: Sequence[int], at_most: int) -> list[int]:
    """Return some of the positions, the middle of each of as many equal stretches of them."""
    few = min(at_most, len(positions))
    return [positions[int((i + 0.5) * len(positions) / few)] for i in range(few)]


def plane_step(work: StackPlan) -> float:
    """Return the distance of neighbouring planes in pixels of a plane; 1 where it is not known."""
    if work.spacing is None or not work.looped:
        return 1.0
    return float(work.spacing[work.looped[-1]] / min(work.spacing[a] for a in work.plane_axes))


def digest(stacks: Sequence[Painted]) -> str:
    """Return a short hash of everything that was painted, and of the image under it."""
    into = hashlib.sha256()
    for stack in stacks:
        stack.digest(into)
    return into.hexdigest()[:16]


def read_labels(labels: Any, index: Index) -> npt.NDArray[Any]:
    """Read one plane of labels from anything with numpy indexing."""
    plane = labels[index]
    if hasattr(plane, "compute"):
        plane = plane.compute(scheduler="synchronous")
    elif hasattr(plane, "detach"):
        plane = plane.detach().cpu().numpy()
    return np.asarray(plane)


def looks_like_strokes(plane: npt.NDArray[Any]) -> bool:
    """Guess whether a plane of labels, 0 where nothing was painted, holds strokes or whole shapes.

    Strokes cover little, are there for two labels at least (one class, and what it is not), and all
    labels but one are thin: background is often painted with a broad brush. More than a few labels are
    objects.
    """
    labels, counts = np.unique(plane[plane > 0], return_counts=True)
    if not 1 < len(labels) <= _MOST_STROKES or counts.sum() >= _STROKES * plane.size:
        return False
    depth = edt.edt(np.ascontiguousarray(plane, np.uint32), black_border=False, parallel=1)
    deepest = sorted(float(depth[plane == k].max()) for k in labels)
    return bool(deepest[-2] < max(plane.shape) / _THIN)


def annotated_planes(labels: Any, work: StackPlan, ignore: int | None = None) -> list[Index]:
    """Find the planes on which anything is painted.

    Parameters
    ----------
    labels
        Of the work's output shape; read plane by plane.
    ignore
        Label of unknown pixels; None: 0 is what nobody painted.
    """
    found = []
    for _, index in work.all_planes().indices():
        plane = read_labels(labels, index)
        if (plane != (ignore or 0)).any():
            found.append(index)
    return found


def painted(
    image: Any,
    labels: Any,
    work: StackPlan,
    *,
    annotated: Sequence[Any] | None = None,
    ignore_label: int | None = None,
    background_label: int | None = None,
) -> Painted:
    """Check what was painted, and find its planes.

    Parameters
    ----------
    image, work
        The image and its plan.
    labels
        Integers of the image's shape less the channel axis.
    annotated
        Planes that are annotated: positions along the sliced axis (at every position of the axes
        before it), or tuples of positions along all axes but the plane's. None: those on which
        anything is painted.
    ignore_label
        Label of pixels of which nothing is said. None: annotated planes are painted completely.
    background_label
        With ``ignore_label=0``: the label that says background.

    Raises
    ------
    InputError, InputTypeError
        If they do not fit the image, or nothing is painted.
    """
    shape = tuple(int(n) for n in getattr(labels, "shape", ()))
    if not hasattr(labels, "dtype"):
        raise InputTypeError(f"labels: need an array, got {type(labels).__name__}")
    if shape != work.output_shape:
        raise InputError(
            f"labels: shape {shape} does not match the image's {work.output_shape} "
            "(without channels); paint in a layer of the image's own shape"
        )
    kind = "i" if not isinstance(labels.dtype, np.dtype) else labels.dtype.kind
    if kind not in "iub":
        raise InputTypeError(f"labels: need whole numbers, got dtype {labels.dtype}")
    strokes = Strokes(ignore_label, background_label)
    if annotated is None:
        planes = annotated_planes(labels, work, ignore_label)
        if not planes:
            raise InputError("labels: nothing is painted; paint a plane, or say which are annotated")
    else:
        planes = _named(annotated, work)
    found = Painted(image, labels, work, tuple(planes), strokes)
    if not any(known.any() for _, known in map(found.plane, planes)):
        raise InputError(f"labels: every pixel of the annotated planes is {ignore_label}, unknown")
    return found


def _named(annotated: Sequence[Any], work: StackPlan) -> list[Index]:
    every = [index for _, index in work.all_planes().indices()]
    if not work.looped:
        return every
    lengths = [work.output_shape[a] for a in work.looped]
    wanted: set[tuple[int, ...]] = set()
    try:
        for entry in annotated:
            several = isinstance(entry, tuple | list)
            at = tuple(int(e) for e in entry) if several else (int(entry),)
            if len(at) not in (1, len(lengths)):
                raise InputError(f"annotated: {entry} should name {len(lengths)} positions")
            ends = lengths[-len(at) :]
            if not all(-n <= a < n for a, n in zip(at, ends, strict=True)):
                raise InputError(f"annotated: {entry} is out of range, there are {ends} planes")
            wanted.add(tuple(a % n for a, n in zip(at, ends, strict=True)))
    except (TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputTypeError(f"annotated: need a list of positions, got {annotated!r}") from error
    if not wanted:
        raise InputError("annotated: no planes; leave it out to take those that are painted")

    chosen = []
    for index in every:
        here = tuple(int(index[a]) for a in work.looped)  # type: ignore[arg-type]
        if here in wanted or here[-1:] in wanted:
            chosen.append(index)
    return chosen
