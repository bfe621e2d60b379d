"""For all tests: the ones that need Qt say what is missing, instead of aborting."""

from __future__ import annotations

import contextlib
import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from napari_sdseg import qt_check

if TYPE_CHECKING:
    from sdseg import Card


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    # pytest-qt ends the whole run when a system library of Qt is missing, with a traceback, even
    # if no test needs Qt. Without it the others run, and `gui` tests get a sentence (below).
    try:
        from qtpy import QtGui, QtTest, QtWidgets  # noqa: F401
    except (ImportError, RuntimeError):  # no binding is qtpy's own RuntimeError
        qt = pluginmanager.get_plugin("pytest-qt")
        if qt is not None:
            pluginmanager.unregister(qt)
    # The same for napari's plugin (`make_napari_viewer`), which pyproject.toml has pytest not load.
    with contextlib.suppress(ImportError):
        pluginmanager.register(importlib.import_module("napari.utils._testsupport"))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Stop before the first test if some of them need Qt and it cannot start."""
    if session.config.option.collectonly:
        return
    if any(item.get_closest_marker("gui") for item in session.items):
        problem = qt_check.explain()
        if problem:
            without = "pytest -m 'not gui' --continue-on-collection-errors"
            pytest.exit(f"{problem}\nOr leave those tests out: {without}", returncode=3)


@pytest.fixture
def same_threads() -> dict[str, str]:
    """Return the environment of a process whose labels are to be this one's, to the last bit.

    Sums of floats depend on the number of threads, and a dask cluster that was started here has
    left one in the environment.
    """
    import torch

    return {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}


def save_random(root: Path, card: Card, mask_channels: int, classes: int | None = None) -> Path:
    """Save a model with random weights, small enough to run in a blink."""
    import torch

    from sdseg.devices import choose
    from sdseg.models.presets import Preset, build
    from sdseg.pipeline import SDSegPipeline, make_scheduler
    from sdseg.store import Model

    sizes = Preset(
        latent_channels=4,
        condition_channels=4,
        autoencoder=(8, 8, 8),
        vision_encoder=(8, 8, 8),
        denoiser=(16, 16),
        autoencoder_layers=1,
        vision_layers=1,
        denoiser_layers=1,
        groups=4,
        dropout=0.0,
        denoiser_attention=0,
        heads=4,
        mid_attention=False,
    )
    torch.manual_seed(0)
    vae, vision_encoder, unet = build(
        sizes, mask_channels=mask_channels, size=card.size, num_class_embeds=classes
    )
    pipeline = SDSegPipeline(vae, vision_encoder, unet, make_scheduler(), mask_channels=mask_channels)
    return Model(card.name, card, pipeline, choose("cpu", "float32")).save(root / card.name)


@pytest.fixture(scope="session")
def random_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of two models with random weights, small enough to run in a blink.

    ``dots`` tells objects apart, ``organs`` draws two classes.
    """
    from sdseg import Card
    from sdseg.card import ClassInfo

    two = (ClassInfo("liver", "#e69f00"), ClassInfo("bone", "#56b4e9"))
    root = tmp_path_factory.mktemp("models")
    dots = Card("dots", "Dots, for tests.", (ClassInfo("dot"),), "instances", size=32, overlap=8)
    save_random(root, dots, 2)
    organs = Card("organs", "Two organs, for tests.", two, "multiclass", size=32, overlap=8)
    save_random(root, organs, 2)
    return root


@pytest.fixture(scope="session")
def random_starts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of two more: ``thing`` draws one class, ``told`` is told which of two."""
    from sdseg import Card
    from sdseg.card import ClassInfo

    two = (ClassInfo("liver", "#e69f00"), ClassInfo("bone", "#56b4e9"))
    root = tmp_path_factory.mktemp("starts")
    save_random(root, Card("thing", "A thing.", size=32, overlap=8), 1)
    save_random(root, Card("told", "One of two.", two, "conditioned", size=32, overlap=8), 1, 3)
    return root
