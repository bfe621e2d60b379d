"""Nuclei as shapes: where they lie, what they fill, how they hold the stain."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .noise import smooth_noise

_Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Nucleus:
    centre: tuple[float, float, float]  # z, y, x in µm
    radii: tuple[float, float, float]  # z, major, minor in µm
    angle: float  # of the major axis to x, radians
    lobes: tuple[float, float]  # phases of the outline's second and third harmonic
    tilt: tuple[float, float]  # shift in y, x for each µm of z
    brightness: float  # relative to the mean nucleus

    def reach(self, angle: float) -> float:
        """Radius of the outline in the direction `angle`, µm."""
        _, a, b = self.radii
        turn = angle - self.angle
        return a * b / math.hypot(b * math.cos(turn), a * math.sin(turn))


def place(
    rng: np.random.Generator,
    extent: _Array,
    density: float,
    diameter: float,
    diameter_spread: float,
    elongation: float,
    height: float,
    z_spread: float,
    touching: float,
    overlap: float,
    brightness_spread: float,
) -> list[Nucleus]:
    """Draw nuclei one after the other; one that finds no room in 60 tries is left out."""
    nuclei: list[Nucleus] = []
    for _ in range(max(1, round(density * extent[1] * extent[2] * 1e-6))):
        radius = 0.5 * diameter * math.exp(diameter_spread * rng.standard_normal())
        ratio = math.sqrt(rng.uniform(1.0, 2 * elongation - 1))
        radii = (0.5 * height * rng.uniform(0.85, 1.15), radius * ratio, radius / ratio)
        brightness = math.exp(brightness_spread * rng.standard_normal() - brightness_spread**2 / 2)
        for _ in range(60):
            angle = rng.uniform(0, math.pi)
            y, x = rng.uniform(0, extent[1:])
            z = extent[0] / 2 + z_spread * float(np.clip(rng.standard_normal(), -2, 2))
            phases = rng.uniform(0, 2 * math.pi, 2)
            tilt = rng.normal(0, 0.12, 2)
            nucleus = Nucleus(
                (z, y, x), radii, angle, (phases[0], phases[1]), (tilt[0], tilt[1]), brightness
            )
            if nuclei and rng.random() < touching:
                other = nuclei[rng.integers(len(nuclei))]
                way = rng.uniform(0, 2 * math.pi)
                apart = (1 - overlap) * (nucleus.reach(way) + other.reach(way))
                y, x = (
                    other.centre[1] + apart * math.sin(way),
                    other.centre[2] + apart * math.cos(way),
                )
                nucleus = Nucleus((z, y, x), radii, angle, nucleus.lobes, nucleus.tilt, brightness)
            # a centre inside the field: no nucleus shows only a sliver at the edge
            inside = 0 <= y < extent[1] and 0 <= x < extent[2]
            if inside and all(_apart(nucleus, n) >= 1 - overlap - 1e-9 for n in nuclei):
                nuclei.append(nucleus)
                break
    return nuclei


def _apart(a: Nucleus, b: Nucleus) -> float:
    """Distance of two centres in units of the sum of their radii along the line between them."""
    dy, dx = a.centre[1] - b.centre[1], a.centre[2] - b.centre[2]
    way = math.atan2(dy, dx)
    return math.hypot(dy, dx) / (a.reach(way) + b.reach(way))


def fill(
    nucleus: Nucleus, voxel: _Array, shape: tuple[int, ...], z_origin: float, pad: _Array
) -> tuple[tuple[slice, slice, slice], _Array]:
    """Fill a nucleus: the box it lies in, and how much of each voxel of it is inside, 0 to 1."""
    centre = np.add(nucleus.centre, (z_origin, 0.0, 0.0))
    rz, a, b = nucleus.radii
    half = np.array([rz, 1.3 * a, 1.3 * a]) / voxel + pad + 1
    low = np.maximum(np.floor(centre / voxel - half), 0).astype(int)
    high = np.minimum(np.ceil(centre / voxel + half) + 1, shape).astype(int)
    box = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
    z, y, x = (
        (np.arange(s.start, s.stop) + 0.5) * v - c for s, v, c in zip(box, voxel, centre, strict=True)
    )
    z = z[:, None, None]
    y = y[:, None] - nucleus.tilt[0] * z
    x = x[None, :] - nucleus.tilt[1] * z
    along = math.cos(nucleus.angle) * x + math.sin(nucleus.angle) * y
    across = -math.sin(nucleus.angle) * x + math.cos(nucleus.angle) * y
    around = np.arctan2(across, along)
    outline = 1 + 0.03 * np.cos(2 * around + nucleus.lobes[0])
    outline += 0.03 * np.cos(3 * around + nucleus.lobes[1])
    # the exponent 3 in z flattens top and bottom, as in cells that lie on glass
    level = (along / a) ** 2 + (across / b) ** 2
    level = np.sqrt(level / outline**2 + np.abs(z / rz) ** 3)
    return box, np.clip(0.5 + (1 - level) * math.sqrt(a * b) / voxel[1], 0, 1)


def stain(
    rng: np.random.Generator,
    nucleus: Nucleus,
    shape: tuple[int, ...],
    voxel: _Array,
    texture: float,
    nucleoli: float,
) -> _Array:
    """Draw how much stain each voxel of a nucleus's box holds, relative to the mean nucleus."""
    dye = 1 + texture * smooth_noise(rng, shape, voxel, 0.45, high_pass=1.6)
    z, y, x = ((np.arange(n) - n / 2) * v for n, v in zip(shape, voxel, strict=True))
    for _ in range(rng.poisson(nucleoli)):
        radius = rng.uniform(0.5, 1.0)
        cz, cy, cx = rng.uniform(-0.5, 0.5, 3) * nucleus.radii
        distance = np.sqrt(
            (z[:, None, None] - cz) ** 2 + (y[:, None] - cy) ** 2 + (x[None, :] - cx) ** 2
        )
        dye *= 1 - 0.45 / (1 + np.exp((distance - radius) / 0.1))
    return nucleus.brightness * np.clip(dye, 0.25, None)
