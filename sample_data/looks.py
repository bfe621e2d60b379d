"""Pictures of many looks with ground truth, for a model that is to be adapted to anything.

Organs, cells, organelles and vessels whose grey levels, textures, blur and noise are drawn anew for
every picture: what can be learnt from them is what an object is, not what one modality looks like.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from scipy import ndimage

from .look_organs import abdomens, soft_organs, vessels
from .look_parts import picture
from .look_tissues import electron, fluorescence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .look_parts import Grey, Labels, Scene

_SCENES: dict[str, Callable[[np.random.Generator, int], Scene]] = {
    "soft organs": soft_organs,
    "electron": electron,
    "fluorescence": fluorescence,
    "vessels": vessels,
}
FAMILIES = ("abdomen", *_SCENES)

_SMALLEST = 64  # pixels a side: in less there is no room for what is drawn
_LEAST = 40  # pixels of a class: fewer teach nothing
_VISIBLE = 5.0  # grey levels between a class and what surrounds it
_CLEAR = 0.35  # the same, relative to how much the pixels of the two vary


@dataclass(frozen=True, eq=False)
class Look:
    """A picture with its ground truth.

    Attributes
    ----------
    image : ndarray, (Y, X)
        Grey, uint8.
    labels : ndarray, (Y, X)
        0 where there is none of the classes, ``i + 1`` where ``names[i]`` is (uint8).
    names : tuple of str
        The classes, one to five; each is in the picture and can be seen.
    family : str
        One of `FAMILIES`.
    """

    image: Grey
    labels: Labels
    names: tuple[str, ...]
    family: str


def look(rng: np.random.Generator, size: int = 192) -> Look:
    """Draw one picture; `looks` is quicker for many.

    Parameters
    ----------
    rng : numpy.random.Generator
        The same state gives the same picture.
    size : int
        Height and width, pixels, at least 64.

    Raises
    ------
    ValueError
        If `size` is less.
    """
    return _draw(rng, size, abdomens(rng, size, planes=2))


def looks(seed: int, count: int, size: int = 192) -> Iterator[Look]:
    """Draw many pictures, the first ones the same whatever their count.

    Parameters
    ----------
    seed : int
        The same seed gives the same pictures.
    count : int
        How many.
    size : int
        Height and width, pixels, at least 64.

    Raises
    ------
    ValueError
        If `size` is less.
    """
    rng = np.random.default_rng(seed)
    bodies = abdomens(rng, size)
    for _ in range(count):
        yield _draw(rng, size, bodies)


def _draw(rng: np.random.Generator, size: int, bodies: Iterator[Scene]) -> Look:
    if size < _SMALLEST:
        raise ValueError(f"size: {size}, but a look has at least {_SMALLEST} pixels a side")
    family = FAMILIES[rng.integers(len(FAMILIES))]
    while True:  # until something in it is large enough and can be seen
        scene = next(bodies) if family == "abdomen" else _SCENES[family](rng, size)
        image = picture(rng, scene)
        there = [n for n in range(1, len(scene.names) + 1) if _shows(image, scene.labels, n)]
        if there:
            numbers = np.zeros(len(scene.names) + 1, dtype=np.uint8)
            numbers[there] = np.arange(1, len(there) + 1)
            names = tuple(scene.names[n - 1] for n in there)
            return Look(image, numbers[scene.labels], names, family)


def _shows(image: Grey, labels: Labels, number: int) -> bool:
    """Whether a class is large enough, and brighter or darker than the pixels next to it."""
    mask = labels == number
    if mask.sum() < _LEAST:
        return False
    around = ndimage.maximum_filter(mask, 7) & ~mask
    if (around & (labels == 0)).sum() >= _LEAST:
        # a body with a bright nucleus in it and nothing around is as bright as both on average
        around &= labels == 0
    if not around.any():
        return False
    inside, outside = image[mask], image[around]
    difference = abs(inside.mean() - outside.mean())
    spread = np.hypot(inside.std(), outside.std()) / 2**0.5
    return bool(difference >= max(_VISIBLE, _CLEAR * spread))


def write_looks(folder: Path, count: int, size: int, seed: int) -> Iterator[Path]:
    """Write a folder of pairs with its two splits, every twentieth picture in the second.

    Parameters
    ----------
    folder : Path
        Gets ``images/``, ``masks/`` (class numbers), ``train.txt`` and ``val.txt``.
    count, size, seed : int
        As for `looks`.

    Yields
    ------
    Path
        Of each picture, when it and its mask are written.
    """
    images, masks = folder / "images", folder / "masks"
    for place in (images, masks):
        place.mkdir(parents=True, exist_ok=True)
    stems: dict[str, list[str]] = {"train.txt": [], "val.txt": []}
    for number, made in enumerate(looks(seed, count, size)):
        stem = f"look{number:04d}"
        Image.fromarray(made.image).save(images / f"{stem}.png")
        Image.fromarray(made.labels).save(masks / f"{stem}.png")
        stems["val.txt" if number % 20 == 19 else "train.txt"].append(stem)
        yield images / f"{stem}.png"
    for name, lines in stems.items():
        (folder / name).write_text("".join(f"{s}\n" for s in lines), encoding="utf-8")
