from __future__ import annotations

import dataclasses
import logging
import os
import signal
import time

import dask
import dask.array as da
import numpy as np
import pytest
import tifffile
import torch
import zarr
from scipy import ndimage

from sdseg import load_model
from sdseg.axes import plan
from sdseg.cluster import connect, lazy_labels, lazy_results, segment_slabs
from sdseg.cluster import lazy as cluster_
from sdseg.cluster.slabs import Packed
from sdseg.errors import InputError, SDSegError
from sdseg.instances import drop_sizes
from sdseg.stack import label_dtype, segment_planes


@pytest.fixture(scope="module")
def model(random_models):
    return load_model(random_models / "dots", device="cpu", precision="float32")


@pytest.fixture(scope="module")
def organs(random_models):
    return load_model(random_models / "organs", device="cpu", precision="float32")


@pytest.fixture(scope="module")
def volumes():
    """Two volumes of seven planes; smooth, so that objects go on from plane to plane."""
    noise = np.random.default_rng(0).random((2, 7, 36, 44)) * 4000
    return ndimage.uniform_filter(noise, (0, 3, 5, 5)).astype(np.uint16)


@pytest.fixture(scope="module")
def client():
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with connect(workers=2) as client:
        yield client


def in_one_go(image, model, work, *, instances, **options):
    labels = np.zeros(work.output_shape, label_dtype(model.card, instances))
    for done in segment_planes(image, model, work, instances=instances, **options):
        labels[done.index] = done.labels
    return labels


CASES = {
    "volumes": ((2, 7, 36, 44), {"axis": 1}, (2, 3, 20, 44)),
    "one plane a chunk": ((7, 36, 44), {"axis": 0}, (1, 36, 44)),
    "one chunk": ((7, 36, 44), {"axis": 0}, (7, 36, 44)),
    "another axis": ((7, 36, 44), {"axis": 2}, (7, 13, 9)),
    "gaps": ((7, 36, 44), {"axis": 0, "planes": [0, 1, 3, 4, 6]}, (2, 36, 44)),
    "empty chunks": ((7, 36, 44), {"axis": 0, "planes": [0, 6]}, (2, 36, 44)),
    "outer axis sliced": ((2, 7, 36, 44), {"axis": 0}, (1, 3, 36, 44)),
    "one image": ((36, 44), {}, (20, 20)),
}


@pytest.mark.parametrize("name", CASES)
def test_lazy_objects_are_those_of_one_go(name, model, volumes):
    shape, how, chunks = CASES[name]
    image = volumes[(0,) * (4 - len(shape))]
    work = plan(image.shape, image.dtype, model.card, **how)
    wanted = in_one_go(image, model, work, instances=True)
    assert wanted.max() > 5
    source = da.from_array(image, chunks=chunks)
    lazy = lazy_labels(source, model, work, instances=True)
    assert (lazy.shape, lazy.dtype) == (image.shape, np.uint32)
    assert np.array_equal(lazy.compute(scheduler="synchronous"), wanted)
    drop_sizes(wanted, 20, 400)
    lazy = lazy_labels(source, model, work, instances=True, min_size=20, max_size=400)
    assert np.array_equal(lazy.compute(scheduler="threads"), wanted)


@pytest.mark.parametrize("instances", [False, True])
def test_lazy_results_come_from_one_computation(instances, model, volumes, monkeypatch):
    slabs = []

    def counted(*args, **options):
        slabs.append(1)
        return segment(*args, **options)

    segment = cluster_.segment_slab
    monkeypatch.setattr(cluster_, "segment_slab", counted)
    work = plan(volumes.shape, volumes.dtype, model.card, axis=1, planes=[0, 1, 2, 5])
    source = da.from_array(volumes, chunks=(1, 2, 36, 44))
    lazy = lazy_results(source, model, work, instances=instances, samples=2)
    labels, probability, stability = dask.compute(*lazy, scheduler="synchronous")
    assert len(slabs) == 8
    assert probability.shape == stability.shape == lazy[1].shape == (2, *volumes.shape)
    assert not probability[:, :, 3].any()
    for done in segment_planes(volumes, model, work, instances=instances, samples=2):
        assert np.array_equal(labels[done.index], done.labels)
        assert np.array_equal(probability[:, *done.index], done.probability)
        assert np.array_equal(stability[:, *done.index], done.stability)


def test_lazy_results_without_samples_are_two(organs, volumes):
    work = plan(volumes.shape, volumes.dtype, organs.card, axis=1)
    labels, probability = lazy_results(da.from_array(volumes), organs, work, instances=False)
    assert (labels.dtype, probability.dtype) == (np.uint8, np.float32)


