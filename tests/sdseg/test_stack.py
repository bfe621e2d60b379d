from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from sdseg import load_model
from sdseg.errors import Cancelled, InputError, OutOfMemoryError, SDSegError
from sdseg.stack import find_limits, label_dtype, plan, segment_planes


@pytest.fixture(scope="module")
def model(trained):
    return load_model(trained / "denoiser" / "best", device="cpu", precision="float32")


@pytest.fixture(scope="module")
def stack():
    from blob_models import blobs

    return np.stack([blobs(100 + i, side=120)[0] for i in range(4)])


def run(image, model, **options):
    return list(segment_planes(image, model, instances=False, **options))


def test_planes_come_in_order_whole_and_typed(stack, model):
    done = run(stack, model)
    assert [p.number for p in done] == [0, 1, 2, 3]
    assert {p.total for p in done} == {4}
    assert [p.index[0] for p in done] == [0, 1, 2, 3]
    assert all(p.labels.shape == (120, 120) and p.labels.dtype == np.uint8 for p in done)
    assert all(p.probability.shape == (2, 120, 120) and p.stability is None for p in done)
    assert label_dtype(model.card, instances=False) == np.uint8
    assert label_dtype(model.card) == np.uint32


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_batch_size_changes_nothing_on_a_cpu(stack, trained, precision):
    model = load_model(trained / "denoiser" / "best", device="cpu", precision=precision)
    wanted = run(stack, model, batch_size=1)
    for size in (3, 64):
        for a, b in zip(wanted, run(stack, model, batch_size=size), strict=True):
            assert np.array_equal(a.probability, b.probability)


def test_a_plane_is_the_same_alone_and_in_the_stack(stack, model):
    whole, alone = run(stack, model), run(stack, model, planes=[2])
    assert len(alone) == 1
    assert np.array_equal(alone[0].probability, whole[2].probability)


