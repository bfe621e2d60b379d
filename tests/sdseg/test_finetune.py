from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from napari_sdseg import segment
from sdseg import load_model
from sdseg.errors import InputError
from sdseg.guide import Guidance
from sdseg.intensity import Intensity
from sdseg.metrics import dice
from sdseg.painted import painted
from sdseg.stack import plan
from sdseg.training.finetune import FineTuner, FineTuneSettings, next_plane, objective
from sdseg.training.finetune.doubt import room
from sdseg.training.finetune.draws import Draws, Variation
from sdseg.training.finetune.examples import Example
from sdseg.training.finetune.look import intensity_for, placement_for, scattered
from sdseg.training.finetune.strokes import left_open, reach


@pytest.fixture
def stack():
    """A bright disc that wanders through a noisy volume."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:40, :48]
    truth = np.stack([(y - 18 - z) ** 2 + (x - 22) ** 2 < 90 for z in range(8)]).astype(np.uint8)
    image = rng.normal(200, 30, truth.shape) + 300.0 * truth
    labels = np.zeros_like(truth)
    for z in (1, 3, 6):
        labels[z] = truth[z]
    return image.astype(np.uint16), labels, truth


def start(folder, name):
    return load_model(folder / name, device="cpu", precision="float32")


def weights(model):
    p = model.pipeline
    return torch.cat(
        [q.flatten() for part in (p.vae, p.vision_encoder, p.unet) for q in part.parameters()]
    )


def learn(model, image, labels, **options):
    tuner = FineTuner(model, image, labels, **{"steps": 3, **options})
    updates = list(tuner.run())
    return tuner, updates, tuner.result


def test_the_source_stays_and_the_result_is_a_model_of_its_own(stack, random_starts, tmp_path):
    image, labels, _ = stack
    source = start(random_starts, "thing")
    before = weights(source).clone()
    tuner, updates, made = learn(source, image, labels)
    assert torch.equal(weights(source), before)
    assert not torch.equal(weights(made), before)
    assert torch.equal(
        torch.cat([p.flatten() for p in made.pipeline.vae.parameters()]),
        torch.cat([p.flatten() for p in source.pipeline.vae.parameters()]),
    )
    assert [u.step for u in updates] == [1, 2, 3]
    assert updates[-1].done == 1
    assert made.card.parent == "thing"
    assert "3 painted planes" in made.card.training_data
    assert tuner.planes == [[1, 3, 6]]
    found = segment(image, made)
    made.save(tmp_path / "made")
    assert (segment(image, tmp_path / "made", device="cpu", precision="float32") == found).all()


def test_painted_layers_are_not_changed_and_the_same_seed_is_the_same_model(stack, random_starts):
    image, labels, _ = stack
    source, kept = start(random_starts, "thing"), labels.copy()
    results = [learn(source, image, labels, seed=s)[2] for s in (4, 4, 5)]
    assert (labels == kept).all()
    assert torch.equal(weights(results[0]), weights(results[1]))
    assert not torch.equal(weights(results[0]), weights(results[2]))


def test_it_goes_on_from_where_it_stopped(stack, random_starts):
    image, labels, _ = stack
    _, _, once = learn(start(random_starts, "thing"), image, labels)
    _, _, twice = learn(once, image, labels)
    assert twice.card.parent == once.card.name
    assert not torch.equal(weights(once), weights(twice))


def test_stopped_early_it_keeps_what_there_is(stack, random_starts):
    tuner = FineTuner(start(random_starts, "thing"), *stack[:2], seconds=1000)
    with pytest.raises(InputError, match="nothing was learned"):
        tuner.result  # noqa: B018
    run = tuner.run()
    next(run)
    run.close()
    assert tuner.result.card.parent == "thing"


def test_stopped_while_planes_are_left_out_it_keeps_the_best(stack, random_starts):
    image, labels, truth = stack
    settings = FineTuneSettings(score_every=0.0, learning_rate=1e-3)  # fast, so that it goes astray
    tuner = FineTuner(start(random_starts, "thing"), image, labels, steps=60, settings=settings)
    scores = []
    for update in tuner.run():
        scores.append(update.dice)
        if len(scores) > 3 and scores[-1] < scores[-2] < max(scores):
            break
    assert not update.everything, "it never got worse"
    assert tuner.best == max(scores) > scores[-1]
    drawn = segment(image, tuner.result, axis=0)
    assert dice(drawn[3] > 0, truth[3]) == pytest.approx(tuner.best, abs=1e-3), "plane 3 was left out"


def test_classes_are_added_by_drawing_each_alone(stack, random_starts):
    image, labels, _ = stack
    labels[1, 30:36, 5:15] = 3
    source = start(random_starts, "thing")
    _, _, made = learn(source, image, labels, classes=["disc", "none", "bar"])
    assert [c.name for c in made.card.classes] == ["disc", "none", "bar"]
    assert made.card.coding == "multiclass"
    _, probability = segment(image, made, return_probability=True)
    assert probability.shape == (3, *image.shape)
    guided = segment(image, made, guide=labels, annotated=[1, 3, 6])
    assert (guided[1] == labels[1]).all()
    _, _, more = learn(made, image, np.where(labels == 3, 4, labels))
    assert len(more.card.classes) == 4


def test_drawn_alone_or_together_masks_come_back_alike(random_starts):
    from sdseg.training.finetune.adapt import adapted, classes_for

    source = start(random_starts, "thing")
    wide, _ = adapted(source, classes_for(source.card, 2))
    masks = torch.sign(torch.randn(3, 2, 32, 32))
    latents = wide.encode_masks(masks)
    assert latents.shape == (3, wide.latent_channels, 8, 8)
    back = wide.decode_latents(latents)
    for k in range(2):
        alone = source.pipeline.encode_masks(masks[:, k : k + 1])
        assert torch.allclose(latents[:, 4 * k : 4 * k + 4], alone, atol=1e-5)
        assert torch.allclose(back[:, k : k + 1], source.pipeline.decode_latents(alone), atol=1e-4)


def test_a_model_told_its_class_learns_and_gets_more(stack, random_starts):
    image, labels, _ = stack
    source = start(random_starts, "told")
    assert learn(source, image, labels)[2].pipeline.class_count == 3
    labels[1, 30:36, 5:15] = 3
    _, _, made = learn(source, image, labels)
    assert made.pipeline.class_count == 4
    assert segment(image, made, guide=labels, annotated=[1, 3, 6], planes=[1]).max() == 3


def test_single_objects_learn_too(stack, random_models):
    image, labels, _ = stack
    _, _, made = learn(start(random_models, "dots"), image, labels * 7)
    assert made.card.coding == "instances"
    assert segment(image, made, instances=True).dtype == np.uint32


def test_an_autoencoder_of_two_classes_cannot_draw_three(stack, random_models):
    image, labels, _ = stack
    organs = start(random_models, "organs")
    assert len(learn(organs, image, labels)[2].card.classes) == 2
    with pytest.raises(InputError, match="base"):
        FineTuner(organs, image, labels * 3)


def test_strokes_learn_from_the_pixels_that_are_known(stack, random_starts):
    image, labels, _ = stack
    labels[:] = 0
    labels[3, 15:17, 15:25], labels[3, 2:4, 5:40] = 1, 2
    for ignore, drawn in (
        (0, labels),
        (255, np.where(labels == 0, 255, np.where(labels == 2, 0, labels))),
    ):
        options = {"background_label": 2} if ignore == 0 else {}
        tuner, _, made = learn(
            start(random_starts, "thing"), image, drawn.astype(np.uint8), ignore_label=ignore, **options
        )
        assert tuner.planes == [[3]]
        assert len(made.card.classes) == 1


def test_what_strokes_leave_open_counts_a_little_as_background(random_starts):
    image = np.random.default_rng(0).random((20, 40, 48)).astype(np.float32)
    labels = np.full(image.shape, 255, np.uint8)
    for z in (6, 9):
        labels[z, 10:12, 10:30], labels[z, 30:32, 10:30] = 1, 0
    source = start(random_starts, "thing")
    tuner = FineTuner(source, image, labels, ignore_label=255, placement="tile", steps=1)
    own, carried = tuner._stacks[0].examples(tuner.painted[0].planes)
    assert not carried
    assert len(own) == 4, "farther beyond than strokes lie apart, planes are taken for empty"
    stroke, far = own[0], own[-1]
    known = stroke.weight[0] == 1
    assert known.sum() == 80
    assert (stroke.target[0][known] > 0).sum() == 40
    share = float(known.float().mean())
    assert stroke.weight[0][~known].unique().tolist() == pytest.approx([share / 2], rel=0.01)
    assert (far.target == -1).all()
    assert (far.weight < 1).all()


def test_how_far_a_thing_goes_on_is_told_by_its_strokes():
    drawn = np.zeros((40, 60), bool)
    for x in (10, 16, 22):
        drawn[10:20, x : x + 2] = True
    assert reach([drawn, np.zeros_like(drawn)]) == pytest.approx(6, abs=1)
    two = drawn.copy()
    two[:, 20:] = False
    assert reach([two]) is None, "two do not tell"
    known = drawn.copy()
    known[30, 5:50] = True  # the background
    ids, weight = left_open(drawn.astype(int), known, 6.0)
    assert (ids[10:20, 8:26] == 1).all()
    assert not ids[23:].any()
    assert weight[15, 19] < weight[15, 50]
    same, even = left_open(drawn.astype(int), known, None)
    assert (same == drawn).all()
    assert even.min() == even.max() == weight[15, 19]


def test_strokes_of_single_objects_say_nothing_of_the_others(random_starts, random_models):
    image = np.random.default_rng(0).random((40, 48)).astype(np.float32)
    labels = np.full(image.shape, 255, np.uint8)
    for k in range(4):
        labels[5:8, 4 + 4 * k : 6 + 4 * k] = k + 1
    labels[30, :20] = 0
    weights_ = []
    for folder, name in ((random_starts, "thing"), (random_models, "dots")):
        drawn = labels if name == "dots" else np.where(labels == 255, 255, labels > 0).astype(np.uint8)
        tuner = FineTuner(start(folder, name), image, drawn, ignore_label=255, steps=1)
        (example,), _ = tuner._stacks[0].examples(tuner.painted[0].planes)
        weights_.append(example.weight[example.weight < 1].unique())
    assert weights_[0].max() > 2 * weights_[0].min()
    assert weights_[1].max() < 1.1 * weights_[1].min()


def test_strokes_are_begun_with_what_probably_is_beside_them(random_starts):
    y, x = np.mgrid[:48, :48]
    truth = ((y - 24) ** 2 + (x - 24) ** 2 < 150).astype(np.uint8)
    rng = np.random.default_rng(0)
    labels = np.full(truth.shape, 255, np.uint8)
    for z in range(14, 36, 5):
        labels[z : z + 2, 16:33] = truth[z : z + 2, 16:33]
    labels[3:5], labels[44:46] = 0, 0
    image = rng.normal(100, 10, truth.shape) + 100 * truth
    source = start(random_starts, "thing")
    tuner = FineTuner(source, image, labels, ignore_label=255, steps=1)
    (example,), _ = tuner._stacks[0].examples(tuner.painted[0].planes)
    shown = (example.guess[0] > 0).float().mean()
    assert shown == pytest.approx(float(truth.mean()), rel=0.35)
    batch = tuner._draws([list(p.planes) for p in tuner.painted], Variation())()
    losses = [
        objective.loss(
            tuner._pipeline, batch, tuner.settings, torch.Generator().manual_seed(0),
            torch.device("cpu"), share,
        )
        for share in (0.0, 1.0)
    ]  # fmt: skip
    assert losses[1] > losses[0], "else a model that draws nothing learns to draw nothing"


def test_what_has_got_worse_since_is_not_the_result(stack, random_starts, monkeypatch):
    image, labels, _ = stack
    tuner, _, _ = learn(start(random_starts, "thing"), image, labels, steps=6)
    assert tuner.best is not None

    def learned(model):
        p = model.pipeline
        return torch.cat([q.flatten() for n in (p.vision_encoder, p.unet) for q in n.parameters()])

    early = torch.cat([w.flatten() for w in tuner._early])
    late = torch.cat([w.flatten() for w in tuner._averages])
    assert not torch.equal(early, late)
    for value, kept in ((tuner.best - 0.01, early), (tuner.best, late)):
        monkeypatch.setattr(tuner, "_score", lambda planes, pipeline, value=value: value)
        assert torch.equal(learned(tuner.result), kept)


def test_where_neighbours_say_that_nothing_is_there_they_give_no_guess_to_learn_from(
    stack, random_starts
):
    image, labels, _ = stack
    planes = [0, 1, 3, 6]  # nothing is painted on the first
    tuner = FineTuner(start(random_starts, "thing"), image, labels, annotated=planes, steps=1)
    own, _ = tuner._stacks[0].examples(tuner.painted[0].planes)
    assert [e.guess is not None for e in own[: len(planes)]] == [False, False, True, False]


def test_strokes_do_not_mix_with_the_unknown_beside_them():
    target, weight = torch.full((1, 1, 64, 64), -1.0), torch.zeros(1, 1, 64, 64)
    target[..., 20:23, 8:56], weight[..., 20:23, 8:56] = 1, 1
    stroke = Example(torch.zeros(3, 64, 64), target[0], weight[0], complete=False)
    drawn = Draws([([stroke], [])], 4, 64, Variation(bend=0.1, rotate=0.5), seed=0)()
    assert (drawn.weights > 0.01).sum() > 200
    assert drawn.targets[drawn.weights > 0.01].min() > 0.99


def test_one_plane_an_empty_plane_a_single_image(stack, random_starts):
    image, labels, truth = stack
    source = start(random_starts, "thing")
    learn(source, image, labels, annotated=[3])
    learn(source, image, labels, annotated=[0])  # nothing on it: that is known of it
    learn(source, image[3], truth[3])
    learn(source, np.stack([image[3]] * 3, axis=-1), truth[3])


def test_several_images_of_different_shapes(stack, random_starts):
    image, labels, truth = stack
    tuner, _, _ = learn(
        start(random_starts, "thing"), [image, image[:5, :32, :36]], [labels, truth[:5, :32, :36]],
        annotated=[[1, 3, 6], [2]],
    )  # fmt: skip
    assert tuner.planes == [[1, 3, 6], [2]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps"),
        ({"seconds": -1.0}, "seconds"),
        ({"classes": []}, "0 names for 1"),
        ({"annotated": [99]}, "out of range"),
    ],
)
def test_what_cannot_be_used_is_said(stack, random_starts, options, message):
    with pytest.raises(InputError, match=message):
        FineTuner(start(random_starts, "thing"), *stack[:2], **options)


def test_object_ids_are_not_taken_for_classes(stack, random_starts):
    with pytest.raises(InputError, match="single objects"):
        FineTuner(start(random_starts, "thing"), stack[0], stack[1].astype(np.uint16) * 500)


def test_labels_of_another_shape_and_too_few_lists(stack, random_starts):
    source = start(random_starts, "thing")
    with pytest.raises(InputError, match="does not match"):
        FineTuner(source, stack[0], stack[1][:4])
    with pytest.raises(InputError, match="1 for 2 images"):
        FineTuner(source, [stack[0]] * 2, [stack[1]])
    with pytest.raises(InputError, match="annotated: 1 lists"):
        FineTuner(source, [stack[0]] * 2, [stack[1]] * 2, annotated=[[1]])


def test_large_planes_are_fitted_and_ct_gets_a_window(random_starts):
    card = dataclasses.replace(start(random_starts, "thing").card, size=256)
    small, large = (plan((4, n, n), np.int16, card) for n in (200, 512))
    assert placement_for([small], card) == "tile"
    assert placement_for([large], card) == "fit"
    rng = np.random.default_rng(0)
    ct = rng.normal(40, 20, (4, 64, 64)).astype(np.int16)
    ct[:, :20] = -1000
    labels = np.zeros(ct.shape, np.uint8)
    labels[1, 30:50, 30:50] = 1
    found = painted(ct, labels, plan(ct.shape, ct.dtype, card))
    window = intensity_for([found], Intensity())
    assert window.kind == "window"
    assert -400 < window.low < 0 < 80 < window.high < 500
    positive = painted(np.abs(ct) % 900, labels, plan(ct.shape, ct.dtype, card))
    assert intensity_for([positive], Intensity()).kind == "percentile"


def test_many_objects_may_be_mirrored(stack, random_starts):
    image, labels, _ = stack
    card = start(random_starts, "thing").card
    work = plan(image.shape, image.dtype, card)
    assert not scattered([painted(image, labels, work)])
    labels[:] = 0
    labels[2, ::8, ::8] = 1
    assert scattered([painted(image, labels, work)])


def test_a_short_budget_is_scored_too(stack, random_starts):
    settings = FineTuneSettings(score_every=1e6)
    tuner, updates, made = learn(start(random_starts, "thing"), *stack[:2], settings=settings, steps=4)
    said = [u.dice for u in updates if u.dice is not None]
    assert said == [tuner.best]
    assert made.card.scores["Dice on painted planes left out"] == round(tuner.best, 4)


def test_only_what_is_not_drawn_yet_gets_an_early_start(stack, random_starts, monkeypatch):
    shares = []
    real = objective.loss

    def spied(*args):
        shares.append(args[-1])
        return real(*args)

    monkeypatch.setattr(objective, "loss", spied)
    image, labels, _ = stack
    source = start(random_starts, "thing")
    before = learn(source, image, labels, steps=40)[0].before
    assert shares[0] == 1
    assert shares[19] > 0 == shares[20], "gone after half of a budget shorter than the balance"
    shares.clear()
    learn(source, image, labels, steps=4, settings=FineTuneSettings(drawn_already=before))
    assert shares == [0] * 4


def test_planes_far_from_painted_ones_have_more_room():
    assert room([0, 3, 7, 11], [2, 10], 40).tolist() == [1, 1, 3, 1]
    assert room([0, 20, 38], [2], 40).tolist() == [1, 18, 2]
    assert room([0, 20], [], 40).tolist() == [1, 20]


def test_the_next_plane_is_an_unpainted_one(stack, random_starts):
    image, _, _ = stack
    source = start(random_starts, "thing")
    work = plan(image.shape, image.dtype, source.card)
    assert next_plane(image, source, work, [0, 1, 2, 3, 4, 5, 7]) == 6
    assert next_plane(image, source, work, [3], samples=2) != 3
    with pytest.raises(InputError, match="painted already"):
        next_plane(image, source, work, range(8))


def test_with_a_guide_the_next_plane_is_where_painted_shapes_leave_most_in_doubt(random_starts):
    y, x = np.mgrid[:40, :48]
    labels = np.zeros((24, 40, 48), np.uint8)
    for z in (2, 5, 8):
        labels[z] = (y - 20) ** 2 + (x - 24) ** 2 < 100  # goes on beyond 8, none knows how far
    image = np.random.default_rng(0).random(labels.shape).astype(np.float32)
    source = start(random_starts, "thing")
    work = plan(image.shape, image.dtype, source.card)
    guide = Guidance(painted(image, labels, work), source.card)
    doubts = [guide.in_doubt((z,)) for z in range(24)]
    assert max(doubts[3:8]) < doubts[12]
    assert 10 < next_plane(image, source, work, [2, 5, 8], guide=guide) < 20
    nothing = Guidance(painted(image, labels * 0, work, annotated=[2, 8]), source.card)
    assert nothing.in_doubt((5,)) == 0
