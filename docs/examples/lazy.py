"""A dask array in, a lazy dask array out: planes are segmented when they are asked for.

python docs/examples/lazy.py
"""

from __future__ import annotations

import dask.array as da

from napari_sdseg import segment
from napari_sdseg.sample_data import load


def main() -> None:
    """Segment two planes of a lazy stack, and then count its objects slab by slab."""
    stack = da.from_array(load("nuclei").image, chunks=(4, -1, -1))
    classes = segment(stack)
    print(f"{classes}: nothing has been computed")
    print(f"planes 5 and 6: {(classes[5:7] > 0).mean().compute():.1%} nuclei")
    # Objects are numbered through the whole stack, also lazily.
    print(f"{segment(stack, instances=True).max().compute()} objects")


if __name__ == "__main__":
    main()
