"""The sample stacks, for the library and for napari's *File > Open Sample*."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._samples.files import read_sample

if TYPE_CHECKING:
    from napari.types import LayerDataTuple as LayerData

    from ._samples.sample import Sample

__all__ = ["ct", "load", "nuclei"]

_NAMES = ("nuclei", "ct")

# Colours that stay apart for colour-blind people (Okabe & Ito, Color Universal Design, 2008).
_COLORS = ("#e69f00", "#cc79a7", "#009e73", "#d55e00", "#56b4e9", "#f0e442", "#0072b2")


def load(name: str) -> Sample:
    """Read a sample stack with its ground truth.

    Parameters
    ----------
    name : {"nuclei", "ct"}
        ``"nuclei"``: a fluorescence z-stack of cell nuclei, instance labels, spacing in µm.
        ``"ct"``: a CT phantom of the upper abdomen in HU, class labels, spacing in mm.

    Returns
    -------
    Sample
        ``.image`` and ``.labels``, both (Z, Y, X), with ``.spacing`` and ``.class_names``.

    Raises
    ------
    ValueError
        If there is no such sample.
    """
    if name not in _NAMES:
        raise ValueError(f"name: there is no sample {name!r}; there are {', '.join(_NAMES)}")
    return read_sample(Path(__file__).parent / "_samples", name)


def nuclei() -> list[LayerData]:
    """Layers of the nuclei stack: image and ground truth."""
    sample = load("nuclei")
    # from the camera's offset to just above the brightest 0.1 % of the pixels (798 counts)
    return _layers(sample, "nuclei", (100.0, 800.0), {})


def ct() -> list[LayerData]:
    """Layers of the CT phantom: image in the soft-tissue window, ground truth in fixed colours."""
    sample = load("ct")
    window = (-160.0, 240.0)  # level 40 HU, width 400 HU
    colormap = {None: "transparent", 0: "transparent"}
    colormap |= {i: _COLORS[i - 1] for i in range(1, len(sample.class_names) + 1)}
    names = ("background", *sample.class_names)
    features = {"index": list(range(len(names))), "class": list(names)}
    return _layers(sample, "ct", window, {"colormap": colormap, "features": features})


def _layers(
    sample: Sample, name: str, contrast_limits: tuple[float, float], of_labels: dict[str, Any]
) -> list[LayerData]:
    def common(layer_name: str) -> dict[str, Any]:
        return {
            "name": layer_name,
            "scale": sample.spacing,
            "units": (sample.unit,) * 3,
            "axis_labels": ("z", "y", "x"),
            "metadata": {
                "description": sample.description,
                "licence": sample.licence,
                "class_names": sample.class_names,
            },
        }

    image = {**common(name), "contrast_limits": contrast_limits}
    labels = {**common(f"{name} (ground truth)"), **of_labels}
    return [(sample.image, image, "image"), (sample.labels, labels, "labels")]
