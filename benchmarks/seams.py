"""Planes in tiles against the same planes in one piece: no seams.

    python benchmarks/seams.py IMAGES [--model nuclei] [--border 16]

IMAGES is a folder; of its images those larger than the model's square are used. What is printed is the
Dice coefficient of the two labels, away from the plane's border.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np

from sdseg import files, load_model
from sdseg.metrics import dice
from sdseg.stack import plan, segment_planes


def main() -> None:
    """Compare, and print a line an image."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--border", type=int, default=16)
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--largest", type=int, default=800, help="longest side in one piece")
    given = parser.parse_args()
    model = load_model(given.model)
    scores = []
    for path in files.images_in(given.images):
        picture = files.read(path)
        work = plan(
            picture.data.shape, picture.data.dtype, model.card, channel_axis=picture.channel_axis
        )
        sides = work.plane_shape
        if max(sides) <= model.card.size or max(sides) > given.largest:
            continue
        card = dataclasses.replace(model.card, size=max(sides))
        tiled, whole = (
            next(iter(segment_planes(picture.data, m, work, instances=False))).labels > 0
            for m in (model, dataclasses.replace(model, card=card))
        )
        inner = (slice(given.border, -given.border),) * 2
        if not whole[inner].any():
            continue
        scores.append(dice(tiled[inner], whole[inner]))
        print(f"{path.name[:20]:<22}{sides[0]:>5} x {sides[1]:<5} Dice {scores[-1]:.4f}", flush=True)
        if len(scores) == given.count:
            break
    print(f"{len(scores)} planes: mean {np.mean(scores):.4f}, worst {min(scores):.4f}")


if __name__ == "__main__":
    main()
