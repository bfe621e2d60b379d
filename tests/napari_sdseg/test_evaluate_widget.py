"""The *Evaluate* panel in a real viewer."""

from __future__ import annotations

import csv
import time

import numpy as np
import pytest

from napari_sdseg.layers import METADATA_KEY
from napari_sdseg.widgets.evaluate import widget as evaluate
from sdseg.metrics import average_precision, dice, iou

pytestmark = pytest.mark.gui

qtcore = pytest.importorskip("qtpy.QtCore")
qtgui = pytest.importorskip("qtpy.QtGui")
LEFT = qtcore.Qt.MouseButton.LeftButton


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


@pytest.fixture
def panel(viewer):
    """The panel as a person opens it."""
    _, panel = viewer.window.add_plugin_dock_widget("napari-sdseg", "Evaluate")
    yield panel
    panel.run.close()


@pytest.fixture
def told(monkeypatch):
    """The notifications, as words."""
    from napari.utils.notifications import notification_manager

    said = []
    monkeypatch.setattr(notification_manager, "dispatch", lambda note: said.append(note.message))
    return said


class Slow:
    """Labels that are read slowly, and not at all once it is told to fail."""

    def __init__(self, data):
        self.data, self.shape, self.ndim = data, data.shape, data.ndim
        self.error, self.pause, self.reads = None, 0.02, 0

    def __getitem__(self, index):
        begun = time.monotonic()
        while time.monotonic() < begun + self.pause:
            time.sleep(0.005)
        self.reads += 1
        if self.error is not None:
            raise self.error
        return self.data[index]


@pytest.fixture
def slow(monkeypatch):
    """Labels of 200 planes in two layers' place, 20 ms a plane."""
    from napari_sdseg.widgets.evaluate import run

    array = Slow(np.ones((200, 16, 16), np.uint8))
    monkeypatch.setattr(run, "labels_array", lambda _: array)
    return array


def press(qtbot, button):
    qtbot.mouseClick(button.native, LEFT)


def run(panel, qtbot):
    press(qtbot, panel.compare_button)
    qtbot.waitUntil(lambda: not panel.state.busy, timeout=20_000)
    qtbot.waitUntil(lambda: not panel.results._timer.isActive(), timeout=5000)


def workers_gone(qtbot):
    from superqt.utils import WorkerBase

    qtbot.waitUntil(lambda: not WorkerBase._worker_set, timeout=10_000)


