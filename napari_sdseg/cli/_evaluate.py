"""`napari-sdseg evaluate`: say how good a model is on cases with ground truth."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from ._cases import chosen, folder
from ._console import console, progress
from ._stability import measured, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sdseg import Model
    from sdseg.evaluation import CaseScore

__all__ = ["evaluate"]

_KINDS = ("sound", "square", "published")


def evaluate(
    model: Annotated[str, typer.Argument(help="Name, folder or hub id.")],
    data: Annotated[Path, typer.Argument(help="Folder with images/ and masks/, or of the data set.")],
    dataset: Annotated[
        str | None, typer.Option("--set", help="A published data set: btcv, sts3d, cvc, ...")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="File of stems, or train, val, test of a set. [default: val.txt, test]"),
    ] = None,
    scheme: Annotated[str | None, typer.Option(help="Which split of the set.")] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Take what is there of the set.")] = False,
    protocol: Annotated[
        Literal["sound", "published"], typer.Option(help="How cases are segmented and scored.")
    ] = "sound",
    instances: Annotated[
        bool | None, typer.Option("--instances/--no-instances", help="Count matched objects.")
    ] = None,
    surfaces: Annotated[
        bool, typer.Option("--surfaces/--no-surfaces", help="Measure HD95 and ASSD.")
    ] = True,
    samples: Annotated[int, typer.Option(min=1, help="Noise samples a plane.")] = 1,
    steps: Annotated[int, typer.Option(min=1, help="Reverse steps.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    stability: Annotated[
        int | None,
        typer.Option(min=2, help="Also compare this many noise samples (see the command stability)."),
    ] = None,
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
    """Segment every image of a data set and compare with its mask.

    sound: in the image's own pixels, empty masks treated rightly. published: as the published
    implementation does, at the network's size, with its conventions for empty masks. The table has
    both where they differ.
    """
    from sdseg import evaluation, load_model
    from sdseg.datasets import data_set
    from sdseg.metrics import IOU_THRESHOLDS

    if dataset is None:  # what is wrong with a folder is said before a model is loaded
        folder(data, split)
    loaded = load_model(model, device=device, precision=precision)
    if dataset is not None and scheme is None and protocol == "published":
        scheme = data_set(dataset).published_scheme
    cases, what = chosen(data, loaded.card, dataset, split, scheme, partial)
    if instances is None:
        plain = dataset is None and protocol == "sound"
        instances = plain and loaded.card.coding == "instances"
    console.print(loaded.device_note, style="dim", highlight=False)
    for file in (json_file, csv_file):
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
    scores = []
    with progress("images") as bars:
        task = bars.add_task(f"{loaded.card.name} on {what}", total=len(cases))
        for score in evaluation.evaluate(
            loaded, cases, protocol=protocol, instances=instances, thresholds=IOU_THRESHOLDS,
            surfaces=surfaces, samples=samples, steps=steps, seed=seed,
        ):  # fmt: skip
            scores.append(score)
            bars.advance(task)
    figures = {kind: evaluation.summary(scores, kind) for kind in _KINDS}
    console.print(_table(figures, protocol, loaded.card.size))
    out: dict[str, Any] = {"protocol": protocol, "on": what, "summary": figures[protocol], **figures}
    if stability is not None:
        out["stability"] = measured(loaded, cases, samples=stability, steps=steps, seed=seed)
        show(out["stability"])
    if json_file is not None:
        out["cases"] = [dataclasses.asdict(s) for s in scores]
        json_file.write_text(json.dumps(_plain(out), indent=2) + "\n", encoding="utf-8")
    if csv_file is not None:
        _write_csv(csv_file, scores)
    if record is not None:
        _record(loaded, record, figures[protocol])


def _plain(value: Any) -> Any:
    """Replace NaN, which JSON has no word for, by null."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and math.isnan(value) else value


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


def _table(figures: dict[str, dict[str, Any]], protocol: str, size: int) -> Table:
    """Draw the protocol's figures, and beside them the others where they differ."""
    lines = {kind: _lines(f) for kind, f in figures.items() if f}
    first = lines.pop(protocol)
    others = {
        kind: {name: said for name, (said, _) in of.items() if said != first.get(name, ("",))[0]}
        for kind, of in lines.items()
    }
    others = {kind: of for kind, of in others.items() if of}
    titles = {"sound": "sound", "square": f"sound at {size}", "published": "published"}
    table = Table()
    table.add_column(no_wrap=True)
    for title in (titles[protocol], "95 % interval", *(titles[kind] for kind in others)):
        table.add_column(title)
    for name in dict.fromkeys([*first, *(n for of in others.values() for n in of)]):
        table.add_row(name, *first.get(name, ("", "")), *(of.get(name, "") for of in others.values()))
    return table


def _lines(figures: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Say each figure, and the interval of those that have one; of several classes each."""
    lines: dict[str, tuple[str, str]] = {}
    for name, value in figures.items():
        if name.endswith(" interval"):
            continue
        ends = figures.get(f"{name} interval")
        if not isinstance(value, dict):
            lines[name] = _said(name, value, ends)
        elif len(value) > 1:
            title = name.split(" by ")[0]
            for part, inner in value.items():
                lines[f"  {title} {part}"] = _said(name, inner, (ends or {}).get(part))
    return lines


def _said(name: str, value: float | None, ends: Sequence[float] | None) -> tuple[str, str]:
    digits = 1 if name.startswith("ms") else 2 if name.startswith(("hd95", "assd")) else 4
    said = "-" if value is None else f"{value:d}" if isinstance(value, int) else f"{value:.{digits}f}"
    return said, "" if ends is None else f"{ends[0]:.{digits}f} to {ends[1]:.{digits}f}"


def _write_csv(path: Path, scores: list[CaseScore]) -> None:
    """Write a line a case: the old columns first, then what came later."""
    kinds = (
        "dice",
        "iou",
        "square_dice",
        "square_iou",
        "published_dice",
        "published_iou",
        "hd95",
        "assd",
    )
    classes = list(scores[0].dice)
    there = [k for k in kinds if getattr(scores[0], k)]
    first, later = there[:2], there[2:]

    def values(s: CaseScore, of: list[str]) -> list[Any]:
        return [getattr(s, k)[c] for k in of for c in classes]

    def heads(of: list[str]) -> list[str]:
        return [f"{k.replace('_', ' ')} {c}" for k in of for c in classes]

    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(
            ["name", *heads(first), "tp", "fp", "fn", *heads(later), "unit", "planes", "seconds"]
        )
        for s in scores:
            counted = ("", "", "") if s.counts is None else (s.counts.tp, s.counts.fp, s.counts.fn)
            rows.writerow(
                [
                    s.name,
                    *values(s, first),
                    *counted,
                    *values(s, later),
                    s.unit,
                    s.planes,
                    f"{s.seconds:.3f}",
                ]
            )
