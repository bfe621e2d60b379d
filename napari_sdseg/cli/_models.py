"""`napari-sdseg models`: list the models, and what is known of each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ._console import console

__all__ = ["models"]

models = typer.Typer(help="List the models, or show one's card.", invoke_without_command=True)


@models.callback()
def _list(context: typer.Context) -> None:
    if context.invoked_subcommand is not None:
        return
    from sdseg import list_models

    table = Table("name", "from", "for", "classes", "measured", "licence")
    for m in list_models():
        card = m.card
        scores = ", ".join(f"{k} {v:.3f}" for k, v in card.scores.items())
        classes = ", ".join(c.name for c in card.classes)
        table.add_row(m.name, m.origin, card.summary, classes, scores, card.licence)
    console.print(table)


@models.command()
def export(
    name: Annotated[str, typer.Argument(help="A model's name, or its folder.")],
    folder: Annotated[Path, typer.Argument(help="Where to; must not exist.")],
    half: Annotated[bool, typer.Option("--half", help="Store float16, half the size.")] = False,
) -> None:
    """Write a model into a folder of its own, to be shared or shipped."""
    from sdseg import load_model

    if folder.exists():
        raise FileExistsError(f"{folder} exists; give another name")
    load_model(name, device="cpu", precision="float32").save(folder, half=half)
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    console.print(f"{folder}  {size / 2**20:.1f} MiB", highlight=False, soft_wrap=True)


@models.command()
def show(
    name: Annotated[str, typer.Argument(help="A model's name, or its folder.")],
) -> None:
    """Show a model's card."""
    from sdseg import Card
    from sdseg.store import locate

    folder = locate(name)
    card = Card.read(folder)
    table = Table(show_header=False)
    table.add_column(style="cyan")
    for key, value in card.to_dict().items():
        if key == "classes":
            value = ", ".join(c.name for c in card.classes)
        elif isinstance(value, dict):
            value = ", ".join(f"{k} {v}" for k, v in value.items())
        if value not in (None, ""):
            table.add_row(key.replace("_", " "), str(value))
    table.add_row("folder", str(folder))
    console.print(table)
