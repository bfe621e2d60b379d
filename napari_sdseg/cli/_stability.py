"""`napari-sdseg stability`: say how much masks differ from one noise to another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from ._cases import chosen
from ._console import console, progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sdseg import Model
    from sdseg.datasets import Case
    from sdseg.stability import PlaneStability

__all__ = ["measured", "show", "stability"]

_SAID = {"independent": "noise of its own for every image", "shared": "one noise for all (published)"}


def stability(
    model: Annotated[str, typer.Argument(help="Name, folder or hub id.")],
    data: Annotated[Path, typer.Argument(help="Folder with images/ and masks/, or of the data set.")],
    samples: Annotated[int, typer.Option(min=2, help="Noise samples an image.")] = 10,
    steps: Annotated[int, typer.Option(min=1, help="Reverse steps.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the first sample.")] = 0,
    dataset: Annotated[str | None, typer.Option("--set", help="A published data set.")] = None,
    split: Annotated[
        str | None, typer.Option(help="File of stems, or train, val, test. [default: val.txt, test]")
    ] = None,
    scheme: Annotated[str | None, typer.Option(help="Which split of the set.")] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Take what is there of the set.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write a picture an image here.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures here.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32, bfloat16, float16.")] = None,
) -> None:
    """Segment every image several times and compare the results, by the published protocol."""
    from sdseg import load_model

    loaded = load_model(model, device=device, precision=precision)
    cases, what = chosen(data, loaded.card, dataset, split, scheme, partial)
    console.print(loaded.device_note, style="dim", highlight=False)
    figures = measured(loaded, cases, samples=samples, steps=steps, seed=seed, out=out)
    show(figures)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"steps": steps, "seed": seed, "on": what, **figures}, indent=2)
        json_file.write_text(text + "\n", encoding="utf-8")


def measured(
    model: Model,
    cases: Sequence[Case],
    *,
    samples: int,
    steps: int = 1,
    seed: int = 0,
    out: Path | None = None,
) -> dict[str, dict[str, Any]]:
    """Return the figures with noise of its own for every image, and with one noise for all."""
    from sdseg import stability as core

    figures: dict[str, dict[str, Any]] = {}
    for noise in _SAID:
        planes: list[PlaneStability] = []
        names: set[str] = set()
        with progress("images") as bars:
            task = bars.add_task(f"{noise} noise", total=len(cases))
            for plane in core.stability(
                model, cases, samples=samples, steps=steps, seed=seed, shared_noise=noise == "shared"
            ):
                if plane.name not in names:
                    names.add(plane.name)
                    bars.update(task, completed=len(names) - 1)
                if out is not None:
                    _picture(out / noise / f"{plane.name}_{plane.plane:04}.png", plane)
                planes.append(core.without_pictures(plane))
            bars.update(task, completed=len(cases))
        figures[noise] = core.summary(planes)
    return figures


def show(figures: dict[str, dict[str, Any]]) -> None:
    """Print a column for each kind of noise."""
    from sdseg.perceptual import why_not

    table = Table()
    table.add_column(no_wrap=True)
    for noise in figures:
        table.add_column(_SAID[noise])
    for name in next(iter(figures.values())):
        values = (f[name] for f in figures.values())
        table.add_row(
            name,
            *("-" if v is None else f"{v:d}" if isinstance(v, int) else f"{v:.4f}" for v in values),
        )
    console.print(table)
    missing = why_not()
    if missing is not None:
        console.print(missing, style="dim", highlight=False, soft_wrap=True)


def _picture(path: Path, plane: PlaneStability) -> None:
    """Write image, mean probability and spread side by side, a row a channel of the mask."""
    import numpy as np
    from PIL import Image

    shown = plane.image.astype(np.float32)
    low, high = float(shown.min()), float(shown.max())
    grey = (shown - low) / max(high - low, 1e-8)
    if grey.ndim == 3:
        grey = grey.mean(axis=-1)
    # 0.5 is the largest spread that numbers between 0 and 1 can have.
    rows = [np.hstack([grey, m, 2 * s]) for m, s in zip(plane.mean, plane.spread, strict=True)]
    picture = np.rint(np.vstack(rows).clip(0, 1) * 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
