"""Preview, threshold, commit, script and the other choices of the *Segment* panel, in a real viewer."""

from __future__ import annotations

import time

import numpy as np
import pytest

import napari_sdseg
from napari_sdseg.layers import METADATA_KEY
from napari_sdseg.widgets import _kept, _remembered
from napari_sdseg.widgets.segment.commit import Rule, merged

pytestmark = pytest.mark.gui

pytest.importorskip("qtpy.QtCore")


@pytest.fixture
def viewer(make_napari_viewer, random_models, monkeypatch):
    monkeypatch.setenv("SDSEG_MODELS", str(random_models))
    monkeypatch.setattr(_remembered, "_page", lambda: None)
    return make_napari_viewer()


@pytest.fixture
def panel(viewer, qtbot):
    _, panel = viewer.window.add_plugin_dock_widget("napari-sdseg", "Segment")
    panel.model_box.value = "organs"
    yield panel
    panel.preview.close()
    panel.run.close()


def press(qtbot, button):
    """Press what may have to be scrolled to."""
    assert button.enabled
    button.native.click()


def run(panel, qtbot):
    press(qtbot, panel.segment_button)
    assert panel.state.busy
    qtbot.waitUntil(lambda: not panel.state.busy, timeout=60_000)


def previewed(panel, qtbot):
    qtbot.waitUntil(lambda: "Preview in" in panel.state.message, timeout=30_000)
    return panel.preview.layer


def noise(*shape):
    return (np.random.default_rng(0).random(shape) * 4000).astype(np.uint16)


def test_a_preview_is_that_plane_of_the_whole(viewer, panel, qtbot):
    data = noise(2, 6, 40, 48)
    image = viewer.add_image(data, name="film", scale=(1, 3, 0.5, 0.5), translate=(0, 10, 1, 1))
    viewer.dims.set_current_step(0, 1)
    viewer.dims.set_current_step(1, 4)
    press(qtbot, panel.preview_button)
    layer = previewed(panel, qtbot)
    assert layer.data.shape == (1, 1, 40, 48)
    wanted = napari_sdseg.segment(image, "organs").data
    assert np.array_equal(layer.data[0, 0], wanted[1, 4])
    np.testing.assert_allclose(layer.data_to_world((0, 0, 3, 5)), image.data_to_world((1, 4, 3, 5)))
    assert not layer.editable
    assert layer.metadata[METADATA_KEY]["preview"]
    assert layer not in panel.target_box.choices


def test_the_preview_follows_the_slider_if_ticked(viewer, panel, qtbot):
    data = noise(9, 40, 48)
    image = viewer.add_image(data)
    wanted = napari_sdseg.segment(data, "organs")
    viewer.dims.set_current_step(0, 3)
    panel.follow_box.value = True
    for at in (5, 6, 7):  # only where it rests
        viewer.dims.set_current_step(0, at)
    layer = previewed(panel, qtbot)
    qtbot.waitUntil(lambda: np.array_equal(layer.data[0], wanted[7]), timeout=10_000)
    viewer.dims.set_current_step(0, 2)
    qtbot.waitUntil(lambda: np.array_equal(layer.data[0], wanted[2]), timeout=10_000)
    assert panel.preview.layer is layer, "one preview layer, moved"
    np.testing.assert_allclose(layer.data_to_world((0, 1, 1)), image.data_to_world((2, 1, 1)))
    viewer.layers.remove(layer)
    viewer.dims.set_current_step(0, 4)
    qtbot.waitUntil(lambda: panel.preview.layer is not None, timeout=10_000)
    run(panel, qtbot)
    assert not panel.preview.layer.visible, "the run takes its place"
    viewer.layers.remove(image)


def test_the_preview_is_hidden_and_exchanged_but_never_removed(viewer, panel, qtbot):
    """Removing a layer of one plane that the slider has left ends napari in OpenGL."""
    viewer.add_image(noise(6, 40, 48), name="one")
    press(qtbot, panel.preview_button)
    layer = previewed(panel, qtbot)
    viewer.dims.set_current_step(0, 5)
    run(panel, qtbot)
    assert layer in viewer.layers
    assert not layer.visible
    other = viewer.add_image(noise(6, 30, 32), name="two", scale=(2, 1, 1))
    panel.image_box.value = other
    panel.model_box.value = "dots"
    panel.objects_box.value = True
    press(qtbot, panel.preview_button)
    qtbot.waitUntil(lambda: layer.visible, timeout=20_000)
    assert panel.preview.layer is layer
    assert layer.name == "two - preview"
    assert layer.data.shape == (1, 30, 32)
    assert not layer.editable
    layer.visible = False  # by a person: it stays so
    press(qtbot, panel.preview_button)
    qtbot.waitUntil(lambda: panel.preview._worker is None, timeout=20_000)
    assert not layer.visible


