"""A 2-D image: its objects, counted and measured.

python docs/examples/one_image.py                # a plane of the sample stack
python docs/examples/one_image.py cells.png
"""

from __future__ import annotations

import sys

from skimage.measure import regionprops_table

from napari_sdseg import segment
from napari_sdseg.sample_data import load


def main(path: str | None = None) -> None:
    """Segment the image and print the size of its objects."""
    image = path if path is not None else load("nuclei").image[6]
    labels = segment(image, model="nuclei", instances=True, min_size=30)
    table = regionprops_table(labels, properties=("label", "area", "eccentricity"))
    print(f"{len(table['label'])} objects of {table['area'].mean():.0f} pixels in the mean")


if __name__ == "__main__":
    main(*sys.argv[1:2])
