"""`napari-sdseg segment`: an image in, labels out; or a folder of them."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from ._console import console, progress
from ._job import Job, Settings, beside, found_text

__all__ = ["segment"]


def segment(
    image: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="TIFF, PNG, JPEG, NPY, OME-Zarr, NIfTI, NRRD, MHA, DICOM series; or a folder of them.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Labels file, its format by its suffix [default: INPUT_labels]; for a folder of "
            "images a folder. IMAGE.zarr/labels/NAME adds labels to an OME-Zarr image.",
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="Name, folder or hub id.")] = "nuclei",
    axis: Annotated[int | None, typer.Option(help="Axis to slice along.")] = None,
    channel_axis: Annotated[int | None, typer.Option(help="Axis of colours.")] = None,
    planes: Annotated[
        str | None, typer.Option(help="Only these along the sliced axis: 10:20, ::5, 7 or 1,4,9.")
    ] = None,
    level: Annotated[int, typer.Option(min=0, help="Of a multiscale image; 0 is the finest.")] = 0,
    spacing: Annotated[
        str | None, typer.Option(help="Pixel size, instead of the file's: 0.25, or 2,0.5,0.5.")
    ] = None,
    placement: Annotated[
        str | None, typer.Option(help="tile or fit, instead of what the model's card says.")
    ] = None,
    instances: Annotated[
        bool, typer.Option("--instances/--classes", help="Single objects, or class ids.")
    ] = False,
    min_size: Annotated[int, typer.Option(min=0, help="Drop objects of fewer pixels.")] = 0,
    max_size: Annotated[int | None, typer.Option(min=1, help="Drop objects of more pixels.")] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Probability of the foreground, instead of the card's.")
    ] = None,
    orthogonal: Annotated[
        bool, typer.Option("--orthogonal", help="Average three slicing directions.")
    ] = False,
    guide: Annotated[
        Path | None,
        typer.Option(help="Painted labels: their planes are kept, and the others start from them."),
    ] = None,
    annotated: Annotated[
        str | None, typer.Option(help="Planes of the guide that are painted completely: 10,30,50.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Noise samples a plane.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Squares at once on a GPU.")] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1, mps; of a scheduler's workers.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="float32, bfloat16, float16.")] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a dask scheduler whose workers do the work.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Do the work in so many processes of this machine.")
    ] = None,
    format: Annotated[
        str | None, typer.Option(help="Of a folder's labels, such as .ome.zarr [default: the images'].")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace older results.")] = False,
) -> None:
    """Segment an image and write its labels beside it, in the same geometry; or a folder of images.

    Of a folder, images whose labels are there already are skipped, so an interrupted run goes on
    where it stopped; one that fails is reported, and the rest go on.
    """
    from sdseg import files, load_model
    from sdseg.errors import InputError

    if not image.exists():
        raise FileNotFoundError(f"{image}: no such file or folder")
    many = image.is_dir() and not files.is_image(image)
    if many and out is None:
        raise InputError(f"--out: {image} is a folder of images; name a folder for their labels")
    if not many and format is not None:
        raise InputError("--format: for a folder of images; a single file's is the suffix of --out")
    settings = Settings(
        model, axis, channel_axis, planes, level, _numbers(spacing), placement, instances, min_size,
        max_size, threshold, orthogonal, samples, seed,
        None if guide is None else str(guide), annotated,
    )  # fmt: skip
    if many and guide is not None:
        raise InputError("--guide: painted labels belong to one image; give that image alone")
    if not many and out is not None:  # said before the model is loaded
        files.check_writable(out)
    # A cluster may have what this machine has not: what is asked for is its workers' device then.
    here = device if scheduler is None else None
    loaded = load_model(model, device=here, precision=precision)
    with _cluster(scheduler, workers) as client:
        job = Job(settings, loaded, batch_size, client, device if client is not None else None)
        if many:
            from ._folder import segment_folder

            assert out is not None
            failed = segment_folder(image, out, job, format, overwrite=overwrite)
            if failed:
                raise typer.Exit(1)
            return
        with ExitStack() as later:  # no bar before it is known that there is something to do
            task: Any = None
            bars: Any = None

            def say(note: str) -> None:
                nonlocal bars, task
                console.print(note, style="dim", highlight=False)
                bars = later.enter_context(progress())
                task = bars.add_task(image.name, total=None)

            path, outcome = job(
                image,
                lambda ndim: out or beside(image, ndim),
                lambda done, total: bars.update(task, completed=done, total=total),
                overwrite=overwrite,
                say=say,
            )
    console.print(f"{found_text(outcome.found)}  ->  {path}", highlight=False, soft_wrap=True)


def _cluster(scheduler: str | None, workers: int | None) -> Any:
    """Return a context that gives a dask client, or None for this process alone."""
    if scheduler is None and workers is None:
        return nullcontext()
    from sdseg.cluster import connect

    return connect(scheduler, workers)


def _numbers(text: str | None) -> tuple[float, ...] | None:
    from sdseg.errors import InputError

    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(
            f"--spacing: got {text!r}; use 0.25, or one number an axis: 2,0.5,0.5"
        ) from error
