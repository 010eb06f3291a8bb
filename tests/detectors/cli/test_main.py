"""`llm-detector`: what it takes, what it refuses, and what it needs to run."""

import re
import shlex
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import click
import pytest

from detectors import __version__
from detectors.cli.main import COMMANDS, main, program
from local.host import ROOT
from tests.commands import helps, parsed

LLM_DETECTOR = str(Path(sys.executable).with_name("llm-detector"))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["replay-it-all"], "No such command 'replay-it-all'."),
        (["setings"], "Did you mean 'settings'?"),
        (["--versoin"], "Did you mean '--version'?"),
        (["--rules", "no such folder", "rules"], "'no such folder' does not exist"),
        (["rules", "--colour"], "No such option '--colour'"),
        (["settings", "--fromat", "ndjson"], "Did you mean '--format'?"),
        (["rules", "--fromat=ndjson"], "Did you mean '--format'?"),
        (["rules", "--format", "markdwon"], "did you mean markdown?"),
        (["rules", "--format", "'table"], "did you mean table?"),
        (["rules", "--format", "xml"], "there is table, ndjson, markdown."),
        (["rules", "model_thief"], "did you mean model_theft?"),
        (["rules", "model_theft", "insecure_output"], "unexpected extra argument"),
        (["buckets", "--rule", "model-theft"], "did you mean model_theft?"),
        (["buckets", "--from", "yesterday"], "'yesterday' is no time: give"),
        (["buckets", "--from"], "requires an argument"),
        (["buckets", "--from", "now", "--to", "-1h"], "--from must be before --to"),
        (["settings", "--format", "markdown"], "'markdown' is not known"),
    ],
)
def test_a_call_that_cannot_be_taken_is_answered_in_four_lines(
    capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    """Exit code 2: the usage of the command that was meant, where its help is, and what is wrong; nothing else."""
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    meant = " ".join(["llm-detector", *(name for name in arguments[:1] if name in COMMANDS)])
    usage, help_is, blank, error = printed.err.splitlines()
    assert usage.startswith(f"Usage: {meant} [OPTIONS]")
    assert (help_is, blank) == (f"Try '{meant} --help' for help.", "")
    assert error.startswith("Error: ")
    assert complaint in error


def test_a_call_of_nothing_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """There is no error to hide in it; the exit code is that of a call that cannot be taken."""
    assert main([]) == 2
    assert "Examples:" in capsys.readouterr().err


def test_every_command_says_what_it_does_and_shows_how() -> None:
    """A line in the list of commands, a description, and examples that can be taken: help that teaches must not lie."""
    (_, whole), *others = helps(program)
    assert [name for name, _ in others] == list(COMMANDS)
    for name, text in [("", whole), *others]:
        calls = re.findall(rf"^    (?:zcat .* )?llm-detector ({name}.*?)(?: +#.*)?$", text, flags=re.MULTILINE)
        assert len(calls) >= 3, name
        for call in calls:
            parsed(program, shlex.split(call))
        assert text.index("\n  ") < text.index("Options:")
    for name, summary in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(summary)}$", whole, flags=re.MULTILINE)


def test_the_help_shows_the_backtest_first_and_says_what_exit_codes_mean() -> None:
    """It is what most come for."""
    (_, whole), *_ = helps(program)
    first, second, third = re.findall(r"^    llm-detector (\w+)", whole, flags=re.MULTILINE)
    assert (first, second, third) == ("replay", "rules", "settings")
    assert re.findall(r"^    (\d+) ", whole, flags=re.MULTILINE) == ["0", "1", "2", "130"]


def test_a_span_before_now_is_no_option() -> None:
    """`--from -2h` is taken as it is written, not only as `--from=-2h`; now is one moment for both ends."""
    for words in (["--from", "-2h", "--to", "-1h"], ["--from=-2h", "--to=-1h"]):
        arguments = parsed(program, ["buckets", *words])
        first, last = arguments["first"], arguments["last"]
        assert isinstance(first, datetime)
        assert isinstance(last, datetime)
        assert (last - first).total_seconds() == 3600


def test_a_command_of_two_words_comes_before_one_of_the_first_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """`rules check` is a command of its own, though `rules` takes a word too."""
    called: list[str] = []

    @click.command()
    @click.argument("folder")
    def check(folder: str) -> int:
        called.append(folder)
        return 1

    monkeypatch.setitem(COMMANDS, "rules check", "Check a folder of rules.")
    monkeypatch.setitem(sys.modules, "detectors.cli.rules_check", type(sys)("rules_check"))
    monkeypatch.setattr(sys.modules["detectors.cli.rules_check"], "command", check, raising=False)
    assert main(["rules", "check", "ours/"]) == 1
    assert called == ["ours/"]
    assert main(["rules", "model_theft"]) == 0


@pytest.mark.real
def test_the_installed_command_runs_from_anywhere(tmp_path: Path) -> None:
    """As a process, with the version; neither developers' nor Azure's parts are loaded for a list of rules."""
    assert _run(tmp_path, "--version").stdout == f"llm-detector {__version__}\n"
    listed = "import sys, detectors.cli.main as m; m.main(['rules']); print(*sorted(sys.modules))"
    assert {"msgspec"} == _loaded(tmp_path, listed) & {"msgspec", "rich", "jinja2", "azure", "local"}


@pytest.mark.real
def test_help_loads_no_command(tmp_path: Path) -> None:
    """So that it is there at once."""
    helped = "import sys, detectors.cli.main as m; m.main(['--help']); print(*sorted(sys.modules))"
    assert _loaded(tmp_path, helped) & {"msgspec", "detectors.rules", "detectors.backtest"} == set()


@pytest.mark.real
def test_rules_of_a_folder_come_on_top(tmp_path: Path) -> None:
    """`--rules` is heard before the catalogue is read; a path is one of the caller's folder."""
    own = (ROOT / "detectors/rules/insecure_output.toml").read_text()
    folder = tmp_path / "ours"
    folder.mkdir()
    (folder / "our_own_output.toml").write_text(own.replace('"insecure_output"', '"our_own_output"'))
    lines = _run(tmp_path, "--rules", "ours", "rules").stdout.splitlines()
    assert len([line for line in lines if line.startswith("our_own_output ")]) == 1
    assert len(lines) == len(_run(tmp_path, "rules").stdout.splitlines()) + 1


@pytest.mark.real
def test_rules_with_problems_are_refused_as_a_whole(tmp_path: Path) -> None:
    """A backtest without the one that is broken would look like safety."""
    (tmp_path / "broken.toml").write_text('severity = "Graver"\n')
    for arguments in (["rules"], ["replay", "logs"]):
        refused = subprocess.run(  # noqa: S603 - our own
            [LLM_DETECTOR, "--rules", str(tmp_path), *arguments], capture_output=True, text=True, check=False
        )
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr.startswith("Error: the rules have problems:\n  - broken.toml")


@pytest.mark.real
def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """`llm-detector rules | head -1`."""
    with subprocess.Popen([LLM_DETECTOR, "rules"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # noqa: S603 - our own
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_an_interrupt_ends_a_command_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And with the exit code that shells have for it."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("detectors.cli.settings.environment", interrupted)
    assert main(["settings"]) == 128 + signal.SIGINT
    assert capsys.readouterr() == ("", "Interrupted.\n")


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own
        [LLM_DETECTOR, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )


def _loaded(folder: Path, code: str) -> set[str]:
    """Return the modules that a program loads, as it prints them in its last line."""
    printed = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    return set(printed.stdout.splitlines()[-1].split())
