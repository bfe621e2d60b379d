"""What looks are drawn with: random fields, outlines, tubes, and the way from scene to picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Mask = npt.NDArray[np.bool_]
    Labels = npt.NDArray[np.uint8]
    Grey = npt.NDArray[np.uint8]
    Box = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class Scene:
    """What is there before a device sees it.

    Attributes
    ----------
    values : ndarray, (Y, X)
        Brightness without blur and noise, in a unit of its own.
    labels : ndarray, (Y, X)
        ``i + 1`` where ``names[i]`` is.
    names : tuple of str
        The classes.
    """

    values: Array
    labels: Labels
    names: tuple[str, ...]


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number whose logarithm is uniform."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def field(
    rng: np.random.Generator, size: int, length: float, stretch: float = 1.0, angle: float = 0.0
) -> Array:
    """Gaussian random field of unit standard deviation, by way of its spectrum.

    Parameters
    ----------
    rng : numpy.random.Generator
        Where the randomness comes from.
    size : int
        Of the square.
    length : float
        Standard deviation in pixels of the Gaussian that smooths white noise.
    stretch, angle : float
        How many times longer the structures are in the direction `angle`.
    """
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]
    along = math.cos(angle) * fx + math.sin(angle) * fy
    across = math.cos(angle) * fy - math.sin(angle) * fx
    squared = (along * stretch) ** 2 + across**2
    return _from_spectrum(rng, size, np.exp(-2 * (math.pi * length) ** 2 * squared))


def fractal(rng: np.random.Generator, size: int, exponent: float) -> Array:
    """Random field whose amplitude falls with frequency to the power of `exponent`."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = 1.0
    return _from_spectrum(rng, size, frequency**-exponent)


def _from_spectrum(rng: np.random.Generator, size: int, transfer: Array) -> Array:
    white = np.fft.rfft2(rng.standard_normal((size, size)))
    white[0, 0] = 0
    result: Array = np.fft.irfft2(white * transfer, s=(size, size))
    return _unit(result)


def _unit(values: Array) -> Array:
    result: Array = (values - values.mean()) / (values.std() or 1.0)
    return result


def texture(rng: np.random.Generator, size: int) -> Array:
    """Random field of unit standard deviation: grains, clouds, fibres, ridges or spots."""
    kind = rng.integers(6)
    if kind == 0:
        return field(rng, size, rng.uniform(0.6, 1.4))
    if kind == 1:
        return field(rng, size, rng.uniform(2, 8))
    if kind == 2:
        return field(rng, size, rng.uniform(0.8, 1.5), rng.uniform(3, 12), rng.uniform(0, math.pi))
    if kind == 3:
        return _unit(-np.abs(field(rng, size, rng.uniform(1.5, 5))))
    if kind == 4:
        return _unit(np.exp(field(rng, size, rng.uniform(1, 3))).clip(0, 6))
    return fractal(rng, size, rng.uniform(0.6, 1.8))


def star(
    rng: np.random.Generator,
    size: int,
    centre: tuple[float, float],
    radius: float,
    ratio: float = 1.0,
    rough: float = 0.06,
) -> tuple[Box, Array]:
    """Draw a closed outline around a centre.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws direction and irregularity.
    size : int
        Of the square that it lies in.
    centre : tuple of float
        y, x in pixels.
    radius : float
        Geometric mean of the half axes, pixels.
    ratio : float
        Of the axes.
    rough : float
        Amplitude of the outline's second to fifth harmonic, relative to the radius.

    Returns
    -------
    box : tuple of slice
        The part of the square that it may touch.
    level : ndarray
        Within the box: below 1 inside.
    """
    reach = radius * math.sqrt(ratio) * (1 + 3 * rough) + 2
    low = [min(max(math.floor(c - reach), 0), size) for c in centre]
    high = [max(min(math.ceil(c + reach) + 1, size), n) for c, n in zip(centre, low, strict=True)]
    box = (slice(low[0], high[0]), slice(low[1], high[1]))
    y, x = np.ogrid[box]
    y, x = y - centre[0], x - centre[1]
    angle = rng.uniform(0, math.pi)
    along = (math.cos(angle) * x + math.sin(angle) * y) / (radius * math.sqrt(ratio))
    across = (math.cos(angle) * y - math.sin(angle) * x) * (math.sqrt(ratio) / radius)
    around = np.arctan2(across, along)
    outline = np.ones_like(around)
    for harmonic, amplitude in enumerate(rough * rng.normal(0, 1, 4).clip(-1.5, 1.5), start=2):
        phase = rng.uniform(0, 2 * math.pi)
        outline += amplitude * (2 / harmonic) * np.cos(harmonic * around + phase)
    return box, np.hypot(along, across) / outline.clip(0.3)


