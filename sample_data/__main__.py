"""Make the sample files: ``python -m napari_sdseg._samples --out DIR``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .ct import ct_phantom
from .files import write_sample
from .microscopy import nuclei_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .sample import Sample

GENERATORS: dict[str, Callable[..., Sample]] = {"nuclei": nuclei_stack, "ct": ct_phantom}


def main(arguments: Sequence[str] | None = None) -> None:
    """Write every sample, image and ground truth, and name the files written."""
    parser = argparse.ArgumentParser(
        prog="python -m napari_sdseg._samples", description="Make the sample stacks as TIFF files."
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (default: 0)")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, generate in GENERATORS.items():
        for path in write_sample(generate(seed=options.seed), options.out, name):
            sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
