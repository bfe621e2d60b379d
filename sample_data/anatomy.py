"""An upper abdomen from smooth implicit shapes, in mm.

Seen from the feet as radiologists do: x grows to the patient's left (the right of the picture), y
to the back (down); z grows to the head. The origin is the middle of the body at the height of the
first lumbar vertebra.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .noise import smooth_noise

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    _Array = npt.NDArray[np.float64]
    _Mask = npt.NDArray[np.bool_]


class Abdomen:
    """The coordinates of every voxel in the body's own frame, and the organs drawn in them.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws the variation.
    shape : tuple of int
        (Z, Y, X).
    spacing : tuple of float
        mm along Z, Y, X.
    size : float
        Scale of the whole body.
    fat : float
        Thickness of the fat under the skin, mm.
    variation : float
        Amplitude (standard deviation) in mm of the smooth random displacement that makes one body
        unlike the next; organ positions vary by as much, and organ sizes by ``2 * variation``
        percent.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        shape: tuple[int, int, int],
        spacing: tuple[float, float, float],
        size: float,
        fat: float,
        variation: float,
    ) -> None:
        self._rng = rng
        self._variation = variation
        self._spacing = tuple(s / size for s in spacing)
        z, y, x = np.meshgrid(
            *((np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, self._spacing, strict=True)),
            indexing="ij",
            sparse=True,
        )
        # One displacement for all: neighbours stay neighbours, and nothing tears.
        shift = [variation * smooth_noise(rng, shape, self._spacing, 25.0) for _ in range(3)]
        self.z: _Array = z + shift[0]
        self.y: _Array = y + shift[1]
        self.x: _Array = x + shift[2]
        around = np.hypot(self.x / 160, self.y / 112)
        # waist: the body is slightly wider at the ribs than below
        level = around / (1 + 0.0004 * self.z)
        radius = np.hypot(self.x, self.y)
        self.depth: _Array = radius / np.maximum(level, 1e-6) - radius
        self.depth[radius == 0] = 112.0
        # more fat at the flanks and the back than in front
        self._wall = fat * (1 + 0.35 * np.clip(self.y / 112, -0.6, 1) + 0.15 * np.abs(self.x) / 160)
        self.cavity: _Mask = self.depth > self._wall + 12

    def parts(self) -> Iterator[tuple[str, _Mask]]:
        """Yield named masks in painting order: a later part covers an earlier one."""
        yield "muscle", (self.depth > 0) & (self.depth < 2.5)  # skin
        yield "fat", self.depth >= 2.5
        yield "muscle", self._muscles()
        right = self._ellipsoid((-25, 42, -67), (55, 31, 27))
        left = self._ellipsoid((-10, 40, 69), (55, 31, 26))
        aorta = np.hypot(self.x - 9, self.y - 11) / 11
        cava = np.hypot((self.x + 23) / 13, (self.y - 12) / 10)
        spine = np.hypot(self.x / 25, (self.y - 42) / 19)
        stomach = self._ellipsoid((28, -36, 56), (48, 32, 42))
        gallbladder = self._ellipsoid((-12, -42, -62), (28, 15, 14))
        yield from self._bowel()
        pancreas = self._ellipsoid((2, -10 + 0.002 * self.x**2, 18), (11, 11, 52))
        yield "pancreas", self.cavity & (pancreas < 1) & (aorta > 1.2)
        yield "bowel", self.cavity & (stomach < 1)
        yield "water", self.cavity & (stomach < 0.88)
        yield "air", self.cavity & (stomach < 0.88) & (self.y < -50)
        kidneys = np.minimum(right, left)
        room = self.cavity & (self.depth > self._wall + 14) & (kidneys > 1.14) & (spine > 1.25)
        lobes = np.minimum(
            self._ellipsoid((22, -6, -72), (80, 74, 66)),
            self._ellipsoid((38, -40, -6), (42, 34, 66)),
        )
        # the space behind the peritoneum, around the right kidney, which the liver leaves free
        behind = np.hypot((self.x + 34) / 40, (self.y - 52) / 34)
        behind = np.hypot(behind, (self.z + 25) / 70)
        liver = room & (behind > 1) & (lobes < 1) & (aorta > 1.6) & (cava > 1.1)
        liver &= (gallbladder > 1) & ~((stomach < 1.04) & (self.x > 10))
        yield "liver", liver
        yield "hepatic vessel", liver & self._vessels()
        yield "water", self.cavity & (gallbladder < 1)
        spleen = self._ellipsoid((25, 22, 104), (48, 48, 34))
        yield "spleen", room & (spleen < 1) & (stomach > 1.06)
        yield from self._kidney(right, -1)
        yield from self._kidney(left, 1)
        yield "vessel", cava < 1
        yield "aorta", aorta < 1
        yield from self._bones(spine)

    def _ellipsoid(
        self, centre: tuple[float, float | _Array, float], radii: tuple[float, float, float]
    ) -> _Array:
        """Level of an ellipsoid (z, y, x): below 1 inside. Place and size vary a little."""
        dz, dy, dx = self._variation * self._rng.normal(0, 1, 3)
        scale = 1 + 0.02 * self._variation * float(np.clip(self._rng.normal(), -2, 2))
        level: _Array = np.sqrt(
            ((self.z - centre[0] - dz) / radii[0]) ** 2
            + ((self.y - centre[1] - dy) / radii[1]) ** 2
            + ((self.x - centre[2] - dx) / radii[2]) ** 2
        )
        return level / scale

    def _muscles(self) -> _Mask:
        wall = (self.depth > self._wall) & ~self.cavity
        side = np.abs(self.x)
        back = np.hypot((side - 34) / 29, (self.y - 74) / 19) < 1
        psoas_size = np.clip(14 - 0.12 * self.z, 4, 22)
        psoas = np.hypot((side - 36) / psoas_size, (self.y - 47) / (1.2 * psoas_size)) < 1
        mask: _Mask = wall | ((back | psoas) & (self.depth > self._wall))
        return mask

    def _bowel(self) -> Iterator[tuple[str, _Mask]]:
        for centre in ((-50, 10, -108), (-30, 12, 108)):  # ascending and descending colon
            colon = self._ellipsoid((centre[0], centre[1], centre[2]), (40, 20, 18))
            yield "bowel", self.cavity & (colon < 1)
            yield "air", self.cavity & (colon < 0.8) & (self.y < centre[1] - 4)
        for _ in range(30):
            z, y, x = self._rng.uniform((-75, -62, -85), (-12, 0, 90))
            radii = self._rng.uniform(12, 20, 3)
            loop = self._ellipsoid((z, y, x), (radii[0], radii[1], radii[2]))
            yield "bowel", self.cavity & (loop < 1)
            yield "water", self.cavity & (loop < 0.7)

    def _vessels(self) -> _Mask:
        """Tubes of about 5 mm: where two smooth random fields are both near zero."""
        a, b = (smooth_noise(self._rng, self.depth.shape, self._spacing, 11.0) for _ in range(2))
        mask: _Mask = np.hypot(a, b) < 0.22
        return mask

    def _kidney(self, level: _Array, side: int) -> Iterator[tuple[str, _Mask]]:
        """Parenchyma around a sinus of fat that opens towards the spine."""
        yield "kidney", self.cavity & (level < 1)
        sinus = self._ellipsoid((-15, 38, side * 54), (22, 9, 14))
        yield "fat", self.cavity & (level < 1.02) & (sinus < 1)

    def _bones(self, spine: _Array) -> Iterator[tuple[str, _Mask]]:
        disc = np.abs((self.z + 17) % 35 - 31) < 4
        yield "muscle", (spine < 1) & disc
        yield "cortical bone", (spine < 1) & ~disc
        yield "marrow", (spine < 0.86) & ~disc
        side = np.abs(self.x)
        canal = np.hypot(self.x, self.y - 70)
        middle = np.abs((self.z + 17) % 35 - 12) < 8
        arch = (canal < 14) & (self.y > 60)
        processes = middle & (
            ((side < 4) & (self.y > 80) & (self.y < 98))
            | ((np.abs(self.y - 66 - 0.1 * side) < 4) & (side > 10) & (side < 38))
        )
        yield "cortical bone", arch | processes
        yield "muscle", canal < 8.5
        angle = np.arctan2(side, self.y)  # 0 at the spine, pi in front
        inner = np.abs(self.depth - self._wall - 7)
        for number, end in enumerate((0.32, 0.45, 0.6, 0.68, 0.7, 0.7)):  # the twelfth rib upwards
            height = 30 + 27 * number - 90 * (angle / math.pi) / 0.7
            bar = np.hypot(inner / 4.5, (self.z - height) / 7)
            rib = (angle > 0.16 * math.pi) & (angle < end * math.pi)
            yield "cortical bone", rib & (bar < 1)
            yield "marrow", rib & (bar < 0.55)
