"""Says in plain words why Qt cannot start, and what to install.

Qt itself aborts the whole process with a page of plugin names when a system library or a display is
missing. `explain` finds out beforehand, in a process of its own.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["explain"]

#: What Debian and Ubuntu call the package that holds a library.
PACKAGES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libGLX.so.0": "libgl1",
    "libOpenGL.so.0": "libopengl0",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libxcb.so.1": "libxcb1",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render.so.0": "libxcb-render0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-shm.so.0": "libxcb-shm0",
    "libxcb-sync.so.1": "libxcb-sync1",
    "libxcb-util.so.1": "libxcb-util1",
    "libxcb-xfixes.so.0": "libxcb-xfixes0",
    "libxcb-xinerama.so.0": "libxcb-xinerama0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
    "libX11.so.6": "libx11-6",
    "libX11-xcb.so.1": "libx11-xcb1",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libfreetype.so.6": "libfreetype6",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgthread-2.0.so.0": "libglib2.0-0",
}

#: The bindings napari runs on, and where each keeps Qt.
_BINDINGS = {"PySide6": "Qt", "PyQt6": "Qt6", "PyQt5": "Qt5"}

# The canvas is OpenGL: a window system without it opens a napari that shows nothing.
_START = """
import os
from qtpy.QtGui import QOffscreenSurface, QOpenGLContext
from qtpy.QtWidgets import QApplication
app = QApplication([])
if app.platformName() not in ("offscreen", "minimal", "vnc"):
    surface, context = QOffscreenSurface(), QOpenGLContext()
    surface.create()
    if not (context.create() and context.makeCurrent(surface)):
        print("NO OPENGL", flush=True)
os._exit(0)
"""


def explain(*, timeout: float = 60) -> str | None:
    """Try to start Qt, in a process of its own.

    Parameters
    ----------
    timeout
        Seconds after which a start counts as failed.

    Returns
    -------
    str or None
        None if Qt starts; else a paragraph that says what is missing and how to get it.
    """
    try:
        tried = subprocess.run(
            [sys.executable, "-c", _START], capture_output=True, text=True, timeout=timeout
        )
        started, said = tried.returncode == 0, tried.stdout + tried.stderr
    except subprocess.TimeoutExpired:
        started, said = False, f"it did not start within {timeout:.0f} s"
    if started and "NO OPENGL" not in said:
        return None
    binding = _binding()
    if binding is None:
        return (
            "Qt cannot start: no Qt binding is installed in this environment. "
            'Install one with: pip install "napari-sdseg[all]"'
        )
    if not sys.platform.startswith("linux"):
        return f"Qt cannot start ({binding[0]}). It said: {_last_line(said)}"
    return _linux(said, *binding)


def _binding() -> tuple[str, Path] | None:
    """Return the first installed Qt binding and its folder."""
    for name in _BINDINGS:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations:
            return name, Path(next(iter(spec.submodule_search_locations)))
    return None


def _linux(said: str, name: str, folder: Path) -> str:
    missing = _missing_libraries(name, folder) | _named_libraries(said)
    packages = sorted({PACKAGES[library] for library in missing if library in PACKAGES})
    unknown = sorted(missing - PACKAGES.keys())
    reasons: list[str] = []
    if missing:
        reasons.append(f"these system libraries are missing: {', '.join(sorted(missing))}")
    elif "NO OPENGL" in said:
        packages += ["libgl1", "libgl1-mesa-dri"]
        reasons.append("it starts, but OpenGL, which napari draws with, does not")
    if not _display():
        if shutil.which("Xvfb"):
            reasons.append(
                "there is no display; Xvfb is here and can stand in for one: "
                "put xvfb-run -a before the command"
            )
        else:
            packages.append("xvfb")
            reasons.append(
                "there is no display, and no Xvfb to stand in for one "
                "(once it is installed, put xvfb-run -a before the command)"
            )
    if not reasons:
        reasons.append(f"{name} said: {_last_line(said)}")
    text = f"Qt cannot start: {'; '.join(reasons)}."
    if packages:
        text += f" On Debian or Ubuntu: sudo apt-get install -y {' '.join(packages)}"
    if unknown and packages:
        text += f" (and whatever package holds {', '.join(unknown)})"
    return text


def _missing_libraries(name: str, folder: Path) -> set[str]:
    """Ask the dynamic linker what Qt's window-system plugin and its GUI library cannot find."""
    qt = folder / _BINDINGS[name]
    ldd = shutil.which("ldd")
    if ldd is None:
        return set()
    files = [*qt.glob("plugins/platforms/libqxcb.so"), *qt.glob("lib/libQt*Gui.so.*")]
    files += [*qt.glob("lib/libQt*XcbQpa.so.*"), *qt.glob("plugins/xcbglintegrations/*.so")]
    missing: set[str] = set()
    for file in files:
        asked = subprocess.run([ldd, str(file)], capture_output=True, text=True)
        missing |= not_found(asked.stdout)
    return missing


def not_found(listing: str) -> set[str]:
    """Return the libraries that ``ldd`` did not find; Qt's own, which come with it, left out."""
    names = re.findall(r"^\s*(\S+) => not found", listing, flags=re.MULTILINE)
    return {name for name in names if not name.startswith(("libQt", "libicu", "libpyside"))}


def _named_libraries(said: str) -> set[str]:
    """Return the libraries that an import error names."""
    return set(re.findall(r"(lib[\w.+-]+\.so[.\d]*): cannot open shared object file", said))


def _display() -> bool:
    """Whether there is a display, or a platform plugin that needs none."""
    platform = os.environ.get("QT_QPA_PLATFORM", "")
    if platform.split(":")[0] in ("offscreen", "minimal", "vnc", "linuxfb", "eglfs"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _last_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else "nothing"
