from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from napari_sdseg import __version__, segment
from napari_sdseg.cli import app
from sdseg import files

pytestmark = pytest.mark.usefixtures("wide")


@pytest.fixture
def wide(monkeypatch):
    """Give tables room, so that no text is cut."""
    monkeypatch.setenv("COLUMNS", "300")


@pytest.fixture
def dots(random_models):
    return str(random_models / "dots")


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def command(*arguments, cwd=None):
    words = [sys.executable, "-c", "from napari_sdseg.cli import main; main()", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, cwd=cwd, timeout=120)


def noise(*shape):
    return (np.random.default_rng(0).random(shape) * 4000).astype(np.uint16)


def test_version_and_help_cost_no_torch():
    code = (
        "import sys; from typer.testing import CliRunner as R; from napari_sdseg.cli import app;"
        "r = [R().invoke(app, a) for a in"
        " (['--version'], ['--help'], ['train', '--help'], ['models'])];"
        "assert not {'torch', 'diffusers', 'napari', 'qtpy'} & set(sys.modules), 'heavy';"
        "print(r[0].output, *(x.exit_code for x in r))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["napari-sdseg", __version__, "0", "0", "0", "0"]


def test_segment_writes_what_the_function_gives(dots, tmp_path):
    image = noise(3, 40, 48)
    tifffile.imwrite(tmp_path / "cells.tif", image, photometric="minisblack")
    done = run("segment", tmp_path / "cells.tif", "--model", dots)
    assert done.exit_code == 0, done.output
    written = files.read(tmp_path / "cells_labels.tif")
    assert np.array_equal(written.data, segment(image, dots))
    assert "sliced along axis 0" in done.output.lower()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cells.tif", "cells_labels.tif"]


def test_geometry_is_kept(dots, tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(noise(3, 20, 24))
    image.SetSpacing((0.7, 0.7, 2.5))
    image.SetOrigin((-10, 4, 100))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    sitk.WriteImage(image, str(tmp_path / "ct.nii.gz"))
    assert run("segment", tmp_path / "ct.nii.gz", "--model", dots, "--instances").exit_code == 0
    labels = sitk.ReadImage(str(tmp_path / "ct_labels.nii.gz"))
    for ask in ("GetSpacing", "GetOrigin", "GetDirection", "GetSize"):
        assert getattr(labels, ask)() == pytest.approx(getattr(image, ask)())


@pytest.mark.parametrize(
    ("name", "ndim", "wanted"),
    [
        ("a.png", 2, "a_labels.png"), ("a.jpg", 2, "a_labels.png"), ("a.npy", 3, "a_labels.npy"),
        ("a.ome.tif", 3, "a_labels.ome.tif"), ("a.nii.gz", 3, "a_labels.nii.gz"),
        ("a.png", 3, "a_labels.tif"), ("a.mhd", 3, "a_labels.tif"),
        ("a.ome.zarr", 3, "a_labels.ome.zarr"), ("series", 3, "series_labels.nii.gz"),
    ],
)  # fmt: skip
def test_labels_are_named_after_the_image(name, ndim, wanted, tmp_path):
    from napari_sdseg.cli._job import beside

    assert beside(tmp_path / name, ndim) == tmp_path / wanted


def test_nothing_is_overwritten_unless_asked(dots, tmp_path):
    np.save(tmp_path / "a.npy", noise(20, 20))
    (tmp_path / "a_labels.npy").write_text("precious")
    done = command("segment", tmp_path / "a.npy", "--model", dots)
    assert done.returncode == 1
    assert "--overwrite" in done.stderr
    assert (tmp_path / "a_labels.npy").read_text() == "precious"
    assert run("segment", tmp_path / "a.npy", "--model", dots, "--overwrite").exit_code == 0
    assert np.load(tmp_path / "a_labels.npy").shape == (20, 20)


def test_the_image_itself_is_never_replaced(dots, tmp_path):
    np.save(tmp_path / "a.npy", noise(20, 20))
    before = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "link.npy").symlink_to(tmp_path / "a.npy")
    for out in ("a.npy", "link.npy"):
        done = command(
            "segment", tmp_path / "a.npy", "--model", dots, "--out", tmp_path / out, "--overwrite"
        )
        assert done.returncode == 1
        assert "the image itself" in done.stderr
    assert (tmp_path / "a.npy").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["segment", "nowhere.tif"], "nowhere.tif"),
        (["segment", "bad.tif"], "bad.tif"),
        (["segment", "ok.npy", "--model", "no-such"], "no model 'no-such'"),
        (["segment", "ok.npy", "--out", "x.jpg"], "x.jpg"),
        (["segment", "ok.npy", "--out", "[x]/[/y].jpg"], "[x]/[/y].jpg"),
        (["evaluate", "no-such", "."], "images"),
        (["train", "--recipe", "no-such", "--data", ".", "--out", "r"], "no-such"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(arguments, said, tmp_path):
    (tmp_path / "bad.tif").write_bytes(b"II*\0rubbish")
    np.save(tmp_path / "ok.npy", noise(20, 20))
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.tif", "ok.npy"]


def test_a_stack_as_png_is_refused_before_the_work(dots, tmp_path):
    np.save(tmp_path / "a.npy", noise(3, 20, 20))
    done = command("segment", tmp_path / "a.npy", "--model", dots, "--out", tmp_path / "a.png")
    assert (done.returncode, done.stdout) == (1, "")
    assert "single plane" in done.stderr


def test_brackets_are_said_as_they_are(dots, tmp_path):
    np.save(tmp_path / "[raw].npy", noise(20, 20))
    done = command("segment", tmp_path / "[raw].npy", "--model", dots)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("[raw]") == 2  # beside the bar, and where the labels are
    (tmp_path / "ct.nii").touch()
    code = "import sys; sys.modules['SimpleITK'] = None; from napari_sdseg.cli import main; main()"
    words = [sys.executable, "-c", code, "segment", str(tmp_path / "ct.nii")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert 'pip install "napari-sdseg[medical]"' in done.stderr


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("PermissionError(13, 'Permission denied', 'x.tif')", "x.tif"),
        ("ValueError('odd')", "odd (napari-sdseg --debug"),
    ],
)
def test_other_mistakes_are_one_line_too(error, said, tmp_path):
    code = (
        "from sdseg import files; from napari_sdseg.cli import main\n"
        f"def read(path, **options): raise {error}\n"
        "files.read = read; main()"
    )

    (tmp_path / "a.tif").touch()

    def failing(*options):
        words = [sys.executable, "-c", code, *options, "segment", "a.tif"]
        return subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)

    done = failing()
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" in failing("--debug").stderr


