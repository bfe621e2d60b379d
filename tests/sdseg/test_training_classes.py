"""Two classes, in both codings that draw several: they train through the Trainer and are told apart."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tifffile
import torch

from blob_models import SIZES, small_recipe
from napari_sdseg import segment
from sdseg import Card, Trainer, load_model, masks
from sdseg.card import ClassInfo
from sdseg.datasets import pairs
from sdseg.evaluation import evaluate
from sdseg.models import build
from sdseg.models.presets import Preset
from sdseg.training.autoencoder import AutoencoderStage
from sdseg.training.data import Batches, Planes
from sdseg.training.losses import balance_weights

CLASSES = (ClassInfo("bright"), ClassInfo("dark"))


def discs(seed: int, side: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Bright discs of class 1 and dark discs of class 2 on a grey, noisy background."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    labels = np.zeros((side, side), np.uint8)
    for k in (1, 2, 1, 2):
        radius, cy, cx = rng.uniform(7, 12), *rng.uniform(8, side - 8, 2)
        labels[((y - cy) ** 2 + (x - cx) ** 2 < radius**2) & (labels == 0)] = k
    image = rng.normal(1000, 60, labels.shape) + np.array([0, 500, -500])[labels]
    return image.astype(np.uint16), labels


@pytest.fixture(scope="module")
def disc_data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("discs")
    names = [f"disc{seed:02}" for seed in range(30)]
    for part in ("images", "masks"):
        (folder / part).mkdir()
    for seed, name in enumerate(names):
        image, labels = discs(seed)
        tifffile.imwrite(folder / "images" / f"{name}.tif", image)
        tifffile.imwrite(folder / "masks" / f"{name}.tif", labels)
    (folder / "train.txt").write_text("\n".join(names[:26]))
    (folder / "val.txt").write_text("\n".join(names[26:]))
    return folder


def recipe(coding: str, **changes: object):
    plain = small_recipe(**changes)
    card = Card("discs", classes=CLASSES, coding=coding, size=64, overlap=16)
    return dataclasses.replace(plain, card=card)


@pytest.mark.slow
@pytest.mark.parametrize("coding", ["conditioned", "multiclass"])
def test_two_classes_are_told_apart_after_a_short_training(coding, disc_data, tmp_path):
    wanted = recipe(coding, steps=100, autoencoder_steps=70)
    losses = [u.loss for u in Trainer(wanted, disc_data, tmp_path).run() if u.stage == "denoiser"]
    assert losses[-1] < 0.7 * losses[0]
    model = load_model(tmp_path / "denoiser" / "best", device="cpu", precision="float32")
    scores = list(evaluate(model, pairs(disc_data, "val.txt")))
    by_class = [float(np.mean([s.dice[c.name] for s in scores])) for c in CLASSES]
    # One mask for both classes would score 0.67 at most, and 0 for one of them.
    assert min(by_class) > 0.75, by_class
    config = model.pipeline.unet.config
    assert config.num_class_embeds == (3 if coding == "conditioned" else None)
    assert model.pipeline.vae.config.in_channels == (1 if coding == "conditioned" else 2)


def test_an_autoencoder_of_one_mask_draws_each_class_alone(disc_data, tmp_path):
    one = dataclasses.replace(
        recipe("multiclass", steps=2, autoencoder_steps=2),
        card=Card("disc", size=64, overlap=16),
    )
    list(Trainer(one, disc_data, tmp_path / "one").run())
    start = str(tmp_path / "one" / "denoiser" / "last")
    wanted = recipe("multiclass", steps=2, autoencoder_from=start, init_denoiser=start)
    wanted = dataclasses.replace(wanted, denoiser=dataclasses.replace(wanted.denoiser, balance=1.0))
    assert {u.stage for u in Trainer(wanted, disc_data, tmp_path / "two").run()} == {"data", "denoiser"}
    model = load_model(tmp_path / "two" / "denoiser" / "last", device="cpu", precision="float32")
    vae, unet = model.pipeline.vae, model.pipeline.unet
    assert model.pipeline.config.separate
    assert vae.config.in_channels == 1
    assert unet.config.out_channels == 2 * vae.config.latent_channels
    image, _ = discs(0)
    _, probability = segment(image, model, return_probability=True)
    assert probability.shape == (2, *image.shape)


def test_what_is_drawn_counts_as_much_as_the_empty_rest():
    drawn = -torch.ones(2, 2, 32, 32)
    drawn[0, 0, 8:12, 8:12] = 1
    drawn[0, 1, 16:24, 16:24] = 1
    latent = torch.zeros(2, 6, 8, 8)
    both = balance_weights(drawn, latent, 1.0)
    assert both.shape == (2, 1, 8, 8)
    assert both.mean() == pytest.approx(1)
    there = both > 1
    assert there.sum() == 1 + 4
    assert both[there].sum() == pytest.approx(float(both[~there].sum()))
    each = balance_weights(drawn, latent, 1.0, separate=True)
    assert each.shape == latent.shape
    assert (each[0, :3] > 1).sum() == 3 * 1
    assert (each[0, 3:] > 1).sum() == 3 * 4
    assert (balance_weights(drawn, latent, 0.0) == 1).all()
    assert (balance_weights(-torch.ones_like(drawn), latent, 1.0) == 1).all(), "nothing to balance"


def test_batches_draw_one_of_the_classes_that_are_there(disc_data):
    card = recipe("conditioned").card
    batches = Batches(
        Planes(pairs(disc_data, "train.txt"), card), small_recipe().augmentation, 64, 64, (0,)
    )
    batch = batches[0]
    assert batch.masks.shape == (64, 1, 64, 64)
    assert batch.classes.shape == (64,)
    assert set(batch.classes.tolist()) == {0, 1, 2}
    assert torch.equal(batch.classes, batches[0].classes)
    # Bright and dark pixels lie under the masks of their classes; background's draws both.
    grey = batch.images[:, 0]
    for number, low, high in ((1, 0.2, 1.0), (2, -1.0, -0.2)):
        mine = batch.classes == number
        inside = grey[mine][batch.masks[mine, 0] > 0]
        assert low < float(inside.mean()) < high
    everything = batch.masks[batch.classes == 0] > 0
    assert everything.float().mean() > (batch.masks[batch.classes == 1] > 0).float().mean()


def test_a_plane_of_background_trains_class_0_on_an_empty_mask():
    card = recipe("conditioned").card
    nothing = np.zeros((8, 8), np.uint8)
    assert masks.present(nothing, card).tolist() == [0]
    assert (masks.encode_class(nothing, 0) == -1).all()
    assert masks.present(np.array([[2, 2], [9, 2]]), card).tolist() == [2]  # 9 is none of its classes


def test_the_class_embedding_can_learn_faster(disc_data, tmp_path):
    wanted = recipe("conditioned", steps=2, autoencoder_steps=2)
    moved = {}
    for rate in (1.0, 100.0):
        stage = dataclasses.replace(
            wanted.denoiser, class_rate=rate, decay=0.0, ema=0.0, weight_decay=0.0
        )
        torch.manual_seed(wanted.seed)
        run = Trainer(dataclasses.replace(wanted, denoiser=stage), disc_data, tmp_path / str(rate))
        assert len([u for u in run.run() if u.stage == "denoiser"]) == 2
        place = tmp_path / str(rate) / "denoiser" / "last"
        moved[rate] = load_model(place, device="cpu", precision="float32").pipeline.unet.state_dict()
    change = {
        key: float((moved[1.0][key] - moved[100.0][key]).abs().max())
        for key in ("class_embedding.weight", "conv_in.weight")
    }
    assert change["class_embedding.weight"] > 20 * change["conv_in.weight"]


def test_an_autoencoder_of_photographs_can_be_trained_on_masks_of_one_channel(disc_data):
    card = recipe("conditioned").card
    vae = build(Preset(**{**SIZES, "mask_channels": 3}))[0]
    batches = Batches(
        Planes(pairs(disc_data, "val.txt"), card), small_recipe().augmentation, 64, 4, (0,)
    )
    stage = AutoencoderStage(vae, small_recipe().autoencoder, batches)
    parts = stage.losses(stage.network, batches[0], torch.Generator().manual_seed(0), 0.0)
    assert torch.isfinite(parts["loss"])
    assert 0 <= stage.validate() <= 1
