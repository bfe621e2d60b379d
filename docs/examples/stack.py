"""A stack: objects joined across its planes, compared with ground truth, written with their spacing.

python docs/examples/stack.py                     # the sample stack
python docs/examples/stack.py stack.ome.tif labels.ome.tif
"""

from __future__ import annotations

import sys

from napari_sdseg import segment
from napari_sdseg.sample_data import load
from sdseg.metrics import dice


def main(path: str | None = None, out: str | None = None) -> None:
    """Segment a stack."""
    if path is not None:
        # Read, segmented and written plane by plane: neither the image nor the labels are ever whole.
        print(segment(path, instances=True, out=out, progress=lambda done, total: print(done, total)))
        return
    sample = load("nuclei")
    # In µm, along z, y and x; a file or a layer brings its own.
    labels = segment(sample.image, instances=True, spacing=sample.spacing)
    print(f"{labels.max()} objects, Dice {dice(labels > 0, sample.labels > 0):.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
