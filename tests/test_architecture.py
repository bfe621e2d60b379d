"""The arrows go one way: the face knows the core, the core does not know the face."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE, FACE = ROOT / "src_core" / "sdseg", ROOT / "napari_sdseg"
INTERFACE = {"napari", "qtpy", "magicgui", "superqt", "PySide6", "PyQt6", "napari_sdseg"}


def modules(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.rglob("*.py")) if "_samples" not in p.parts]


def imports(path: Path, *, at_import: bool = False) -> set[str]:
    """Return the absolute names a module imports; only those run on import if asked."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    root = CORE.parent if path.is_relative_to(CORE) else ROOT
    package = list(path.relative_to(root).with_suffix("").parts)
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if at_import:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                return
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
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
        f"sdseg.{m}" for m in ("pipeline", "models", "stack", "training", "devices", "cluster")
    }
    names = imports(path, at_import=True)
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
    "cluster.py": {"training", "evaluation"},
}


@pytest.mark.parametrize("name", BELOW)
def test_inside_the_core_too(name):
    place = CORE / name
    for path in modules(place) if place.is_dir() else [place]:
        used = {n.split(".")[1] for n in imports(path, at_import=True) if n.startswith("sdseg.")}
        assert not used & BELOW[name], path


def test_the_house_is_written_down():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for path in modules(CORE) + modules(FACE):
        if path.name == "__init__.py" or path.name.startswith("_"):
            continue
        assert path.name in text, f"docs/architecture.md does not say what {path.name} is for"


def test_modules_stay_small():
    for path in modules(CORE) + modules(FACE) + modules(ROOT / "sample_data"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path
