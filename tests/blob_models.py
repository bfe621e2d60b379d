"""What the small trained model of the tests is made of."""

from __future__ import annotations

import dataclasses

import numpy as np

SIZES = {
    "latent_channels": 4,
    "condition_channels": 8,
    "autoencoder": (16, 24, 32),
    "vision_encoder": (16, 24, 32),
    "denoiser": (32, 48),
    "autoencoder_layers": 1,
    "vision_layers": 1,
    "denoiser_layers": 1,
    "groups": 8,
    "dropout": 0.0,
    "denoiser_attention": 0,
    "heads": 4,
    "mid_attention": False,
}


def blobs(seed: int, side: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """Bright discs on a noisy background, 16 bit, with their instance labels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    labels = np.zeros((side, side), np.uint16)
    for k in range(1, 9):
        radius = rng.uniform(7, 13)
        cy, cx = rng.uniform(0, side, 2)
        disc = (y - cy) ** 2 + (x - cx) ** 2 < radius**2
        labels[disc & (labels == 0)] = k
    image = rng.normal(300, 40, labels.shape) + 500 * (labels > 0) * rng.uniform(0.8, 1.2)
    return np.clip(image, 0, 65535).astype(np.uint16), labels


def small_recipe(steps: int = 160, autoencoder_steps: int = 200, **changes: object):
    """Return a recipe that trains on `blobs` within seconds."""
    from sdseg import Card
    from sdseg.training import Augmentation, Recipe, StageRecipe

    shared = {"crop": 64, "batch": 8, "warmup": 10, "decay": 0.5, "ema": 0.98, "learning_rate": 2e-3}
    recipe = Recipe(
        preset=SIZES,
        card=Card("blobs", coding="instances", size=64, overlap=16, training_data="generated discs"),
        mixed_precision="no",
        augmentation=Augmentation(scale=0.1, rotate=5, blur=0.5),
        autoencoder=StageRecipe(
            steps=autoencoder_steps, validate_every=autoencoder_steps, save_every=20,
            latent_noise=0.2, kl=1e-4, **shared,
        ),
        denoiser=StageRecipe(
            steps=steps, validate_every=steps, save_every=20, prediction_type="sample",
            mask_weight=0.5, last_step=0.5, **shared,
        ),
    )  # fmt: skip
    return dataclasses.replace(recipe, **changes)
