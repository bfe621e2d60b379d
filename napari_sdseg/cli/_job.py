"""What the commands do with one image: read, segment, write, and say what was found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

    from sdseg import Model
    from sdseg.axes import Index

__all__ = ["Job", "Outcome", "Settings", "beside", "found_text", "parse_planes"]


@dataclass(frozen=True)
class Settings:
    """What decides the labels of an image; see `napari_sdseg.segment`."""

    model: str = "nuclei"
    axis: int | None = None
    channel_axis: int | None = None
    planes: str | None = None
    level: int = 0
    spacing: tuple[float, ...] | None = None
    placement: str | None = None
    instances: bool = False
    min_size: int = 0
    max_size: int | None = None
    threshold: float | None = None
    orthogonal: bool = False
    samples: int = 1
    seed: int = 0
    guide: str | None = None
    annotated: str | None = None

    def told(self) -> dict[str, Any]:
        """Return plain values, for a report."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


@dataclass
class Outcome:
    """What became of an image."""

    planes: int = 0
    seconds: float = 0.0
    note: str = ""
    found: dict[str, float] = field(default_factory=dict)


def found_text(found: Mapping[str, float]) -> str:
    """Return what was found in an image, as `Outcome.found` has it, in words."""
    if "objects" in found:
        return f"{found['objects']:.0f} objects"
    return ", ".join(f"{name} {100 * share:.1f} %" for name, share in found.items())


@dataclass(frozen=True)
class Job:
    """Settings with their model loaded, and who does the work.

    Attributes
    ----------
    client, device
        A dask cluster, and what its workers compute on; None: this process, the model's device.
    """

    settings: Settings
    model: Model
    batch_size: int | None = None
    client: Any = None
    device: str | None = None

    def __call__(
        self,
        image: Path,
        target: Callable[[int], Path],
        progress: Callable[[int, int], object],
        *,
        overwrite: bool = False,
        say: Callable[[str], object] = lambda _: None,
    ) -> tuple[Path, Outcome]:
        """Segment an image file.

        Parameters
        ----------
        target
            Names the labels file, given how many axes they have.
        progress
            Called with planes done and their number.
        say
            Told what was decided, before the work.
        """
        from napari_sdseg._run import Run, check_target, guidance, open_image
        from sdseg.axes import plan
        from sdseg.errors import InputError

        wanted, card = self.settings, self.model.card
        source = open_image(image, wanted.channel_axis, wanted.level, wanted.axis)
        work = plan(
            source.data.shape,
            source.data.dtype,
            card,
            axis=wanted.axis,
            channel_axis=source.channel_axis,
            planes=None if wanted.planes is None else parse_planes(wanted.planes),
            spacing=wanted.spacing or source.spacing,
            unit=card.unit if wanted.spacing else source.unit,
            placement=wanted.placement,  # type: ignore[arg-type] # checked by plan
        )
        path = target(len(work.output_shape))
        check_target(
            path,
            image,
            len(work.output_shape),
            said="--out",
            advice="give --out another name, or --overwrite",
            overwrite=overwrite,
        )
        sizes = None
        if wanted.min_size or wanted.max_size is not None:
            if not wanted.instances:
                raise InputError("--min-size, --max-size: only objects have sizes; give --instances")
            sizes = (wanted.min_size, wanted.max_size)
        options: dict[str, Any] = {
            "instances": wanted.instances, "samples": wanted.samples, "seed": wanted.seed,
            "orthogonal": wanted.orthogonal, "batch_size": self.batch_size,
            "threshold": wanted.threshold,
        }  # fmt: skip
        if wanted.guide is not None:
            if self.client is not None:
                raise InputError("--guide: is not sent to a cluster; leave --scheduler, --workers out")
            named = None if wanted.annotated is None else parse_planes(wanted.annotated)
            if isinstance(named, slice):
                named = list(range(work.output_shape[work.looped[-1]])[named])
            options["guide"] = guidance(Path(wanted.guide), source.data, work, card, named, None)
        where = self.model.device_note
        if self.client is not None:
            where = f"Workers compute on {self.device or self.model.device}, {self.model.precision}."
        say(f"{work.note} {where}")
        run = Run(self.model, work, options, progress, self.device)
        outcome = Outcome(planes=work.n_planes, note=work.note)
        started = time.perf_counter()
        planes = run.labels(
            source.data, sizes=sizes, client=self.client, path=image, level=wanted.level
        )
        names = [] if wanted.instances else [c.name for c in card.classes]
        run.write(_counted(planes, names, outcome), path, source.picture, overwrite=overwrite)
        outcome.seconds = time.perf_counter() - started
        return path, outcome


def _counted(
    planes: Iterable[tuple[Index, npt.NDArray[Any]]], names: list[str], outcome: Outcome
) -> Iterator[tuple[Index, npt.NDArray[Any]]]:
    """Pass planes on, and note how much of each class, or how many objects, there are."""
    import numpy as np

    counts, pixels, highest = np.zeros(len(names) + 1), 0, 0
    for index, labels in planes:
        yield index, labels
        if names:
            counts += np.bincount(labels.ravel(), minlength=len(counts))[: len(counts)]
            pixels += labels.size
        else:
            highest = max(highest, int(labels.max(initial=0)))
    if names:
        outcome.found = {n: float(counts[k] / pixels) for k, n in enumerate(names, start=1)}
    else:
        outcome.found = {"objects": highest}


def parse_planes(text: str) -> slice | list[int]:
    """Read ``"10:20"``, ``"::5"``, ``"7"`` or ``"1,4,9"``."""
    from sdseg.errors import InputError

    try:
        if ":" in text:
            parts = [int(p) if p.strip() else None for p in text.split(":")]
            if len(parts) > 3:
                raise ValueError
            return slice(*parts)
        return [int(p) for p in text.split(",")]
    except ValueError as error:
        raise InputError(f"--planes: got {text!r}; use 10:20, ::5, 7 or 1,4,9") from error


def beside(
    image: Path,
    ndim: int,
    *,
    folder: Path | None = None,
    suffix: str | None = None,
    whole: bool = False,
) -> Path:
    """Name the labels after the image: the same format where it can hold labels, else TIFF.

    Parameters
    ----------
    ndim
        Of the labels.
    folder
        Where to; None: beside the image.
    suffix
        The format, if it is not to be the image's.
    whole
        Keep the image's suffix as part of the name: two images differ in it alone.
    """
    from sdseg.files import LABEL_SUFFIXES, suffix_of

    image = image if image.name else image.absolute()
    ending = suffix_of(image)
    stem = image.name[: -len(ending)] if ending else image.name
    if whole:
        stem += ending.replace(".", "_")
    if suffix is None:
        if ending in (".jpg", ".jpeg", ".bmp", ".png"):
            suffix = ".png" if ndim == 2 else ".tif"
        elif ending in ("", ".dcm"):
            suffix = ".nii.gz"
        else:
            suffix = ending if ending in LABEL_SUFFIXES else ".tif"
    return (folder or image.parent) / f"{stem}_labels{suffix}"
