"""How long the window is busy, and how soon a preview is there: a real viewer, the model that ships.

    python benchmarks/window.py [--planes 40] [--rounds 5]

Prints, for planes of 512 x 512, the time from pressing *Preview this plane* to the layer that shows
it (the first, which loads the model, and the median of others), and the longest gap and the 95th
percentile of gaps between two ticks of a timer of 5 ms in the window's event loop while nothing
happens but the slider moves, a stack is segmented, it is compared with a ground truth, and a model is
fine-tuned. Without a display, run it under ``xvfb-run -a -s "-screen 0 1366x768x24"``.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import napari
    import numpy.typing as npt

console = Console(width=100)


def discs(planes: int, side: int = 512) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]]:
    """Return a stack of bright discs, and their labels."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    labels = np.zeros((side, side), np.uint16)
    for k in range(1, 60):
        cy, cx, r = *rng.uniform(20, side - 20, 2), rng.uniform(8, 20)
        labels[((y - cy) ** 2 + (x - cx) ** 2 < r * r) & (labels == 0)] = k
    bright = ndimage.gaussian_filter((labels > 0) * 900.0, 1.5)
    image = bright + rng.normal(200, 40, (planes, side, side))
    return image.clip(0).astype(np.uint16), np.repeat(labels[None], planes, axis=0)


def live(until: Callable[[], bool], seconds: float = 600) -> None:
    """Let the window live until something holds."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while not until():
        if time.monotonic() > end:
            raise TimeoutError
        QApplication.processEvents()
        time.sleep(0.001)


@contextlib.contextmanager
def ticking(viewer: napari.Viewer, gaps: list[float], *, slide: bool) -> Iterator[None]:
    """Collect the seconds between ticks; every fifth moves the slider."""
    from qtpy.QtCore import QTimer

    ticks = [time.perf_counter()]
    timer = QTimer()

    def tick() -> None:
        ticks.append(time.perf_counter())
        if slide and len(ticks) % 5 == 0:
            viewer.dims.set_current_step(0, len(ticks) // 5 % int(viewer.dims.nsteps[0]))

    timer.timeout.connect(tick)
    timer.start(5)
    yield
    timer.stop()
    gaps.extend(np.diff(ticks))


def main() -> None:
    """Drive the panels, and print two tables."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--planes", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()

    import napari

    viewer = napari.Viewer()
    viewer.window.resize(1366, 740)

    def dock(name: str) -> Any:
        return viewer.window.add_plugin_dock_widget("napari-sdseg", name)[1]

    image, labels = discs(given.planes)
    layer = viewer.add_image(image, name="discs")
    truth = viewer.add_labels(labels, name="truth", visible=False)
    viewer.layers.selection.active = layer
    panel = dock("Segment")
    panel.image_box.value = layer
    panel.model_box.value = "nuclei"
    panel.objects_box.value = True
    live(lambda: panel.segment_button.enabled)

    took = []
    for number in range(given.rounds + 1):
        viewer.dims.set_current_step(0, number)
        live(iter([False] * 300 + [True]).__next__)
        before = None if panel.preview.layer is None else panel.preview.layer.data
        begun = time.perf_counter()
        panel.preview_button.native.click()
        live(lambda was=before: (now := panel.preview.layer) is not None and now.data is not was)
        took.append(time.perf_counter() - begun)
    console.print(
        f"preview of a plane of 512 x 512: first {took[0]:.2f} s (the model is loaded), then median "
        f"{np.median(took[1:]):.2f} s, longest {max(took[1:]):.2f} s of {given.rounds}"
    )

    table = Table("while", "ticks", "95 % of gaps below, ms", "longest gap, ms")

    def measured(
        what: str, begin: Callable[[], object], until: Callable[[], bool], slide: bool
    ) -> None:
        gaps: list[float] = []
        with ticking(viewer, gaps, slide=slide):
            begin()
            live(until)
        worst, most = 1e3 * max(gaps), 1e3 * float(np.quantile(gaps, 0.95))
        table.add_row(what, str(len(gaps)), f"{most:.0f}", f"{worst:.0f}")

    rest = time.monotonic() + 5
    measured("the slider moves, nothing else", lambda: None, lambda: time.monotonic() > rest, True)
    press = panel.segment_button.native.click
    measured("a stack is segmented, the slider moves", press, lambda: not panel.state.busy, True)
    result = viewer.layers[-1]

    evaluate = dock("Evaluate")
    evaluate.labels_box.value, evaluate.truth_box.value = result, truth
    live(lambda: evaluate.compare_button.enabled)
    compare = evaluate.compare_button.native.click
    measured("it is compared, plane by plane", compare, lambda: not evaluate.state.busy, False)
    measured("a stack is compared, the slider moves", compare, lambda: not evaluate.state.busy, True)

    teach = dock("Fine-tune")
    teach.image_box.value = layer
    teach.new_button.native.click()
    painted = teach.labels_box.value
    for z in np.linspace(0, given.planes - 1, 5).astype(int):
        painted.data[z] = labels[z] > 0
    painted.refresh()
    live(lambda: len(teach.state.found) == 5)
    teach.state.seconds = 20
    learn = teach.learn_button.native.click
    measured("a model is fine-tuned, the slider moves", learn, lambda: not teach.state.busy, True)
    console.print(table)
    viewer.close()


if __name__ == "__main__":
    main()
