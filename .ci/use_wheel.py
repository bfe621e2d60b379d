"""Use the installed wheel as a person would: open napari, open the sample, press Segment.

Run outside the repository, in an environment that holds only the wheel and what it needs.
"""

from __future__ import annotations

import sys
import time

import napari
import numpy as np
from qtpy.QtWidgets import QApplication

import napari_sdseg
import sdseg

for package in (napari_sdseg, sdseg):
    where = package.__file__ or ""
    assert "site-packages" in where, f"{package.__name__} comes from {where}, not from the wheel"

viewer = napari.Viewer()
viewer.open_sample("napari-sdseg", "ct")
viewer.layers.clear()
viewer.open_sample("napari-sdseg", "nuclei")
_, panel = viewer.window.add_plugin_dock_widget("napari-sdseg", "Segment")
image = viewer.layers["nuclei"]
panel.image_box.value, panel.model_box.value = image, "nuclei"
QApplication.processEvents()
panel.segment_button.native.click()
deadline = time.monotonic() + 300
while panel.state.busy and time.monotonic() < deadline:
    QApplication.processEvents()
    time.sleep(0.01)

labels = viewer.layers["nuclei - nuclei"].data
assert not panel.state.busy, "the panel did not finish"
assert np.array_equal(labels, napari_sdseg.segment(image.data)), "the widget and segment() differ"
truth = viewer.layers["nuclei (ground truth)"].data > 0
dice = 2 * (truth & (labels > 0)).sum() / (truth.sum() + (labels > 0).sum())
print(f"the widget from the wheel segments the sample: Dice {dice:.3f}")
viewer.close()
sys.exit(0 if dice > 0.85 else 1)