def test_a_range_of_planes(viewer, panel, qtbot):
    data = noise(9, 40, 48)
    viewer.add_image(data)
    panel.planes_slider.setValue((2, 5))
    assert panel.state.planes == (2, 5)
    assert "4 planes" in panel.status_label.text()
    run(panel, qtbot)
    assert np.array_equal(
        viewer.layers[-1].data, napari_sdseg.segment(data, "organs", planes=slice(2, 6))
    )
    panel.planes_slider.setValue((0, 8))
    assert panel.state.planes is None
    panel.image_box.value = viewer.add_image(noise(5, 40, 48))
    assert panel.state.planes is None


@pytest.mark.parametrize("instances", [False, True])
def test_another_threshold_needs_no_second_run(viewer, panel, qtbot, instances, monkeypatch):
    data = noise(5, 40, 48)
    viewer.add_image(data)
    panel.objects_box.value = instances
    run(panel, qtbot)
    layer, labels = viewer.layers[-1], viewer.layers[-1].data
    from sdseg.pipeline import SDSegPipeline

    before = labels.copy()
    with monkeypatch.context() as without:
        without.delattr(SDSegPipeline, "__call__")  # whoever calls the networks now fails
        panel.threshold_slider.setValue(0.45)
        qtbot.waitUntil(lambda: not panel.state.busy and (labels != before).any(), timeout=20_000)
    wanted = napari_sdseg.segment(data, "organs", threshold=0.45, instances=instances)
    # kept in half precision: pixels that lie on the threshold may differ
    assert ((layer.data > 0) != (wanted > 0)).mean() < 0.002
    assert layer.data is labels
    assert panel.threshold_slider.isEnabled()


def test_painted_labels_are_not_cut_anew(viewer, panel, qtbot):
    viewer.add_image(noise(5, 40, 48))
    run(panel, qtbot)
    layer = viewer.layers[-1]
    layer.selected_label = 2
    layer.brush_size = 6
    layer.paint((2, 20, 20), 2)
    layer.events.paint(value=[])
    painted = layer.data.copy()
    panel.threshold_slider.setValue(0.3)
    qtbot.wait(300)
    assert not panel.state.busy
    assert np.array_equal(layer.data, painted)


def test_probabilities_are_kept_only_where_there_is_room(viewer, panel, qtbot, monkeypatch):
    monkeypatch.setattr(_kept, "LARGEST", 10)
    viewer.add_image(noise(5, 40, 48))
    run(panel, qtbot)
    assert panel.run.result.request.kept is None
    assert not panel.threshold_slider.isEnabled()


def test_samples_give_a_stability_layer(viewer, panel, qtbot):
    data = noise(4, 40, 48)
    image = viewer.add_image(data, scale=(2, 1, 1))
    panel.samples_box.value = 3
    run(panel, qtbot)
    _, spread, labels = viewer.layers
    wanted = napari_sdseg.segment(data, "organs", samples=3, return_probability=True)
    np.testing.assert_allclose(spread.data, wanted[2].max(axis=0), atol=1e-6)
    assert np.array_equal(labels.data, wanted[0])
    assert spread.scale.tolist() == image.scale.tolist()
    assert spread not in panel.image_box.choices
    assert "stability" in spread.name


def test_three_directions_and_their_progress(viewer, panel, qtbot):
    data = noise(5, 20, 24)
    image = viewer.add_image(data, scale=(2, 1, 1))
    assert panel.orthogonal_box.enabled
    panel.orthogonal_box.value = True
    run(panel, qtbot)
    assert panel.state.total == 5 + 20 + 24
    wanted = napari_sdseg.segment(image, "organs", orthogonal=True).data
    assert np.array_equal(viewer.layers[-1].data, wanted)
    panel.image_box.value = viewer.add_image(noise(30, 30))
    assert not panel.orthogonal_box.enabled


