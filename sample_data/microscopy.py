"""A fluorescence z-stack of cell nuclei, from shapes to camera counts."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .cells import fill, place, stain
from .sample import Sample

# Optical blur is computed on planes this many times closer than the stack's: its axial standard
# deviation is less than one plane distance, too little to be sampled by the stack itself.
_FINE = 3

DESCRIPTION = (
    "Simulated widefield fluorescence stack of cell nuclei (DAPI-like stain) with camera noise; "
    "every nucleus is numbered in the ground truth."
)

_Array = npt.NDArray[np.float64]


def psf_sigma(na: float, wavelength: float, refractive_index: float) -> tuple[float, float]:
    """Axial and lateral standard deviation of the Gaussian nearest to a widefield PSF.

    ``sigma_xy = sqrt(2) / (k NA)`` = 0.225 λ/NA and ``sigma_z = 2 sqrt(6) n / (k NA²)`` =
    0.78 n λ/NA², with ``k = 2π/λ``: the paraxial approximation of B. Zhang, J. Zerubia,
    J.-C. Olivo-Marin, Gaussian approximations of fluorescence microscope point-spread function
    models, Applied Optics 46 (2007) 1819.

    Parameters
    ----------
    na : float
        Numerical aperture of the objective.
    wavelength : float
        Emission wavelength in vacuum, µm.
    refractive_index : float
        Of the immersion medium.

    Returns
    -------
    tuple of float
        sigma_z, sigma_xy in µm.
    """
    k = 2 * math.pi / wavelength
    return 2 * math.sqrt(6) * refractive_index / (k * na**2), math.sqrt(2) / (k * na)


def nuclei_stack(
    shape: tuple[int, int, int] = (12, 256, 256),
    *,
    seed: int = 0,
    voxel_size: tuple[float, float, float] = (0.8, 0.4, 0.4),
    density: float = 4000.0,
    diameter: float = 8.5,
    diameter_spread: float = 0.12,
    elongation: float = 1.3,
    height: float = 8.0,
    z_spread: float = 0.6,
    touching: float = 0.3,
    overlap: float = 0.04,
    texture: float = 0.25,
    nucleoli: float = 3.0,
    brightness_spread: float = 0.28,
    na: float = 0.8,
    wavelength: float = 0.461,
    refractive_index: float = 1.0,
    aberration: float = 0.3,
    haze: float = 0.3,
    background: float = 6.0,
    illumination: float = 0.25,
    photons: float = 250.0,
    gain: float = 2.0,
    read_noise: float = 1.6,
    offset: float = 100.0,
) -> Sample:
    """Simulate a widefield z-stack of a layer of nuclei.

    1. Nuclei are flattened ellipsoids with a slightly irregular outline, placed at random; a part
       of them is set against a neighbour.
    2. The stain is uneven: band-limited chromatin texture, and nucleoli that take little of it.
    3. The microscope blurs with a Gaussian point spread function (`psf_sigma`); a share of$
       the light (`haze`) comes from far out of focus and is spread over several µm.
    4. Illumination falls off from its centre. Photons are counted (Poisson), the camera adds read
       noise (Gaussian) and an offset: ``counts = gain * (Poisson(photons) + read noise) + offset``.

    A voxel belongs to a nucleus in the ground truth where the blurred nucleus, without texture,
    reaches half of its plateau: where the eye, and a threshold, sees its edge.

    Parameters
    ----------
    shape : tuple of int
        (Z, Y, X).
    seed : int
        The same seed gives the same stack.
    voxel_size : tuple of float
        Along Z, Y, X, in µm.
    density : float
        Nuclei per mm² of the layer (fewer are placed where no room is left).
    diameter, diameter_spread : float
        In-plane diameter of the mean nucleus, µm, and its relative spread (log-normal).
    elongation : float
        Mean ratio of the in-plane axes; they vary between 1 and ``2 * elongation - 1``.
    height : float
        Mean height of a nucleus, µm.
    z_spread : float
        Standard deviation of the centres around the middle plane, µm.
    touching : float
        Share of the nuclei set against an earlier one.
    overlap : float
        How much closer than touching two outlines may come, as a part of their radii.
    texture : float
        Relative standard deviation of the chromatin texture.
    nucleoli : float
        Mean number of nucleoli a nucleus.
    brightness_spread : float
        Relative spread of the nuclei's brightness (log-normal).
    na, wavelength, refractive_index : float
        Of the microscope, see `psf_sigma`; wavelength in µm (0.461: DAPI).
    aberration : float
        Standard deviation in µm of the in-plane blur that lens and specimen add to diffraction.
    haze : float
        Share of the light that comes from out of focus.
    background : float
        Photons per voxel where there is nothing.
    illumination : float
        Loss of light at the corner farthest from the centre of illumination, 0 to 1.
    photons : float
        Photons per voxel in the mean nucleus.
    gain : float
        Counts per photoelectron.
    read_noise : float
        Standard deviation of the camera's noise, electrons.
    offset : float
        Counts without light.

    Returns
    -------
    Sample
        Image uint16 (counts), instance labels uint16 (1 ... n, none missing), spacing in µm.
    """
    rng = np.random.default_rng(seed)
    voxel = np.asarray(voxel_size, dtype=float)
    extent = np.asarray(shape) * voxel
    nuclei = place(
        rng, extent, density, diameter, diameter_spread, elongation, height, z_spread, touching,
        overlap, brightness_spread,
    )  # fmt: skip
    sigma_z, sigma_xy = psf_sigma(na, wavelength, refractive_index)
    sigma_xy = math.hypot(sigma_xy, aberration)
    fine_voxel = voxel / (_FINE, 1, 1)
    sigma = np.array([sigma_z, sigma_xy, sigma_xy]) / fine_voxel

    margin = math.ceil(4 * sigma_z / voxel[0]) + 1  # planes of the specimen above and below
    planes = slice(margin * _FINE + _FINE // 2, (margin + shape[0]) * _FINE, _FINE)
    dye = np.zeros(((shape[0] + 2 * margin) * _FINE, *shape[1:]))
    coverage = np.zeros(shape)
    labels = np.zeros(shape, dtype=np.uint16)
    for number, nucleus in enumerate(nuclei, start=1):
        box, body = fill(nucleus, fine_voxel, dye.shape, margin * voxel[0], 4 * sigma)
        dyed = body * stain(rng, nucleus, body.shape, fine_voxel, texture, nucleoli)
        np.maximum(dye[box], dyed, out=dye[box])
        seen = np.zeros((dye.shape[0], *body.shape[1:]))
        seen[box[0]] = ndimage.gaussian_filter(body, sigma)
        here = (slice(None), *box[1:])
        inside = (seen[planes] >= 0.5) & (seen[planes] > coverage[here])
        labels[here][inside] = number
        coverage[here] = np.maximum(coverage[here], seen[planes])

    focus = ndimage.gaussian_filter(dye, sigma)[planes]
    far = ndimage.gaussian_filter(dye[_FINE // 2 :: _FINE], np.array([4.0, 4.0, 4.0]) / voxel)
    light = (1 - haze) * focus + haze * far[margin : margin + shape[0]]
    expected = (photons * light + background) * _field_of_light(rng, shape[1:], illumination)
    electrons = rng.poisson(expected) + read_noise * rng.standard_normal(shape)
    image = np.clip(np.rint(gain * electrons + offset), 0, np.iinfo(np.uint16).max)
    return Sample(
        image=image.astype(np.uint16),
        labels=_consecutive(labels),
        spacing=(float(voxel[0]), float(voxel[1]), float(voxel[2])),
        unit="um",
        class_names=("nucleus",),
        instances=True,
        description=DESCRIPTION,
    )


def _field_of_light(rng: np.random.Generator, shape: tuple[int, ...], loss: float) -> _Array:
    """Illumination over the plane: 1 at a centre near the middle, ``1 - loss`` at worst."""
    cy, cx = rng.uniform(0.35, 0.65, 2)
    y = (np.arange(shape[0])[:, None] + 0.5) / shape[0] - cy
    x = (np.arange(shape[1])[None, :] + 0.5) / shape[1] - cx
    squared = y**2 + x**2
    field: _Array = 1 - loss * squared / squared.max()
    return field


def _consecutive(labels: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    """Renumber 1 ... n: a nucleus that a neighbour hides leaves no gap."""
    _, inverse = np.unique(np.concatenate([[0], labels.ravel()]), return_inverse=True)
    return inverse[1:].reshape(labels.shape).astype(np.uint16)
