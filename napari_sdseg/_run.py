"""One stack through the engine, for the library and the command line alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

    from sdseg import Card, Model
    from sdseg.axes import Index, StackPlan
    from sdseg.files import Picture
    from sdseg.guide import Guidance

__all__ = [
    "Progress",
    "Run",
    "Sizes",
    "Source",
    "check_target",
    "guidance",
    "open_image",
    "open_labels",
]

Progress = Callable[[int, int], object]
Sizes = tuple[int, int | None]


@dataclass(frozen=True)
class Source:
    """An image as the engine takes it, with what is known of it.

    Attributes
    ----------
    data
        Array with ``shape``, ``dtype`` and numpy indexing.
    channel_axis
        The axis of colours, as asked for or as the file or layer says; None: to be decided.
    spacing, unit
        Pixel size along the last axes that are not colours, and its unit of length, where known.
    layer, picture
        What it came from: a napari layer, a file.
    """

    data: Any
    channel_axis: int | None = None
    spacing: tuple[float, ...] | None = None
    unit: str | None = None
    layer: Any = None
    picture: Picture | None = None


def open_image(
    image: Any, channel_axis: int | None = None, level: int = 0, axis: int | None = None
) -> Source:
    """Find the array in whatever the user holds; nothing is copied."""
    import numpy as np

    from sdseg.axes import colours
    from sdseg.errors import InputError, InputTypeError

    if not isinstance(level, int | np.integer) or level < 0:
        raise InputError(f"level: need 0 (full resolution) or above, got {level!r}")
    if isinstance(image, str | Path):
        from sdseg import files

        picture = files.read(image, level=level)
        found = picture.channel_axis if channel_axis is None else channel_axis
        return Source(picture.data, found, picture.spacing, picture.unit, picture=picture)
    if hasattr(image, "data_to_world") and hasattr(image, "events"):
        from .layers import image_array, image_spacing

        data, found = image_array(image, level)
        channels = colours(data.shape, found if channel_axis is None else channel_axis, axis)
        return Source(data, channels, *image_spacing(image, channels, level), layer=image)
    if level:
        raise InputError(f"level: {level} given, but only a multiscale layer or file has levels")
    if hasattr(image, "detach"):  # torch: its dtypes are not numpy's
        image = image.detach().cpu().numpy()
    if not (hasattr(image, "shape") and hasattr(image, "dtype")):
        if not isinstance(image, Sequence) or isinstance(image, bytes):
            raise InputTypeError(
                f"image: need an array, a path or a napari Image layer, got {type(image).__name__}"
            )
        image = np.asarray(image)
    return Source(image, channel_axis)


def open_labels(labels: Any, *, name: str = "labels") -> Any:
    """Find the array of painted labels in whatever the user holds: an array, a layer, a file."""
    import numpy as np

    from sdseg.errors import InputTypeError

    if isinstance(labels, str | Path):
        from sdseg import files

        return files.read(labels).data
    if hasattr(labels, "data_to_world") and hasattr(labels, "events"):
        return labels.data[0] if getattr(labels, "multiscale", False) else labels.data
    if hasattr(labels, "detach"):
        return labels.detach().cpu().numpy()
    if not (hasattr(labels, "shape") and hasattr(labels, "dtype")):
        if not isinstance(labels, Sequence) or isinstance(labels, bytes):
            raise InputTypeError(
                f"{name}: need an array, a path or a napari Labels layer, got {type(labels).__name__}"
            )
        return np.asarray(labels)
    return labels


def guidance(
    guide: Any,
    data: Any,
    work: StackPlan,
    card: Card,
    annotated: Sequence[Any] | None,
    ignore_label: int | None,
) -> Guidance:
    """Check painted labels that are to guide the segmentation of an image; see `sdseg.guide`."""
    from sdseg.errors import InputError
    from sdseg.guide import Guidance
    from sdseg.painted import painted

    try:
        found = painted(data, open_labels(guide), work, annotated=annotated, ignore_label=ignore_label)
    except InputError as error:
        raise InputError(f"guide: {error}") from error
    return Guidance(found, card)


@dataclass(frozen=True)
class Run:
    """A model, a plan and the engine's options: ready to go."""

    model: Model
    work: StackPlan
    options: dict[str, Any]
    progress: Progress | None = None
    device: str | None = None  # of a cluster's workers; None: the model's

    @property
    def dtype(self) -> Any:
        """Return the labels' dtype."""
        from sdseg.stack import label_dtype

        return label_dtype(self.model.card, self.options["instances"])

    def planes(self, data: Any) -> Iterator[Any]:
        """Yield the engine's results."""
        from sdseg.stack import segment_planes

        return segment_planes(data, self.model, self.work, progress=self.progress, **self.options)

    def into_array(self, data: Any, out: Any = None, *, keep: bool = False) -> tuple[Any, ...]:
        """Return labels, and with ``keep`` probability and (for several samples) stability.

        Parameters
        ----------
        out
            To be filled instead of a new array.
        """
        import numpy as np

        from sdseg.errors import InputError
        from sdseg.flow import behind

        shape = self.work.output_shape
        if out is None:
            out = np.zeros(shape, self.dtype)
        elif tuple(getattr(out, "shape", ())) != shape:
            raise InputError(
                f"out: need a path, or an array of shape {shape} that can be assigned to; got "
                f"{type(out).__name__} of shape {tuple(getattr(out, 'shape', ()))}"
            )
        elif not np.can_cast(self.dtype, out.dtype, "safe"):
            raise InputError(f"out: dtype {out.dtype} cannot hold labels of {self.dtype}")
        extra: list[npt.NDArray[np.float32]] = []
        planes = self.planes(data)
        for done in planes if isinstance(out, np.ndarray) else behind(planes):
            out[done.index] = done.labels
            if not keep:
                continue
            maps = [m for m in (done.probability, done.stability) if m is not None]
            if not extra:
                extra = [np.zeros((len(m), *shape), np.float32) for m in maps]
            for whole, plane in zip(extra, maps, strict=True):
                whole[:, *done.index] = plane
        return (out, *extra)

    def labels(
        self,
        data: Any,
        *,
        sizes: Sizes | None = None,
        client: Any = None,
        path: Path | None = None,
        level: int = 0,
    ) -> Iterator[tuple[Index, npt.NDArray[Any]]]:
        """Yield planes of labels, in order.

        Parameters
        ----------
        sizes
            Smallest and largest object to be kept; planes then come when the last is known.
        client
            A dask cluster that does the work; None: this process.
        path, level
            Of the image, that the cluster's workers open for themselves; None: ``data`` travels.
        """
        planes = (
            ((done.index, done.labels) for done in self.planes(data))
            if client is None
            else self._by(client, data if path is None else path, level)
        )
        return planes if sizes is None else _sized(planes, self.work, self.dtype, sizes)

    def _by(self, client: Any, source: Any, level: int) -> Iterator[tuple[Index, npt.NDArray[Any]]]:
        from sdseg.cluster import segment_slabs
        from sdseg.errors import InputError

        options = dict(self.options)
        if options.pop("orthogonal", False):
            raise InputError("orthogonal: a volume in three directions is not done on a cluster")
        reading = {"level": level}
        planes = segment_slabs(
            source, self.model, self.work, client, reading=reading, device=self.device, **options
        )
        for done, plane in enumerate(planes, start=1):
            if self.progress is not None:
                self.progress(done, self.work.n_planes)
            yield plane

    def write(
        self,
        planes: Iterable[tuple[Index, npt.NDArray[Any]]],
        path: Path,
        like: Picture | None = None,
        *,
        overwrite: bool = False,
    ) -> Path:
        """Write planes of labels beside the work on them; the file appears whole or not at all.

        Parameters
        ----------
        like
            The image file, whose geometry the labels take.
        """
        from sdseg import files
        from sdseg.flow import behind

        classes = () if self.options["instances"] else self.model.card.classes
        return files.write_planes(
            path,
            behind(planes),
            self.work.output_shape,
            self.dtype,
            like,
            names=tuple(c.name for c in classes),
            colors=tuple(c.color for c in classes),
            overwrite=overwrite,
        )


def check_target(
    path: Path, image: Any, ndim: int, *, said: str, advice: str, overwrite: bool = False
) -> None:
    """Refuse what labels could not be written to, before the work.

    Parameters
    ----------
    image
        What is segmented; if a path, it is not to be replaced.
    said, advice
        What the person gave the path by, and what to do if it is taken.
    """
    from sdseg import files
    from sdseg.errors import InputError

    files.check_writable(path, ndim)
    if path.exists():
        if isinstance(image, str | Path) and path.samefile(image):
            raise InputError(f"{said}: {path} is the image itself; give another name")
        if not overwrite:
            raise FileExistsError(f"{path} exists; {advice}")


def _sized(
    planes: Iterable[tuple[Index, npt.NDArray[Any]]], work: StackPlan, dtype: Any, sizes: Sizes
) -> Iterator[tuple[Index, npt.NDArray[Any]]]:
    """Drop objects by size: how large one is, is known when the last plane is done."""
    from sdseg import scratch
    from sdseg.instances import drop_sizes

    labels = scratch.zeros(work.output_shape, dtype)
    for index, plane in planes:
        labels[index] = plane
    drop_sizes(labels, *sizes)
    for _, index in work.indices():
        yield index, labels[index]
