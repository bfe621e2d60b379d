"""The `napari-sdseg` command.

Commands import what they need when they run, so `napari-sdseg --help` costs no torch.
"""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer
from rich.text import Text

from ._console import console, errors
from ._convert import convert
from ._data import data
from ._demo import demo
from ._evaluate import evaluate
from ._finetune import finetune
from ._models import models
from ._segment import segment
from ._stability import stability
from ._train import train

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Segment microscopy and CT/MR images with SDSeg, a diffusion model that needs one step.",
)
for command in (demo, segment, finetune, train, evaluate, stability, convert):
    app.command()(command)
app.add_typer(models, name="models")
app.add_typer(data, name="data")

_debug = False


def _version(wanted: bool) -> None:
    if wanted:
        from napari_sdseg import __version__

        console.print(f"napari-sdseg {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    global _debug
    _debug = debug


def main() -> None:
    """Run the command; what goes wrong on a person's side is one line, and exit code 1."""
    # What it has to say of a damaged file is said by the error of the command.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        app()
    except KeyboardInterrupt:
        errors.print("stopped", style="red")
        sys.exit(130)
    except Exception as error:
        from sdseg.errors import SDSegError

        if _debug or not isinstance(error, SDSegError | OSError | ValueError):
            raise
        said = str(error)
        if not isinstance(error, SDSegError | OSError):  # not written for the person reading it
            said += " (napari-sdseg --debug ... shows where it comes from)"
        line = Text.assemble(("error:", "bold red"), " ", said)
        errors.print(line, highlight=False, soft_wrap=True)
        sys.exit(1)
