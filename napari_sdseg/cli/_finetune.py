"""`napari-sdseg finetune`: an image and painted labels in, a model that draws the rest out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._console import console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sdseg.training.finetune import FineTuneUpdate

__all__ = ["finetune"]


def finetune(
    image: Annotated[
        list[Path], typer.Option("--image", help="What was painted on; again for several images.")
    ],
    labels: Annotated[
        list[Path], typer.Option("--labels", help="What was painted; once for each image.")
    ],
    out: Annotated[
        str,
        typer.Option(help="A name, to find it again by; or a folder. A folder has a / in it."),
    ],
    model: Annotated[str, typer.Option(help="What to start from: name, folder or hub id.")] = "base",
    annotated: Annotated[
        list[str] | None,
        typer.Option(help="Annotated planes: 10,30,50; for several images once for each."),
    ] = None,
    ignore_label: Annotated[
        int | None, typer.Option(help="For strokes: the label of unknown pixels.")
    ] = None,
    background_label: Annotated[
        int | None, typer.Option(help="For strokes: the label of background, if 0 is unknown.")
    ] = None,
    classes: Annotated[str | None, typer.Option(help="Names of class 1, 2, ...: liver,tumour.")] = None,
    axis: Annotated[int | None, typer.Option(help="Axis to slice along.")] = None,
    channel_axis: Annotated[int | None, typer.Option(help="Axis of colours.")] = None,
    placement: Annotated[str | None, typer.Option(help="tile or fit.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="How long to learn, in steps.")] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.001, help="How long to learn. [default: 60]")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32, bfloat16, float16.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an older model.")] = False,
) -> None:
    """Teach a copy of a model what was painted on a few planes, and keep it.

    Interrupted (Ctrl+C), it keeps what was learned so far.
    """
    from napari_sdseg._finetune import tuner_for
    from sdseg import library
    from sdseg.errors import InputError

    if len(image) != len(labels):
        raise InputError(f"--labels: {len(labels)} for {len(image)} images; give one for each")
    for path in (*image, *labels):
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
    chosen = None if annotated is None else [_positions(text) for text in annotated]
    if chosen is not None and len(chosen) != len(image):
        raise InputError(f"--annotated: {len(chosen)} lists for {len(image)} images")
    if not overwrite:  # said before the work
        if _is_name(out):
            library.check_name(out)
        elif Path(out).exists():
            raise FileExistsError(f"{out} exists; give --out another name, or --overwrite")
    tuner = tuner_for(
        model,
        image,
        labels,
        annotated=chosen,
        ignore_label=ignore_label,
        background_label=background_label,
        classes=None if classes is None else [name.strip() for name in classes.split(",")],
        axis=axis,
        channel_axis=channel_axis,
        placement=placement,
        steps=steps,
        seconds=seconds,
        seed=seed,
        device=device,
        precision=precision,
    )
    count = sum(map(len, tuner.planes))
    console.print(
        f"{count} annotated planes of {len(image)} image(s). {tuner.source.device_note}",
        style="dim", highlight=False,
    )  # fmt: skip
    last = _learn(tuner.run(), lambda: tuner.step > 0)
    made = tuner.result
    if _is_name(out):
        target = library.keep(made, out, overwrite=overwrite).path
    else:
        card = dataclasses.replace(made.card, name=Path(out).name)
        target = dataclasses.replace(made, card=card).save(out)
    if last is not None and last.best is not None:
        before = "" if last.before is None else f"{last.before:.3f} before, "
        console.print(
            f"Dice on painted planes left out: {before}{last.best:.3f} after", highlight=False
        )
        if last.before is not None and last.best <= last.before:
            console.print("This is no better than the model it started from.", style="yellow")
    console.print(f"{tuner.step} steps  ->  {target}", highlight=False, soft_wrap=True)


def _is_name(text: str) -> bool:
    return "/" not in text and "\\" not in text


def _positions(text: str) -> list[int]:
    from sdseg.errors import InputError

    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"--annotated: got {text!r}; use 10,30,50") from error


def _learn(updates: Iterable[FineTuneUpdate], anything: Callable[[], bool]) -> FineTuneUpdate | None:
    """Draw the progress; an interrupt ends the learning, not the command, once there is a step."""
    from rich.progress import BarColumn, Progress, TextColumn

    last: FineTuneUpdate | None = None
    columns = (TextColumn("learning"), BarColumn(), TextColumn("{task.fields[figures]}"))
    with Progress(*columns, console=console) as bars:
        task = bars.add_task("learning", total=1.0, figures="")
        try:
            for last in updates:
                bars.update(task, completed=last.done, figures=_figures(last))
        except KeyboardInterrupt:
            if not anything():
                raise
    return last


def _figures(update: FineTuneUpdate) -> str:
    parts = [f"step {update.step}"]
    if update.loss is not None:
        parts.append(f"loss {update.loss:.3f}")
    if update.best is not None:
        parts.append(f"Dice {update.best:.3f}")
    minutes, seconds = divmod(int(update.seconds_left), 60)
    return "  ".join([*parts, f"{minutes}:{seconds:02} left"])
