from __future__ import annotations

import numpy as np
import pytest
import torch

from blob_models import SIZES
from sdseg import Card, load_model, masks
from sdseg.card import ClassInfo
from sdseg.devices import choose
from sdseg.errors import InputError, ModelFormatError
from sdseg.models import Preset, build
from sdseg.pipeline import SDSegPipeline, clean_latent, make_scheduler, plane_noise
from sdseg.stack import segment_planes
from sdseg.store import Model
from sdseg.training.losses import latent_losses


def pipeline(prediction_type: str = "epsilon", mask_channels: int = 2) -> SDSegPipeline:
    torch.manual_seed(1)
    parts = build(Preset(**SIZES), mask_channels=mask_channels, size=64)
    for part in parts:
        part.eval()
    return SDSegPipeline(*parts, make_scheduler(prediction_type), mask_channels=mask_channels)


IMAGES = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_schedule_is_the_published_one():
    scheduler = make_scheduler()
    alphas = scheduler.alphas_cumprod
    assert alphas[0] == pytest.approx(0.9985, abs=1e-6)
    assert alphas[500] == pytest.approx(0.150070, rel=1e-4)
    assert alphas[999] == pytest.approx(6.686652e-4, rel=1e-5)
    scheduler.set_timesteps(1)
    assert scheduler.timesteps.tolist() == [999]


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_every_parameterisation_finds_the_clean_latent(kind):
    generator = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(4, 2, 8, 8, generator=generator) for _ in range(2))
    a = make_scheduler().alphas_cumprod[[0, 250, 500, 999]].reshape(-1, 1, 1, 1)
    noisy = a.sqrt() * clean + (1 - a).sqrt() * noise
    said = {
        "epsilon": noise, "sample": clean, "v_prediction": a.sqrt() * noise - (1 - a).sqrt() * clean,
    }[kind]  # fmt: skip
    found = clean_latent(said, noisy, a.reshape(-1), kind)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, clean, atol=2e-4, rtol=1e-3)


def test_estimate_is_float32_whatever_the_networks_precision():
    noisy, said = torch.randn(1, 2, 4, 4), torch.randn(1, 2, 4, 4)
    a = make_scheduler().alphas_cumprod[999]
    low = clean_latent(said.bfloat16(), noisy, a, "epsilon")
    wanted = (noisy - (1 - a).sqrt() * said.bfloat16().float()) / a.sqrt()
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, wanted)


def test_noise_and_latent_losses_differ_by_the_schedules_weight():
    """L_latent = sqrt((1 - a) / a) L_noise, a sample at a time."""
    generator = torch.Generator().manual_seed(0)
    clean, noise, said = (torch.randn(3, 2, 8, 8, generator=generator) for _ in range(3))
    a = make_scheduler().alphas_cumprod[[250, 500, 999]].float()
    root, rest = a.sqrt().reshape(-1, 1, 1, 1), (1 - a).sqrt().reshape(-1, 1, 1, 1)
    estimate = clean_latent(said, root * clean + rest * noise, a, "epsilon")
    noise_loss, latent_loss = latent_losses(clean, estimate, a)
    torch.testing.assert_close(
        noise_loss, (noise - said).abs().mean(dim=(1, 2, 3)), rtol=1e-3, atol=1e-4
    )
    weights = ((1 - a) / a).sqrt()
    torch.testing.assert_close(latent_loss, weights * noise_loss)
    assert weights.tolist() == pytest.approx([0.931, 2.380, 38.659], rel=1e-3)


def test_single_step_is_the_formula():
    pipe = pipeline()
    noise = torch.randn(3, 1, 4, 16, 16, generator=torch.Generator().manual_seed(5))
    out = pipe(IMAGES, noise=noise)
    with torch.inference_mode():
        both = torch.cat([noise[:, 0], pipe.vision_encoder(IMAGES)], dim=1)
        eps = pipe.unet(both, 999).sample
        latent = noise[:, 0] * 38.67191 - 38.65898 * eps
    torch.testing.assert_close(out.latent, latent, rtol=1e-4, atol=2e-3)
    assert out.probability.shape == (3, 2, 64, 64)
    assert out.stability is None
    assert 0 <= out.probability.min() <= out.probability.max() <= 1


