from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from sdseg import load_model
from sdseg.errors import InputError
from sdseg.guide import Guidance
from sdseg.painted import painted
from sdseg.stack import plan, segment_planes


@pytest.fixture
def organs(random_models):
    return load_model(random_models / "organs", device="cpu", precision="float32")


@pytest.fixture
def stack():
    rng = np.random.default_rng(1)
    image = rng.integers(0, 255, (9, 40, 52), np.uint8)
    labels = np.zeros(image.shape, np.uint8)
    for z in (2, 6):
        labels[z, 5:20, 6:30] = 1
        labels[z, 25:33, 30:44] = 2
    return image, labels


def guidance(stack, model, **options):
    image, labels = stack
    work = plan(image.shape, image.dtype, model.card)
    return work, Guidance(painted(image, labels, work, **options), model.card)


def drawn(image, model, work, **options):
    return list(segment_planes(image, model, work, **options))


def test_painted_planes_are_kept_as_painted_and_others_are_not_those_of_noise(stack, organs):
    work, guide = guidance(stack, organs)
    plain, guided = drawn(stack[0], organs, work), drawn(stack[0], organs, work, guide=guide)
    assert [p.number for p in guided] == list(range(9))
    for z in (2, 6):
        assert (guided[z].labels == stack[1][z]).all()
    assert any(
        (a.probability != b.probability).any() for a, b in zip(plain[3:6], guided[3:6], strict=True)
    )


def test_where_nothing_is_guessed_planes_start_from_pure_noise(stack, organs):
    image, labels = stack
    labels[:] = 0  # painted, and nothing is there: it may begin anywhere else
    work, guide = guidance((image, labels), organs, annotated=[2, 8])
    plain, guided = drawn(image, organs, work), drawn(image, organs, work, guide=guide)
    for z in (0, 4, 7):
        assert guide.start((z,)).masks is None
        assert (plain[z].probability == guided[z].probability).all()


def test_towards_an_empty_painted_plane_less_and_less_is_in_doubt(stack, organs):
    image, labels = stack
    labels[:] = 0
    labels[0, 5:15, 10:20] = 1  # is gone on the next painted plane
    _, guide = guidance((image, labels), organs, annotated=[0, 8])
    starts = [guide.start((z,)) for z in (1, 4, 7)]
    assert [bool((s.masks > 0).any()) for s in starts] == [True, False, False]
    assert starts[1].timestep > starts[2].timestep


def test_beyond_the_painted_planes_shapes_count_for_what_they_are_worth(stack, organs):
    image, labels = stack
    labels[:] = 0
    for z, side in ((1, 20), (3, 18), (5, 16)):
        labels[z, 10 : 10 + side, 10 : 10 + side] = 1
    _, guide = guidance((image, labels), organs)
    assert guide.start((4,)).within is None
    beyond = guide.start((7,))
    assert beyond.timestep < 999
    assert not beyond.within[0].all()
    assert beyond.within[1].all(), "the second class is nowhere painted: it may begin here"
    probability = np.ones((2, 40, 52), np.float32)
    beyond.keep(probability)
    assert (probability == beyond.within).all()
    labels[:] = 0
    for z, at in ((1, 0), (3, 20), (5, 10)):  # none says where the next one is
        labels[z, at : at + 8, at : at + 8] = 1
    _, guide = guidance((image, labels), organs)
    assert guide.start((4,)).masks is not None
    assert guide.start((7,)).masks is None


def test_strokes_are_kept_and_the_rest_of_their_plane_is_segmented(stack, organs):
    image, labels = stack
    labels[:] = 255
    labels[3, 10, 5:30] = 2
    work, guide = guidance((image, labels), organs, ignore_label=255)
    plain, guided = drawn(image, organs, work), drawn(image, organs, work, guide=guide)
    assert (guided[3].labels[10, 5:30] == 2).all()
    elsewhere = labels[3] == 255
    assert (guided[3].probability[:, elsewhere] == plain[3].probability[:, elsewhere]).all()


def test_the_batch_size_does_not_matter(stack, organs):
    work, guide = guidance(stack, organs)
    one = drawn(stack[0], organs, work, guide=guide, batch_size=1)
    many = drawn(stack[0], organs, work, guide=guide, batch_size=7)
    for a, b in zip(one, many, strict=True):
        assert (a.probability == b.probability).all()


def test_single_planes_and_samples(stack, organs):
    work, guide = guidance(stack, organs)
    whole = drawn(stack[0], organs, work, guide=guide, samples=2)
    part = dataclasses.replace(work, planes=(2, 4))
    found = drawn(stack[0], organs, part, guide=guide, samples=2)
    assert (found[1].probability == whole[4].probability).all()
    assert not found[0].stability.any()  # painted: nothing is in doubt


def test_the_pipeline_checks_a_guess(organs):
    images, p = torch.zeros(2, 3, 32, 32), organs.pipeline
    guess, start = torch.zeros(2, 2, 32, 32), torch.tensor([5, 999])
    for change, message in (
        ({"guess": guess}, "give both"),
        ({"guess": guess[:, :1], "start": start}, "need masks"),
        ({"guess": guess, "start": torch.tensor([5, 1000])}, "timesteps"),
        ({"guess": guess, "start": start, "steps": 2}, "single step"),
    ):
        with pytest.raises(InputError, match=message):
            p(images, **change)


def test_the_last_timestep_leaves_nothing_of_a_guess(organs):
    images, p = torch.rand(2, 3, 32, 32) * 2 - 1, organs.pipeline
    guess = torch.sign(torch.randn(2, 2, 32, 32))
    free = p(images, seed=3).probability
    for start, same in ((torch.tensor([999, 999]), True), (torch.tensor([100, 100]), False)):
        guided = p(images, seed=3, guess=guess, start=start).probability
        assert torch.equal(free, guided) is same


def test_models_of_single_objects_and_three_directions_are_refused(stack, organs, random_models):
    dots = load_model(random_models / "dots", device="cpu", precision="float32")
    with pytest.raises(InputError, match="single objects"):
        guidance(stack, dots)
    work, guide = guidance(stack, organs)
    with pytest.raises(InputError, match="one slicing direction"):
        drawn(stack[0], organs, work, guide=guide, orthogonal=True)