def test_seed_decides_the_noise(stack, model):
    first, again, other = (run(stack[0], model, seed=s)[0].probability for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_samples_give_a_stability_map(stack, model):
    done = run(stack[:1], model, samples=3)[0]
    assert done.stability.shape == done.probability.shape
    assert 0 < done.stability.max() <= 0.5


def test_tiling_does_not_show(stack, model):
    """A plane in tiles agrees with the same plane in one piece."""
    import dataclasses

    whole_card = dataclasses.replace(model.card, size=128)
    whole = run(stack, dataclasses.replace(model, card=whole_card))
    tiled = run(stack, model)
    a = np.stack([p.labels for p in whole]) > 0
    b = np.stack([p.labels for p in tiled]) > 0
    assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.97


def test_the_bundled_model_leaves_no_seams():
    import dataclasses

    from napari_sdseg import sample_data
    from sdseg.metrics import dice

    plane = sample_data.load("nuclei").image[8]
    large = np.block([[plane, plane[:, ::-1]], [plane[::-1], plane[::-1, ::-1]]])[:400, :440]
    model = load_model("nuclei", device="cpu")
    card = dataclasses.replace(model.card, size=max(large.shape))
    tiled, whole = (
        run(large, m)[0].labels[16:-16, 16:-16] > 0
        for m in (model, dataclasses.replace(model, card=card))
    )
    assert whole.mean() > 0.05
    assert dice(tiled, whole) >= 0.99


def test_objects_are_joined_and_unique_over_the_stack(stack, model):
    doubled = np.repeat(stack, 2, axis=0)  # every plane twice: the same objects in both
    done = list(segment_planes(doubled, model, seed=0))
    assert done[0].labels.dtype == np.uint32
    first, second = done[0].labels, done[1].labels
    both = (first > 0) & (second > 0)
    assert (first[both] == second[both]).mean() > 0.9
    for p in done:
        ids = np.unique(p.labels[p.labels > 0])
        assert len(ids) >= 3


def test_closing_keeps_what_is_done(stack, model):
    labels = np.zeros(stack.shape, np.uint8)
    work = segment_planes(stack, model, instances=False)
    for done in work:
        labels[done.index] = done.labels
        if done.number == 1:
            break
    work.close()
    assert labels[:2].any()
    assert not labels[2:].any()


def test_limits_are_the_whole_stacks_whichever_planes_are_asked_for(stack, model):
    bright = stack.copy()
    bright[3] *= 4
    everything = plan(bright.shape, bright.dtype, model.card)
    one = plan(bright.shape, bright.dtype, model.card, planes=[0])
    assert find_limits(bright, everything, model.card) == find_limits(bright, one, model.card)


class _Failing:
    """A pipeline whose memory runs out above a batch size, as a device's would."""

    def __init__(self, inner, largest, message="CUDA out of memory"):
        self.inner, self.largest, self.message = inner, largest, message
        self.tried = []

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def __call__(self, images, **options):
        self.tried.append(len(images))
        if len(images) > self.largest:
            kind = torch.OutOfMemoryError if "memory" in self.message else RuntimeError
            raise kind(self.message)
        return self.inner(images, **options)


def test_batches_shrink_when_memory_runs_out(stack, model, monkeypatch):
    import dataclasses

    from sdseg import predict as engine

    monkeypatch.setattr(engine, "at_once", lambda device, size: size)
    wanted = run(stack, model, batch_size=8)
    failing = _Failing(model.pipeline, largest=2)
    small = dataclasses.replace(model, pipeline=failing)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        done = run(stack, small, batch_size=8)
    ours = [str(w.message) for w in said if "memory ran out" in str(w.message)]
    assert ours == [f"memory ran out; going on with batches of {n}" for n in (4, 2)]
    for a, b in zip(wanted, done, strict=True):
        assert (a.labels != b.labels).mean() <= 1e-5


def test_no_runtime_error_leaves_the_engine(stack, model):
    import dataclasses

    for message, error in (("CUDA out of memory", OutOfMemoryError), ("bad kernel", SDSegError)):
        failing = dataclasses.replace(model, pipeline=_Failing(model.pipeline, 0, message))
        with pytest.raises(error) as caught:
            run(stack, failing)
        assert not isinstance(caught.value, RuntimeError)


@pytest.mark.parametrize("name", ["samples", "steps", "batch_size"])
def test_counts_must_be_positive(stack, model, name):
    with pytest.raises(InputError, match=name):
        run(stack, model, **{name: 0})


def test_any_model_gives_objects(stack, random_models):
    organs = load_model(random_models / "organs", device="cpu", precision="float32")
    single, classes = (list(segment_planes(stack[:2], organs, instances=i)) for i in (True, None))
    assert {p.labels.dtype.name for p in classes} == {"uint8"}
    for objects, plane in zip(single, classes, strict=True):
        assert objects.labels.dtype == np.uint32
        assert not objects.labels[plane.labels == 0].any()
        for k in np.unique(objects.labels[objects.labels > 0]):
            assert len(np.unique(plane.labels[objects.labels == k])) == 1, "an object of two classes"


def damaged(stack, at):
    """Return an array-like, one plane of which cannot be read."""

    class Damaged:
        shape, dtype = stack.shape, stack.dtype

        def __getitem__(self, index):
            if index[0] == at:
                raise RuntimeError("error during blosc decompression: -1")
            return stack[index]

    return Damaged()


def test_a_plane_that_cannot_be_read_is_named_and_those_before_are_kept(stack, model):
    done = []
    with pytest.raises(InputError, match=r"plane \[3\] cannot be read.*blosc") as caught:
        done.extend(segment_planes(damaged(stack, 3), model, limits=(0, 1000)))
    assert not isinstance(caught.value, RuntimeError)
    assert done


def test_nan_and_infinity_are_background_and_said_once(stack, model):
    image = stack.astype(np.float32)
    image[1:, 20:60, 30:70] = np.nan
    image[2, :10] = np.inf
    with pytest.warns(UserWarning, match="NaN or infinite pixels") as said:
        done = run(image, model, samples=2)
    assert len([w for w in said if "NaN" in str(w.message)]) == 1
    for plane, odd in zip(done, ~np.isfinite(image), strict=True):
        assert not plane.labels[odd].any()
        assert not plane.probability[:, odd].any()
    assert done[1].labels.any()


def test_planes_are_resized_to_the_models_pixels(stack, model):
    """An image at twice the resolution gives the labels of the first, once its pixels are known."""
    import dataclasses

    from sdseg.metrics import dice

    known = dataclasses.replace(model, card=dataclasses.replace(model.card, pixel_size=0.5, unit="um"))
    wanted = run(stack[:1], known)[0].labels
    fine = np.kron(stack[:1], np.ones((1, 2, 2), stack.dtype))
    work = plan(fine.shape, fine.dtype, known.card, axis=0, spacing=(0.25, 0.25), unit="um")
    assert work.zoom == (0.5, 0.5)
    assert "0.5 um" in work.note
    found = run(fine, known, work=work)[0].labels
    assert found.shape == fine.shape[1:]
    assert dice(found[::2, ::2], wanted) > 0.97
    coarse = run(fine, known)[0].labels
    assert (coarse != found).any()  # what is known of the pixels made the difference


def test_placement_is_the_users_choice(stack, model):
    tiled, fitted = (run(stack[:1], model, placement=p)[0] for p in ("tile", "fit"))
    assert fitted.labels.shape == tiled.labels.shape
    assert not np.array_equal(fitted.probability, tiled.probability)
    with pytest.raises(InputError, match="placement: got 'stretch'"):
        run(stack, model, placement="stretch")


def test_progress_is_told_and_may_end_the_work(stack, model):
    seen = []
    run(stack, model, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 4) for i in range(1, 5)]

    def stop(done, total):
        if done == 3:
            raise Cancelled("enough")

    kept = []
    with pytest.raises(Cancelled):
        kept.extend(plane.number for plane in segment_planes(stack, model, progress=stop))
    assert kept
    assert kept == list(range(len(kept)))


def test_labels_of_kept_probabilities_are_those_of_the_run(stack, model):
    from sdseg.predict import Prediction
    from sdseg.stack import label_planes

    work = plan(stack.shape, stack.dtype, model.card)
    for threshold in (None, 0.3):
        done = list(segment_planes(stack, model, work, instances=True, threshold=threshold))
        kept = [Prediction(p.number, p.index, p.probability, None) for p in done]
        again = list(label_planes(kept, model.card, work, instances=True, threshold=threshold))
        for a, b in zip(done, again, strict=True):
            assert np.array_equal(a.labels, b.labels)
    low, high = (sum((p.labels > 0).sum() for p in run(stack, model, threshold=t)) for t in (0.2, 0.8))
    assert low > high
    with pytest.raises(InputError, match="threshold: need a probability from 0 to 1, got 5"):
        run(stack, model, threshold=5)
