"""Paint, learn, segment, paint where it is least sure, again: a real viewer, the model that ships."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sdseg.sample_data import load
from napari_sdseg.widgets import _made, _remembered
from sdseg.metrics import dice

pytestmark = [pytest.mark.gui, pytest.mark.slow]


def paint(panel, qtbot, layer, truth, *planes):
    """Paint planes as the truth has them, and wait until the list shows them."""
    for z in planes:
        inside = np.nonzero(truth[z])
        layer.data_setitem((np.full(len(inside[0]), z), *inside), 1)
    wanted = {(z,) for z in planes}
    qtbot.waitUntil(lambda: wanted <= {f.at for f in panel.state.found}, timeout=10_000)


def press(panel, qtbot, button):
    """Press a button, and wait until what it began is done."""
    button.native.click()
    assert panel.state.busy or panel.rest_state.busy
    qtbot.waitUntil(lambda: not (panel.state.busy or panel.rest_state.busy), timeout=300_000)


@pytest.mark.timeout(900)
def test_the_loop_from_painting_to_a_better_score(make_napari_viewer, qtbot, tmp_path, monkeypatch):
    monkeypatch.setenv("SDSEG_MODELS", str(tmp_path))
    monkeypatch.setattr(_remembered, "_page", lambda: None)
    monkeypatch.setattr(_made, "_models", {})
    sample = load("ct")
    liver = sample.labels == sample.class_names.index("liver") + 1
    shown = np.flatnonzero(liver.any(axis=(1, 2)))
    viewer = make_napari_viewer()
    viewer.add_image(sample.image, name="ct", scale=sample.spacing)
    _, panel = viewer.window.add_plugin_dock_widget("napari-sdseg", "Fine-tune")
    panel.new_button.native.click()
    layer = panel.labels_box.value
    # Steps, not seconds: on every machine the same is learned.
    panel.budget_box.value, panel.unit_box.value = 60, "steps"

    # Three planes, learned; the score on one that was left out is better than the model's before.
    first = [int(z) for z in np.linspace(shown[0], shown[-1], 5).round()[1:-1]]
    paint(panel, qtbot, layer, liver, *first)
    press(panel, qtbot, panel.learn_button)
    scores = _made.find("base-tuned").card.scores
    after, before = (scores[k] for k in sorted(scores, key=lambda k: "before" in k))
    assert after > before + 0.1
    press(panel, qtbot, panel.rest_button)
    drawn = [np.asarray(viewer.layers[-1].data) > 0]

    # Two more, where it says that it is least sure: better on the planes that nobody painted.
    painted = list(first)
    for _ in range(2):
        press(panel, qtbot, panel.next_button)
        z = int(viewer.dims.current_step[0])
        assert z not in painted
        painted.append(z)
        paint(panel, qtbot, layer, liver, *([z] if liver[z].any() else []))
        if not liver[z].any():
            panel.empty_box.native.click()
    press(panel, qtbot, panel.again_button)
    press(panel, qtbot, panel.rest_button)
    drawn.append(np.asarray(viewer.layers[-1].data) > 0)
    rest = np.setdiff1d(np.arange(len(liver)), painted)
    once, twice = (dice(d[rest], liver[rest]) for d in drawn)
    assert once > 0.7
    assert twice > once
    for z in painted:
        np.testing.assert_array_equal(drawn[1][z], liver[z])
    panel.run.close()
    panel.rest.close()
    panel.watch.close()