def test_three_directions_can_be_cancelled_at_once(viewer, panel, qtbot):
    viewer.add_image(noise(60, 64, 64))
    panel.orthogonal_box.value = True
    press(qtbot, panel.segment_button)
    qtbot.waitUntil(lambda: panel.state.done > 3, timeout=60_000)
    begun = time.perf_counter()
    press(qtbot, panel.cancel_button)
    qtbot.waitUntil(lambda: not panel.state.busy, timeout=5000)
    assert time.perf_counter() - begun < 1.5


def test_a_level_of_a_multiscale_image(viewer, panel, qtbot):
    fine = noise(4, 64, 80)
    image = viewer.add_image([fine, fine[:, ::2, ::2]], multiscale=True)
    assert not panel.level_box.native.isHidden()
    panel.level_box.value = 1
    run(panel, qtbot)
    labels = viewer.layers[-1]
    assert np.array_equal(labels.data, napari_sdseg.segment(image, "organs", level=1).data)
    assert labels.scale.tolist() == [1, 2, 2]
    panel.image_box.value = viewer.add_image(noise(30, 30))
    assert panel.state.level == 0
    assert panel.level_box.native.isHidden()


# -- commit --------------------------------------------------------------------------------------


def test_what_a_pixel_becomes():
    old, new = np.array([[0, 0, 5, 5]]), np.array([[0, 1, 2, 0]])
    assert merged(old, new, Rule.KEEP).tolist() == [[0, 1, 5, 5]]
    assert merged(old, new, Rule.OVERWRITE).tolist() == [[0, 1, 2, 0]]
    assert merged(old, new, Rule.ONE, 2).tolist() == [[0, 0, 2, 5]]


@pytest.mark.parametrize("rule", list(Rule))
def test_a_commit_is_one_undo(viewer, panel, qtbot, rule):
    data = noise(6, 40, 48)
    viewer.add_image(data)
    panel.planes_slider.setValue((1, 4))
    run(panel, qtbot)
    made = viewer.layers[-1].data.copy()
    mine = viewer.add_labels(np.zeros(data.shape, np.uint16), name="mine")
    mine.data_setitem((np.full(50, 2), np.arange(50) % 40, np.arange(50) % 48), 7)
    before = mine.data.copy()
    panel.target_box.value = mine
    panel.rule_box.value = rule
    assert panel.class_box.native.isHidden() == (rule is not Rule.ONE)
    if rule is Rule.ONE:
        panel.class_box.value = 2
    press(qtbot, panel.commit_button)
    qtbot.waitUntil(lambda: "changed" in panel.state.message, timeout=10_000)
    wanted = before.copy()
    wanted[1:5] = merged(before[1:5], made[1:5], rule, 2)
    assert np.array_equal(mine.data, wanted)
    assert (wanted != before).any()
    assert mine.editable
    mine.undo()
    assert np.array_equal(mine.data, before), "one undo takes the commit back"
    mine.undo()
    assert not mine.data.any(), "and the next what was painted before"
    mine.redo()
    mine.redo()
    assert np.array_equal(mine.data, wanted)


def test_new_objects_take_no_old_numbers(viewer, panel, qtbot):
    data = noise(3, 40, 48)
    viewer.add_image(data)
    panel.objects_box.value = True
    run(panel, qtbot)
    made = viewer.layers[-1].data.copy()
    painted = np.zeros(data.shape, np.uint16)
    painted[0, :9, :9] = 300
    mine = viewer.add_labels(painted.copy())
    panel.target_box.value = mine
    press(qtbot, panel.commit_button)
    qtbot.waitUntil(lambda: "changed" in panel.state.message, timeout=10_000)
    assert (mine.data[0, :9, :9] == 300).all()
    assert np.array_equal(mine.data[1:] > 0, made[1:] > 0)
    assert mine.data[1:][mine.data[1:] > 0].min() > 300