def test_round_trip_is_bit_equal(tmp_path):
    pipe = pipeline()
    pipe.save_pretrained(tmp_path)
    again = SDSegPipeline.from_pretrained(tmp_path)
    first, second = pipe(IMAGES, samples=2), again(IMAGES, samples=2)
    assert torch.equal(first.probability, second.probability)
    assert torch.equal(first.latent, second.latent)
    assert not list(tmp_path.rglob("*.bin"))


def test_samples_give_their_mean_and_spread():
    pipe = pipeline("sample")
    noise = torch.randn(3, 4, 4, 16, 16, generator=torch.Generator().manual_seed(2))
    each = torch.stack([pipe(IMAGES, noise=noise[:, k : k + 1]).probability for k in range(4)])
    out = pipe(IMAGES, noise=noise, samples=4)
    torch.testing.assert_close(out.probability, each.mean(0), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(out.stability, each.std(0, correction=0), atol=1e-5, rtol=1e-3)
    assert out.stability.max() > 0


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_more_steps_are_ddim(kind):
    pipe = pipeline(kind)
    one, five = pipe(IMAGES, steps=1), pipe(IMAGES, steps=5)
    assert torch.isfinite(five.latent).all()
    assert not torch.equal(one.latent, five.latent)
    assert torch.equal(five.latent, pipe(IMAGES, steps=5).latent)


def test_ddim_ends_on_the_truth_when_the_network_knows_it():
    """Whatever the number of steps, a network that always says z0 ends on z0."""
    pipe = pipeline("sample")
    truth = torch.randn(1, 4, 16, 16)

    class Knowing(torch.nn.Module):
        def forward(self, both, t, class_labels=None):
            return type("Out", (), {"sample": truth})

    pipe.register_modules(unet=None)
    pipe.unet = Knowing()
    for steps in (1, 3, 10):
        found = pipe.denoise(torch.randn(1, 4, 16, 16), torch.zeros(1, 8, 16, 16), steps=steps)
        torch.testing.assert_close(found, truth)


def test_noise_depends_on_seed_plane_and_sample_alone():
    first = plane_noise(3, 7, 0, (4, 8, 8))
    assert first.dtype == np.float32
    assert np.array_equal(first, plane_noise(3, 7, 0, (4, 8, 8)))
    for other in ((4, 7, 0), (3, 8, 0), (3, 7, 1)):
        assert not np.array_equal(first, plane_noise(*other, (4, 8, 8)))
    assert abs(plane_noise(0, 0, 0, (8, 128, 128)).std() - 1) < 0.01


def test_an_autoencoder_of_photographs_sees_a_mask_three_times_over():
    torch.manual_seed(0)
    parts = build(Preset(**SIZES, mask_channels=3), size=64)
    pipe = SDSegPipeline(*(p.eval() for p in parts), make_scheduler(), mask_channels=1)
    masks = torch.rand(2, 1, 64, 64).round() * 2 - 1
    with torch.no_grad():
        latent = pipe.encode_masks(masks)
        expected = pipe.vae.encode(masks.repeat(1, 3, 1, 1)).latent_dist.mean
        torch.testing.assert_close(latent, expected * pipe.vae.config.scaling_factor)
        drawn = pipe.decode_latents(latent)
        torch.testing.assert_close(drawn, pipe.vae.decode(expected).sample.mean(1, keepdim=True))


@pytest.mark.parametrize(
    ("images", "options", "said"),
    [
        (np.zeros((1, 3, 64, 64)), {}, "ndarray"),
        (torch.zeros(3, 64, 64), {}, r"\(3, 64, 64\)"),
        (torch.zeros(1, 1, 64, 64), {}, r"\(N, 3, H, W\)"),
        (torch.zeros(1, 3, 63, 64), {}, "multiples of 8"),
        (torch.zeros(1, 3, 64, 64), {"steps": 0}, "at least 1"),
        (torch.zeros(2, 3, 64, 64), {"seed": [1]}, "one an image"),
        (torch.zeros(1, 3, 64, 64), {"noise": torch.zeros(1, 4, 16, 16)}, "noise"),
    ],
)
def test_bad_input_is_refused_at_the_door(images, options, said):
    with pytest.raises(InputError, match=said):
        pipeline()(images, **options)


def conditioned(classes: int = 3, mask_channels: int | None = None) -> SDSegPipeline:
    """A denoiser told which class to draw, background among them; its masks vary with the class."""
    torch.manual_seed(1)
    sizes = Preset(**SIZES, mask_channels=mask_channels)
    parts = build(sizes, mask_channels=1, num_class_embeds=classes, size=64)
    parts[2].class_embedding.weight.data *= 5
    return SDSegPipeline(*(p.eval() for p in parts), make_scheduler(), mask_channels=1)


@pytest.mark.parametrize("mask_channels", [None, 3])
def test_every_class_is_drawn_the_published_way(mask_channels):
    """One call a class, the same noise, class 0 negated, mean over copies, no clamp, softmax."""
    pipe = conditioned(4, mask_channels)
    noise = torch.randn(3, 1, 4, 16, 16, generator=torch.Generator().manual_seed(5))
    out = pipe(IMAGES, noise=noise)
    scores = []
    with torch.inference_mode():
        both = torch.cat([noise[:, 0], pipe.vision_encoder(IMAGES)], dim=1)
        for number in range(4):
            eps = pipe.unet(both, 999, class_labels=torch.full((3,), number)).sample
            latent = noise[:, 0] * 38.67191 - 38.65898 * eps
            drawn = pipe.vae.decode(latent / pipe.vae.config.scaling_factor).sample
            scores.append(drawn.mean(dim=1) * (-1 if number == 0 else 1))
            torch.testing.assert_close(out.latent[:, number], latent, rtol=1e-4, atol=5e-3)
    wanted = torch.stack(scores, 1)
    assert wanted.abs().max() > 1  # or a clamp would not be seen
    assert out.probability.shape == (3, 3, 64, 64)
    torch.testing.assert_close(out.probability, wanted.softmax(1)[:, 1:], atol=1e-3, rtol=1e-3)
    card = Card("c", classes=tuple(ClassInfo(n) for n in "abc"), coding="conditioned")
    labels = np.stack([masks.decode(p, card) for p in out.probability.numpy()])
    assert (labels == wanted.argmax(1).numpy()).mean() > 0.999
    assert len(np.unique(labels)) > 2


def test_classes_can_go_through_one_at_a_time():
    pipe = conditioned(3)
    whole, parts = pipe(IMAGES, samples=2), pipe(IMAGES, samples=2, at_once=2)
    torch.testing.assert_close(whole.probability, parts.probability, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(whole.stability, parts.stability, atol=1e-4, rtol=1e-2)
    assert whole.probability.sum(1).max() <= 1 + 1e-6


def test_one_class_can_be_asked_for():
    pipe = conditioned(3)
    ids = torch.tensor([0, 2, 1])
    out = pipe(IMAGES, class_labels=ids)
    assert out.probability.shape == (3, 1, 64, 64)
    every = pipe(IMAGES)
    for i, number in enumerate(ids.tolist()):
        torch.testing.assert_close(out.latent[i], every.latent[i, number], rtol=1e-4, atol=5e-3)
    for wrong in (torch.tensor([0, 1]), torch.tensor([0, 1, 3]), torch.tensor([0.0, 1.0, 2.0])):
        with pytest.raises(InputError, match="class_labels: need 3 integers from 0 to 2"):
            pipe(IMAGES, class_labels=wrong)
    with pytest.raises(InputError, match="knows no classes"):
        pipeline()(IMAGES, class_labels=ids)


def test_copies_are_clamped_before_they_are_averaged():
    parts = build(Preset(**SIZES, mask_channels=3), size=64)
    pipe = SDSegPipeline(*(p.eval() for p in parts), make_scheduler(), mask_channels=1)
    pipe.vae.config.scaling_factor, drawn = 1.0, torch.tensor([-3.0, 1.0, 0.5]).reshape(1, 3, 1, 1)
    pipe.vae.decode = lambda z: type("Out", (), {"sample": drawn.expand(len(z), 3, 64, 64)})
    assert pipe(IMAGES[:1]).probability.unique().tolist() == pytest.approx([(0 + 1 + 0.75) / 3])


def test_masks_that_an_autoencoder_has_no_room_for_are_refused():
    parts = build(Preset(**SIZES, mask_channels=3), size=64)
    with pytest.raises(ModelFormatError, match=r"do not hold masks of 2.*'conditioned'"):
        SDSegPipeline(*parts, make_scheduler(), mask_channels=2)


@pytest.fixture
def organs():
    infos = (ClassInfo("a"), ClassInfo("b"))
    card = Card("organs", classes=infos, coding="conditioned", size=64, overlap=16)
    return Model("organs", card, conditioned(3), choose("cpu", "float32"))


def test_the_engine_takes_class_conditioned_models_like_any_other(organs):
    stack = np.random.default_rng(0).integers(0, 4000, (2, 70, 90)).astype(np.uint16)
    planes = list(segment_planes(stack, organs, axis=0))
    for plane in planes:
        assert plane.probability.shape == (2, 70, 90)
        assert plane.probability.sum(0).max() <= 1 + 1e-5
        assert np.array_equal(plane.labels, masks.decode(plane.probability, organs.card))
    alone = next(iter(segment_planes(stack, organs, axis=0, planes=[1])))
    assert np.array_equal(alone.labels, planes[1].labels)
    objects = list(segment_planes(stack, organs, axis=0, instances=True))
    assert objects[0].labels.dtype == np.uint32
    assert np.array_equal(objects[0].labels > 0, planes[0].labels > 0) or objects[0].labels.max() > 0


def test_memory_that_runs_out_halves_the_classes_at_once(organs, monkeypatch):
    stack = np.random.default_rng(0).integers(0, 4000, (1, 64, 64)).astype(np.uint16)
    wanted = next(iter(segment_planes(stack, organs, axis=0))).labels
    whole, asked = organs.pipeline.unet.forward, []

    def small(both, *arguments, **options):
        asked.append(len(both))
        if len(both) > 1:
            raise torch.OutOfMemoryError("too much")
        return whole(both, *arguments, **options)

    monkeypatch.setattr(organs.pipeline.unet, "forward", small)
    with pytest.warns(UserWarning, match="classes at once"):
        found = next(iter(segment_planes(stack, organs, axis=0))).labels
    assert asked == [3, 2, 1, 1, 1]
    assert (found == wanted).mean() > 0.999


def test_trained_model_needs_one_step_and_one_sample(trained, blob_data):
    """The small model that the tests train segments discs it has not seen, in one step."""
    from sdseg.evaluation import evaluate, pairs, summary

    model = load_model(trained / "denoiser" / "best", device="cpu", precision="float32")
    scores = list(evaluate(model, pairs(blob_data, "val.txt"), instances=True))
    figures = summary(scores)
    assert figures["dice"] > 0.9
    assert figures["AP50"] > 0.5
    assert figures["dice"] == pytest.approx(model.card.scores["validation Dice"], abs=1e-3)
