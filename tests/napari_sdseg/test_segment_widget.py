"""The *Segment* panel in a real viewer."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

import napari_sdseg
from napari_sdseg.layers import METADATA_KEY, is_ours
from napari_sdseg.widgets import _remembered
from napari_sdseg.widgets.segment import work
from napari_sdseg.widgets.segment.state import Phase
from sdseg import Card
from sdseg.errors import SDSegError

pytestmark = pytest.mark.gui

qtcore = pytest.importorskip("qtpy.QtCore")
LEFT = qtcore.Qt.MouseButton.LeftButton


@pytest.fixture
def viewer(make_napari_viewer, random_models, monkeypatch):
    monkeypatch.setenv("SDSEG_MODELS", str(random_models))
    monkeypatch.setattr(_remembered, "_page", lambda: None)  # a test's choices are no other test's
    return make_napari_viewer()


@pytest.fixture
def panel(viewer, qtbot):
    """The panel as a person opens it."""
    _, panel = viewer.window.add_plugin_dock_widget("napari-sdseg", "Segment")
    panel.model_box.value = "dots"
    yield panel
    panel.run.close()


@pytest.fixture
def slow(monkeypatch):
    """A stand-in for the engine: a plane every 20 ms, until it fails or is released."""
    engine = SimpleNamespace(pause=0.02, fails_at=None, error=None, threads=set(), closed=False)
    card = Card("dots", coding="instances")

    def planes(plan):
        try:
            for number, index in plan.indices():
                engine.threads.add(threading.current_thread().name)
                time.sleep(engine.pause)
                if number == engine.fails_at:
                    raise engine.error
                labels = np.full(plan.plane_shape, number + 1, np.uint32)
                chance = np.ones((2, *plan.plane_shape), np.float32)
                yield SimpleNamespace(index=index, labels=labels, probability=chance, stability=None)
        finally:
            engine.closed = True

    def start(request, count):
        return work.Ready(card, np.dtype(np.uint32), "A stand-in."), planes(request.plan)

    monkeypatch.setattr(work, "_open", start)
    return engine


def press(qtbot, button):
    qtbot.mouseClick(button.native, LEFT)


def run(panel, qtbot, timeout=60_000):
    press(qtbot, panel.segment_button)
    assert panel.state.busy
    qtbot.waitUntil(lambda: not panel.state.busy, timeout=timeout)


def planes_done(panel, qtbot, count):
    qtbot.waitUntil(lambda: panel.state.done >= count, timeout=30_000)


def workers_gone(qtbot):
    from superqt.utils import WorkerBase

    qtbot.waitUntil(lambda: not WorkerBase._worker_set, timeout=10_000)


def noise(*shape, dtype=np.uint16):
    return np.random.default_rng(0).integers(0, 4000, shape).astype(dtype)


# -- what comes out ------------------------------------------------------------------------------


def test_labels_lie_on_the_image_and_are_those_of_segment(viewer, panel, qtbot):
    data = noise(5, 40, 48)
    image = viewer.add_image(
        data,
        name="cells",
        scale=(3, 0.5, 0.5),
        translate=(10, -4, 2),
        rotate=(0, 0, 20),
        units=("micrometer",) * 3,
        axis_labels=("z", "y", "x"),
    )
    run(panel, qtbot)
    np.testing.assert_array_equal(viewer.layers[-1].data, napari_sdseg.segment(data, "dots"))
    viewer.layers.pop()
    panel.objects_box.value = True
    run(panel, qtbot)
    labels = viewer.layers[-1]
    assert labels.name == "cells - dots"
    assert labels.data.dtype == np.uint32
    np.testing.assert_array_equal(labels.data, napari_sdseg.segment(data, "dots", instances=True))
    for point in [(0, 0, 0), (4, 10.5, 7), (2, 30, 47)]:
        np.testing.assert_allclose(labels.data_to_world(point), image.data_to_world(point))
    assert (labels.units, labels.axis_labels) == (image.units, image.axis_labels)
    made = labels.metadata[METADATA_KEY]
    assert (made["model"], made["source"]) == ("dots", "cells")
    assert made["settings"]["axis"] == 0
    assert made["settings"]["seed"] == 0
    assert is_ours(labels)
    assert list(labels.features["index"]) == list(range(labels.data.max() + 1))
    assert panel.state.message.startswith("Done: 5 planes in ")
    assert panel.segment_button.enabled
    assert not panel.cancel_button.enabled


def test_classes_axis_and_a_new_layer_each_time(viewer, panel, qtbot):
    data = noise(40, 5, 48)
    viewer.add_image(data, name="scan", axis_labels=("a", "b", "c"))
    panel.model_box.value = "organs"
    assert [name for name, _ in panel.state.axis_choices()][2] == "b  (5 planes)"
    for axis in (1, 0):
        panel.axis_box.value = axis
        run(panel, qtbot)
    _, first, second = viewer.layers
    assert first is not second
    for axis, layer in ((1, first), (0, second)):
        assert layer.data.dtype == np.uint8
        np.testing.assert_array_equal(layer.data, napari_sdseg.segment(data, "organs", axis=axis))
    assert list(first.features["name"]) == ["background", "liver", "bone"]


@pytest.mark.parametrize("kind", ["2-D", "rgb", "multiscale", "dask", "4-D"])
def test_kinds_of_images(viewer, panel, qtbot, kind):
    expected = {"2-D": (40, 48), "rgb": (40, 48), "multiscale": (40, 48), "dask": (3, 40, 48)}
    if kind == "rgb":
        data = viewer.add_image(noise(40, 48, 3, dtype=np.uint8), rgb=True).data
    elif kind == "multiscale":
        data = noise(40, 48)
        viewer.add_image([data, data[::2, ::2]], multiscale=True)
    elif kind == "dask":
        da = pytest.importorskip("dask.array")
        data = noise(3, 40, 48)
        viewer.add_image(da.from_array(data, chunks=(1, 40, 48)))
    else:
        data = noise(40, 48) if kind == "2-D" else noise(2, 3, 40, 48)
        viewer.add_image(data)
    run(panel, qtbot)
    labels = viewer.layers[-1]
    assert labels.data.shape == expected.get(kind, (2, 3, 40, 48))
    assert isinstance(labels.data, np.ndarray)
    np.testing.assert_array_equal(labels.data, napari_sdseg.segment(data, "dots"))


# -- while it runs -------------------------------------------------------------------------------


def test_the_layer_fills_plane_by_plane(viewer, panel, qtbot, slow):
    viewer.add_image(noise(60, 32, 32))
    press(qtbot, panel.segment_button)
    planes_done(panel, qtbot, 5)
    labels, done = viewer.layers[-1], panel.state.done
    assert labels.data[done - 1].all()
    assert not labels.data[done + 5 :].any()
    assert not panel.segment_button.enabled
    assert panel.state.progress_text().startswith(f"{done} of 60 planes, ")
    assert panel.status_label.text().endswith("A stand-in.")


def test_cancel_answers_within_a_second_and_keeps_the_planes(viewer, panel, qtbot, slow):
    viewer.add_image(noise(500, 16, 16))
    press(qtbot, panel.segment_button)
    planes_done(panel, qtbot, 4)
    slow.pause = 3  # the batch in flight takes longer than anyone wants to wait
    planes_done(panel, qtbot, panel.state.done + 1)
    begun = time.monotonic()
    press(qtbot, panel.cancel_button)
    assert panel.state.phase is Phase.CANCELLING
    qtbot.waitUntil(lambda: not panel.state.busy, timeout=5000)
    assert time.monotonic() - begun < 1
    labels, done = viewer.layers[-1].data, panel.state.done
    assert labels[:done].all()
    assert not labels[done:].any()
    assert f"The labels of {done} of 500 planes are kept." in panel.status_label.text()
    assert panel.segment_button.enabled
    qtbot.waitUntil(lambda: slow.closed, timeout=10_000)


def test_a_second_press_while_running_does_nothing(viewer, panel, qtbot, slow):
    viewer.add_image(noise(30, 16, 16))
    press(qtbot, panel.segment_button)
    press(qtbot, panel.segment_button)
    assert not panel.run.start(viewer.layers[0])
    qtbot.waitUntil(lambda: not panel.state.busy, timeout=20_000)
    assert len(viewer.layers) == 2


def test_the_window_stays_free(viewer, panel, qtbot):
    """The longest gap between two ticks of the event loop, with the slider being moved."""
    viewer.add_image(noise(14, 128, 128))
    panel.model_box.value = "organs"
    run(panel, qtbot)  # torch is imported, the model is loaded
    ticks = [time.perf_counter()]
    timer = qtcore.QTimer()

    def tick():
        ticks.append(time.perf_counter())
        viewer.dims.set_current_step(0, len(ticks) // 5 % 14)

    timer.timeout.connect(tick)
    timer.start(10)
    run(panel, qtbot)
    timer.stop()
    gaps = np.diff(ticks)
    assert len(gaps) > 10
    assert np.max(gaps) < 0.5, "0.2 s where nothing else runs"
    assert np.quantile(gaps, 0.95) < 0.1


# -- what goes wrong -----------------------------------------------------------------------------


@pytest.fixture
def told(monkeypatch):
    """The notifications, as words."""
    from napari.utils.notifications import notification_manager

    said = []
    monkeypatch.setattr(notification_manager, "dispatch", lambda note: said.append(note.message))
    return said


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory"), SDSegError("it is odd")])
def test_an_error_is_said_and_the_panel_is_ready_again(viewer, panel, qtbot, slow, told, error):
    viewer.add_image(noise(9, 16, 16))
    slow.fails_at, slow.error = 0, error
    run(panel, qtbot)
    assert len(viewer.layers) == 1, "nothing was done, so no layer is left"
    assert len(told) == 1
    assert str(error) in told[0]
    assert panel.status_label.text().startswith("Failed: ")
    assert panel.segment_button.enabled
    slow.fails_at = 4
    run(panel, qtbot)
    assert len(viewer.layers) == 2
    assert viewer.layers[-1].data[:4].all()
    assert "The labels of 4 of 9 planes are kept." in panel.status_label.text()
    slow.fails_at = None
    run(panel, qtbot)
    assert panel.state.message.startswith("Done")


@pytest.mark.parametrize("which", [0, 1], ids=["image", "labels"])
def test_removing_a_layer_stops_the_run(viewer, panel, qtbot, slow, told, which):
    viewer.add_image(noise(500, 16, 16))
    press(qtbot, panel.segment_button)
    planes_done(panel, qtbot, 3)
    viewer.layers.pop(which)
    qtbot.waitUntil(lambda: not panel.state.busy, timeout=3000)
    said = panel.status_label.text()
    assert said.startswith(
        ["The image was removed. The labels of", "The labels layer was removed."][which]
    )
    assert not told
    qtbot.waitUntil(lambda: slow.closed, timeout=5000)


def test_exchanging_the_labels_data_stops_the_run(viewer, panel, qtbot, slow):
    viewer.add_image(noise(500, 16, 16))
    press(qtbot, panel.segment_button)
    planes_done(panel, qtbot, 3)
    mine = np.zeros((500, 16, 16), np.uint32)
    viewer.layers[-1].data = mine
    qtbot.waitUntil(lambda: not panel.state.busy, timeout=3000)
    assert not mine.any()


def test_renaming_and_3d_while_running(viewer, panel, qtbot, slow):
    viewer.add_image(noise(40, 16, 16))
    press(qtbot, panel.segment_button)
    planes_done(panel, qtbot, 3)
    viewer.layers[0].name, viewer.layers[1].name = "a", "b"
    viewer.dims.ndisplay = 3
    qtbot.waitUntil(lambda: not panel.state.busy, timeout=30_000)
    assert viewer.layers["b"].data.all()
    assert is_ours(viewer.layers["b"])


def test_a_run_started_in_the_3d_view(viewer, panel, qtbot, slow):
    viewer.add_image(noise(6, 16, 16))
    viewer.dims.ndisplay = 3
    run(panel, qtbot)
    assert viewer.layers[-1].data.all()
    assert panel.state.message.startswith("Done: 6 planes")


def test_a_layer_that_cannot_be_made_ends_the_run(viewer, panel, qtbot, slow, told, monkeypatch):
    viewer.add_image(noise(6, 16, 16))
    monkeypatch.setattr("napari_sdseg.widgets.segment.run.make_labels", lambda *_, **__: 1 / 0)
    run(panel, qtbot)
    assert "division by zero" in panel.status_label.text()
    assert told == ["division by zero"]
    assert len(viewer.layers) == 1


def test_closing_the_panel_stops_the_run(viewer, panel, qtbot, slow):
    viewer.add_image(noise(500, 16, 16))
    press(qtbot, panel.segment_button)
    planes_done(panel, qtbot, 3)
    viewer.window.remove_dock_widget(panel)
    qtbot.waitUntil(lambda: slow.closed, timeout=5000)
    workers_gone(qtbot)
    assert viewer.layers[-1].data[:3].all()


@pytest.mark.parametrize("how", ["viewer", "window"])
def test_closing_the_viewer_stops_the_run(
    make_napari_viewer, qtbot, slow, random_models, monkeypatch, how
):
    monkeypatch.setenv("SDSEG_MODELS", str(random_models))
    monkeypatch.setattr(_remembered, "_page", lambda: None)
    viewer = make_napari_viewer()
    _, panel = viewer.window.add_plugin_dock_widget("napari-sdseg", "Segment")
    viewer.add_image(noise(500, 16, 16))
    press(qtbot, panel.segment_button)
    planes_done(panel, qtbot, 3)
    del panel
    (viewer if how == "viewer" else viewer.window).close()
    qtbot.waitUntil(lambda: slow.closed, timeout=5000)
    workers_gone(qtbot)


# -- the form ------------------------------------------------------------------------------------


def test_without_an_image(viewer, panel, qtbot):
    assert not panel.segment_button.enabled
    assert panel.status_label.text().startswith("Open an image first")
    viewer.add_labels(np.zeros((8, 8), int))
    assert not panel.segment_button.enabled
    viewer.add_image(noise(32, 32))
    assert panel.segment_button.enabled
    viewer.layers.clear()
    assert not panel.segment_button.enabled


def test_the_choice_of_image_follows_the_layers(viewer, panel):
    first = viewer.add_image(noise(32, 32), name="first")
    assert panel.image_box.value is first
    viewer.add_image(noise(4, 32, 32), name="second")
    assert panel.image_box.value is first, "a choice is not changed behind one's back"
    first.name = "renamed"
    assert panel.image_box.native.currentText() == "renamed"
    viewer.layers.remove(first)
    assert panel.image_box.value is viewer.layers["second"]
    assert panel.axis_box.enabled


def test_axis_names_are_the_viewers(viewer, panel):
    viewer.add_image(noise(4, 32, 32))
    viewer.dims.axis_labels = ("depth", "row", "column")
    assert panel.axis_box.native.itemText(1) == "depth  (4 planes)"
    assert "axis depth" in panel.status_label.text()


def test_no_model_at_all(make_napari_viewer, tmp_path, monkeypatch):
    from sdseg import store

    monkeypatch.setenv("SDSEG_MODELS", str(tmp_path))
    monkeypatch.setattr(store, "bundled_folder", lambda: tmp_path)
    viewer = make_napari_viewer()
    viewer.add_image(noise(32, 32))
    _, panel = viewer.window.add_plugin_dock_widget("napari-sdseg", "Segment")
    assert not panel.segment_button.enabled
    assert "no model" in panel.status_label.text()


def test_it_fits_a_narrow_dock(viewer, panel):
    viewer.add_image(noise(4, 32, 32), name="a name that is much too long for any dock there is")
    assert panel.minimumSizeHint().width() <= 300


def test_the_bundled_model(make_napari_viewer, qtbot, tmp_path, monkeypatch):
    monkeypatch.setenv("SDSEG_MODELS", str(tmp_path))
    viewer = make_napari_viewer()
    viewer.open_sample("napari-sdseg", "nuclei")
    image = viewer.layers["nuclei"]
    _, panel = viewer.window.add_plugin_dock_widget("napari-sdseg", "Segment")
    panel.image_box.value, panel.model_box.value = image, "nuclei"
    panel.objects_box.value = True
    run(panel, qtbot, timeout=240_000)
    expected = napari_sdseg.segment(image.data, "nuclei", instances=True)
    np.testing.assert_array_equal(viewer.layers["nuclei - nuclei"].data, expected)
    truth = viewer.layers["nuclei (ground truth)"].data > 0
    found = expected > 0
    assert 2 * (truth & found).sum() / (truth.sum() + found.sum()) > 0.8
