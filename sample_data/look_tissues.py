"""Looks through microscopes: tissue in the electron microscope, stained nuclei."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

from .look_parts import Scene, field, fill_tube, fractal, log_uniform, star, texture, tube

if TYPE_CHECKING:
    from .look_parts import Array, Labels, Mask


def electron(rng: np.random.Generator, size: int) -> Scene:
    """Draw a mosaic of cells with dark membranes, and organelles in them."""
    cell, gap = _mosaic(rng, size)
    wall = rng.uniform(0.6, 2.4) * size / 192 * (1 + 0.35 * field(rng, size, 0.04 * size)).clip(0.4)
    cytoplasm = rng.uniform(0.6, 0.85)
    values = cytoplasm + rng.normal(0, rng.uniform(0, 0.07), cell.max() + 1)[cell]
    values += rng.uniform(0.02, 0.07) * texture(rng, size)
    values += rng.uniform(0.02, 0.06) * fractal(rng, size, rng.uniform(0.5, 1.2))
    membrane = gap < wall
    values[membrane] = rng.uniform(0.05, 0.35)
    room = gap > wall + 1.5
    labels = np.zeros((size, size), dtype=np.uint8)
    scale = size / 192 * log_uniform(rng, 0.7, 1.8)
    if rng.random() < 0.6:
        _nuclei(rng, values, labels, cell, room, scale)
    _mitochondria(rng, values, labels, cell, room, scale)
    if rng.random() < 0.7:
        _vesicles(rng, values, labels, cell, room, scale)
    if rng.random() < 0.2:
        labels[membrane] = 4
    kinds = np.array(["mitochondrion", "vesicle", "nucleus", "membrane"])
    there = np.flatnonzero(np.bincount(labels.ravel(), minlength=5)[1:]) + 1
    kept = there[(rng.random(len(there)) < 0.8) | (there == 1)]
    numbers = np.zeros(5, dtype=np.uint8)
    numbers[kept] = np.arange(1, len(kept) + 1)
    return Scene(values, numbers[labels], tuple(str(n) for n in kinds[kept - 1]))


def _mosaic(rng: np.random.Generator, size: int) -> tuple[Labels, Array]:
    """Draw which cell a pixel is in, and how far it is from the cell's border."""
    count = round(log_uniform(rng, 6, 50))
    seeds = rng.uniform(-0.25, 1.25, (round(count * 2.25), 2)) * size
    distance = size / math.sqrt(count)
    grid = np.moveaxis(np.indices((size, size), dtype=float), 0, -1).copy()
    for length, amount in ((0.35, 0.3), (0.1, 0.06)):  # cells are no polygons
        for axis in range(2):
            grid[..., axis] += amount * distance * field(rng, size, length * distance)
    angle, stretch = rng.uniform(0, math.pi), rng.uniform(1, 1.8)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    metric = turn * np.array([math.sqrt(stretch), 1 / math.sqrt(stretch)])
    _, cell = KDTree((seeds - size / 2) @ metric).query((grid - size / 2) @ metric)
    # in the picture, where warp and metric count no more
    padded = np.pad(cell, ((0, 1), (0, 1)), mode="edge")
    border = (cell != padded[1:, :-1]) | (cell != padded[:-1, 1:])
    gap: Array = ndimage.distance_transform_edt(~border)
    return cell.astype(np.uint8), gap


def _nuclei(
    rng: np.random.Generator, values: Array, labels: Labels, cell: Labels, room: Mask, scale: float
) -> None:
    size = values.shape[0]
    grey = rng.uniform(0.45, 0.75)
    chromatin = rng.uniform(0.08, 0.2) * (field(rng, size, 3.5 * scale) > 0.6)
    deep = ndimage.distance_transform_edt(room)
    for _ in range(rng.integers(1, 4)):
        y, x = np.unravel_index(np.argmax(deep), deep.shape)
        radius = min(float(deep[y, x]) * 1.25, rng.uniform(20, 40) * scale)
        if radius < 9 * scale:
            return
        box, level = star(rng, size, (float(y), float(x)), radius, rng.uniform(1, 1.4), 0.05)
        mask = (level < 1) & room[box] & (cell[box] == cell[y, x])
        edge = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
        noise = 0.04 * fractal(rng, size, 0.7)[box]
        dark = chromatin[box] + 0.15 * (edge < 4 * scale) * (chromatin[box] > 0)
        values[box][mask] = (grey - dark + noise)[mask]
        values[box][mask & (edge < 1.6)] = rng.uniform(0.15, 0.35)
        labels[box][mask] = 3
        deep[cell == cell[y, x]] = 0


def _mitochondria(
    rng: np.random.Generator, values: Array, labels: Labels, cell: Labels, room: Mask, scale: float
) -> None:
    size = values.shape[0]
    grey = rng.uniform(0.22, 0.5)
    rim = grey - rng.uniform(0.05, 0.18)
    amount = rng.uniform(0.03, 0.1)
    places = np.argwhere(room & (labels == 0))
    for _ in range(rng.integers(4, 50)):
        if not len(places):
            return
        y, x = (int(n) for n in places[rng.integers(len(places))])
        if labels[y, x]:
            continue
        radius = scale * rng.uniform(3.5, 8)
        mask = np.zeros((size, size), dtype=bool)
        if rng.random() < 0.35:
            angle = rng.uniform(0, 2 * math.pi)
            discs = tube(rng, (y, x), angle, 0.8 * radius, radius * rng.uniform(4, 9), 0.05, taper=0.9)
            mask = fill_tube(size, discs) > 0
        else:
            box, level = star(rng, size, (y, x), radius, rng.uniform(1, 2.6), 0.06)
            mask[box] = level < 1
        whole = mask.sum()
        mask &= room & (cell == cell[y, x]) & (labels == 0)
        if mask.sum() < max(0.5 * whole, 25):
            continue
        box = ndimage.find_objects(mask.astype(np.uint8))[0]
        part = mask[box]
        edge = ndimage.distance_transform_edt(np.pad(part, 1))[1:-1, 1:-1]
        # cristae: folds in one direction
        across = rng.uniform(0, math.pi)
        folds = field(rng, size, 0.9 * scale, 4.0, across)[box]
        values[box][part] = (grey + rng.normal(0, 0.03) + amount * folds)[part]
        values[box][part & (edge < 1.5)] = rim
        labels[box][part] = 1