def tube(
    rng: np.random.Generator,
    start: tuple[float, float],
    heading: float,
    radius: float,
    length: float,
    bend: float,
    branching: float = 0.0,
    taper: float = 0.5,
) -> list[tuple[float, float, float]]:
    """Draw the way of a tube that bends smoothly, and of its branches, as discs (y, x, radius).

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws the way.
    start : tuple of float
        y, x in pixels.
    heading : float
        Direction at the start, radians from x to y.
    radius, length : float
        In pixels.
    bend : float
        Standard deviation of the curvature, as the inverse of a radius in pixels.
    branching : float
        Branches per pixel.
    taper : float
        Share of the radius that is left at the end.
    """
    discs: list[tuple[float, float, float]] = []
    (y, x), curvature, gone = start, 0.0, 0.0
    while gone < length:
        width = radius * (1 - (1 - taper) * gone / length)
        discs.append((y, x, width))
        step = max(0.5 * width, 0.7)
        share = math.exp(-step / 12)  # the curvature is forgotten after a dozen pixels
        curvature = share * curvature + math.sqrt(1 - share**2) * bend * rng.standard_normal()
        heading += curvature * step
        y, x = y + step * math.sin(heading), x + step * math.cos(heading)
        gone += step
        if width > 1 and rng.random() < branching * step:
            side = heading + rng.choice((-1, 1)) * rng.uniform(0.4, 1.1)
            discs += tube(
                rng, (y, x), side, width * rng.uniform(0.5, 0.9), 0.7 * (length - gone), bend,
                0.7 * branching, taper,
            )  # fmt: skip
    return discs


def fill_tube(size: int, discs: list[tuple[float, float, float]]) -> Array:
    """How deep in the tube a pixel is: 0 at the wall and outside, 1 at the axis."""
    depth = np.zeros((size, size))
    for y, x, radius in discs:
        if not (-radius < y < size + radius and -radius < x < size + radius):
            continue
        rows = slice(max(math.floor(y - radius), 0), math.ceil(y + radius) + 1)
        columns = slice(max(math.floor(x - radius), 0), math.ceil(x + radius) + 1)
        part = depth[rows, columns]
        oy = np.arange(rows.start, rows.start + part.shape[0])[:, None] - y
        ox = np.arange(columns.start, columns.start + part.shape[1])[None, :] - x
        np.maximum(part, 1 - np.sqrt(oy**2 + ox**2) / radius, out=part)
    return depth


def picture(rng: np.random.Generator, scene: Scene) -> Grey:
    """Take a grey picture of a scene with a device drawn at random.

    Blur, uneven illumination or sensitivity, gamma, noise of one of several kinds, sometimes
    inverted. Only the values are blurred: the labels' borders stay where the contrast is.
    """
    size = scene.values.shape[0]
    values = ndimage.gaussian_filter(scene.values, rng.uniform(0.4, 1.3))
    low, high = np.percentile(values, (0.5, 99.5))
    values = (values - low) / max(high - low, 1e-6)
    if rng.random() < 0.2:
        values = 1 - values
    dark, bright = rng.uniform(0, 0.22), rng.uniform(0.6, 1.0)
    values = dark + (bright - dark) * values.clip(-0.1, 1.15)
    values = values.clip(0, None) ** math.exp(rng.normal(0, 0.3))
    if rng.random() < 0.6:
        values *= np.exp(rng.uniform(0.03, 0.25) * field(rng, size, rng.uniform(0.15, 0.4) * size))
    values = _noisy(rng, values, log_uniform(rng, 0.008, 0.1))
    if rng.random() < 0.5:  # what a display or an export does: stretch the range
        low, high = np.percentile(values, (0.3, 99.7))
        values = (values - low) / max(high - low, 1e-6)
    grey: Grey = np.rint(255 * values.clip(0, 1)).astype(np.uint8)
    return grey


def _noisy(rng: np.random.Generator, values: Array, amount: float) -> Array:
    size = values.shape[0]
    kind = rng.integers(5)
    if kind == 0:
        values = values + amount * rng.standard_normal(values.shape)
    elif kind == 1:  # grain of a reconstruction or of a resampled image
        values = values + 0.7 * amount * field(rng, size, rng.uniform(0.5, 1.1))
    elif kind == 2:
        photons = 0.4 / amount**2
        values = rng.poisson(photons * values.clip(0)) / photons
    elif kind == 3:  # speckle: multiplicative, its grains larger than a pixel
        values = values * np.exp(1.5 * amount * field(rng, size, rng.uniform(0.5, 1.2)))
    else:  # magnitude of a complex signal, as in MR
        real, imaginary = amount * rng.standard_normal((2, *values.shape))
        values = np.hypot(values + real, imaginary)
    if rng.random() < 0.08:  # lines that were read out differently
        values = values + 0.3 * amount * rng.standard_normal((size, 1))
    return values