def test_train_then_evaluate(tmp_path):
    from blob_models import blobs, small_recipe

    for sub in ("images", "masks"):
        (tmp_path / "data" / sub).mkdir(parents=True)
    for seed in range(4):
        image, labels = blobs(seed)
        tifffile.imwrite(tmp_path / "data" / "images" / f"b{seed}.tif", image)
        files.write_labels(tmp_path / "data" / "masks" / f"b{seed}.png", labels)
    (tmp_path / "data" / "train.txt").write_text("b0 b1 b2")
    (tmp_path / "data" / "val.txt").write_text("b3")
    recipe = tmp_path / "small.toml"
    recipe.write_text(_toml(small_recipe(autoencoder_steps=4).to_dict()))
    train = ["train", "--recipe", recipe, "--data", tmp_path / "data", "--out", tmp_path / "run"]
    done = run(*train, "--steps", 3)
    assert done.exit_code == 0, done.output
    assert "denoiser 3/3" in done.output

    best = tmp_path / "run" / "denoiser" / "best"
    done = run(
        "evaluate", best, tmp_path / "data",
        "--json", tmp_path / "new" / "s.json", "--csv", tmp_path / "s.csv",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    figures = json.loads((tmp_path / "new" / "s.json").read_text())
    assert figures["summary"]["cases"] == 1
    assert 0 <= figures["summary"]["dice"] <= 1
    assert "AP50" in figures["summary"]
    assert (tmp_path / "s.csv").read_text().splitlines()[1].startswith("b3,")


def _toml(values, prefix=""):
    """Write plain nested values; enough for a recipe."""
    lines, tables = [], []
    for key, value in values.items():
        if value is None or value == {}:
            continue
        if isinstance(value, dict):
            tables.append(f"[{prefix}{key}]\n" + _toml(value, f"{prefix}{key}."))
        elif isinstance(value, tuple) and value and isinstance(value[0], dict):
            rows = (", ".join(f"{k} = {json.dumps(v)}" for k, v in row.items()) for row in value)
            lines.append(f"{key} = [{', '.join('{' + r + '}' for r in rows)}]")
        else:
            lines.append(f"{key} = {json.dumps(value)}")
    return "\n".join(lines + tables) + "\n"


def test_models_are_listed_with_their_cards(random_models, monkeypatch):
    monkeypatch.setenv("SDSEG_MODELS", str(random_models))
    listed = run("models").output
    assert "dots" in listed
    assert "Two organs, for tests." in listed
    shown = run("models", "show", "organs").output
    assert "liver, bone" in shown
    assert "percentile" in shown


def test_demo_measures_the_bundled_model_and_draws_it(tmp_path):
    done = run("demo", "--out", tmp_path / "demo")
    assert done.exit_code == 0, done.output
    assert sorted(p.name for p in (tmp_path / "demo").iterdir()) == ["nuclei.png", "nuclei_labels.tif"]
    dice = float(done.output.split("Dice ")[1].split(",")[0])
    assert dice > 0.85


def zarr_of(stack, path):
    import zarr

    zarr.create_array(path, shape=stack.shape, dtype=stack.dtype, chunks=(1, *stack.shape[1:]))[:] = (
        stack
    )
    return path


def test_a_truncated_chunk_is_one_line_and_leaves_nothing(dots, tmp_path):
    image = zarr_of(noise(40, 32, 32), tmp_path / "a.zarr")
    chunk = image / "c" / "33" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:40])
    done = command("segment", image, "--model", dots, "--out", tmp_path / "l.ome.zarr")
    assert done.returncode == 1
    assert "plane [33] cannot be read" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on file sizes")
