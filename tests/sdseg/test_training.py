from __future__ import annotations

import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile
import torch

from blob_models import blobs, small_recipe
from sdseg import Recipe, Trainer, intensity, load_model, tiles
from sdseg.datasets import pairs
from sdseg.errors import DataError, InputError, ModelFormatError
from sdseg.training import Augmentation
from sdseg.training.augment import Augment
from sdseg.training.data import Batches, Planes
from sdseg.training.disturb import disturbed
from sdseg.training.losses import mask_loss, probability
from sdseg.training.recipe import Source


def test_both_stages_leave_models_logs_and_the_recipe(trained):
    for stage in ("autoencoder", "denoiser"):
        with (trained / stage / "log.csv").open() as file:
            rows = list(csv.DictReader(file))
        losses = [float(r["value"]) for r in rows if r["name"] == "loss"]
        assert np.mean(losses[-20:]) < 0.7 * np.mean(losses[:10])
        assert any(r["name"] == "dice" for r in rows)
        assert list((trained / stage).glob("events.out.tfevents*"))
    written = json.loads((trained / "recipe.json").read_text())
    again = Recipe.from_dict(written)
    assert json.loads(json.dumps(again.to_dict())) == json.loads(json.dumps(small_recipe().to_dict()))
    for which in ("best", "last"):
        model = load_model(trained / "denoiser" / which)
        assert model.card.scores["validation Dice"] > 0.8


def test_latent_scale_is_measured_and_stored(trained, blob_data):
    model = load_model(trained / "denoiser" / "best", device="cpu", precision="float32")
    assert model.pipeline.vae.config.scaling_factor != 1.0
    planes = Planes(pairs(blob_data, "val.txt"), model.card)
    masks = Batches(planes, Augmentation(), 64, 8, (0,))[0].masks
    with torch.no_grad():
        assert model.pipeline.encode_masks(masks).std() == pytest.approx(1.0, abs=0.25)


