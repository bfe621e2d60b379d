"""Real stacks of every kind through `segment()`: shapes and dtypes checked, a picture of each.

    python benchmarks/stacks.py DATA --out pictures

DATA holds `ircad_ct/`, `nuclei3d/`, `cho_tzyx/`, `drive/` and `vnc_em/`; what is missing is left out.
The bundled model knows nuclei: on the CT, the fundus photograph and the electron micrographs the
labels mean nothing, and what is shown is that they lie where they should, without seams.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from napari_sdseg import segment
from napari_sdseg._outlines import write_side_by_side
from sdseg import files
from sdseg.metrics import dice

CASES: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "ircad_ct, fit": ("ircad_ct/images/*.nii.gz", {"placement": "fit"}, (60,)),
    "nuclei3d, objects": ("nuclei3d/images/*.tif", {"instances": True}, (30,)),
    "nuclei3d, three directions": ("nuclei3d/images/*.tif", {"orthogonal": True}, (30,)),
    "cho_tzyx, objects": ("cho_tzyx/image.tif", {"instances": True}, (3, 2)),
    "drive, colour": ("drive/images/21_training.png", {}, ()),
    "vnc_em, tiles": ("vnc_em/image.tif", {}, (10,)),
}


def main() -> None:
    """Run what is there and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("pictures"))
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    for name, (pattern, options, shown) in CASES.items():
        found = sorted(given.data.glob(pattern))
        if not found or given.only not in name:
            continue
        picture = files.read(found[0])
        last: tuple[int, int] = (0, 0)

        def note(*at: int) -> None:
            nonlocal last
            last = at  # type: ignore[assignment]

        started = time.perf_counter()
        labels = segment(found[0], given.model, progress=note, **options)
        seconds = time.perf_counter() - started
        wanted = picture.data.shape if picture.channel_axis is None else picture.data.shape[:-1]
        assert labels.shape == wanted, (labels.shape, wanted)
        assert labels.dtype == (np.uint32 if options.get("instances") else np.uint8)
        path = given.out / f"{name.replace(', ', '_').replace(' ', '_')}.png"
        write_side_by_side(path, np.asarray(picture.data[shown]), labels[shown])
        told = f"{labels.max()} objects" if options.get("instances") else f"{labels.mean():.1%} drawn"
        truth = sorted(found[0].parent.parent.glob(f"masks/{found[0].name}")) or sorted(
            found[0].parent.glob("mask.tif")
        )
        if truth and name.startswith(("nuclei3d", "cho")):
            real = np.asarray(files.read(truth[0]).data[...])
            told += f", foreground Dice {dice(labels > 0, real > 0):.3f}"
        print(
            f"{name:<28} {labels.shape!s:<20} {labels.dtype!s:<7} {last[1]:>4} planes, "
            f"{1e3 * seconds / last[1]:>4.0f} ms each; {told}; {path}",
            flush=True,
        )


if __name__ == "__main__":
    main()
