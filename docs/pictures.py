"""Make the pictures of the guide: a real viewer, the buttons pressed as a person would.

    python docs/pictures.py                    # docs/pictures/*.png
    python docs/pictures.py --only ct --seconds 60 --theme light --out elsewhere

Without a display, under Xvfb: ``xvfb-run -a -s "-screen 0 1600x1000x24" python docs/pictures.py``.
The "painting" of the CT is its ground truth, on five planes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from screenshots import rest, wait

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari


def dock(viewer: napari.Viewer, name: str, width: int = 340) -> Any:
    """Open a panel of the plugin, and return it."""
    from qtpy.QtCore import Qt

    place, panel = viewer.window.add_plugin_dock_widget("napari-sdseg", name)
    viewer.window._qt_window.resizeDocks([place], [width], Qt.Orientation.Horizontal)
    return panel


def microscopy(viewer: napari.Viewer, shot: Callable[[str], None], seconds: float) -> None:
    """From opening a stack of nuclei to measured objects."""
    viewer.open_sample("napari-sdseg", "nuclei")
    truth = viewer.layers["nuclei (ground truth)"]
    truth.visible = False
    viewer.layers.selection.active = viewer.layers["nuclei"]
    panel = dock(viewer, "Segment")
    panel.image_box.value = viewer.layers["nuclei"]
    viewer.dims.set_current_step(0, 6)
    rest(1.5)
    panel.preview_button.native.click()
    rest(4)
    shot("nuclei_1_preview")
    panel.objects_box.value = True
    panel.segment_button.native.click()
    wait(lambda: not panel.state.busy)
    rest(1)
    shot("nuclei_2_segmented")
    evaluate(viewer, truth, viewer.layers[-1])
    shot("nuclei_3_measured")


def ct(viewer: napari.Viewer, shot: Callable[[str], None], seconds: float) -> None:
    """From opening a CT to a liver that the model was taught on five planes."""
    viewer.open_sample("napari-sdseg", "ct")
    truth = viewer.layers["ct (ground truth)"]
    liver = np.asarray(truth.data) == truth.metadata["class_names"].index("liver") + 1
    truth.data = liver.astype(np.uint8)
    truth.visible = False
    panel = dock(viewer, "Fine-tune")
    panel.image_box.value = viewer.layers["ct"]
    panel.new_button.native.click()
    layer = panel.labels_box.value
    shown = np.flatnonzero(liver.any(axis=(1, 2)))
    planes = [int(z) for z in np.linspace(shown[0], shown[-1], 7).round()[1:-1]]
    for z in planes:
        layer.data[z] = liver[z]
    layer.refresh()
    viewer.dims.set_current_step(0, planes[2])
    rest(2)
    panel.classes_table.item(0, 1).setText("liver")
    rest(0.5)
    shot("ct_1_painted")
    panel.budget_box.value = seconds
    between = (planes[2] + planes[3]) // 2
    viewer.dims.set_current_step(0, between)
    panel.learn_button.native.click()
    wait(lambda: panel.state.done > 0.6 or not panel.state.busy)
    shot("ct_2_learning")
    wait(lambda: not panel.state.busy)
    rest(1)
    shot("ct_3_learned")
    before = set(viewer.layers)
    panel.rest_button.native.click()
    wait(lambda: not panel.rest_state.busy)
    rest(1)
    viewer.dims.set_current_step(0, between)
    rest(0.5)
    shot("ct_4_segmented")
    (result,) = set(viewer.layers) - before
    evaluate(viewer, truth, result)
    shot("ct_5_measured")


def evaluate(viewer: napari.Viewer, truth: Any, result: Any) -> None:
    """Compare a result with ground truth in the Evaluate panel."""
    panel = dock(viewer, "Evaluate", 420)
    panel.labels_box.value, panel.truth_box.value = result, truth
    rest(0.5)
    panel.compare_button.native.click()
    wait(lambda: not panel.state.busy)
    rest(1.5)


WALKS = {"microscopy": microscopy, "ct": ct}


def main() -> None:
    """Take the pictures that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "pictures")
    parser.add_argument("--only", choices=sorted(WALKS))
    parser.add_argument("--theme", choices=["dark", "light"], default="dark")
    parser.add_argument("--seconds", type=float, default=60, help="to learn the CT's liver in")
    args = parser.parse_args()

    import napari
    from napari.settings import get_settings

    args.out.mkdir(parents=True, exist_ok=True)
    get_settings().appearance.theme = args.theme
    for name, walk in WALKS.items():
        if args.only not in (None, name):
            continue
        viewer = napari.Viewer(show_welcome_screen=False)
        viewer.theme = args.theme
        viewer.window._qt_window.resize(1366, 768)

        def shot(said: str, viewer: napari.Viewer = viewer) -> None:
            path = args.out / f"{said}.png"
            viewer.window.screenshot(str(path), canvas_only=False, flash=False)
            print(path.name)

        walk(viewer, shot, args.seconds)
        viewer.close()


if __name__ == "__main__":
    main()