def test_objects_of_classes_are_joined_class_by_class(organs, volumes):
    work = plan(volumes.shape, volumes.dtype, organs.card, axis=1)
    wanted = in_one_go(volumes, organs, work, instances=True)
    source = da.from_array(volumes, chunks=(1, 2, 36, 44))
    lazy = lazy_labels(source, organs, work, instances=True)
    assert np.array_equal(lazy.compute(scheduler="synchronous"), wanted)
    classes = in_one_go(volumes, organs, work, instances=False)
    inside = wanted > 0
    pairs = np.unique(np.stack([wanted[inside], classes[inside]]), axis=1)
    assert pairs.shape[1] == len(np.unique(pairs[0]))  # an object is of one class


def test_a_model_without_a_folder_travels(model, volumes):
    homeless = dataclasses.replace(model, path=None)
    work = plan(volumes.shape, volumes.dtype, model.card, axis=1)
    lazy = lazy_labels(da.from_array(volumes, chunks=(1, 4, 36, 44)), homeless, work, instances=False)
    wanted = in_one_go(volumes, model, work, instances=False)
    assert np.array_equal(lazy.compute(scheduler="synchronous"), wanted)


def test_sizes_need_objects(model, volumes):
    work = plan(volumes.shape, volumes.dtype, model.card, axis=1)
    with pytest.raises(InputError, match="min_size"):
        lazy_labels(da.from_array(volumes), model, work, instances=False, min_size=5)
    with pytest.raises(InputError, match="min_size"):
        lazy_labels(da.from_array(volumes), model, work, instances=True, min_size=5, max_size=2)


def test_labels_survive_packing():
    for labels in (np.arange(12, dtype=np.uint32).reshape(3, 4).T, np.zeros((0, 4), np.uint8)):
        again = Packed.of(labels).open()
        assert again.dtype == labels.dtype
        assert np.array_equal(again, labels)


# With real processes.


def on(client, source, model, work, **options):
    labels = np.zeros(work.output_shape, label_dtype(model.card, options.get("instances", False)))
    planes = segment_slabs(source, model, work, client, **options)
    for (_, wanted), (index, plane) in zip(work.indices(), planes, strict=True):
        assert index == wanted
        labels[index] = plane
    return labels


@pytest.mark.slow
@pytest.mark.parametrize("instances", [False, True])
@pytest.mark.parametrize("kind", ["numpy", "file", "dask"])
def test_two_workers_give_the_labels_of_none(client, model, volumes, tmp_path, kind, instances):
    np.save(tmp_path / "volumes.npy", volumes)
    source = {
        "numpy": volumes,
        "file": tmp_path / "volumes.npy",
        "dask": da.from_array(volumes, chunks=(1, 3, 20, 44)),
    }[kind]
    for chosen in (None, [0, 1, 2, 4, 5]):
        work = plan(volumes.shape, volumes.dtype, model.card, axis=1, planes=chosen)
        wanted = in_one_go(volumes, model, work, instances=instances, seed=3)
        for slab in (None, 1, 3):
            got = on(client, source, model, work, instances=instances, slab=slab, seed=3)
            assert np.array_equal(got, wanted), (chosen, slab)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["tif", "zarr"])
def test_workers_open_files_themselves(client, model, volumes, tmp_path, suffix):
    path, image = tmp_path / f"volume.{suffix}", volumes[0]
    if suffix == "tif":
        tifffile.imwrite(path, image, photometric="minisblack")
    else:
        zarr.create_array(path, data=image, chunks=(3, 36, 44))
    work = plan(image.shape, image.dtype, model.card, axis=0)
    wanted = in_one_go(image, model, work, instances=True)
    got = on(client, path, model, work, instances=True, reading={"level": 0})
    assert np.array_equal(got, wanted)


@pytest.mark.slow
def test_workers_take_any_plan(client, organs, volumes):
    colours = np.stack([volumes[0]] * 3, axis=1)
    cases = [(volumes[0, 0], {}), (volumes[0], {"axis": 2}), (colours, {"channel_axis": 1})]
    for image, how in cases:
        work = plan(image.shape, image.dtype, organs.card, **how)
        wanted = in_one_go(image, organs, work, instances=False)
        assert np.array_equal(on(client, image, organs, work), wanted)