@pytest.mark.parametrize("shape", [(30, 50), (90, 70, 3)])
def test_planes_are_fitted_in_training_as_they_are_later(shape, tmp_path):
    rng = np.random.default_rng(0)
    image, labels = rng.random(shape, np.float32), np.zeros(shape[:2], np.uint8)
    labels[: shape[0] // 2] = 1
    for folder, array in (("images", image), ("masks", labels)):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(
            tmp_path / folder / "one.tif", array, photometric="rgb" if array.ndim == 3 else None
        )
    card = dataclasses.replace(small_recipe().card, size=48, placement="fit")
    planes = Planes(pairs(tmp_path), card)
    seen, mask = planes.crop(0, 48, rng)
    low, high = intensity.limits(image, card.intensity)
    normal = intensity.normalize(image, low, high)
    channels = normal[None] if normal.ndim == 2 else np.moveaxis(normal, -1, 0)
    (wanted,) = tiles.cut(channels, tiles.layout(shape[:2], card, 8, 8))
    assert seen.shape == (3, 48, 48)
    # Brightness is cut off at its limits before the resizing there, after it here.
    assert np.abs(seen - wanted.numpy()).max() < 0.1
    assert np.abs(seen - wanted.numpy()).mean() < 0.005
    assert mask[:24].all()
    assert not mask[24:].any()


def test_batches_are_the_same_whenever_they_are_asked_for(blob_data):
    planes = Planes(pairs(blob_data, "train.txt"), small_recipe().card)
    batches = Batches(planes, Augmentation(grey=0.5, invert=0.5), 48, 3, (1, 2))
    wanted = [batches[i] for i in range(4)]
    followed = batches.since(1)
    for number in (1, 2, 3):
        got = next(followed)
        assert torch.equal(got.images, wanted[number].images)
        assert torch.equal(got.masks, wanted[number].masks)
    followed.close()
    assert wanted[0].images.shape == (3, 3, 48, 48)
    assert wanted[0].masks.shape == (3, 2, 48, 48)
    assert not torch.equal(wanted[0].images, wanted[1].images)


def test_augmentation_keeps_labels_whole_and_on_the_image():
    labels = np.zeros((90, 90), np.int32)
    labels[20:50, 30:70], labels[60:80, 10:30] = 7, 30_000
    image = np.where(labels > 0, 0.8, -0.8)[None].repeat(3, 0).astype(np.float32)
    augment = Augment(Augmentation(gamma=1.0001, shift=0.0, noise=0.0, blur=0.11), 64)
    rng = np.random.default_rng(0)
    for _ in range(20):
        varied, placed = augment(image, labels, rng)
        assert set(np.unique(placed)) <= {0, 7, 30_000}
        assert ((varied[0] > 0) == (placed > 0)).mean() > 0.97


KILLED = """
import sys
from blob_models import small_recipe
from sdseg import Trainer
for update in Trainer(small_recipe(), sys.argv[1], sys.argv[2]).run():
    print(update.stage, update.step, flush=True)
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_as_an_uninterrupted_one(blob_data, trained, tmp_path):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for stage, step in (("autoencoder", 50), ("denoiser", 50)):
        run = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(blob_data), str(tmp_path)],
            stdout=subprocess.PIPE, text=True, env=env,
        )  # fmt: skip
        seen = []
        for line in run.stdout:
            seen.append(line.split())
            if line.startswith(stage) and int(line.split()[1]) >= step:
                break
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        if stage == "denoiser":  # the first kill lost at most the steps since the last save, 20
            first = next(int(s[1]) for s in seen if s[0] == "autoencoder")
            assert 40 <= first - 1 <= 60
    updates = list(Trainer(small_recipe(), blob_data, tmp_path).run())
    first = next(u for u in updates if u.stage != "data")
    assert first.stage == "denoiser"
    assert 40 <= first.step - 1 <= 60
    whole = load_model(trained / "denoiser" / "last", device="cpu", precision="float32")
    pieces = load_model(tmp_path / "denoiser" / "last", device="cpu", precision="float32")
    # Data, noise and rates are functions of the step, so what is left is rounding.
    scores = [m.card.scores["validation Dice"] for m in (whole, pieces)]
    assert scores[0] == pytest.approx(scores[1], abs=0.01)


def test_one_finished_run_does_nothing_more(trained, blob_data):
    started = time.monotonic()
    updates = list(Trainer(small_recipe(), blob_data, trained).run())
    assert {u.stage for u in updates} == {"data"}
    assert time.monotonic() - started < 20


def test_a_trained_autoencoder_is_used_again(trained, blob_data, tmp_path):
    recipe = small_recipe(steps=2, autoencoder_from=str(trained / "denoiser" / "best"))
    stages = {u.stage for u in Trainer(recipe, blob_data, tmp_path).run()}
    assert stages == {"data", "denoiser"}
    first = load_model(trained / "denoiser" / "best", device="cpu", precision="float32").pipeline.vae
    second = load_model(tmp_path / "denoiser" / "last", device="cpu", precision="float32").pipeline.vae
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_other_parameterisations_train(kind, trained, blob_data, tmp_path):
    recipe = small_recipe(steps=25, autoencoder_from=str(trained / "denoiser" / "best"))
    recipe = dataclasses.replace(
        recipe,
        denoiser=dataclasses.replace(
            recipe.denoiser, prediction_type=kind, last_step=0.0, mask_weight=0.0, decay=0.0
        ),
    )
    losses = [u.loss for u in Trainer(recipe, blob_data, tmp_path).run() if u.stage == "denoiser"]
    assert losses[-1] < losses[0]
    model = load_model(tmp_path / "denoiser" / "last")
    assert model.pipeline.scheduler.config.prediction_type == kind


def test_mask_loss_is_nothing_for_the_truth_and_sees_small_objects():
    target = -torch.ones(2, 1, 64, 64)
    target[1, :, 30:33, 30:33] = 1
    empty = -torch.ones_like(target)
    assert mask_loss(target, target).tolist() == pytest.approx([0, 0], abs=1e-6)
    assert mask_loss(empty, target)[1] > 0.8


def test_what_was_drawn_beyond_the_range_can_come_back():
    drawn = torch.tensor([-1.2, -1.2, 0.0, 1.2, 1.2], requires_grad=True)
    found = probability(drawn)
    assert found.tolist() == pytest.approx([0, 0, 0.5, 1, 1])
    (found * torch.tensor([-1.0, 1.0, 1.0, -1.0, 1.0])).sum().backward()
    # Downhill is up, down, down, up, down; the second would leave the range further, as the fourth.
    assert drawn.grad.tolist() == pytest.approx([-0.5, 0, 0.5, 0, 0.5])
    target = -torch.ones(1, 1, 32, 32)
    target[..., 10:14, 10:14] = 1
    missed = torch.full_like(target, -1.1).requires_grad_()
    mask_loss(missed, target).sum().backward()
    inside, outside = missed.grad[target > 0].mean(), missed.grad[target < 0].abs().mean()
    assert -inside > 20 * outside, "a missing object calls louder than its surroundings"


def test_recipes_are_read_and_mistakes_named(tmp_path):
    shipped = Recipe.read("nuclei")
    assert shipped.preset == "tiny"
    assert shipped.card.coding == "instances"
    with pytest.raises(InputError, match=r"none of base, btcv, .*nuclei"):
        Recipe.read("no-such")
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('preset = "tiny"\n[card]\nname = "x"\n[denoiser]\nstepz = 5\n')
    with pytest.raises(ModelFormatError, match="stepz"):
        Recipe.read(wrong)
    wrong.write_text("preset = ")
    with pytest.raises(ModelFormatError, match="TOML"):
        Recipe.read(wrong)


def test_missing_split_is_said_before_anything_is_trained(blob_data, tmp_path):
    recipe = dataclasses.replace(small_recipe(), val_split="nowhere.txt")
    with pytest.raises(DataError, match=r"nowhere\.txt"):
        Trainer(recipe, blob_data, tmp_path)
    assert not list(tmp_path.iterdir())


SEVERAL = """
import os, sys
import torch
from blob_models import small_recipe
from sdseg import Trainer
trainer = Trainer(small_recipe(steps=6, autoencoder_steps=6), sys.argv[1], sys.argv[2])
steps = [u.step for u in trainer.run() if u.stage == "denoiser"]
assert steps == [1, 2, 3, 4, 5, 6], steps
assert torch.distributed.get_world_size() == 2
print("main" if trainer.is_main else "other", os.environ["RANK"], flush=True)
"""


@pytest.mark.slow
def test_several_processes_train_one_model(blob_data, tmp_path):
    """What `accelerate launch` and torchrun start: here two processes on the CPU, over gloo."""
    script = tmp_path / "several.py"
    script.write_text(SEVERAL)
    env = {
        **os.environ, "PYTHONPATH": os.pathsep.join(sys.path),
        "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*launch, str(script), str(blob_data), str(tmp_path / "run")],
        env=env, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == ["0", "1", "main", "other"]
    assert load_model(tmp_path / "run" / "denoiser" / "last").card.name == "blobs"


def test_disturbed_masks_are_other_masks_of_about_the_same_size():
    masks = torch.full((6, 1, 64, 64), -1.0)
    masks[:, :, 20:44, 16:48] = 1
    first = disturbed(masks, torch.Generator().manual_seed(1))
    assert torch.equal(first, disturbed(masks, torch.Generator().manual_seed(1)))
    assert first.min() >= -1
    assert first.max() <= 1
    for wrong, true in zip(first > 0, masks > 0, strict=True):
        overlap = 2 * (wrong & true).sum() / (wrong.sum() + true.sum())
        assert 0.5 < overlap < 1


def test_several_folders_are_drawn_from_by_their_share(blob_data, tmp_path):
    classes = tmp_path / "classes"
    (classes / "images").mkdir(parents=True)
    (classes / "masks").mkdir()
    for k in range(3):
        image, labels = blobs(50 + k)
        tifffile.imwrite(classes / "images" / f"c{k}.tif", image)
        tifffile.imwrite(classes / "masks" / f"c{k}.tif", np.minimum(labels, 3).astype(np.uint8))
    (classes / "train.txt").write_text("c0 c1")
    (classes / "val.txt").write_text("c2")
    (tmp_path / "blobs").symlink_to(blob_data)
    sources = (Source("blobs", share=0.25), Source("classes", "classes", 0.75, zoom=0.5))
    card = dataclasses.replace(small_recipe().card, coding="binary")
    recipe = small_recipe(2, 2, card=card, sources=sources)
    trainer = Trainer(recipe, tmp_path, tmp_path / "run")
    planes = Planes(trainer._train_pairs, card, sources)
    rng = np.random.default_rng(0)
    drawn = [planes.draw(rng) for _ in range(400)]
    assert np.mean([i >= 24 for i in drawn]) == pytest.approx(0.75, abs=0.08)
    assert planes.planes[-1].labels.shape == (48, 48)  # resized
    ids = {tuple(np.unique(planes.crop(24, 48, rng)[1])) for _ in range(40)}
    assert ids >= {(0, 1)}  # one class is the foreground, or now and then all
    updates = list(trainer.run())
    assert "4 validation images" in [u.message for u in updates if u.message][-1]
    again = Recipe.from_dict(json.loads((tmp_path / "run" / "recipe.json").read_text()))
    assert again.sources == sources
    with pytest.raises(InputError, match="objects"):
        Source("x", labels="things")


def test_planes_with_something_on_them_can_be_preferred(blob_data):
    card = small_recipe().card
    planes = Planes(pairs(blob_data, "train.txt"), card, foreground=1.0)
    for k in range(len(planes.planes) - 1):
        planes.planes[k].labels[:] = 0
    preferred = Planes(pairs(blob_data, "train.txt"), card, foreground=1.0)
    preferred.planes, preferred._full = planes.planes, np.array([len(planes) - 1])
    rng = np.random.default_rng(0)
    assert {preferred.draw(rng) for _ in range(20)} == {len(planes) - 1}
