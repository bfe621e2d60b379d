"""The manifest: valid, importable, and in menus that exist."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from npe2 import PluginManifest

import napari_sdseg

MANIFEST = Path(napari_sdseg.__file__).with_name("napari.yaml")


@pytest.fixture(scope="module")
def manifest():
    return PluginManifest.from_file(MANIFEST)


def test_entry_point_leads_to_it():
    (entry,) = (e for e in entry_points(group="napari.manifest") if e.name == "napari-sdseg")
    module, _, file = entry.value.partition(":")
    assert Path(importlib.import_module(module).__file__).with_name(file) == MANIFEST
    assert PluginManifest.from_distribution("napari-sdseg").name == "napari-sdseg"


@pytest.mark.gui
def test_everything_it_names_can_be_imported(manifest):
    manifest.validate_imports()
    for command in manifest.contributions.commands:
        module, _, name = command.python_name.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_menus_are_ones_that_napari_opens_to_plugins(manifest):
    constants = pytest.importorskip("napari._app_model.constants")
    known = {str(menu.value) for menu in constants.MenuId.contributables()}
    assert set(manifest.contributions.menus) <= known


def test_what_is_contributed(manifest):
    found = manifest.contributions
    assert [w.display_name for w in found.widgets] == ["Segment", "Fine-tune", "Evaluate", "Models"]
    assert {s.key for s in found.sample_data} == {"nuclei", "ct"}
    assert all(c.id.startswith("napari-sdseg.") for c in found.commands)
    commands = {c.id for c in found.commands}
    files = [*found.readers, *found.writers]
    used = [*found.widgets, *found.sample_data, *files, *(i for m in found.menus.values() for i in m)]
    assert {item.command for item in used} <= commands
