"""The *Fine-tune* panel in a real viewer."""

from __future__ import annotations

import shutil
import time

import numpy as np
import pytest

from napari_sdseg.layers import METADATA_KEY
from napari_sdseg.widgets import _made, _remembered
from napari_sdseg.widgets.finetune import work
from napari_sdseg.widgets.finetune.state import Phase, Style
from sdseg.errors import InputError

pytestmark = pytest.mark.gui

qtcore = pytest.importorskip("qtpy.QtCore")
LEFT = qtcore.Qt.MouseButton.LeftButton
CHECK = qtcore.Qt.CheckState


@pytest.fixture(scope="session")
def base_models(random_models, tmp_path_factory):
    """``base``, of a single mask, besides the others."""
    import torch

    from sdseg import Card
    from sdseg.devices import choose
    from sdseg.models.presets import Preset, build
    from sdseg.pipeline import SDSegPipeline, make_scheduler
    from sdseg.store import Model

    sizes = Preset(
        latent_channels=4, condition_channels=4, autoencoder=(8, 8, 8), vision_encoder=(8, 8, 8),
        denoiser=(16, 16), autoencoder_layers=1, vision_layers=1, denoiser_layers=1, groups=4,
        dropout=0.0, denoiser_attention=0, heads=4, mid_attention=False,
    )  # fmt: skip
    root = tmp_path_factory.mktemp("base") / "models"
    shutil.copytree(random_models, root)
    torch.manual_seed(0)
    card = Card("base", "To be taught, for tests.", coding="binary", size=32, overlap=8)
    vae, vision_encoder, unet = build(sizes, mask_channels=1, size=card.size)
    parts = {"vae": vae, "vision_encoder": vision_encoder, "unet": unet}
    pipeline = SDSegPipeline(**parts, scheduler=make_scheduler(), mask_channels=1)
    Model(card.name, card, pipeline, choose("cpu", "float32")).save(root / card.name)
    return root


@pytest.fixture
def models(base_models, tmp_path, monkeypatch):
    """A folder that may be written into, and no model left over from another test."""
    folder = tmp_path / "models"
    shutil.copytree(base_models, folder)
    monkeypatch.setenv("SDSEG_MODELS", str(folder))
    monkeypatch.setattr(_remembered, "_page", lambda: None)
    monkeypatch.setattr(_made, "_models", {})
    monkeypatch.setattr(_made, "_renamed", {})
    monkeypatch.setattr(work, "_FIRST", 0.3)
    return folder


@pytest.fixture
def viewer(make_napari_viewer, models):
    return make_napari_viewer()


