"""`napari-sdseg convert`: an original SDSeg checkpoint in, a model folder out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._console import console

__all__ = ["convert"]


def convert(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CKPT", help="A .ckpt of the original implementation.")
    ],
    config: Annotated[Path, typer.Option(help="The yaml that it was trained with.")],
    out: Annotated[Path, typer.Option(help="Folder for the model; must not exist.")],
    name: Annotated[str | None, typer.Option(help="Of the model. [default: OUT's]")] = None,
    classes: Annotated[
        str | None,
        typer.Option(metavar="A,B,C", help="Names of the classes, background left out."),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="The weights as training left them, not their average.")
    ] = False,
    half: Annotated[bool, typer.Option("--half", help="Store float16, half the size.")] = False,
) -> None:
    """Convert an original SDSeg checkpoint, binary or class-conditioned, into a model.

    Only tensors are read of it, never code. What the yaml cannot say (the pixel values that the model
    expects, its licence, what it was trained on) is for you to put into card.json.
    """
    if out.exists():
        raise FileExistsError(f"--out: {out} exists; give another name")
    from sdseg.convert import convert as work

    names = [c.strip() for c in classes.split(",")] if classes is not None else None
    model = work(checkpoint, config, name=name or out.resolve().name, classes=names, raw=raw)
    model.save(out, half=half)
    card = model.card
    drawn = ", ".join(c.name for c in card.classes)
    size = sum(f.stat().st_size for f in out.rglob("*") if f.is_file())
    which = "raw" if raw else "averaged"
    console.print(
        f"{out}  {size / 2**20:.1f} MiB, {which} weights, {card.coding}: {drawn}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    console.print(
        f"taken for granted: {card.intensity.kind} values, planes fitted to {card.size} x {card.size} "
        f"pixels; change {out / 'card.json'} if the model was trained otherwise",
        style="dim", highlight=False, soft_wrap=True,
    )  # fmt: skip