@pytest.mark.slow
def test_lazy_arrays_run_on_workers_too(client, model, volumes):
    """A worker's own setting is one thread; sums of floats come out as with this process's."""
    homeless = dataclasses.replace(model, path=None)
    work = plan(volumes.shape, volumes.dtype, model.card, axis=1)
    wanted = in_one_go(volumes, model, work, instances=True)
    for which in (model, homeless):
        lazy = lazy_labels(da.from_array(volumes, chunks=(2, 3, 20, 44)), which, work, instances=True)
        assert np.array_equal(client.compute(lazy).result(), wanted)
    assert set(client.run(torch.get_num_threads).values()) == {torch.get_num_threads()}


@pytest.mark.slow
@pytest.mark.parametrize("homeless", [False, True])
def test_a_killed_worker_changes_nothing(client, model, volumes, homeless):
    if homeless:
        model = dataclasses.replace(model, path=None)
    image = np.concatenate([volumes] * 3, axis=1)
    work = plan(image.shape, image.dtype, model.card, axis=1)
    wanted = in_one_go(image, model, work, instances=True)
    labels = np.zeros_like(wanted)
    before = client.run(os.getpid)
    planes = segment_slabs(image, model, work, client, instances=True, slab=2)
    for number, (index, plane) in enumerate(planes):
        labels[index] = plane
        if number == 5:
            os.kill(next(iter(before.values())), signal.SIGKILL)
    assert np.array_equal(labels, wanted)
    client.wait_for_workers(2, timeout=60)  # its nanny starts another
    after = set(client.run(os.getpid).values())
    assert len(after & set(before.values())) == 1


@pytest.mark.slow
def test_closing_cancels_what_is_under_way(client, model, volumes):
    image = np.concatenate([volumes] * 4, axis=1)
    work = plan(image.shape, image.dtype, model.card, axis=1)
    planes = segment_slabs(image, model, work, client, slab=1)
    next(planes)
    assert len(client.futures) <= 2 * 2
    planes.close()
    for _ in range(100):  # releasing is a message
        if not client.futures:
            break
        time.sleep(0.05)
    assert not client.futures


def _broken(block, block_info=None):
    if block_info[0]["chunk-location"][0] == 4:
        raise OSError("plane 4 is damaged")
    return block


@pytest.mark.slow
def test_what_went_wrong_on_a_worker_is_said(client, model, volumes, tmp_path):
    image = volumes[0]
    work = plan(image.shape, image.dtype, model.card, axis=0)
    source = da.from_array(image, chunks=(1, 36, 44))
    source = source.map_blocks(_broken, dtype=image.dtype, meta=image[:0])
    planes = segment_slabs(source, model, work, client, slab=2, limits=(0, 4000))
    assert [next(planes)[0][0] for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(SDSegError, match="plane 4 is damaged") as caught:
        next(planes)
    assert not isinstance(caught.value, RuntimeError)
    (tmp_path / "no.tif").write_bytes(b"no image")
    with pytest.raises(SDSegError, match=r"no\.tif"):
        next(segment_slabs(tmp_path / "no.tif", model, work, client))


@pytest.mark.slow
def test_bad_arguments_of_slabs(client, model, volumes):
    work = plan(volumes.shape, volumes.dtype, model.card, axis=1)
    with pytest.raises(InputError, match="slab"):
        segment_slabs(volumes, model, work, client, slab=0)
    with pytest.raises(InputError, match=r"gone\.tif"):
        segment_slabs("gone.tif", model, work, client)


@pytest.mark.slow
def test_a_running_scheduler_is_used(client, model, volumes):
    work = plan(volumes.shape, volumes.dtype, model.card, axis=1)
    wanted = in_one_go(volumes, model, work, instances=False)
    with connect(client.scheduler.address) as other:
        assert np.array_equal(on(other, volumes, model, work), wanted)
    assert len(client.run(os.getpid)) == 2  # leaving it does not end it


def test_a_cluster_that_cannot_be_had_is_said(monkeypatch):
    monkeypatch.setattr("sdseg.cluster.workers._PATIENCE", 0.5)
    for address in ("tcp://127.0.0.1:9", "nonsense", "nonsense://1:2"):
        with pytest.raises(InputError, match="nobody answers"), connect(address):
            pass
    for scheduler, workers in ((None, None), ("tcp://127.0.0.1:9", 2), (None, 0)):
        with pytest.raises(InputError, match="workers"), connect(scheduler, workers):
            pass


def test_a_scheduler_without_workers_is_said(monkeypatch):
    from distributed import LocalCluster

    monkeypatch.setattr("sdseg.cluster.workers._PATIENCE", 0.5)
    with (
        LocalCluster(n_workers=0, dashboard_address=":0") as empty,
        pytest.raises(InputError, match="no workers"),
        connect(empty.scheduler_address),
    ):
        pass


def test_distributed_missing_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(InputError, match="pip install"), connect(workers=1):
        pass
