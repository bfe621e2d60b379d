"""`napari-sdseg train`: a recipe and a folder of pairs in, a model out."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from ._console import console

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sdseg.training import TrainUpdate

__all__ = ["train"]


def train(
    recipe: Annotated[str, typer.Option(help="A recipe that ships (nuclei), or a TOML file.")],
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            "--root",
            help="Folder with images/, masks/ and the split files; or of the data set.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the run; a run in it is gone on with. [default: runs/RECIPE]"),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Of the denoiser, not the recipe's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Not the recipe's.")] = None,
    init_autoencoder: Annotated[
        str | None,
        typer.Option(help="Autoencoder to use as it is: kl-f8's .ckpt, a vae/ folder, or a hub id."),
    ] = None,
    init_denoiser: Annotated[
        str | None,
        typer.Option(help="What the denoiser starts from: a latent diffusion .ckpt, or a model."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume/--no-resume", help="Go on, or start again.")] = True,
) -> None:
    """Train a model. Stopped or killed, the same command goes on from the last save."""
    from sdseg.training import Recipe, Trainer

    wanted = Recipe.read(recipe)
    if steps is not None:
        denoiser = dataclasses.replace(wanted.denoiser, steps=steps)
        wanted = dataclasses.replace(wanted, denoiser=denoiser)
    if seed is not None:
        wanted = dataclasses.replace(wanted, seed=seed)
    if init_autoencoder is not None:
        wanted = dataclasses.replace(wanted, init_autoencoder=init_autoencoder)
    if init_denoiser is not None:
        wanted = dataclasses.replace(wanted, init_denoiser=init_denoiser)
    if out is None:
        out = Path("runs") / Path(recipe).stem
    trainer = Trainer(wanted, data, out, resume=resume)
    updates = trainer.run()
    (_bars if console.is_terminal else _lines)(u for u in updates if trainer.is_main)
    if trainer.is_main:
        console.print(f"the best model is {trainer.best_path}", highlight=False, soft_wrap=True)


def _figures(u: TrainUpdate) -> str:
    parts = [] if u.loss is None else [f"loss {u.loss:.4f}"]
    if u.dice is not None:
        parts.append(f"Dice {u.dice:.4f}")
    if u.best is not None:
        parts.append(f"best {u.best:.4f}")
    if u.seconds_left is not None:
        minutes, seconds = divmod(int(u.seconds_left), 60)
        parts.append(f"{minutes}:{seconds:02} left")
    return "  ".join(parts)


def _bars(updates: Iterator[TrainUpdate]) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=console) as bars:
        tasks = {}
        for u in updates:
            if u.message:
                console.print(u.message)
                continue
            if u.stage not in tasks:
                tasks[u.stage] = bars.add_task(u.stage, total=u.total, figures="")
            bars.update(tasks[u.stage], completed=u.step, figures=_figures(u))


def _lines(updates: Iterator[TrainUpdate]) -> None:
    """Print a line now and then, for logs."""
    said = 0.0
    for u in updates:
        if u.message:
            console.print(u.message)
        elif u.dice is not None or time.monotonic() - said > 30:
            said = time.monotonic()
            line = f"{u.stage} {u.step}/{u.total}  {_figures(u)}"
            console.print(line, highlight=False, soft_wrap=True)
