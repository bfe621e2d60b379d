"""With a viewer: a layer in, a layer in the same place out; and the panels, opened from a script.

python docs/examples/viewer.py
"""

from __future__ import annotations

import napari

from napari_sdseg import segment


def main(show: bool = True) -> napari.Viewer:
    """Open the sample, segment it, and dock the panels."""
    viewer = napari.Viewer(show=show)
    viewer.open_sample("napari-sdseg", "nuclei")
    # A Labels layer with the image's scale, units and axis labels.
    viewer.add_layer(segment(viewer.layers["nuclei"], instances=True))
    viewer.window.add_plugin_dock_widget("napari-sdseg", "Segment")
    viewer.window.add_plugin_dock_widget("napari-sdseg", "Evaluate")
    return viewer


if __name__ == "__main__":
    main()
    napari.run()
