"""The generators: what they promise about shapes, labels and physics, in numbers."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from napari_sdseg import _samples
from napari_sdseg._samples import __main__ as command
from napari_sdseg._samples import ct_phantom, nuclei_stack
from napari_sdseg._samples.ct import PORTAL_VENOUS, UNENHANCED
from napari_sdseg._samples.files import read_sample
from napari_sdseg._samples.microscopy import psf_sigma
from napari_sdseg._samples.noise import ramp_noise, smooth_noise

FOLDER = Path(_samples.__file__).parent
SMALL_CT = {"shape": (8, 96, 96), "spacing": (15.0, 4.0, 4.0)}


@pytest.fixture(scope="module")
def nuclei():
    return nuclei_stack()


@pytest.fixture(scope="module")
def ct():
    return ct_phantom()


@pytest.mark.parametrize("name", ["nuclei", "ct"])
def test_committed_files_are_what_the_generator_makes(name, request):
    made = request.getfixturevalue(name)
    kept = read_sample(FOLDER, name)
    np.testing.assert_array_equal(kept.labels, made.labels)
    assert kept.labels.dtype == made.labels.dtype
    assert kept.image.dtype == made.image.dtype
    # another build of numpy may round the last bit of an expected value the other way
    difference = np.abs(kept.image.astype(int) - made.image.astype(int))
    assert (difference <= 1).mean() > 0.999
    assert (difference == 0).mean() > 0.99
    for field in ("spacing", "unit", "class_names", "instances", "description", "licence"):
        assert getattr(kept, field) == getattr(made, field), field


def test_committed_files_are_small():
    assert sum(p.stat().st_size for p in FOLDER.glob("*.tif")) < 2.5e6


@pytest.mark.parametrize(
    ("generate", "options"), [(nuclei_stack, {"shape": (3, 64, 64)}), (ct_phantom, SMALL_CT)]
)
def test_seed_decides(generate, options):
    one, same, other = (generate(seed=s, **options) for s in (5, 5, 6))
    np.testing.assert_array_equal(one.image, same.image)
    np.testing.assert_array_equal(one.labels, same.labels)
    assert (one.labels != other.labels).mean() > 0.01


@pytest.mark.parametrize("shape", [(1, 64, 80), (5, 48, 96)])
def test_shapes_and_types(shape):
    cells = nuclei_stack(shape, voxel_size=(1.0, 0.5, 0.5))
    assert cells.image.shape == cells.labels.shape == shape
    assert (cells.image.dtype, cells.labels.dtype) == (np.uint16, np.uint16)
    assert cells.spacing == (1.0, 0.5, 0.5)
    assert cells.labels.any()
    body = ct_phantom(shape, spacing=(20.0, 5.0, 4.0))
    assert body.image.shape == body.labels.shape == shape
    assert (body.image.dtype, body.labels.dtype) == (np.int16, np.uint8)
    assert body.spacing == (20.0, 5.0, 4.0)


# nuclei


def test_psf_of_a_known_objective():
    # NA 1.4 oil at 520 nm: 0.225 * 520 / 1.4 nm and 0.78 * 1.515 * 520 / 1.4**2 nm
    sigma_z, sigma_xy = psf_sigma(1.4, 0.52, 1.515)
    assert sigma_xy == pytest.approx(0.0836, abs=5e-4)
    assert sigma_z == pytest.approx(0.3134, abs=1e-3)


def test_nuclei_are_numbered_without_gaps_and_in_one_piece(nuclei):
    numbers = np.unique(nuclei.labels)
    np.testing.assert_array_equal(numbers, np.arange(numbers.size))
    for number, box in enumerate(ndimage.find_objects(nuclei.labels), start=1):
        pieces, count = ndimage.label(nuclei.labels[box] == number)
        assert np.bincount(pieces.ravel())[1:].max() >= 0.99 * (pieces > 0).sum(), (number, count)


def test_nuclei_have_the_size_asked_for(nuclei):
    middle = nuclei.labels[6]
    areas = np.bincount(middle.ravel())[1:]
    touches = np.unique(np.concatenate([middle[[0, -1]].ravel(), middle[:, [0, -1]].ravel()]))
    whole = np.setdiff1d(np.arange(1, areas.size + 1), touches) - 1
    diameters = np.sqrt(4 / np.pi * areas[whole]) * nuclei.spacing[1]
    assert np.median(diameters) == pytest.approx(8.5, rel=0.06)


def test_every_nucleus_is_visible(nuclei):
    """Each is brighter than what surrounds it by many standard deviations, in most planes."""
    for number in range(1, int(nuclei.labels.max()) + 1):
        planes = np.flatnonzero((nuclei.labels == number).any((1, 2)))
        assert planes.size >= 6
        middle = planes[planes.size // 2]
        inside = nuclei.labels[middle] == number
        around = ndimage.binary_dilation(inside, iterations=6) & (nuclei.labels[middle] == 0)
        values, surround = nuclei.image[middle][inside], nuclei.image[middle][around]
        assert inside.sum() > 80
        assert values.mean() - surround.mean() > 2.5 * surround.std(), number


def test_a_threshold_at_half_height_finds_the_same_edge(nuclei):
    """The ground truth is where the picture shows the nucleus, within a pixel or so."""
    middle = nuclei.image[6].astype(float)
    truth = nuclei.labels[6]
    smooth = ndimage.gaussian_filter(middle, 1)
    background = np.median(middle[truth == 0])
    scores = []
    for number in np.unique(truth)[1:]:
        inside = truth == number
        near = ndimage.binary_dilation(inside, iterations=4) & (inside | (truth == 0))
        half = (background + np.median(middle[inside])) / 2
        found = near & (smooth > half)
        scores.append(2 * (found & inside).sum() / (found.sum() + inside.sum()))
    assert np.mean(scores) > 0.93
    assert np.min(scores) > 0.85


def test_noise_is_that_of_photons_and_camera():
    """Where there is only background, the variance is gain² (photons + read noise²)."""
    empty = nuclei_stack(
        (4, 128, 128),
        density=0.0,
        haze=0.0,
        illumination=0.0,
        background=40.0,
        gain=2.0,
        read_noise=3.0,
        offset=100.0,
    )
    far = ndimage.distance_transform_edt(empty.labels == 0, sampling=empty.spacing) > 5
    flat = empty.image[far].astype(float)
    assert flat.size > 20_000
    assert flat.mean() == pytest.approx(100 + 2 * 40, rel=0.005)
    assert flat.var() == pytest.approx(4 * (40 + 9), rel=0.03)


def test_more_light_means_less_relative_noise():
    dim, bright = (
        nuclei_stack((2, 96, 96), photons=p, background=p / 20, read_noise=0.0, texture=0.0)
        for p in (20.0, 2000.0)
    )
    np.testing.assert_array_equal(dim.labels, bright.labels)
    inside = dim.labels == 1
    relative = [
        (s.image[inside] - 100.0).std() / (s.image[inside] - 100.0).mean() for s in (dim, bright)
    ]
    assert relative[0] > 1.3 * relative[1]


# CT


@pytest.mark.parametrize(
    ("number", "tissue"), [(1, "liver"), (2, "spleen"), (3, "kidney"), (4, "aorta")]
)
def test_organs_have_their_hounsfield_units(ct, number, tissue):
    core = ndimage.binary_erosion(ct.labels == number, np.ones((1, 5, 5)))
    assert core.sum() > 500
    # tolerance: half of the cupping (8 HU), the tissue's own unevenness, vessels in the liver
    assert ct.image[core].mean() == pytest.approx(PORTAL_VENOUS[tissue], abs=6)


def test_air_surrounds_the_body(ct):
    corners = ct.image[:, :12, :12]
    assert corners.mean() == pytest.approx(-1000, abs=3)
    assert not ct.labels[:, :12, :12].any()
    assert ct.image.min() >= -1024


def test_bone_is_the_brightest_tissue(ct):
    bone = np.median(ct.image[ct.labels == 5])
    assert all(bone > 1.3 * np.median(ct.image[ct.labels == n]) for n in (1, 2, 3, 4))


def test_every_class_is_labelled_and_named(ct):
    np.testing.assert_array_equal(np.unique(ct.labels), np.arange(len(ct.class_names) + 1))
    volume = np.bincount(ct.labels.ravel())[1:] * np.prod(ct.spacing) / 1000  # ml
    sizes = dict(zip(ct.class_names, volume, strict=True))
    assert 900 < sizes["liver"] < 2000
    assert 100 < sizes["spleen"] < 400
    assert 250 < sizes["kidneys"] < 550


def test_organs_lie_where_they_should(ct):
    """Liver on the left of the picture, spleen on the right, aorta before the spine."""
    centre = dict(
        zip(
            ct.class_names,
            ndimage.center_of_mass(ct.labels > 0, ct.labels, range(1, 6)),
            strict=True,
        )
    )
    assert centre["liver"][2] < 96 < centre["spleen"][2]
    assert centre["aorta"][1] < centre["bone"][1]
    _, kidneys = ndimage.label(ndimage.binary_opening(ct.labels == 3))
    assert kidneys == 2


def test_noise_of_a_flat_phantom_is_what_was_asked_for():
    """In the middle of the body the difference of two noise levels has the set deviation."""
    options = {**SMALL_CT, "seed": 3, "texture": 0.0}
    clean = ct_phantom(noise=0.0, **options)
    noisy = ct_phantom(noise=20.0, **options)
    np.testing.assert_array_equal(clean.labels, noisy.labels)
    difference = noisy.image.astype(float) - clean.image
    assert difference[:, 44:52, 40:56].std() == pytest.approx(20 * 0.93, rel=0.1)
    assert abs(difference.mean()) < 0.2


def test_tissues_can_be_changed():
    plain = ct_phantom(tissues=UNENHANCED, noise=0.0, texture=0.0, cupping=0.0, **SMALL_CT)
    core = ndimage.binary_erosion(plain.labels == 3, np.ones((1, 3, 3)))
    assert np.median(plain.image[core]) == pytest.approx(UNENHANCED["kidney"], abs=1)


# random fields


def test_ramp_noise_has_a_ramp_spectrum():
    field = ramp_noise(np.random.default_rng(0), (40, 64, 64))
    power = (np.abs(np.fft.fft2(field)) ** 2).mean(0)
    frequency = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)[None, :])
    mean = [power[np.abs(frequency - f) < 0.01].mean() for f in (0.03, 0.06, 0.16, 0.45)]
    assert power[0, 0] < 1e-12 * power.max()
    assert mean[1] / mean[0] == pytest.approx(2, rel=0.25)  # proportional to |f| where it begins
    assert mean[2] == max(mean)
    assert mean[3] < 0.1 * mean[2]
    assert field.std() == pytest.approx(1)


def test_smooth_noise_is_as_smooth_in_every_unit():
    field = smooth_noise(np.random.default_rng(0), (32, 64, 64), (2.0, 1.0, 1.0), 4.0)
    # a Gaussian of standard deviation s gives an autocorrelation exp(-d² / 4s²)
    along_z = np.mean(field[1:] * field[:-1])
    along_x = np.mean(field[..., 2:] * field[..., :-2])
    assert along_z == pytest.approx(np.exp(-4 / 64), abs=0.02)
    assert along_x == pytest.approx(np.exp(-4 / 64), abs=0.02)


# files


def test_command_writes_files_that_other_software_understands(tmp_path, monkeypatch, capsys):
    small = {"nuclei": lambda seed: nuclei_stack((3, 40, 48), seed=seed, density=8000.0)}
    monkeypatch.setattr(command, "GENERATORS", small)
    command.main(["--out", str(tmp_path / "new"), "--seed", "4"])
    made = nuclei_stack((3, 40, 48), seed=4, density=8000.0)
    assert capsys.readouterr().out.split() == [
        str(tmp_path / "new" / n) for n in ("nuclei.tif", "nuclei_labels.tif")
    ]
    with tifffile.TiffFile(tmp_path / "new" / "nuclei.tif") as tif:
        assert tif.is_ome
        assert tif.series[0].axes == "ZYX"
        assert tif.pages[0].compression.name == "ADOBE_DEFLATE"
        np.testing.assert_array_equal(tif.asarray(), made.image)
        root = ElementTree.fromstring(tif.ome_metadata)
    pixels = root.find(".//{*}Pixels").attrib
    assert [float(pixels[f"PhysicalSize{a}"]) for a in "ZYX"] == [0.8, 0.4, 0.4]
    assert pixels["PhysicalSizeXUnit"] == "µm"
    assert json.loads(root.find(".//{*}Description").text)["licence"] == "CC0-1.0"
    before = (tmp_path / "new" / "nuclei.tif").read_bytes()
    command.main(["--out", str(tmp_path / "new"), "--seed", "4"])
    assert (tmp_path / "new" / "nuclei.tif").read_bytes() == before
