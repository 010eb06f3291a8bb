"""`python -m detectors completion`: sourced in a real bash, and asked as bash asks at a press of Tab."""

import subprocess
import sys
from pathlib import Path
from shutil import which

import pytest

from detectors import __version__
from detectors.__main__ import build_parser, main
from detectors.commands.arguments import threshold_values
from detectors.commands.completion import SHELLS, script
from local.host import ROOT

ASK = """
eval "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
asked=$(complete -p detectors); asked=${asked##*-F }; "${asked%% *}" 2>/dev/null
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def bash_script() -> str:
    """What the command prints, from another folder than the project's."""
    done = subprocess.run(
        [sys.executable, "-m", "detectors", "completion", "bash"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout


def _bash(program: str, *arguments: str, cwd: Path = ROOT) -> list[str]:
    bash = which("bash")
    assert bash is not None
    done = subprocess.run(  # noqa: S603 - bash, with what is written here
        [bash, "--norc", "-c", program, "bash", *arguments], cwd=cwd, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["ru"], ["rules"]),
        (["rules", ""], ["model_theft"]),
        (["rules", "--format", ""], ["table", "ndjson", "markdown"]),
        (["rules", "model_theft", "--f"], ["--format"]),
        (["buckets", "--from", "-2h", "--re"], ["--resource"]),
        (["buckets", "--rule", "mod"], ["model_theft"]),
        (["settings", "--file", "local.settings.s"], ["local.settings.sample.json"]),
        (["cost", "--prices", "detectors/prices.t"], ["detectors/prices.toml"]),
        (["completion", ""], list(SHELLS)),
        (["rules", "x"], [""]),
    ],
)
def test_bash_completes(bash_script: str, words: list[str], offered: list[str]) -> None:
    """Commands, options, rules, choices and files."""
    assert set(_bash(ASK, bash_script, "detectors", *words)) >= set(offered)
    assert all(word.startswith(words[-1]) for word in _bash(ASK, bash_script, "detectors", *words) if word)


def test_every_command_is_offered(bash_script: str) -> None:
    """And nothing else."""
    offered = _bash(ASK, bash_script, "detectors", "")
    choices = [action.choices for action in build_parser()._actions if isinstance(action.choices, dict)]  # noqa: SLF001
    assert offered == [name for commands in choices for name in commands]


def test_the_short_name_runs_the_program_from_any_folder(bash_script: str, tmp_path: Path) -> None:
    """Arguments with blanks come through as they are."""
    assert _bash('eval "$1"; detectors --version', bash_script, cwd=tmp_path) == [f"python -m detectors {__version__}"]
    assert _bash('eval "$1"; detectors cost --prices "no file" 2>&1 || true', bash_script, cwd=tmp_path) == [
        "python -m detectors cost: error: no file: [Errno 2] No such file or directory: 'no file'"
    ]


def test_thresholds_are_offered_where_one_is_asked_for() -> None:
    """An argument of a threshold completes up to its `=`."""
    program = build_parser()
    program.add_argument("--set", type=threshold_values)
    made = script(program, "bash")
    assert {"model_theft.count=", "model_theft.response_length="} <= set(
        _bash(ASK, made, "detectors", "--set", "model_")
    )


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_is_made_for_each_shell(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    """It begins with the short name, and tells the shell what completes it."""
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert text.startswith("detectors() { PYTHONPATH=")
    assert {"bash": "complete -o", "zsh": "compdef"}[shell] in text


def test_without_the_library_it_is_said_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the detector runs there is none, and no other command needs it."""
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    printed = capsys.readouterr()
    assert "requirements-dev.txt" in printed.err
    assert printed.out == ""
    assert main(["rules"]) == 0