def pair(viewer, *shape, **options):
    """Two layers of random classes, that agree on half the pixels."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, shape).astype(np.uint8)
    predicted = np.where(rng.random(shape) < 0.5, true, rng.integers(0, 3, shape))
    features = {"index": [0, 1, 2], "name": ["background", "liver", "bone"]}
    options = {"features": features, **options}
    ours = viewer.add_labels(predicted, name="guess", **options)
    return ours, viewer.add_labels(true, name="the truth", **options)


def shown(table):
    model = table.model()
    header = [model.headerData(c, qtcore.Qt.Orientation.Horizontal) for c in range(model.columnCount())]
    cells = [
        [model.data(model.index(r, c)) for c in range(model.columnCount())]
        for r in range(model.rowCount())
    ]
    return [header, *cells]


def click_plot(qtbot, plot, plane):
    place = qtcore.QPoint(round(plot.x_of(plane)), plot.height() // 2)
    qtbot.mouseClick(plot, LEFT, pos=place)


# -- what comes out --------------------------------------------------------------------------------


def test_classes_of_a_stack(viewer, panel, qtbot):
    ours, truth = pair(viewer, 6, 24, 32)
    assert (panel.labels_box.value, panel.truth_box.value) == (ours, truth)
    assert panel.mode_box.value == "Classes"
    run(panel, qtbot)
    table = shown(panel.results.class_table)
    assert table[0] == ["Class", "Dice", "IoU"]
    for label, row in enumerate(table[1:3], start=1):
        both = ours.data == label, truth.data == label
        assert row == [["liver", "bone"][label - 1], f"{dice(*both):.3f}", f"{iou(*both):.3f}"]
    assert table[3][0] == "mean"
    planes = shown(panel.results.plane_table)
    assert planes[0] == ["axis -3", "liver", "bone"]
    assert planes[5] == ["3", *(f"{dice(ours.data[3] == k, truth.data[3] == k):.3f}" for k in (1, 2))]
    panel.results.measure_box.value = "IoU"
    qtbot.waitUntil(
        lambda: (
            shown(panel.results.plane_table)[5][1]
            == f"{iou(ours.data[3] == 1, truth.data[3] == 1):.3f}"
        )
    )
    assert panel.status_label.text().startswith("Done: 6 planes in ")
    assert panel.results.summary_label.text().startswith("Dice ")
    panel.mode_box.value = "Single objects"
    assert panel.status_label.text().endswith("The results below are of 'guess' and 'the truth'.")


def test_objects_of_the_sample(viewer, panel, qtbot):
    viewer.open_sample("napari-sdseg", "nuclei")
    truth = viewer.layers["nuclei (ground truth)"]
    assert panel.truth_box.value is truth
    assert panel.labels_box.value is None
    moved = np.roll(np.asarray(truth.data), 3, axis=-1)
    settings = {"settings": {"axis": 0, "instances": True}}
    viewer.add_labels(moved, scale=truth.scale, metadata={METADATA_KEY: settings})
    assert panel.labels_box.value is viewer.layers[-1]
    assert panel.mode_box.value == "Single objects"
    run(panel, qtbot)
    expected = [dice(moved > 0, truth.data > 0), iou(moved > 0, truth.data > 0)]
    expected.append(average_precision(moved, np.asarray(truth.data)).score)
    (_, row) = shown(panel.results.class_table)
    assert row[0] == "nucleus"
    assert row[1:4] == [f"{value:.3f}" for value in expected]
    planes = shown(panel.results.plane_table)
    assert planes[0] == ["z", "Dice", "IoU", "AP50", "AP"]
    counts = average_precision(moved[4], np.asarray(truth.data[4]))
    assert planes[6][3] == f"{counts.score:.3f}"


def test_a_single_plane_in_a_narrow_dock_and_any_theme(viewer, panel, qtbot):
    pair(viewer, 24, 32)
    assert not panel.axis_box.enabled
    viewer.layers[0].name = "a name that is much too long for any dock there is, and then some more"
    viewer.layers[1].name = viewer.layers[0].name + " truth"
    run(panel, qtbot)
    assert len(shown(panel.results.class_table)) == 4
    assert not panel.results.tabs.isTabVisible(1)
    assert panel.results.plot_part.isHidden()
    viewer.layers.clear()
    pair(viewer, 3, 24, 32)
    run(panel, qtbot)
    assert not panel.results.plot_part.isHidden()
    assert panel.minimumSizeHint().width() <= 300
    assert panel.minimumSizeHint().height() <= 620
    for theme in ("light", "dark"):
        viewer.theme = theme
        qtbot.waitUntil(lambda: not panel.results._timer.isActive(), timeout=2000)
        assert not panel.grab().isNull()


def test_kinds_of_layers(viewer, panel, qtbot):
    da = pytest.importorskip("dask.array")
    data = np.random.default_rng(0).integers(0, 3, (4, 16, 16))
    lazy = viewer.add_labels(da.from_array(data, chunks=(1, 16, 16)))
    levels = viewer.add_labels([data, data[:, ::2, ::2]], multiscale=True)
    viewer.add_labels(data, name="truth")
    panel.mode_box.value = "Classes"
    for layer in (lazy, levels):
        panel.labels_box.value, panel.truth_box.value = layer, viewer.layers["truth"]
        panel.mode_box.value = "Classes"
        run(panel, qtbot)
        assert [row[1] for row in shown(panel.results.class_table)[1:]] == ["1.000"] * 3


def test_copy_and_csv(viewer, panel, qtbot, tmp_path, monkeypatch, told):
    from qtpy.QtWidgets import QApplication

    pair(viewer, 4, 24, 32)
    run(panel, qtbot)
    press(qtbot, panel.results.copy_button)
    text = QApplication.clipboard().text()
    assert [line.split("\t") for line in text.splitlines()] == shown(panel.results.class_table)
    panel.results.tabs.setCurrentIndex(1)
    press(qtbot, panel.results.copy_button)
    assert QApplication.clipboard().text().startswith("axis -3\tliver\tbone\nmean\t")
    asked = []
    path = tmp_path / "out.csv"
    monkeypatch.setattr(evaluate, "ask_path", lambda _, name: asked.append(name) or path)
    press(qtbot, panel.results.csv_button)
    qtbot.waitUntil(lambda: bool(told), timeout=5000)
    assert asked == ["guess vs the truth.csv"]
    assert told == ["Saved out.csv."]
    rows = list(csv.DictReader(path.open(encoding="utf-8")))
    assert len(rows) == 2 + 4 * 2
    monkeypatch.setattr(evaluate, "ask_path", lambda *_: tmp_path / "no" / "out.csv")
    press(qtbot, panel.results.csv_button)
    qtbot.waitUntil(lambda: len(told) == 2, timeout=5000)
    assert told[1].startswith("The comparison was not saved: No such file")
    monkeypatch.setattr(evaluate, "ask_path", lambda *_: None)
    press(qtbot, panel.results.csv_button)
    assert panel._saving is None
    workers_gone(qtbot)


# -- planes ----------------------------------------------------------------------------------------


def test_the_plot_and_the_viewer_show_the_same_plane(viewer, panel, qtbot):
    viewer.add_image(np.zeros((40, 30, 30)))
    pair(viewer, 9, 24, 32, scale=(2, 1, 1), translate=(10, 0, 0))
    run(panel, qtbot)
    viewer.dims.set_point(0, 14)
    assert panel.results.plot._mark == 2
    assert panel.results.plane_table.selectionModel().selectedRows()[0].row() == 3
    for plane in (7, 0, 8):
        click_plot(qtbot, panel.results.plot, plane)
        assert viewer.dims.point[0] == 10 + 2 * plane
        assert panel.results.plot._mark == plane
    qtbot.keyClick(panel.results.plot, qtcore.Qt.Key.Key_Left)
    assert panel.results.plot._mark == 7
    panel.results.plane_table.clicked.emit(panel.results.plane_model.index(5, 0))
    assert viewer.dims.point[0] == 18
    viewer.dims.set_point(0, 2)
    assert panel.results.plot._mark is None, "the slider is outside of the labels"
    assert "liver: " in panel.results.plot.words(3)

    viewer.dims.order = (2, 0, 1)  # another direction: the planes have no slider
    assert panel.results.plot._mark is None
    click_plot(qtbot, panel.results.plot, 5)
    assert viewer.dims.point[0] == 20
    assert 0 not in viewer.dims.displayed
    viewer.dims.ndisplay = 3
    click_plot(qtbot, panel.results.plot, 6)
    assert (viewer.dims.ndisplay, viewer.dims.point[0]) == (2, 22)


def test_four_axes(viewer, panel, qtbot):
    ours, truth = pair(viewer, 3, 5, 24, 32)
    panel.axis_box.value = 1
    viewer.dims.set_current_step(0, 2)
    run(panel, qtbot)
    assert panel.state.total == 15
    value = np.mean([dice(ours.data[t, 4] == 1, truth.data[t, 4] == 1) for t in range(3)])
    assert panel.results.plot._values[4, 0] == pytest.approx(value)
    assert panel.results.over_label.text() == "over axis -3, averaged"
    click_plot(qtbot, panel.results.plot, 4)
    assert tuple(viewer.dims.current_step[:2]) == (2, 4)
    panel.results.plane_table.clicked.emit(panel.results.plane_model.index(1 + 1 * 5 + 3, 0))
    assert tuple(viewer.dims.current_step[:2]) == (1, 3)


# -- while it runs ---------------------------------------------------------------------------------


def test_results_stream_in_and_cancel_keeps_them(viewer, panel, qtbot, slow):
    pair(viewer, 200, 16, 16)
    press(qtbot, panel.compare_button)
    press(qtbot, panel.compare_button)
    assert not panel.run.start(*viewer.layers)
    qtbot.waitUntil(lambda: panel.results.plane_model.rowCount() > 4, timeout=10_000)
    assert panel.state.busy
    slow.pause = 2
    begun = time.monotonic()
    press(qtbot, panel.cancel_button)
    assert not panel.state.busy
    assert time.monotonic() - begun < 0.5
    assert "of 200 planes." in panel.status_label.text()
    done = panel.state.done
    slow.pause = 0
    workers_gone(qtbot)
    assert panel.state.done == done, "nobody listens any more"
    run(panel, qtbot)
    assert panel.state.done == 200


def test_layers_that_change_stop_the_run(viewer, panel, qtbot, slow, told):
    ours, truth = pair(viewer, 200, 16, 16)

    def begin():
        press(qtbot, panel.compare_button)
        qtbot.waitUntil(lambda: panel.state.done > 2, timeout=10_000)

    begin()
    truth.data = np.zeros((200, 16, 16), int)
    assert not panel.state.busy
    assert panel.status_label.text().startswith("The data of a layer was exchanged.")
    begin()
    ours.name = "another name"
    assert panel.state.busy
    viewer.layers.remove(truth)
    assert not panel.state.busy
    assert panel.status_label.text().startswith("A layer that was compared was removed.")
    assert panel.truth_box.value is None
    assert not told
    workers_gone(qtbot)


def test_layers_that_change_afterwards(viewer, panel, qtbot):
    ours, truth = pair(viewer, 3, 16, 16)
    run(panel, qtbot)
    ours.paint((1, 3, 3), 2)
    assert panel.status_label.text().endswith("painted on since: compare again.")
    run(panel, qtbot)
    assert "painted" not in panel.status_label.text()
    viewer.layers.remove(ours)
    click_plot(qtbot, panel.results.plot, 2)
    assert viewer.dims.current_step[0] == 2
    viewer.layers.remove(truth)
    click_plot(qtbot, panel.results.plot, 1)
    assert not panel.compare_button.enabled
    assert panel.state.scores is not None


def test_an_error_is_said_and_the_panel_is_ready_again(viewer, panel, qtbot, slow, told):
    pair(viewer, 200, 16, 16)
    slow.error = RuntimeError("the disk is gone")
    run(panel, qtbot)
    assert told == ["RuntimeError: the disk is gone"]
    assert panel.status_label.text().startswith("Failed: RuntimeError: the disk is gone.")
    assert panel.compare_button.enabled


@pytest.mark.parametrize("how", ["panel", "viewer", "window"])
def test_closing_stops_the_run(make_napari_viewer, qtbot, slow, how):
    viewer = make_napari_viewer()
    _, panel = viewer.window.add_plugin_dock_widget("napari-sdseg", "Evaluate")
    pair(viewer, 200, 16, 16)
    press(qtbot, panel.compare_button)
    state = panel.state
    qtbot.waitUntil(lambda: state.done > 2, timeout=10_000)
    if how == "panel":
        viewer.window.remove_dock_widget(panel)
        viewer.dims.set_current_step(0, 3)
        viewer.layers.clear()
    del panel
    if how != "panel":
        (viewer if how == "viewer" else viewer.window).close()
    workers_gone(qtbot)
    assert slow.reads < 390


def test_the_window_stays_free(viewer, panel, qtbot):
    """The longest gap between two ticks of the event loop, with thousands of planes."""
    pair(viewer, 3000, 16, 16)
    ticks = [time.perf_counter()]
    timer = qtcore.QTimer()
    timer.timeout.connect(lambda: ticks.append(time.perf_counter()))
    timer.start(5)
    run(panel, qtbot)
    timer.stop()
    gaps = np.diff(ticks)
    assert len(gaps) > 10
    assert np.max(gaps) < 0.3, "0.05 s where nothing else runs"
    assert np.quantile(gaps, 0.95) < 0.1


# -- the form --------------------------------------------------------------------------------------


def test_layers_that_do_not_fit_give_a_sentence(viewer, panel, told):
    assert panel.status_label.text().startswith("Two Labels layers are needed")
    viewer.add_labels(np.zeros((4, 8, 8), int), name="one")
    viewer.add_labels(np.zeros((4, 8, 9), int), name="truth")
    assert (
        panel.status_label.text() == "The shapes do not fit: 'one' is 4 × 8 × 8, 'truth' is 4 × 8 × 9."
    )
    assert not panel.compare_button.enabled
    panel.truth_box.value = panel.labels_box.value
    assert "the same layer" in panel.status_label.text()
    viewer.add_labels(np.zeros((4, 8, 8), int), name="other", scale=(2, 1, 1))
    panel.truth_box.value = viewer.layers["other"]
    assert "lie at different places" in panel.status_label.text()
    assert panel.compare_button.enabled
    viewer.layers.clear()
    assert not panel.compare_button.enabled
    assert not told


def test_the_sliced_axis_and_the_colours_are_the_layers(viewer, panel, qtbot):
    from napari.utils.colormaps import DirectLabelColormap

    colormap = DirectLabelColormap(color_dict={None: "transparent", 1: "#56b4e9", 2: "#e69f00"})
    metadata = {METADATA_KEY: {"settings": {"axis": 1, "instances": False}}}
    pair(viewer, 12, 10, 14, colormap=colormap, metadata=metadata)
    assert panel.axis_box.value == 1
    panel.axis_box.value = 2
    run(panel, qtbot)
    assert panel.state.total == 14
    assert panel.state.colors == {"liver": "#56b4e9", "bone": "#e69f00"}