def test_what_does_not_fit_is_said(viewer, panel, qtbot, monkeypatch):
    said = []
    monkeypatch.setattr("napari.utils.notifications.show_error", said.append)
    monkeypatch.setattr("napari_sdseg.widgets.segment.commit.show_error", said.append)
    viewer.add_image(noise(3, 40, 48))
    panel.objects_box.value = True
    run(panel, qtbot)
    small = viewer.add_labels(np.zeros((3, 4, 4), np.uint8), name="small")
    panel.target_box.value = small
    press(qtbot, panel.commit_button)
    assert "small has shape (3, 4, 4)" in said[-1]
    full = viewer.add_labels(np.full((3, 40, 48), 255, np.uint8), name="full")
    full.data[0, 0, 0] = 0
    panel.target_box.value = full
    press(qtbot, panel.commit_button)
    qtbot.waitUntil(lambda: len(said) == 2, timeout=5000)
    assert "full holds numbers up to 255" in said[-1]
    assert full.editable
    assert full.data[0, 0, 0] == 0


# -- the rest ------------------------------------------------------------------------------------


def test_the_script_does_the_same(viewer, panel, qtbot):
    from qtpy.QtWidgets import QApplication

    viewer.add_image(noise(9, 40, 48), name='it\'s a "scan"', scale=(2, 1, 1))
    panel.planes_slider.setValue((2, 5))
    panel.objects_box.value = True
    panel.samples_box.value = 2
    panel.axis_box.value = 0
    panel.device_box.value = "cpu"
    panel.threshold_slider.setValue(0.4)
    press(qtbot, panel.script_button)
    text = QApplication.clipboard().text()
    assert "threshold=0.4" in text
    run(panel, qtbot)
    made = viewer.layers[-1]
    exec(compile(text, "copied", "exec"), {"viewer": viewer})
    again = viewer.layers[-1]
    assert again is not made
    assert np.array_equal(again.data, made.data)
    np.testing.assert_allclose(again.data_to_world((1, 2, 3)), made.data_to_world((1, 2, 3)))


def test_choices_are_there_at_the_next_start(make_napari_viewer, random_models, monkeypatch, qtbot):
    from types import SimpleNamespace

    page = SimpleNamespace(
        model="", separate=False, orthogonal=False, samples=1, device="", precision="", follow=False
    )
    monkeypatch.setenv("SDSEG_MODELS", str(random_models))
    monkeypatch.setattr(_remembered, "_page", lambda: page)
    viewer = make_napari_viewer()
    _, panel = viewer.window.add_plugin_dock_widget("napari-sdseg", "Segment")
    viewer.add_image(noise(3, 40, 48))
    panel.model_box.value = "organs"
    panel.objects_box.value = True
    panel.samples_box.value = 2
    panel.precision_box.value = "float32"
    run(panel, qtbot)
    assert (page.model, page.separate, page.samples, page.precision) == ("organs", True, 2, "float32")
    page.device = "cuda:7"  # remembered by another machine
    from napari_sdseg.widgets.segment.widget import SegmentWidget

    again = SegmentWidget(viewer)
    qtbot.addWidget(again)
    state = again.state
    assert (state.model, state.separate, state.samples, state.precision) == (
        "organs", True, 2, "float32",
    )  # fmt: skip
    assert state.device is None
    again.preview.close()
    again.run.close()
    panel.run.close()


def test_napari_has_a_page_for_them(plugin_settings, npe2pm):
    from npe2 import PluginManifest

    if "napari-sdseg" not in npe2pm:
        npe2pm.register(PluginManifest.from_distribution("napari-sdseg"))
    assert _remembered.recall("samples", 9) == 1
    assert _remembered.recall("model", "none") == "none"
    _remembered.remember(samples=4, model="nuclei", device=None)
    assert _remembered.recall("samples", 9) == 4
    assert _remembered.recall("model", "none") == "nuclei"
    assert _remembered.recall("device", None) is None


def test_the_activity_dock_shows_the_run(viewer, panel, qtbot):
    from napari.utils.progress import progress

    viewer.add_image(noise(60, 40, 48), name="long")
    press(qtbot, panel.segment_button)
    qtbot.waitUntil(lambda: panel.state.done > 2, timeout=60_000)
    bars = [bar for bar in progress._all_instances if "SDSeg: long" in str(bar.desc)]
    assert len(bars) == 1
    assert bars[0].total == 60
    press(qtbot, panel.cancel_button)
    qtbot.waitUntil(lambda: not panel.state.busy, timeout=5000)
    assert not [bar for bar in progress._all_instances if "SDSeg: long" in str(bar.desc)]


def test_the_panel_fits_a_small_screen(viewer, panel):
    panel.about.expand()
    panel.more.expand()
    assert panel.minimumSizeHint().height() < 500
    assert panel.minimumSizeHint().width() <= 320
