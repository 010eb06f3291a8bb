"""Microsoft's Bicep compiler: where it is, what it says. `python -m infra.bicep` lints and checks the format."""  # noqa: INP001

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

INFRA = Path(__file__).parent
MISSING = "No Bicep compiler, so the deployment was not evaluated: `az bicep install` gets one."
NOT_OURS = (".venv", "__pycache__", "my.bicepparam")
"""What may lie in infra/ and is no part of the project."""

_BY_CALENDAR = re.compile(r" : Warning use-recent-[a-z-]+: ")
"""Rules that begin to warn because time passed. They break nothing, and are answered at each release."""


class Said(NamedTuple):
    """What the compiler gave; what it says of the files, nothing if all is well; what it says of their age."""

    output: str
    diagnostics: str
    aged: str


def find(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the compiler that `$BICEP` names, else the one on PATH, else that of `az bicep install`; None without any.

    Raises:
        FileNotFoundError: `$BICEP` names no file.
    """
    if named := environment.get("BICEP"):
        if not Path(named).is_file():
            raise FileNotFoundError(f"BICEP is {named}, where no file is: give it the compiler's path, or unset it.")
        return Path(named)
    on_path = shutil.which("bicep", path=environment.get("PATH", ""))
    installed = Path(environment.get("HOME", "/"), ".azure", "bin", "bicep")
    return Path(on_path) if on_path else installed if installed.is_file() else None


def run(compiler: Path, *arguments: str, cwd: Path = INFRA, environment: Mapping[str, str] = os.environ) -> Said:
    """Run a command of the compiler, and return what it answers."""
    done = subprocess.run(  # noqa: S603 - the compiler that `find` found
        [compiler, *arguments],
        cwd=cwd,
        env={**environment, "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1"},  # else it needs a library, ICU
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line.replace(f"{cwd}{os.sep}", "") for line in done.stderr.splitlines()]
    aged = [line for line in lines if _BY_CALENDAR.search(line)]
    said = [line for line in lines if line and line not in aged]
    if done.returncode and not said:
        said = [f"bicep {arguments[0]} ended with {done.returncode}", *done.stdout.splitlines()]
    return Said(done.stdout, "\n".join(said), "\n".join(aged))


def check(compiler: Path) -> tuple[list[str], str]:
    """List what the linter says of any Bicep file, which files are not formatted, and what it says of their age."""
    with TemporaryDirectory() as made:
        copy = shutil.copytree(INFRA, Path(made, "infra"), ignore=shutil.ignore_patterns(*NOT_OURS))
        linted = run(compiler, "lint", "--pattern", "./**/*.bicep", cwd=copy)
        formatted = run(compiler, "format", "--pattern", "./**/*.bicep*", cwd=copy)
        said = [*linted.diagnostics.splitlines(), *formatted.diagnostics.splitlines()]
        for path in sorted(path for path in copy.rglob("*") if path.suffix in {".bicep", ".bicepparam"}):
            name = path.relative_to(copy)
            if path.read_text() != (INFRA / name).read_text():
                said.append(f"{name} is not formatted: bicep format infra/{name}")
    return said, linted.aged


def main() -> str | None:
    """Print what `make lint` says: nothing if all is well, and one line without a compiler."""
    try:
        compiler = find()
    except FileNotFoundError as error:
        return str(error)
    if compiler is None:
        print(MISSING)  # noqa: T201 - a command line prints
        return None
    faults, aged = check(compiler)
    if aged:
        print(aged)  # noqa: T201 - as above
    return "\n".join(faults) or None


if __name__ == "__main__":
    sys.exit(main())
