"""`napari-sdseg demo`: show that it works here, and what it looks like."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from ._console import console, progress

__all__ = ["demo"]


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the labels and the picture.")] = Path(
        "napari-sdseg-demo"
    ),
    show: Annotated[bool, typer.Option("--show", help="Open the result in napari.")] = False,
) -> None:
    """Segment the bundled sample stack with the bundled model, and measure the result."""
    import numpy as np

    from napari_sdseg import sample_data
    from napari_sdseg._outlines import write_side_by_side
    from sdseg import files, load_model
    from sdseg.axes import plan
    from sdseg.metrics import PrecisionCounts, average_precision, dice
    from sdseg.stack import label_dtype, segment_planes

    if show:
        _require_window()
    sample = sample_data.load("nuclei")
    model = load_model("nuclei")
    console.print(sample.description)
    console.print(f"{model.card.summary} {model.device_note}", style="dim")
    work = plan(sample.image.shape, sample.image.dtype, model.card)
    labels = np.zeros(work.output_shape, label_dtype(model.card))
    started = time.perf_counter()
    with progress() as bars:
        task = bars.add_task("segmenting", total=work.n_planes)
        for plane in segment_planes(sample.image, model, work):
            labels[plane.index] = plane.labels
            bars.update(task, completed=plane.number + 1)
    seconds = time.perf_counter() - started

    planes = zip(labels, sample.labels, strict=True)
    counts = sum((average_precision(*both) for both in planes), PrecisionCounts())
    tif = files.write_labels(
        out / "nuclei_labels.tif", labels, spacing=sample.spacing, unit=sample.unit
    )
    middle = len(labels) // 2
    png = write_side_by_side(out / "nuclei.png", sample.image[middle], labels[middle])
    console.print(
        f"{len(np.unique(labels)) - 1} nuclei in {work.n_planes} planes of "
        f"{work.plane_shape[0]} x {work.plane_shape[1]}, {1e3 * seconds / work.n_planes:.0f} ms a plane"
    )
    console.print(f"labels  {tif}\npicture {png}", highlight=False, soft_wrap=True)
    score = Text(f"Dice {dice(labels > 0, sample.labels > 0):.3f}", style="bold green")
    rest = f", AP50 {counts.score:.3f} against the ground truth"
    console.print(Text.assemble(score, rest), highlight=False)
    if show:
        _show(sample, labels)


def _require_window() -> None:
    from napari_sdseg import qt_check
    from sdseg.errors import InputError

    problem = qt_check.explain()
    if problem:
        raise InputError(f"--show: {problem}")


def _show(sample: Any, labels: Any) -> None:
    import napari

    viewer = napari.Viewer()
    axes = {"scale": sample.spacing, "units": (sample.unit,) * labels.ndim}
    viewer.add_image(sample.image, name="nuclei", **axes)
    viewer.add_labels(labels, name="nuclei - SDSeg", **axes)
    napari.run()
