"""Looks at organs: planes of bodies, soft organs, vessels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from .anatomy import Abdomen
from .look_parts import Scene, field, fill_tube, fractal, log_uniform, star, texture, tube

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .look_parts import Array, Labels, Mask

_ORGANS = {
    "liver": ("liver", "hepatic vessel"),
    "spleen": ("spleen",),
    "kidney": ("kidney",),
    "aorta": ("aorta",),
    "vena cava": ("vessel",),
    "bowel": ("bowel", "water", "air"),
    "gallbladder": ("gallbladder",),
    "pancreas": ("pancreas",),
    "bone": ("cortical bone", "marrow"),
}
_SMALL = 80  # pixels: what shows less of itself is not labelled


def abdomens(rng: np.random.Generator, size: int, planes: int = 6) -> Iterator[Scene]:
    """Draw bodies without end, and a few scenes from each: a body takes longer than a scene."""
    while True:
        tissues, names = _body(rng, size, planes)
        for _ in range(3 * planes):
            yield _abdomen(rng, size, tissues[rng.integers(planes)], names)


def _body(rng: np.random.Generator, size: int, planes: int) -> tuple[Labels, list[str]]:
    """Draw planes larger than a scene: the number of each pixel's tissue, and the names."""
    shape = (planes, size * 5 // 4, size * 5 // 4)
    pixel = rng.uniform(200, 400) / size
    body = Abdomen(
        rng, shape, (rng.uniform(12, 30), pixel, pixel), rng.uniform(0.9, 1.2), rng.uniform(5, 30),
        rng.uniform(2, 7),
    )  # fmt: skip
    names = ["outside"]
    tissues = np.zeros(shape, dtype=np.uint8)
    for part, mask in body.parts():
        # the water that is painted after the liver is bile
        name = "gallbladder" if part == "water" and "liver" in names else part
        if name not in names:
            names.append(name)
        tissues[mask] = names.index(name)
    return tissues, names


def _abdomen(rng: np.random.Generator, size: int, plane: Labels, names: list[str]) -> Scene:
    middle = (np.array(plane.shape) - 1) / 2
    turn = rng.uniform(-0.25, 0.25) + math.pi / 2 * rng.integers(4) * (rng.random() < 0.3)
    matrix = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    if rng.random() < 0.5:
        matrix[:, 1] *= -1
    shift = rng.uniform(-0.12, 0.12, 2) * size
    offset = middle + shift - matrix @ np.full(2, (size - 1) / 2)
    tissues = ndimage.affine_transform(
        plane, matrix, offset, output_shape=(size, size), order=0, mode="constant"
    )

    contrast = log_uniform(rng, 0.15, 0.5)
    base = rng.uniform(0.3, 0.7)
    greys = base + contrast * rng.uniform(-1, 1, len(names))
    greys[0] = rng.choice((0.0, rng.uniform(0, 1)), p=(0.8, 0.2))
    greys[names.index("hepatic vessel")] = greys[names.index("liver")] + rng.normal(0, 0.3 * contrast)
    values = greys[tissues]
    for tissue in np.unique(tissues):
        if tissue > 0 and rng.random() < 0.6:
            here = tissues == tissue
            values[here] += contrast * rng.uniform(0.02, 0.25) * texture(rng, size)[here]

    candidates = []
    for organ, parts in _ORGANS.items():
        mask = np.isin(tissues, [names.index(p) for p in parts if p in names])
        if mask.sum() >= _SMALL:
            candidates.append((organ, mask))
    # a field of view beside the body: the body itself is what there is
    candidates = candidates or [("body", tissues > 0)]
    count = min(len(candidates), int(rng.integers(1, 6)))
    chosen = rng.choice(len(candidates), count, replace=False)
    labels = np.zeros((size, size), dtype=np.uint8)
    for number, index in enumerate(chosen, start=1):
        labels[candidates[index][1]] = number
    return Scene(values, labels, tuple(candidates[i][0] for i in chosen))


def soft_organs(rng: np.random.Generator, size: int) -> Scene:
    """Draw one to five large smooth objects among smaller ones, as an atrium lies in MR."""
    contrast = log_uniform(rng, 0.1, 0.5)
    base = rng.uniform(0.35, 0.65)
    values = base + contrast * rng.uniform(0.05, 0.3) * fractal(rng, size, rng.uniform(1, 1.8))
    for _ in range(rng.integers(1, 4)):  # tissues around
        zone = field(rng, size, rng.uniform(0.05, 0.15) * size) > rng.uniform(-0.5, 1.2)
        soft = ndimage.gaussian_filter(zone.astype(float), rng.uniform(0.5, 5))
        values += soft * contrast * rng.normal(0, 0.4)
    for _ in range(rng.integers(2, 14)):
        _distract(rng, values, base, contrast)
    body, skin = _trunk(rng, size)

    labels = np.zeros((size, size), dtype=np.uint8)
    names: list[str] = []
    greys: list[float] = []
    wanted = int(rng.integers(1, 6))
    kinds = int(rng.integers(1, min(wanted, 3) + 1))
    for kind in range(kinds):
        grey = _apart(rng, base, contrast, greys)
        shell = _apart(rng, base, contrast, [*greys, grey]) if rng.random() < 0.25 else None
        grain = contrast * rng.uniform(0.03, 0.3) * texture(rng, size)
        numbers = [len(names) + 1, len(names) + 2]
        drawn = False
        for _ in range(wanted // kinds + (kind < wanted % kinds)):
            radius = rng.uniform(0.07, 0.2) * size
            mask = _blob(rng, size, radius, (labels > 0) | ~body)
            if mask is None:
                continue
            drawn = True
            values[mask] = grey + grain[mask]
            labels[mask] = numbers[0]
            if shell is not None:
                inner = ndimage.distance_transform_edt(mask) < radius * rng.uniform(0.18, 0.35)
                wall = mask & inner
                values[wall] = shell + grain[wall]
                labels[wall] = numbers[1]
        if drawn:
            greys += [grey] if shell is None else [grey, shell]
            names += [f"organ {kind + 1}"] + ([] if shell is None else [f"wall {kind + 1}"])
    values[skin] = base + contrast * rng.uniform(-1, 1)
    values[~body & ~skin] = rng.choice((base - 1.2 * contrast, base + 1.2 * contrast), p=(0.85, 0.15))
    labels[~body] = 0
    return Scene(values, labels, tuple(names))


def _apart(rng: np.random.Generator, base: float, contrast: float, others: list[float]) -> float:
    """Draw a grey level away from the surroundings and, if it can be, from the others."""
    for _ in range(20):
        grey = base + contrast * rng.choice((-1, 1)) * rng.uniform(0.5, 1.2)
        if all(abs(grey - g) > 0.35 * contrast for g in others):
            break
    return float(grey)


def _blob(rng: np.random.Generator, size: int, radius: float, taken: Mask) -> Mask | None:
    """Draw a smooth object in free room; it may be pushed in where it meets another."""
    for _ in range(8):
        y, x = rng.uniform(0.12, 0.88, 2) * size
        box, level = star(rng, size, (y, x), radius, rng.uniform(1, 2.2), rng.choice((0.03, 0.1, 0.18)))
        if rng.random() < 0.4:  # a level set of smooth noise
            level = level + rng.uniform(0.1, 0.3) * field(rng, size, 0.35 * radius)[box]
        mask = np.zeros((size, size), dtype=bool)
        mask[box] = level < 1
        before = mask.sum()
        mask &= ~taken
        if mask.sum() < max(_SMALL, 0.7 * before):
            continue
        parts, count = ndimage.label(mask)
        if count > 1:
            mask = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
        smooth: Mask = ndimage.binary_opening(mask, iterations=2)
        return smooth
    return None


def _distract(rng: np.random.Generator, values: Array, base: float, contrast: float) -> None:
    """Paint something small that is none of the classes: a disc, a ring, a spindle or a tube."""
    size = values.shape[0]
    grey = base + contrast * rng.uniform(-1, 1)
    y, x = rng.uniform(0, size, 2)
    if rng.random() < 0.2:
        discs = tube(
            rng, (y, x), rng.uniform(0, 2 * math.pi), rng.uniform(1, 4), size * rng.uniform(0.3, 1),
            0.04, taper=0.8,
        )  # fmt: skip
        values[fill_tube(size, discs) > 0] = grey
        return
    box, level = star(rng, size, (y, x), rng.uniform(0.015, 0.06) * size, rng.uniform(1, 4), 0.08)
    inside = level < 1
    if rng.random() < 0.3:
        inside &= level > rng.uniform(0.5, 0.85)
    values[box][inside] = grey


def _trunk(rng: np.random.Generator, size: int) -> tuple[Mask, Mask]:
    """Draw the body around (all of the picture, at times) and its skin."""
    body, skin = np.ones((size, size), dtype=bool), np.zeros((size, size), dtype=bool)
    if rng.random() < 0.5:
        return body, skin
    y, x = rng.uniform(0.42, 0.58, 2) * size
    box, level = star(rng, size, (y, x), rng.uniform(0.4, 0.6) * size, rng.uniform(1, 1.4), 0.03)
    whole = np.full((size, size), 2.0)
    whole[box] = level
    edge = rng.uniform(0.9, 1.0)
    return whole < edge, (whole >= edge) & (whole < 1)


def vessels(rng: np.random.Generator, size: int) -> Scene:
    """Draw branching tubes on a textured ground, sometimes two kinds told apart by brightness."""
    values = rng.uniform(0.03, 0.1) * fractal(rng, size, rng.uniform(0.8, 1.8))
    values += rng.uniform(0, 0.12) * field(rng, size, rng.uniform(0.08, 0.2) * size)
    for _ in range(rng.integers(0, 8)):
        _distract_softly(rng, values)
    kinds = 2 if rng.random() < 0.3 else 1
    sign = rng.choice((-1, 1))
    style = rng.choice(("tree", "net", "worms"))
    labels = np.zeros((size, size), dtype=np.uint8)
    for kind in range(kinds):
        level = sign * rng.uniform(0.25, 0.6)
        if kind == 1:  # the other way, or the same way and much weaker
            level = -sign * rng.uniform(0.2, 0.4) if rng.random() < 0.5 else 0.35 * level
        discs = _ways(rng, size, str(style))
        depth = fill_tube(size, discs)
        inside = depth > 0
        profile = np.sqrt(1 - (1 - depth) ** 2) if rng.random() < 0.6 else np.ones_like(depth)
        if rng.random() < 0.25:  # the light that a vessel's axis reflects
            profile = profile * (1 - rng.uniform(0.2, 0.5) * (depth > 0.7))
        strength = 1 + rng.uniform(0, 0.2) * field(rng, size, rng.uniform(2, 10))
        shade = level * (0.35 + 0.65 * profile) * strength.clip(0.3, 1.7)
        values[inside] = values[inside] * rng.uniform(0.2, 0.8) + shade[inside]
        labels[inside] = kind + 1
    if rng.random() < 0.25:  # round field of view, as in pictures of the retina
        y, x = np.ogrid[:size, :size]
        outside = np.hypot(y - size / 2, x - size / 2) > rng.uniform(0.48, 0.6) * size
        values[outside] = values.min()
        labels[outside] = 0
    return Scene(values, labels, ("vessel", "other vessel")[:kinds])


def _distract_softly(rng: np.random.Generator, values: Array) -> None:
    """Add a blurred or sharp spot, much wider than a tube."""
    size = values.shape[0]
    y, x = rng.uniform(0, size, 2)
    box, level = star(rng, size, (y, x), rng.uniform(0.03, 0.12) * size, rng.uniform(1, 1.8))
    width = rng.uniform(0.02, 0.4)
    values[box] += rng.normal(0, 0.15) / (1 + np.exp(((level - 0.7) / width).clip(-30, 30)))


def _ways(rng: np.random.Generator, size: int, style: str) -> list[tuple[float, float, float]]:
    """Draw the tubes of a picture: trees from a root, crossing tubes, or many short ones."""
    discs: list[tuple[float, float, float]] = []
    if style == "tree":
        root = rng.uniform(-0.05, 1.05, 2) * size
        shared = rng.random() < 0.5  # one root, as in the retina, or a root for each tree
        bend, branching = rng.uniform(0.005, 0.03), rng.uniform(1.5, 4.5) / size
        for _ in range(rng.integers(2, 6)):
            root = root if shared else rng.uniform(-0.05, 1.05, 2) * size
            # towards the middle, so that the tree is in the picture
            towards = math.atan2(size / 2 - root[0], size / 2 - root[1]) + rng.normal(0, 0.7)
            discs += tube(
                rng, (root[0], root[1]), towards, rng.uniform(0.008, 0.025) * size,
                rng.uniform(0.7, 1.4) * size, bend, branching, 0.4,
            )  # fmt: skip
        return discs
    count = rng.integers(2, 7) if style == "net" else rng.integers(8, 30)
    radius = log_uniform(rng, 0.008, 0.035) * size
    for _ in range(count):
        y, x = rng.uniform(0, size, 2)
        length = rng.uniform(0.6, 1.5) * size if style == "net" else rng.uniform(3, 14) * radius
        branching = 2 / size if style == "net" else 0.0
        bend = rng.uniform(0.01, 0.06) if style == "net" else 0.3 / radius
        discs += tube(
            rng, (y, x), rng.uniform(0, 2 * math.pi), max(radius * rng.uniform(0.6, 1.4), 1.1),
            length, bend, branching, 0.8,
        )  # fmt: skip
    return discs
