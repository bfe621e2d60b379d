"""Take pictures of the panels: a real viewer, an image, a run, a PNG of the whole window.

    python docs/screenshots.py OUT.png                            # the nuclei sample
    python docs/screenshots.py OUT.png --image scan.nii.gz --plane 60 --limits -160 240
    python docs/screenshots.py OUT.png --theme light --moment running

Without a display, run it under Xvfb: ``xvfb-run -a -s "-screen 0 1600x1000x24" python docs/...``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari

    from napari_sdseg.widgets.segment.widget import SegmentWidget


def open_image(viewer: napari.Viewer, image: str, limits: list[float] | None) -> None:
    """Open a sample by its key, or a file: what napari reads, or what the core reads."""
    if image in ("nuclei", "ct"):
        viewer.open_sample("napari-sdseg", image)
        for layer in list(viewer.layers):
            if "ground truth" in layer.name:
                viewer.layers.remove(layer)
        return
    path = Path(image)
    if path.suffix in (".gz", ".nii", ".nrrd", ".mha"):
        from sdseg.files import read

        picture = read(path)
        viewer.add_image(picture.data, name=path.name.split(".")[0], scale=picture.spacing)
    elif path.suffix == ".npy":
        import numpy as np

        viewer.add_image(np.load(path), name=path.stem)
    else:
        viewer.open(path)
        viewer.layers[-1].name = path.stem[:12]
    if limits:
        viewer.layers[-1].contrast_limits = limits


def wait(until: Callable[[], bool], seconds: float = 600) -> None:
    """Let the window live until something holds."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while not until():
        if time.monotonic() > end:
            raise TimeoutError
        QApplication.processEvents()
        time.sleep(0.01)


def rest(seconds: float) -> None:
    """Let the window live for a while."""
    end = time.monotonic() + seconds
    wait(lambda: time.monotonic() > end)


def main() -> None:
    """Take the picture that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--image", default="nuclei", help="nuclei, ct (the samples), or a file")
    parser.add_argument("--model", help="a model's name; default: the panel's first")
    parser.add_argument("--plane", type=int, help="the plane to look at; default: the middle")
    parser.add_argument("--limits", type=float, nargs=2, help="contrast limits")
    parser.add_argument("--theme", choices=["dark", "light"], default="dark")
    parser.add_argument("--moment", choices=["before", "running", "after"], default="after")
    parser.add_argument("--size", type=int, nargs=2, default=(1366, 768), help="of the window")
    parser.add_argument("--dock-width", type=int, default=340)
    args = parser.parse_args()

    import napari
    from napari.settings import get_settings
    from qtpy.QtCore import Qt

    settings = get_settings()
    settings.appearance.theme = args.theme
    viewer = napari.Viewer(show_welcome_screen=False)
    viewer.theme = args.theme
    window = viewer.window._qt_window
    open_image(viewer, args.image, args.limits)
    dock, panel = viewer.window.add_plugin_dock_widget("napari-sdseg", "Segment")
    window.resize(*args.size)
    window.resizeDocks([dock], [args.dock_width], Qt.Orientation.Horizontal)
    if args.model:
        panel.model_box.value = args.model
    if viewer.dims.ndim > 2:
        length = int(viewer.dims.nsteps[0])
        viewer.dims.set_current_step(0, length // 2 if args.plane is None else args.plane)
    rest(1)
    if args.moment != "before":
        run(panel, args.moment)
    rest(1)
    viewer.window.screenshot(str(args.out), canvas_only=False, flash=False)
    panel.run.cancel()
    wait(lambda: not panel.state.busy)
    viewer.close()


def run(panel: SegmentWidget, moment: str) -> None:
    """Press *Segment* and wait until a third is done, or all."""
    panel.segment_button.native.click()
    part = 3 if moment == "running" else 1
    wait(
        lambda: (
            not panel.state.busy or (panel.state.total and panel.state.done * part >= panel.state.total)
        )
    )
    if moment == "after":
        wait(lambda: not panel.state.busy)


if __name__ == "__main__":
    main()
