"""Small generated copies of the published data sets, in their own folders and file formats."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from blob_models import SIZES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def some(name: str, train: int = 2, val: int = 1, test: int = 2) -> list[str]:
    """Return a few cases of each part of a set: the last ones to test on, which every scheme has."""
    from sdseg.datasets import data_set, split_names

    wanted = {"train": train, "val": val, "test": test}
    listed = {part: split_names(data_set(name), None, part) for part in wanted}
    return [
        *listed["train"][:train],
        *listed["val"][:val],
        *listed["test"][len(listed["test"]) - test :],
    ]


def copy(name: str, root: Path, cases: Iterable[str]) -> Path:
    """Write a copy of a set with these cases; return its root."""
    for number, case in enumerate(cases):
        {"btcv": _btcv, "sts3d": _sts3d, "cvc": _cvc, "kvasir": _kvasir}.get(name, _refuge2)(
            root, case, np.random.default_rng(number)
        )
    return root


def _disc(rng: np.random.Generator, shape: tuple[int, int], radius: float) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    cy, cx = (rng.uniform(0.35 * n, 0.65 * n) for n in shape)
    return (y - cy) ** 2 + (x - cx) ** 2 < radius**2


def _photo(rng: np.random.Generator, *masks: np.ndarray) -> np.ndarray:
    image = rng.normal(90, 10, (*masks[0].shape, 3))
    for mask in masks:
        image[mask] += (70, 30, 10)
    return image.clip(0, 255).astype(np.uint8)


def _save(path: Path, picture: np.ndarray, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, **options)


def _cvc(root: Path, case: str, rng: np.random.Generator) -> None:
    mask = _disc(rng, (36, 48), 9)
    _save(root / "Original" / f"{case}.png", _photo(rng, mask))
    _save(root / "Ground Truth" / f"{case}.png", (mask * 255).astype(np.uint8))


def _kvasir(root: Path, case: str, rng: np.random.Generator) -> None:
    mask = _disc(rng, (40, 52), 10)
    _save(root / "images" / f"{case}.jpg", _photo(rng, mask))
    colour = np.repeat((mask * 255).astype(np.uint8)[..., None], 3, axis=2)
    _save(root / "masks" / f"{case}.jpg", colour, quality=75)


def _refuge2(root: Path, case: str, rng: np.random.Generator) -> None:
    state = rng.bit_generator.state
    disc = _disc(rng, (44, 44), 14)
    rng.bit_generator.state = state  # the cup has the disc's centre
    cup = _disc(rng, (44, 44), 7)
    mask = np.zeros((44, 44, 3), np.uint8)
    mask[disc, 0], mask[cup, 1] = 255, 255
    _save(root / "Train_crop" / "images" / f"{case}.png", _photo(rng, disc, cup))
    _save(root / "Train_crop" / "masks" / f"{case}.png", mask)


def _nifti(path: Path, data: np.ndarray, spacing: tuple[float, float, float]) -> None:
    """(Z, Y, X) -> NIfTI."""
    import SimpleITK

    path.parent.mkdir(parents=True, exist_ok=True)
    image = SimpleITK.GetImageFromArray(data)
    image.SetSpacing(spacing)
    SimpleITK.WriteImage(image, str(path), True)


def _btcv(root: Path, case: str, rng: np.random.Generator) -> None:
    labels = np.zeros((5, 40, 44), np.uint8)
    for plane in labels[1:4]:  # every organ, those that are left out too
        for organ in range(1, 14):
            plane[_disc(rng, (40, 44), 4)] = organ
    image = np.where(labels > 0, 120, -40) + rng.normal(0, 15, labels.shape)
    image[:, :4], image[:, -4:] = -1000, 900  # air, and metal
    folder = root / "Abdomen" / "RawData" / "Training"
    _nifti(folder / "img" / f"img{case}.nii.gz", image.astype(np.int16), (0.8, 0.7, 3.0))
    _nifti(folder / "label" / f"label{case}.nii.gz", labels, (0.8, 0.7, 3.0))


def _sts3d(root: Path, case: str, rng: np.random.Generator) -> None:
    tooth = _disc(rng, (40, 40), 7)
    labels = np.zeros((6, 40, 40), np.uint8)
    labels[1:5, tooth] = 1
    labels[2, 1, 1:4] = 1  # a bit of label to be cleaned away
    image = np.where(labels > 0, 1500, 100) + rng.normal(0, 50, labels.shape)
    image[-1] = -1000  # a plane outside of the scan
    folder = root / "labelled"
    _nifti(folder / "image" / f"{case}.nii.gz", image.astype(np.int16), (0.3, 0.3, 0.3))
    _nifti(folder / "label" / f"{case}.nii.gz", labels, (0.3, 0.3, 0.3))


def small(recipe: Any) -> Any:
    """Shrink a shipped recipe until it trains within seconds on a part of its set."""
    settings = {"crop": 32, "batch": 2, "steps": 4, "warmup": 1, "validate_every": 4, "save_every": 4}
    return dataclasses.replace(
        recipe,
        preset=SIZES,
        partial=True,
        init_autoencoder=None,  # downloads that the tests do without
        init_denoiser=None,
        card=dataclasses.replace(recipe.card, size=32, overlap=8),
        autoencoder=dataclasses.replace(recipe.autoencoder, **settings),
        denoiser=dataclasses.replace(recipe.denoiser, **settings),
    )


def toml(values: dict[str, Any], prefix: str = "") -> str:
    """Write plain nested values; enough for a recipe."""
    lines, tables = [], []
    for key, value in values.items():
        if value is None or value == {}:
            continue
        if isinstance(value, dict):
            tables.append(f"[{prefix}{key}]\n" + toml(value, f"{prefix}{key}."))
        elif isinstance(value, tuple) and value and isinstance(value[0], dict):
            rows = (", ".join(f"{k} = {json.dumps(v)}" for k, v in row.items()) for row in value)
            lines.append(f"{key} = [{', '.join('{' + r + '}' for r in rows)}]")
        else:
            lines.append(f"{key} = {json.dumps(value)}")
    return "\n".join(lines + tables) + "\n"
