"""`napari-sdseg data`: the published data sets, and what of them is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from ._console import console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sdseg.datasets import Report

__all__ = ["data"]

data = typer.Typer(
    help="List the published data sets, or check a copy of one.", invoke_without_command=True
)


@data.callback()
def _list(context: typer.Context) -> None:
    if context.invoked_subcommand is not None:
        return
    from sdseg.datasets import DATA_SETS

    table = Table("name", "set", "what is in it", "splits")
    for d in DATA_SETS.values():
        table.add_row(d.name, d.title, d.about, ", ".join(d.schemes))
    console.print(table)


@data.command()
def check(
    name: Annotated[str, typer.Argument(help="btcv, sts3d, refuge2-cup, refuge2-disc, cvc, kvasir.")],
    root: Annotated[Path, typer.Option(help="Folder that the set was unpacked into.")],
    every: Annotated[
        bool, typer.Option("--every", help="Open every file, not those of one case.")
    ] = False,
) -> None:
    """Say what of a data set is there, what is missing, and where it is to be had."""
    from sdseg import datasets

    report = datasets.check(name, root, every=every)
    known = report.dataset
    console.print(f"{known.title}: {known.about}", highlight=False, soft_wrap=True)
    if report.images_in is None or report.masks_in is None:
        _say_layout(report)
    else:
        for said, folder in (("images", report.images_in), ("masks", report.masks_in)):
            console.print(f"{said} in {folder}", highlight=False, soft_wrap=True)
    table = Table("split", "train", "val", "test")
    for scheme, parts in report.parts.items():
        table.add_row(scheme, *(f"{there} of {wanted}" for there, wanted in parts.values()))
    console.print(table)
    for said, names in (
        ("no image for", report.without_image),
        ("no mask for", report.without_mask),
        ("in no split, left out", report.unknown),
        ("cannot be used", report.problems),
    ):
        if names:
            console.print(f"{said}: {_few(names)}", highlight=False, soft_wrap=True)
    if report.complete:
        opened = "every file was opened" if every else "one case was opened; --every opens all"
        console.print(f"complete ({opened})", style="green", highlight=False)
        return
    console.print(f"to be had from: {known.source}", highlight=False, soft_wrap=True)
    raise typer.Exit(1)


def _say_layout(report: Report) -> None:
    known = report.dataset
    images, masks = known.folders[0]
    ending = known.suffixes[0]
    console.print(
        f"{report.root} has no folders {images}/ and {masks}/ (or "
        + ", ".join(f"{i}/ and {m}/" for i, m in known.folders[1:])
        + f"); the first holds {known.image_stem.format('NAME')}{ending}, the second "
        f"{known.mask_stem.format('NAME')}{ending}",
        highlight=False,
        soft_wrap=True,
    )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
