"""`napari-sdseg evaluate`: say how good a model is on a folder of pairs."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from ._console import console, progress

if TYPE_CHECKING:
    from sdseg import Model

__all__ = ["evaluate"]


def evaluate(
    model: Annotated[str, typer.Argument(help="Name, folder or hub id.")],
    data: Annotated[Path, typer.Argument(help="Folder with images/ and masks/.")],
    split: Annotated[
        str | None, typer.Option(help="File of stems. [default: val.txt of DATA, if there]")
    ] = None,
    instances: Annotated[
        bool | None, typer.Option("--instances/--no-instances", help="Count matched objects.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Noise samples a plane.")] = 1,
    steps: Annotated[int, typer.Option(min=1, help="Reverse steps.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32, bfloat16, float16.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures here.")] = None,
    record: Annotated[
        str | None,
        typer.Option(
            metavar="SET", help="Write Dice and AP50 into the model's card, as measured on SET."
        ),
    ] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write a line a case here.")] = None,
) -> None:
    """Segment every image of a data set and compare with its mask, in the image's own pixels."""
    from sdseg import evaluation, load_model

    if split is None and (data / "val.txt").is_file():
        split = "val.txt"
    cases = evaluation.pairs(data, split)
    loaded = load_model(model, device=device, precision=precision)
    single = loaded.card.coding == "instances" if instances is None else instances
    console.print(loaded.device_note, style="dim", highlight=False)
    for file in (json_file, csv_file):
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
    scores = []
    with progress("images") as bars:
        task = bars.add_task(f"{loaded.card.name} on {split or 'all pairs'}", total=len(cases))
        for score in evaluation.evaluate(
            loaded, cases, instances=single, samples=samples, steps=steps, seed=seed
        ):
            scores.append(score)
            bars.advance(task)
    figures = evaluation.summary(scores)
    console.print(_table(figures))
    if json_file is not None:
        text = json.dumps(
            {"summary": figures, "cases": [dataclasses.asdict(s) for s in scores]}, indent=2
        )
        json_file.write_text(text + "\n", encoding="utf-8")
    if csv_file is not None:
        _write_csv(csv_file, scores)
    if record is not None:
        _record(loaded, record, figures)


def _record(model: Model, name: str, figures: dict[str, Any]) -> None:
    """Write measured figures into the card of the model's folder."""
    from sdseg.errors import InputError

    if model.path is None:
        raise InputError("--record: the model has no folder")
    measured = {
        f"{k}, {name}": round(figures[v], 4)
        for k, v in (("Dice", "dice"), ("AP50", "AP50"))
        if v in figures
    }
    scores = {**model.card.scores, **measured}
    dataclasses.replace(model.card, scores=scores).write(model.path)
    console.print(f"written into the card: {measured}", highlight=False)


def _table(figures: dict[str, Any]) -> Table:
    table = Table(show_header=False)
    table.add_column(style="cyan")
    table.add_column(justify="right")
    for name, value in figures.items():
        if isinstance(value, dict):
            if len(value) > 1:
                for part, inner in value.items():
                    table.add_row(f"  {part}", f"{inner:.4f}")
        else:
            digits = 0 if isinstance(value, int) else 1 if "ms" in name else 4
            said = f"{value:.{digits}f}"
            table.add_row(name, said)
    return table


def _write_csv(path: Path, scores: list[Any]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        classes = list(scores[0].dice)
        rows.writerow(
            ["name", *(f"dice {c}" for c in classes), *(f"iou {c}" for c in classes), "tp", "fp", "fn"]
        )
        for s in scores:
            counted = ("", "", "") if s.counts is None else (s.counts.tp, s.counts.fp, s.counts.fn)
            rows.writerow([s.name, *s.dice.values(), *s.iou.values(), *counted])
