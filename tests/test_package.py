"""The package: what a wheel holds, and that the command of an installed one runs without the repository."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from detectors import __version__
from local.host import ROOT

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel with what is installed here: nothing is fetched."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--quiet"]
    subprocess.run([*build, "--wheel-dir", str(folder), str(ROOT)], check=True)  # noqa: S603 - our own
    (built,) = folder.iterdir()
    return built


def test_a_wheel_holds_the_package_with_its_data_and_nothing_else(wheel: Path) -> None:
    """Every file below detectors/ that git keeps: code, rules with their guides, tuning, the report's templates."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "detectors"],  # noqa: S607 - as developers do
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    kept = {name for name in listed.stdout.splitlines() if (ROOT / name).exists()}
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name for name in names if ".dist-info/" not in name} == kept
    assert {"detectors/py.typed", "detectors/tuning.toml", "detectors/rules/model_theft.md"} <= kept
    assert wheel.name == f"llm_abuse_detector-{__version__}-py3-none-any.whl"


def test_the_command_of_an_installed_wheel_runs(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own that borrows the dependencies, from a folder without the code."""
    environment = tmp_path / "environment"
    venv.create(environment)
    python = environment / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*install, str(wheel)], check=True)  # noqa: S603 - our own
    (site,) = environment.glob("lib/*/site-packages")
    (site / "borrowed.pth").write_text(f"import sys; sys.path += {_dependencies()!r}\n")
    shown = subprocess.run(  # noqa: S603 - our own
        [environment / "bin" / "llm-detector", "rules", "model_theft"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "# Triage: " in shown.stdout
    where = subprocess.run(  # noqa: S603 - our own
        [python, "-c", "import detectors; print(detectors.__file__)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(where.stdout.strip()).is_relative_to(environment)


def _dependencies() -> list[str]:
    """Where the packages of this environment are; without the path of an editable install, which is the repository."""
    return [path for path in sys.path if path.endswith("site-packages")]