def _vesicles(
    rng: np.random.Generator, values: Array, labels: Labels, cell: Labels, room: Mask, scale: float
) -> None:
    size = values.shape[0]
    rim, inside = rng.uniform(0.15, 0.4), rng.choice((rng.uniform(0.8, 1.0), rng.uniform(0.1, 0.3)))
    radius = scale * rng.uniform(2.0, 4.0)
    for _ in range(rng.integers(2, 6)):  # they come in swarms
        y, x = rng.integers(0, size, 2)
        for _ in range(rng.integers(4, 20)):
            centre = (y + rng.normal(0, 5 * radius), x + rng.normal(0, 5 * radius))
            row, column = round(centre[0]), round(centre[1])
            if not (0 <= row < size and 0 <= column < size) or cell[row, column] != cell[y, x]:
                continue
            box, level = star(rng, size, centre, radius * rng.uniform(0.8, 1.2), 1.1, 0.02)
            mask = level < 1
            if not (room[box] & (labels[box] == 0))[mask].all():
                continue
            values[box][mask] = np.where(level > 1 - 1.3 / radius, rim, inside)[mask]
            labels[box][mask] = 2


def fluorescence(rng: np.random.Generator, size: int) -> Scene:
    """Draw bright nuclei on a dark ground, of one kind or two, sometimes with the cells around."""
    radius = size * log_uniform(rng, 0.02, 0.085)
    rule = rng.choice(("one", "size", "shape", "brightness", "body"), p=(0.4, 0.15, 0.15, 0.15, 0.15))
    light = np.zeros((size, size))
    labels = np.zeros((size, size), dtype=np.uint8)
    dye = 1 + rng.uniform(0.05, 0.35) * texture(rng, size).clip(-2.5, 2.5)
    other_dye = 1 + rng.uniform(0.05, 0.35) * texture(rng, size).clip(-2.5, 2.5)
    dome, spread = rng.random() < 0.4, rng.uniform(0.05, 0.35)
    elongation = rng.uniform(1.0, 1.7)
    rough = rng.uniform(0.02, 0.08)
    count = round(rng.uniform(0.06, 0.45) * size**2 / (math.pi * radius**2))
    for _ in range(min(max(count, 3), 150)):
        second = rule in ("size", "shape", "brightness") and rng.random() < 0.4
        brightness = math.exp(spread * rng.standard_normal())
        own, ratio = radius * math.exp(0.12 * rng.standard_normal()), rng.uniform(1, elongation)
        if second and rule == "size":
            own *= 0.5 if radius > 0.04 * size else 1.9
        elif second and rule == "shape":
            ratio *= 3.2
        elif rule == "brightness":
            brightness = (0.4 if second else 1.1) * math.exp(0.1 * rng.standard_normal())
        y, x = rng.uniform(0, size, 2)
        box, level = star(rng, size, (y, x), own, ratio, rough)
        inside = level < 1
        if labels[box][inside].astype(bool).mean() > 0.1 if inside.any() else True:
            continue
        inside &= labels[box] != 1
        inside &= labels[box] != 2 if rule != "body" else True
        if rule == "body":
            around, far = star(rng, size, (y, x), own * rng.uniform(1.6, 2.4), rng.uniform(1, 2), 0.1)
            free = (far < 1) & (labels[around] == 0)
            light[around][free] = 0.4 * brightness * other_dye[around][free]
            labels[around][free] = 2
        stained = brightness * (other_dye if second else dye)[box]
        if dome:
            stained = stained * np.sqrt((1.15 - level**2).clip(0.15))
        for _ in range(rng.integers(0, 3)):  # nucleoli take less of the stain
            ny, nx = y + rng.normal(0, 0.35 * own), x + rng.normal(0, 0.35 * own)
            rows, columns = np.ogrid[box]
            stained = stained * (1 - 0.4 * (np.hypot(rows - ny, columns - nx) < 0.16 * own))
        light[box][inside] = stained[inside]
        labels[box][inside] = 2 if second else 1
    for _ in range(rng.integers(0, 12) * (rng.random() < 0.4)):  # debris
        y, x = rng.uniform(0, size, 2)
        box, level = star(rng, size, (y, x), rng.uniform(0.8, 1.8), 1.2)
        light[box] += rng.uniform(0.3, 1.2) * (level < 1)
    haze = ndimage.gaussian_filter(light, 0.05 * size)
    ground = rng.uniform(0.02, 0.25) * (1 + 0.25 * fractal(rng, size, 1.4))
    light += rng.uniform(0, 0.5) * haze + ground
    names = {"one": ("nucleus",), "body": ("nucleus", "cell body")}
    return Scene(light, labels, names.get(str(rule), ("nucleus", "other nucleus")))
