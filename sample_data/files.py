"""Samples to and from files: OME-TIFF, an image and its labels side by side.

Axes and voxel size are where every reader of OME-TIFF looks for them. What OME has no field for
(classes, licence) is JSON in the image's description, so that each file explains itself.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import tifffile

from .sample import Sample

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

_OME_UNITS = {"um": "µm", "mm": "mm"}


def write_sample(sample: Sample, folder: Path, name: str) -> list[Path]:
    """Write ``<name>.tif`` and ``<name>_labels.tif`` into `folder`, which must exist.

    Returns
    -------
    list of Path
        The image's file and the labels' file.
    """
    paths = [folder / f"{name}.tif", folder / f"{name}_labels.tif"]
    unit = _OME_UNITS[sample.unit]
    about = {
        "description": sample.description,
        "class_names": sample.class_names,
        "instances": sample.instances,
        "unit": sample.unit,
        "licence": sample.licence,
    }
    for path, data in zip(paths, (sample.image, sample.labels), strict=True):
        metadata: dict[str, Any] = {"axes": "ZYX", "Name": path.stem}
        # a fixed identifier: writing the same sample again changes nothing
        metadata["UUID"] = str(uuid.uuid5(uuid.NAMESPACE_URL, path.stem))
        metadata["Description"] = json.dumps(about)
        for axis, size in zip("ZYX", sample.spacing, strict=True):
            metadata[f"PhysicalSize{axis}"] = size
            metadata[f"PhysicalSize{axis}Unit"] = unit
        tifffile.imwrite(
            path,
            data,
            ome=True,
            photometric="minisblack",
            compression="zlib",
            compressionargs={"level": 9},
            # predicting a pixel from its left neighbour helps smooth images and hurts labels
            predictor=data is sample.image,
            rowsperstrip=data.shape[1],
            metadata=metadata,
        )
    return paths


def read_sample(folder: Path, name: str) -> Sample:
    """Read what `write_sample` wrote.

    Raises
    ------
    FileNotFoundError
        If one of the two files is missing.
    """
    image, pixels, about = _read(folder / f"{name}.tif")
    labels, _, _ = _read(folder / f"{name}_labels.tif")
    z, y, x = (float(pixels[f"PhysicalSize{axis}"]) for axis in "ZYX")
    return Sample(
        image=image,
        labels=labels,
        spacing=(z, y, x),
        unit=about["unit"],
        class_names=tuple(about["class_names"]),
        instances=about["instances"],
        description=about["description"],
        licence=about["licence"],
    )


def _read(path: Path) -> tuple[npt.NDArray[np.integer[Any]], dict[str, str], dict[str, Any]]:
    """Return a file's array, the attributes of its OME ``Pixels`` and its description."""
    with tifffile.TiffFile(path) as tif:
        data = tif.asarray()
        ome = ElementTree.fromstring(tif.ome_metadata or "")
    pixels = ome.find(".//{*}Pixels")
    description = ome.find(".//{*}Image/{*}Description")
    if pixels is None or description is None:
        raise ValueError(f"{path} was not written by write_sample")
    return data, dict(pixels.attrib), json.loads(description.text or "")
