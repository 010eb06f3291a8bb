"""What is published to Azure: the files that function_app.py reaches, and no other."""

import ast
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

import grimp
import pytest

from local.host import ROOT

DATA = {"host.json", "requirements.txt", "detectors/tuning.toml"}
"""Files that are no code: the host reads the first two, the settings the last."""


def _ignored(path: PurePosixPath) -> bool:
    """Whether .funcignore, which reads as .gitignore does, leaves a file behind."""
    lines = (ROOT / ".funcignore").read_text().splitlines()
    places = [path, *path.parents]
    return any(
        fnmatchcase(str(place) if "/" in pattern else place.name, pattern)
        for pattern in lines
        if pattern and not pattern.startswith("#")
        for place in places
    )


def _files(folder: Path) -> Iterator[PurePosixPath]:
    for path in folder.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield PurePosixPath(path.relative_to(ROOT).as_posix())


def _reached() -> set[str]:
    """Return the files of the modules that function_app.py imports, directly or not, at start or later."""
    tree = ast.parse((ROOT / "function_app.py").read_text())
    named = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    } | {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    graph = grimp.build_graph("detectors", cache_dir=None)
    direct = named & graph.modules
    modules = direct.union(*(graph.find_upstream_modules(module) for module in direct))
    packages = {parent for module in modules for parent in _parents(module)}
    return {_file(module) for module in modules | packages}


def _parents(module: str) -> Iterator[str]:
    while "." in module:
        module = module.rpartition(".")[0]
        yield module


def _file(module: str) -> str:
    path = Path(*module.split("."))
    return f"{path}/__init__.py" if (ROOT / path).is_dir() else f"{path}.py"


def test_what_is_published_is_what_the_functions_reach() -> None:
    """And the rules, which are files: nothing of a laptop's tools goes to Azure, and nothing is missing there."""
    rules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "detectors/rules").glob("*.toml")}
    top = [PurePosixPath(path.name) for path in ROOT.iterdir() if path.is_file()]
    published = {str(path) for path in (*top, *_files(ROOT / "detectors")) if not _ignored(path)}
    assert published == {"function_app.py"} | DATA | rules | _reached()


@pytest.mark.parametrize("folder", ["tests", "local", "infra", "docs", "benchmarks", ".git", ".venv"])
def test_no_other_folder_is_published(folder: str) -> None:
    """Not even in part."""
    assert _ignored(PurePosixPath(folder) / "file.py")
