"""`napari-sdseg segment`: a file in, labels out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._console import console, progress

__all__ = ["segment"]


def segment(
    image: Annotated[
        Path, typer.Argument(metavar="INPUT", help="TIFF, PNG, JPEG, NPY, NIfTI, NRRD, MHA.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Labels file; by its suffix. [default: INPUT_labels]")
    ] = None,
    model: Annotated[str, typer.Option(help="Name, folder or hub id.")] = "nuclei",
    axis: Annotated[int | None, typer.Option(help="Axis to slice along.")] = None,
    channel_axis: Annotated[int | None, typer.Option(help="Axis of colours.")] = None,
    instances: Annotated[
        bool, typer.Option("--instances/--classes", help="Single objects, or class ids.")
    ] = False,
    samples: Annotated[int, typer.Option(min=1, help="Noise samples a plane.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Squares at once on a GPU.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32, bfloat16, float16.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an older result.")] = False,
) -> None:
    """Segment an image file and write its labels beside it, in the same geometry."""
    import numpy as np

    from sdseg import files, load_model
    from sdseg.axes import plan
    from sdseg.errors import InputError
    from sdseg.stack import label_dtype, segment_planes

    picture = files.read(image)
    target = out or _beside(image, picture.data.ndim - (picture.channel_axis is not None))
    if target.exists():
        if target.samefile(image):
            raise InputError(f"--out: {target} is the image itself; give another name")
        if not overwrite:
            raise FileExistsError(f"{target} exists; give --out another name, or --overwrite")
    loaded = load_model(model, device=device, precision=precision)
    found = picture.channel_axis if channel_axis is None else channel_axis
    work = plan(picture.data.shape, picture.data.dtype, loaded.card, axis=axis, channel_axis=found)
    files.check_writable(target, len(work.output_shape))
    console.print(f"{work.note} {loaded.device_note}", style="dim", highlight=False)

    labels = np.zeros(work.output_shape, label_dtype(loaded.card, instances))
    with progress() as bars:
        task = bars.add_task(image.name, total=work.n_planes)
        for plane in segment_planes(
            picture.data, loaded, work,
            instances=instances, samples=samples, seed=seed, batch_size=batch_size,
        ):  # fmt: skip
            labels[plane.index] = plane.labels
            bars.update(task, completed=plane.number + 1)
    files.write_labels(target, labels, picture)
    if instances:
        what = f"{len(np.unique(labels[labels > 0]))} objects"
    else:
        what = ", ".join(
            f"{c.name} {100 * float((labels == k).mean()):.1f} %"
            for k, c in enumerate(loaded.card.classes, start=1)
        )
    console.print(f"{what}  ->  {target}", highlight=False, soft_wrap=True)


def _beside(image: Path, ndim: int) -> Path:
    """Name the labels after the image: the same format where it can hold labels, else TIFF."""
    from sdseg.files import LABEL_SUFFIXES, suffix_of

    suffix = suffix_of(image)
    stem = image.name[: -len(suffix)] if suffix else image.stem
    keeps = suffix in LABEL_SUFFIXES and not (suffix == ".png" and ndim != 2)
    if suffix in (".jpg", ".jpeg", ".bmp") and ndim == 2:
        return image.with_name(f"{stem}_labels.png")
    return image.with_name(f"{stem}_labels{suffix if keeps else '.tif'}")
