"""Where tests are: beside the module that they are about, or in tests/system if they are about many together."""

import ast
from pathlib import Path, PurePosixPath

import pytest

from local.host import ROOT
from tests.reached import reached

TESTS = ROOT / "tests"
PACKAGES = ("detectors", "local")
MIRRORING = [path.relative_to(TESTS) for package in PACKAGES for path in sorted((TESTS / package).rglob("test_*.py"))]


def _subjects(folder: Path) -> set[str]:
    """Return what a test beside a folder's modules may be about: a module, a package, a rule."""
    subjects = (path for path in folder.iterdir() if path.is_dir() or path.suffix in {".py", ".toml"})
    return {path.stem.strip("_") for path in subjects}


@pytest.mark.parametrize("test", MIRRORING, ids=str)
def test_a_test_module_is_named_for_what_stands_at_its_place(test: Path) -> None:
    """`test_replay.py` and `test_replay_bounds.py` are about `replay.py` in the same folder of the package."""
    name = test.stem.removeprefix("test_")
    assert any(name == one or name.startswith(f"{one}_") for one in _subjects(ROOT / test.parent)), (
        f"no {name} in {test.parent}: name it for its module, or move it to tests/system"
    )


def _behaves(module: Path) -> bool:
    """Whether a module does anything: a function of it has more than a docstring."""
    functions = (
        node
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return any(len(function.body) > 1 or not ast.get_docstring(function) for function in functions)


@pytest.mark.parametrize("module", sorted(reached()))
def test_a_module_that_runs_in_azure_has_its_test(module: str) -> None:
    """Also if a test of another module happens to run its lines."""
    path = PurePosixPath(*module.split("."))
    if (file := ROOT / f"{path}.py").exists() and _behaves(file):
        assert (TESTS / path.parent / f"test_{path.name}.py").exists()


def test_a_test_with_no_module_and_a_module_with_no_behaviour_are_told() -> None:
    """The comparison sees them."""
    assert "hour" not in _subjects(ROOT / "detectors")
    assert {"windows", "detector", "rules"} <= _subjects(ROOT / "detectors")
    assert not _behaves(ROOT / "detectors/storage/connection.py")
    assert _behaves(ROOT / "detectors/windows.py")
