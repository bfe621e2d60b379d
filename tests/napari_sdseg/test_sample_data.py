"""The sample providers: layers as napari makes them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from napari_sdseg import sample_data

napari_layers = pytest.importorskip("napari.layers")


def layers(provider):
    return [napari_layers.Layer.create(*item) for item in provider()]


@pytest.mark.parametrize(
    ("provider", "spacing", "unit"),
    [
        (sample_data.nuclei, (0.8, 0.4, 0.4), "micrometer"),
        (sample_data.ct, (5.0, 2.0, 2.0), "millimeter"),
    ],
)
def test_providers_give_an_image_and_its_ground_truth(provider, spacing, unit):
    image, labels = layers(provider)
    assert type(image).__name__ == "Image"
    assert type(labels).__name__ == "Labels"
    assert image.data.shape == labels.data.shape
    for layer in (image, labels):
        np.testing.assert_allclose(layer.scale, spacing)
        assert [str(u) for u in layer.units] == [unit] * 3
        assert layer.axis_labels == ("z", "y", "x")
        assert layer.metadata["licence"] == "CC0-1.0"
    assert image.metadata is not labels.metadata


def test_contrast_limits_show_the_objects():
    image, labels = layers(sample_data.nuclei)
    low, high = image.contrast_limits
    shown = np.clip((image.data - low) / (high - low), 0, 1)
    assert shown[labels.data == 0].mean() < 0.1
    assert shown[labels.data > 0].mean() > 0.3
    assert (shown == 1).mean() < 0.01


def test_ct_classes_have_names_and_colours():
    _, labels = layers(sample_data.ct)
    expected = ["background", "liver", "spleen", "kidneys", "aorta", "bone"]
    assert list(labels.features["class"]) == expected
    colours = {tuple(np.round(labels.get_color(n), 4)) for n in range(1, 6)}
    assert len(colours) == 5
    assert all(c[3] == 1 for c in colours)
    assert labels.colormap.map(0)[..., 3] == 0
    # without a viewer a layer shows plane 0, where the kidneys are
    place = (0.0, *(np.argwhere(labels.data[0] == 3)[0] * labels.scale[1:]))
    assert "class: kidneys" in labels.get_status(place, world=True)["value"]


def test_each_call_gives_its_own_arrays():
    first = sample_data.load("nuclei")
    first.labels[:] = 0
    assert sample_data.load("nuclei").labels.max() > 0


def test_unknown_name():
    with pytest.raises(ValueError, match=r"no sample 'liver'; there are nuclei, ct"):
        sample_data.load("liver")


def test_import_does_not_pull_in_napari_or_torch():
    code = (
        "import sys, napari_sdseg.sample_data as s; s.load('ct');"
        "print(sorted({'napari', 'torch', 'qtpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
