"""The examples of the docs run as they are."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_one_image(capsys):
    example("one_image").main()
    assert "objects of" in capsys.readouterr().out


def test_a_stack(capsys):
    example("stack").main()
    said = capsys.readouterr().out
    assert float(said.split("Dice ")[1]) > 0.9


def test_lazy(capsys):
    example("lazy").main()
    assert "nothing has been computed" in capsys.readouterr().out


@pytest.mark.gui
def test_with_a_viewer(qtbot):
    viewer = example("viewer").main(show=False)
    try:
        assert len(viewer.layers) == 3
        assert viewer.layers[-1].data.max() > 20
        assert (viewer.layers[-1].scale == viewer.layers["nuclei"].scale).all()
    finally:
        viewer.close()


@pytest.mark.slow
def test_teaching(capsys):
    # Steps, not seconds: how many fit into a time is the machine's affair.
    example("teach").main(seconds=None, steps=60)
    lines = capsys.readouterr().out.splitlines()
    alone, guided = (float(line.split("Dice ")[1].split()[0]) for line in lines[-2:])
    assert guided > 0.8
    assert alone > 0.5
