"""The arrows go one way: the face knows the core, the core does not know the face."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE, FACE = ROOT / "src_core" / "sdseg", ROOT / "napari_sdseg"
INTERFACE = {"napari", "qtpy", "magicgui", "superqt", "PySide6", "PyQt6", "napari_sdseg"}


def modules(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.rglob("*.py")) if "_samples" not in p.parts]


def imports(path: Path, *, in_functions: bool = True, for_types: bool = True) -> set[str]:
    """Return the absolute names a module imports; those in functions or for types only if asked."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    root = CORE.parent if path.is_relative_to(CORE) else ROOT
    package = list(path.relative_to(root).with_suffix("").parts)
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if not in_functions and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return
        if not for_types and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                visit(other)
            return
        if isinstance(node, ast.Import):
            found.update(a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found.add(module)
            found.update(f"{module}.{a.name}" for a in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return found


def tops(names: set[str]) -> set[str]:
    return {n.split(".")[0] for n in names}


@pytest.mark.parametrize("path", modules(CORE), ids=lambda p: str(p.relative_to(CORE)))
def test_the_core_does_not_know_the_interface(path):
    assert not tops(imports(path)) & INTERFACE


@pytest.mark.parametrize("path", modules(FACE), ids=lambda p: str(p.relative_to(FACE)))
def test_the_face_imports_no_torch_when_imported(path):
    heavy = {"torch", "diffusers", "accelerate", "monai"}
    heavy_core = {
        f"sdseg.{m}"
        for m in (
            "pipeline",
            "models",
            "predict",
            "orthogonal",
            "stack",
            "training",
            "devices",
            "cluster",
        )
    }
    names = imports(path, in_functions=False, for_types=False)
    assert not tops(names) & heavy
    assert not {n for n in names if any(n == h or n.startswith(h + ".") for h in heavy_core)}


BELOW = {
    "models": {"pipeline", "store", "stack", "training", "evaluation", "cluster"},
    "pipeline.py": {"store", "stack", "training", "evaluation", "cluster", "tiles"},
    "tiles.py": {"stack", "store", "training", "pipeline"},
    "axes.py": {"stack", "store", "training", "pipeline", "tiles"},
    "stack.py": {"training", "evaluation", "cluster", "files", "datasets"},
    "store.py": {"stack", "training", "evaluation", "cluster"},
    "evaluation.py": {"training", "cluster"},
    "cluster": {"training", "evaluation"},
    "predict.py": {"stack", "training", "evaluation", "cluster", "files"},
    "linking.py": {"stack", "store", "pipeline", "cluster"},
    "files": {"stack", "store", "pipeline", "predict", "cluster"},
}


@pytest.mark.parametrize("name", BELOW)
def test_inside_the_core_too(name):
    place = CORE / name
    for path in modules(place) if place.is_dir() else [place]:
        names = imports(path, for_types=False)
        used = {n.split(".")[1] for n in names if n.startswith("sdseg.")}
        assert not used & BELOW[name], path


def house() -> str:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    return text.split("## The house")[1].split("\n## ")[0]


def test_the_house_is_written_down():
    listed = set(re.findall(r"^ +(\S+)", house(), flags=re.MULTILINE))
    for path in modules(CORE) + modules(FACE):
        if path.name.startswith("_"):
            continue
        assert path.name in listed, f"docs/architecture.md does not say what {path.name} is for"


def test_the_house_has_no_empty_rooms():
    there = {p.name for p in modules(CORE) + modules(FACE)}
    listed = set(re.findall(r"^ +(\S+\.py)\b", house(), flags=re.MULTILINE))
    assert listed <= there, "docs/architecture.md lists modules that do not exist"


def test_modules_stay_small():
    for path in modules(CORE) + modules(FACE) + modules(ROOT / "sample_data"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path


def test_ci_does_what_the_readme_says():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    commands = re.findall(r"^python3 -m venv .*$", readme, flags=re.MULTILINE)
    assert len(commands) == 2
    assert commands[1] in ci.splitlines()
    needed = re.search(r"apt-get install ((?:.*\\\n)*.*)", readme)
    packages = re.search(r'^PACKAGES="([^$"]*)"', ci, flags=re.MULTILINE)
    assert needed
    assert packages
    assert needed[1].replace("\\\n", " ").split() == packages[1].split()
