"""For all tests: the ones that need Qt say what is missing, instead of aborting."""

from __future__ import annotations

import pytest

from napari_sdseg import qt_check


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    # pytest-qt ends the whole run when a system library of Qt is missing, with a traceback, even
    # if no test needs Qt. Without it the others run, and `gui` tests get a sentence (below).
    try:
        from qtpy import QtGui, QtTest, QtWidgets  # noqa: F401
    except (ImportError, RuntimeError):  # no binding is qtpy's own RuntimeError
        qt = pluginmanager.get_plugin("pytest-qt")
        if qt is not None:
            pluginmanager.unregister(qt)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Stop before the first test if some of them need Qt and it cannot start."""
    if session.config.option.collectonly:
        return
    if any(item.get_closest_marker("gui") for item in session.items):
        problem = qt_check.explain()
        if problem:
            pytest.exit(f"{problem}\nOr leave those tests out: pytest -m 'not gui'", returncode=3)