@pytest.fixture
def panel(viewer):
    """The panel as a person opens it, with an image and a layer to paint in."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 400, (6, 40, 48)).astype(np.uint16)
    image[:, 10:30, 12:36] += 2000
    viewer.add_image(image, name="scan", scale=(3, 1, 1), axis_labels=("z", "y", "x"))
    _, panel = viewer.window.add_plugin_dock_widget("napari-sdseg", "Fine-tune")
    panel.new_button.native.click()
    yield panel
    panel.run.close()
    panel.rest.close()
    panel.watch.close()


@pytest.fixture
def told(monkeypatch):
    """The notifications, as words."""
    from napari.utils.notifications import notification_manager

    said = []
    monkeypatch.setattr(notification_manager, "dispatch", lambda note: said.append(note.message))
    return said


def press(qtbot, button):
    qtbot.mouseClick(button.native, LEFT)


def paint(panel, qtbot, *planes, label=1):
    """Paint rectangles, as strokes of a mouse do, and wait until the list shows them."""
    layer = panel.labels_box.value
    for z in planes:
        block = np.mgrid[z : z + 1, 10:30, 12:36].reshape(3, -1)
        layer.data_setitem(tuple(block), label)
    wanted = {(z,) for z in planes}
    qtbot.waitUntil(lambda: wanted <= {f.at for f in panel.state.found}, timeout=5000)
    return layer


def learn(panel, qtbot, seconds=2):
    panel.state.seconds = seconds
    press(qtbot, panel.learn_button)
    assert panel.state.busy
    qtbot.waitUntil(lambda: not panel.state.busy, timeout=15_000)


def begun(panel, qtbot):
    """Learn for long, and wait until the first steps are made."""
    panel.state.seconds = 600
    press(qtbot, panel.learn_button)
    qtbot.waitUntil(lambda: panel.state.step > 2, timeout=15_000)


def workers_gone(qtbot):
    from superqt.utils import WorkerBase

    qtbot.waitUntil(lambda: not WorkerBase._worker_set, timeout=20_000)


def rows(panel):
    return [panel.planes_list.item(k).text() for k in range(panel.planes_list.count())]


# -- painting ------------------------------------------------------------------------------------


def test_the_list_fills_while_one_paints(viewer, panel, qtbot):
    assert panel.model_box.value == "base"
    assert panel.status_label.text().startswith("Nothing is painted yet")
    assert not panel.learn_button.enabled
    layer = paint(panel, qtbot, 1, 4)
    assert (layer.name, layer.mode) == ("scan - painted", "paint")
    np.testing.assert_allclose(layer.scale, (3, 1, 1))
    assert rows(panel) == ["z 1   foreground", "z 4   foreground"]
    assert panel.reading_label.text().startswith("Looks like whole planes")
    assert panel.learn_button.enabled
    # a click goes there, a tick leaves it out
    panel.planes_list.itemClicked.emit(panel.planes_list.item(1))
    assert viewer.dims.current_step[0] == 4
    assert panel.planes_list.currentRow() == 1
    panel.planes_list.item(0).setCheckState(CHECK.Unchecked)
    assert panel.state.annotated() == ((4,),)
    # undone, and painted without a mouse
    layer.undo()
    qtbot.waitUntil(lambda: len(rows(panel)) == 1, timeout=5000)
    layer.data[2] = 2
    layer.refresh()
    qtbot.waitUntil(lambda: len(rows(panel)) == 2, timeout=5000)
    layer.name = "mine"
    assert panel.state.left_out == {(1,)}, "a name is no other layer"


def test_an_empty_plane_and_strokes(viewer, panel, qtbot):
    viewer.dims.set_current_step(0, 0)
    assert panel.empty_box.text == "z 0 is empty: all background"
    panel.empty_box.native.click()
    paint(panel, qtbot, 3)
    assert rows(panel) == ["z 0   nothing there", "z 3   foreground"]
    viewer.dims.set_current_step(0, 3)
    assert not panel.empty_box.enabled, "something is painted there"
    panel.style_box.value = Style.STROKES
    assert "paint the background too" in panel.status_label.text()
    layer = panel.labels_box.value
    layer.data_setitem(tuple(np.mgrid[3:4, 0:2, 0:40].reshape(3, -1)), 2)
    qtbot.waitUntil(lambda: panel.background_box.value == 2, timeout=5000)
    assert panel.reading_label.text() == (
        "Taken as strokes: label 2 says background; unpainted is unknown."
    )
    assert rows(panel) == ["z 3   foreground, background"]
    table = panel.classes_table
    table.item(0, 1).setText("cell")
    assert panel.state.class_names() == ["cell"]
    assert rows(panel) == ["z 3   cell, background"]


def test_looking_at_many_planes_leaves_the_window_free(viewer, panel, qtbot):
    viewer.layers.clear()
    viewer.add_image(np.zeros((120, 512, 512), np.uint8), name="large")
    press(qtbot, panel.new_button)
    layer = panel.labels_box.value
    gaps, last = [], [time.perf_counter()]
    timer = qtcore.QTimer()

    def tick():
        gaps.append(time.perf_counter() - last[0])
        last[0] = time.perf_counter()

    timer.timeout.connect(tick)
    layer.data[20:40, 100:300, 100:300] = 1
    layer.refresh()
    timer.start(5)
    last[0] = time.perf_counter()
    qtbot.waitUntil(lambda: panel.planes_list.count() == 20, timeout=20_000)
    timer.stop()
    assert max(gaps) < 0.3, "0.05 s where nothing else runs"


def test_labels_of_another_shape_are_refused(viewer, panel, qtbot):
    layer = viewer.add_labels(np.ones((6, 40, 40), np.uint8), name="other")
    panel.labels_box.value = layer
    assert panel.status_label.text() == (
        "other is 6 × 40 × 40 and the image 6 × 40 × 48: paint in a layer of the image's shape."
    )
    assert not panel.learn_button.enabled
    panel.labels_box.value = viewer.layers["scan - painted"]
    assert panel.status_label.text().startswith("Nothing is painted yet")
    # an array of another shape in the same layer, and back
    viewer.layers["scan - painted"].data = np.ones((6, 40, 40), np.uint8)
    qtbot.waitUntil(lambda: not panel.state.fits(), timeout=5000)
    viewer.layers["scan - painted"].data = np.ones((6, 40, 48), np.uint8)
    qtbot.waitUntil(lambda: len(rows(panel)) == 6, timeout=5000)


# -- learning ------------------------------------------------------------------------------------


def test_from_paint_to_a_saved_model(viewer, panel, qtbot, models, told, monkeypatch):
    from napari_sdseg.widgets.segment.widget import SegmentWidget

    layer = paint(panel, qtbot, 1, 4)
    before = layer.data.copy()
    learn(panel, qtbot)
    said = panel.status_label.text()
    assert said.startswith("base-tuned is ready: ")
    assert "measured on 1 painted plane that was left out" in said or panel.state.warning
    assert panel.run.curve.loss
    assert panel.run.preview.layer in viewer.layers
    assert panel.run.preview.layer not in panel.labels_box.choices
    assert _made.find("base-tuned").card.classes[0].color == _color(layer, 1)

    # at once in the Segment panel
    _, segment = viewer.window.add_plugin_dock_widget("napari-sdseg", "Segment")
    assert isinstance(segment, SegmentWidget)
    assert "base-tuned" in segment.model_box.choices
    segment.model_box.value = "base-tuned"
    assert segment.segment_button.enabled
    segment.script_button.native.click()
    assert "Save the model first" in segment.status_label.text()

    # painted planes come out as painted, in another layer
    assert panel.keep_box.value
    press(qtbot, panel.rest_button)
    layer.data[4] = 0  # what is painted meanwhile does not count
    qtbot.waitUntil(lambda: not panel.rest_state.busy, timeout=15_000)
    result = viewer.layers[-1]
    assert result is not layer
    assert result.data.shape == before.shape
    for z in (1, 4):
        np.testing.assert_array_equal(result.data[z], before[z])
    np.testing.assert_array_equal(layer.data[:4], before[:4])
    assert result.metadata[METADATA_KEY]["settings"]["guided"]
    assert panel.status_label.text().startswith("Done: 6 planes in ")
    assert not panel.run.preview.layer.visible

    # on, to another model
    layer.data[4] = before[4]
    layer.refresh()
    panel.state.seconds = 1
    press(qtbot, panel.again_button)
    qtbot.waitUntil(lambda: not panel.state.busy, timeout=15_000)
    assert list(_made.cards()) == ["base-tuned", "base-tuned-2"]
    assert _made.find("base-tuned-2").card.parent == "base-tuned"

    # saved, it is a model like any other, and chosen where it was chosen
    segment.model_box.value = "base-tuned-2"
    monkeypatch.setattr(panel, "_ask_name", lambda before: "organs")
    press(qtbot, panel.save_button)
    assert "there is a model 'organs' already" in told[0]
    assert not panel.state.busy
    monkeypatch.setattr(panel, "_ask_name", lambda before: "mine")
    press(qtbot, panel.save_button)
    qtbot.waitUntil(lambda: not panel.state.busy, timeout=20_000)
    assert panel.status_label.text().startswith("Saved as mine")
    assert (models / "mine" / "card.json").is_file()
    assert segment.model_box.value == "mine"
    assert not panel.save_button.enabled
    assert list(_made.cards()) == ["base-tuned"]
    segment.run.close()
    segment.preview.close()


def _color(layer, label):
    return "#" + "".join(f"{round(255 * float(c)):02x}" for c in layer.get_color(label)[:3])


def test_a_budget_in_steps(viewer, panel, qtbot):
    paint(panel, qtbot, 1, 3)
    panel.budget_box.value, panel.unit_box.value = 7, "steps"
    press(qtbot, panel.learn_button)
    qtbot.waitUntil(lambda: not panel.state.busy, timeout=15_000)
    assert "7 steps in" in panel.state.message
    assert panel.run.curve.seconds == pytest.approx(panel.run.curve.loss[-1][0], rel=0.01)
    panel.unit_box.value = "seconds"
    assert (panel.state.seconds, panel.state.steps) == (7, None)


def test_stop_keeps_what_is_learned(viewer, panel, qtbot):
    layer = paint(panel, qtbot, 2)
    begun(panel, qtbot)
    assert not panel.learn_button.enabled
    assert not panel.run.learn(panel.image_box.value, layer, "base"), "one at a time"
    assert panel.progress_label.text().startswith("Step ")
    layer.data[:] = 0  # what is learned from was copied
    viewer.layers["scan"].name = "renamed"
    press(qtbot, panel.stop_button)
    qtbot.waitUntil(lambda: not panel.state.busy, timeout=20_000)
    assert panel.state.result == "base-tuned"
    assert panel.state.warning.startswith("A single plane teaches")
    assert panel.warning_label.isVisibleTo(panel)


def test_removing_a_layer_ends_it_well(viewer, panel, qtbot, told):
    for name, what in (("scan - painted", "painted layer"), ("scan", "image")):
        if panel.labels_box.value is None:
            press(qtbot, panel.new_button)
        paint(panel, qtbot, 1)
        begun(panel, qtbot)
        viewer.layers.remove(name)
        qtbot.waitUntil(lambda: not panel.state.busy, timeout=20_000)
        assert panel.status_label.text().startswith(f"The {what} was removed. base-tuned")
        assert not told


@pytest.mark.parametrize("how", ["viewer", "panel"])
def test_closing_ends_it(viewer, panel, qtbot, how):
    paint(panel, qtbot, 1, 2)
    begun(panel, qtbot)
    if how == "viewer":
        viewer.close()
    else:
        viewer.window.remove_dock_widget(panel)
    workers_gone(qtbot)


def test_an_error_is_said(viewer, panel, qtbot, told, monkeypatch):
    paint(panel, qtbot, 1)
    for error in (RuntimeError("odd"), InputError("it cannot be")):

        def fail(self, error=error):
            raise error

        told.clear()
        monkeypatch.setattr(work._Session, "turn", fail)
        press(qtbot, panel.learn_button)
        qtbot.waitUntil(lambda: not panel.state.busy, timeout=20_000)
        assert len(told) == 1
        assert str(error) in told[0]
        assert panel.status_label.text().startswith("Failed: ")
        assert panel.state.phase is Phase.IDLE
        assert panel.learn_button.enabled


def test_a_plane_without_foreground(viewer, panel, qtbot):
    """Nothing is to be seen on the only planes that there are; it still ends in a model."""
    panel.empty_box.native.click()
    learn(panel, qtbot, seconds=1)
    assert panel.state.result == "base-tuned"


def test_single_objects(viewer, panel, qtbot):
    panel.model_box.value = "dots"
    paint(panel, qtbot, 1, label=7)
    assert rows(panel) == ["z 1   1 object"]
    learn(panel, qtbot, seconds=1)
    assert panel.state.result == "dots-tuned"
    assert not panel.keep_box.enabled
    press(qtbot, panel.rest_button)
    qtbot.waitUntil(lambda: not panel.rest_state.busy, timeout=15_000)
    assert viewer.layers[-1].data.dtype == np.uint32


def test_the_next_plane(viewer, panel, qtbot):
    paint(panel, qtbot, 1)
    press(qtbot, panel.next_button)
    qtbot.waitUntil(lambda: not panel.state.busy, timeout=20_000)
    position = viewer.dims.current_step[0]
    assert position != 1
    assert panel.status_label.text() == f"z {position} would teach most: paint it next."


def test_it_fits_a_narrow_dock(viewer, panel):
    viewer.layers["scan"].name = "a name that is much too long for any dock there is"
    assert panel.minimumSizeHint().width() <= 300
    panel.result_box.setVisible(True)
    panel.show_background([1, 2], 2)
    inside = panel.area.widget().minimumSizeHint().width()
    assert inside <= 300, "it would be cut at the right"
