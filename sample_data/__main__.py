"""Make the sample files: ``python -m napari_sdseg._samples --out DIR``.

``python -m napari_sdseg._samples looks DIR`` makes training pictures of many looks instead.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .ct import ct_phantom
from .files import write_sample
from .looks import write_looks
from .microscopy import nuclei_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .sample import Sample

GENERATORS: dict[str, Callable[..., Sample]] = {"nuclei": nuclei_stack, "ct": ct_phantom}


def main(arguments: Sequence[str] | None = None) -> None:
    """Write every sample, image and ground truth, and name the files written; or write looks."""
    parser = argparse.ArgumentParser(
        prog="python -m napari_sdseg._samples", description="Make the sample stacks as TIFF files."
    )
    parser.add_argument("--out", type=Path, help="folder to write into")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (default: 0)")
    others = parser.add_subparsers(dest="what", title="instead of the stacks", metavar="")
    looks = others.add_parser(
        "looks",
        help="training pictures of many looks",
        description="Make training pictures of many looks, a folder of pairs with splits.",
    )
    looks.add_argument("folder", type=Path, metavar="OUT", help="folder to write into")
    looks.add_argument("--count", type=int, default=600, help="of pictures (default: 600)")
    looks.add_argument("--size", type=int, default=192, help="of a picture, pixels (default: 192)")
    looks.add_argument("--seed", type=int, default=0, help="of the random numbers (default: 0)")
    options = parser.parse_args(arguments)
    if options.what == "looks":
        for path in write_looks(options.folder, options.count, options.size, options.seed):
            sys.stdout.write(f"{path}\n")
        return
    if options.out is None:
        parser.error("the following arguments are required: --out")
    options.out.mkdir(parents=True, exist_ok=True)
    for name, generate in GENERATORS.items():
        for path in write_sample(generate(seed=options.seed), options.out, name):
            sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
