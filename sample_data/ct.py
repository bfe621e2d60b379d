"""An abdominal CT stack from shapes to Hounsfield units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from .anatomy import Abdomen
from .noise import ramp_noise, smooth_noise
from .sample import Sample

if TYPE_CHECKING:
    from collections.abc import Mapping

CLASS_NAMES = ("liver", "spleen", "kidneys", "aorta", "bone")

DESCRIPTION = (
    "Simulated CT of the upper abdomen in Hounsfield units, after contrast medium; ground truth "
    "for liver, spleen, kidneys, aorta and bone. A phantom: not for diagnosis."
)

_CLASS_OF = {
    "liver": 1,
    "hepatic vessel": 1,  # as in the public data sets, vessels within the liver count as liver
    "spleen": 2,
    "kidney": 3,
    "aorta": 4,
    "cortical bone": 5,
    "marrow": 5,
}

UNENHANCED: Mapping[str, float] = {
    "air": -1000.0,
    "fat": -100.0,
    "water": 10.0,
    "muscle": 55.0,
    "bowel": 40.0,
    "pancreas": 42.0,
    "liver": 58.0,
    "spleen": 48.0,
    "kidney": 32.0,
    "vessel": 42.0,
    "hepatic vessel": 42.0,
    "aorta": 42.0,
    "marrow": 180.0,
    "cortical bone": 800.0,
}
"""Hounsfield units without contrast medium.

Within the ranges of T. M. Buzug, Computed Tomography, Springer 2008, p. 475 (liver 45-65, spleen
35-55, kidney 20-40, blood 45-65, fat -100 to -50, compact bone above 250) and the means of
R. Lamba et al., AJR 203 (2014) 1013 for soft tissue.
"""

PORTAL_VENOUS: Mapping[str, float] = {
    **UNENHANCED,
    "muscle": 65.0,
    "bowel": 75.0,
    "pancreas": 95.0,
    "liver": 110.0,
    "spleen": 125.0,
    "kidney": 185.0,
    "vessel": 155.0,
    "hepatic vessel": 160.0,
    "aorta": 150.0,
}
"""Hounsfield units about 70 s after injection.

The liver gains the 50 HU that are the aim of the protocol; the rest is typical of that phase
(K. T. Bae, Intravenous contrast medium administration and scan timing at CT, Radiology 256 (2010)
32).
"""


def ct_phantom(
    shape: tuple[int, int, int] = (24, 192, 192),
    *,
    seed: int = 0,
    spacing: tuple[float, float, float] = (5.0, 2.0, 2.0),
    tissues: Mapping[str, float] = PORTAL_VENOUS,
    size: float = 1.08,
    fat: float = 16.0,
    variation: float = 3.0,
    texture: float = 4.0,
    blur: float = 1.2,
    cupping: float = 8.0,
    noise: float = 12.0,
    kernel: float = 1.0,
) -> Sample:
    """Simulate a CT of the upper abdomen.

    1. Organs are smooth shapes that change along z (`anatomy.Abdomen`), each with its tissue's HU
       and a weak, smooth unevenness.
    2. The scanner's resolution blurs them in the plane (partial volume).
    3. What beam hardening leaves after correction lowers the middle of the body (cupping).
    4. Noise has the spectrum of filtered back-projection (`noise.ramp_noise`) and grows with depth,
       where fewer photons get through.

    The ground truth is the tissue at the voxel's centre.

    Parameters
    ----------
    shape : tuple of int
        (Z, Y, X).
    seed : int
        The same seed gives the same stack.
    spacing : tuple of float
        Along Z, Y, X, in mm. The default field of view is 384 mm.
    tissues : mapping of str to float
        HU of each tissue: `PORTAL_VENOUS`, `UNENHANCED`, or one like them.
    size : float
        Scale of the body; at 1 it is 320 mm wide and 224 mm deep.
    fat : float
        Thickness of the fat under the skin, mm.
    variation : float
        How far anatomy departs from the mean body, mm; 0 is the mean body.
    texture : float
        Standard deviation of the unevenness within soft tissue, HU.
    blur : float
        Standard deviation of the in-plane resolution, mm.
    cupping : float
        HU by which the middle of the body is too low compared with the skin.
    noise : float
        Standard deviation of the noise in the middle of the body, HU. At the skin it is half.
    kernel : float
        Where the reconstruction kernel's window ends, as a multiple of the Nyquist frequency.

    Returns
    -------
    Sample
        Image int16 (HU, at least -1024), class labels uint8, spacing in mm; plane 0 is the lowest.
    """
    rng = np.random.default_rng(seed)
    body = Abdomen(rng, shape, spacing, size, fat, variation)
    hounsfield = np.full(shape, tissues["air"])
    labels = np.zeros(shape, dtype=np.uint8)
    for name, mask in body.parts():
        hounsfield[mask] = tissues[name]
        labels[mask] = _CLASS_OF.get(name, 0)

    soft = (hounsfield > -200) & (hounsfield < 300)
    hounsfield += np.where(soft, texture * smooth_noise(rng, shape, spacing, 6.0), 0.0)
    hounsfield = ndimage.gaussian_filter(hounsfield, (0, blur / spacing[1], blur / spacing[2]))
    inside = np.clip(body.depth / 112.0, 0, 1)  # 0 at the skin and outside, 1 in the middle
    # the water calibration is right on average, so that the outer parts are too high
    hounsfield += np.where(body.depth > 0, cupping * (0.5 - inside), 0.0)
    hounsfield += noise * (0.5 + 0.5 * np.sqrt(inside)) * ramp_noise(rng, shape, kernel)
    image = np.clip(np.rint(hounsfield), -1024, 3071).astype(np.int16)
    return Sample(
        image=image,
        labels=labels,
        spacing=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        unit="mm",
        class_names=CLASS_NAMES,
        instances=False,
        description=DESCRIPTION,
    )