@pytest.mark.parametrize("name", ["l.tif", "l.ome.zarr", "l.npy"])
def test_a_full_disk_is_one_line_and_leaves_nothing(dots, tmp_path, name):
    """A limit on the size of files stands for the disk: the same error, at the same place."""
    np.save(tmp_path / "a.npy", noise(12, 96, 96))
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900));"
        "sys.argv = ['napari-sdseg', *sys.argv[1:]];"
        "from napari_sdseg.cli import main; main()"
    )
    words = ["segment", "a.npy", "--model", dots, "--instances", "--out", name]
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, *words], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 1
    assert name in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.npy"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--axis", "9"], "axis: 9 is out of range for 3 axes"),
        (["--channel-axis", "0"], "holds 5 channels"),
        (["--level", "2"], "level"),
        (["--placement", "stretch"], "placement: got 'stretch'"),
        (["--spacing", "0"], "spacing: pixel sizes must be above 0"),
        (["--planes", "9:"], "chooses none of the 5 planes"),
    ],
)
def test_settings_that_do_not_fit_are_said(dots, tmp_path, options, said):
    np.save(tmp_path / "a.npy", noise(5, 30, 30))
    done = run("segment", tmp_path / "a.npy", "--model", dots, *options)
    assert done.exit_code == 1
    assert said in str(done.exception)
    assert [p.name for p in tmp_path.iterdir()] == ["a.npy"]


def test_only_some_planes_of_a_level(dots, tmp_path):
    stack = noise(5, 32, 32)
    tifffile.imwrite(tmp_path / "p.ome.tif", stack, photometric="minisblack", metadata={"axes": "ZYX"})
    done = run("segment", tmp_path / "p.ome.tif", "--model", dots, "--planes", "1,3")
    assert done.exit_code == 0, done.output
    labels = files.read(tmp_path / "p_labels.ome.tif").data
    assert np.array_equal(labels, segment(stack, dots, planes=[1, 3]))
