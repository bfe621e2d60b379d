"""Images from files, labels to files, with their geometry.

Arrays are in the order z, y, x, with time before and channels where the file has them. TIFF, NPY and
OME-Zarr are not read until they are indexed, and labels can be written plane by plane as they come, so
that neither need fit into memory. What is written appears whole or not at all.
"""

from ._find import images_in, is_image
from ._omezarr import image_label, is_zarr, labels_in, levels
from ._picture import LABEL_SUFFIXES, SUFFIXES, Picture, suffix_of
from ._read import read
from ._write import check_writable, write_labels, write_planes

__all__ = [
    "LABEL_SUFFIXES",
    "SUFFIXES",
    "Picture",
    "check_writable",
    "image_label",
    "images_in",
    "is_image",
    "is_zarr",
    "labels_in",
    "levels",
    "read",
    "suffix_of",
    "write_labels",
    "write_planes",
]
