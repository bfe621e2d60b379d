"""What is missing for Qt, in words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from napari_sdseg import qt_check

LDD = """
	linux-vdso.so.1 (0x00007ffd0b3f2000)
	libQt6XcbQpa.so.6 => not found
	libxcb-cursor.so.0 => not found
	libxkbcommon-x11.so.0 => not found
	libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f1c5b600000)
"""

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names Linux packages")


@pytest.fixture
def broken(monkeypatch):
    """Qt that fails to start, on a machine with a display and all libraries but those given."""

    def make(said="qt.qpa.plugin: Could not load", listing="", stdout="", display=":9", xvfb=True):
        def run(command, **_):
            if command[0] == sys.executable:
                code = 0 if stdout else 134
                return subprocess.CompletedProcess(command, code, stdout, said)
            return subprocess.CompletedProcess(command, 0, listing, "")

        monkeypatch.setattr(qt_check.subprocess, "run", run)
        found = {"ldd": "/usr/bin/ldd", "Xvfb": "/usr/bin/Xvfb" if xvfb else None}
        monkeypatch.setattr(qt_check.shutil, "which", found.get)
        monkeypatch.setattr(qt_check, "_binding", lambda: ("PySide6", Path("/nowhere")))
        monkeypatch.setattr(Path, "glob", lambda self, pattern: iter([self / pattern]))
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
        monkeypatch.setenv("DISPLAY", display)

    return make


@pytest.mark.gui
def test_nothing_to_explain_where_qt_starts():
    assert qt_check.explain() is None


@linux
def test_missing_libraries_become_packages(broken):
    broken(listing=LDD)
    said = qt_check.explain()
    assert said.startswith("Qt cannot start: these system libraries are missing: libxcb-cursor.so.0")
    assert said.endswith("sudo apt-get install -y libxcb-cursor0 libxkbcommon-x11-0")
    assert "libQt6" not in said


@linux
def test_libraries_that_an_import_error_names(broken):
    broken("ImportError: libEGL.so.1: cannot open shared object file: No such file or directory")
    assert qt_check.explain().endswith("sudo apt-get install -y libegl1")


@linux
def test_no_display(broken):
    broken(display="")
    assert "xvfb-run -a" in qt_check.explain()
    assert "apt-get" not in qt_check.explain()
    broken(display="", xvfb=False)
    assert qt_check.explain().endswith("apt-get install -y xvfb")


@linux
def test_no_opengl(broken):
    broken(stdout="NO OPENGL")
    assert qt_check.explain().endswith("apt-get install -y libgl1 libgl1-mesa-dri")


@linux
def test_an_unknown_reason_is_quoted(broken):
    broken("first line\nqt.qpa.xcb: something new\n")
    assert "qt.qpa.xcb: something new" in qt_check.explain()


def test_no_binding(broken, monkeypatch):
    broken()
    monkeypatch.setattr(qt_check, "_binding", lambda: None)
    assert 'pip install "napari-sdseg[all]"' in qt_check.explain()


@linux
@pytest.mark.gui
def test_a_real_start_that_fails(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":7777")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("QT_QPA_PLATFORM", "xcb")
    assert qt_check.explain().startswith("Qt cannot start: ")
