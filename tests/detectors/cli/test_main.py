"""`python -m detectors`: what it takes, what it refuses, and what it needs to run."""

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest

from detectors import __version__
from detectors.__main__ import COMMANDS, build_parser, main
from local.host import ROOT

USUAL = ("rules", "settings", "buckets")


def _helps() -> Iterator[tuple[str, str]]:
    """Yield the program's own help and that of every command."""
    program = build_parser()
    yield "", program.format_help()
    for action in program._actions:  # noqa: SLF001 - argparse has no other way to them
        if isinstance(action.choices, dict):
            for name, command in action.choices.items():
                assert isinstance(command, argparse.ArgumentParser)
                yield name, command.format_help()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "the following arguments are required: command"),
        (["replay-it-all"], "invalid choice: 'replay-it-all'"),
        (["setings"], "did you mean settings?"),
        (["rules", "--colour"], "unrecognized arguments: --colour"),
        (["settings", "--fromat", "ndjson"], "unrecognized arguments: --fromat ndjson; did you mean --format?"),
        (["rules", "--fromat=ndjson"], "did you mean --format?"),
        (["rules", "--format", "markdwon"], "did you mean markdown?"),
        (["rules", "--format", "'table"], "did you mean table?"),
        (["rules", "--format", "xml"], "(choose from 'table', 'ndjson', 'markdown')"),
        (["rules", "model_thief"], "did you mean model_theft?"),
        (["buckets", "--rule", "model-theft"], "did you mean model_theft?"),
        (["buckets", "--from", "yesterday"], "'yesterday' is no time: give"),
        (["buckets", "--from"], "expected one argument"),
        (["buckets", "--from", "now", "--to", "-1h"], "--from must be before --to"),
        (["settings", "--format", "markdown"], "invalid choice"),
    ],
)
def test_a_call_that_cannot_be_taken_is_answered_with_the_help(
    capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    """Exit code 2, with the help of the command that was meant; standard output stays empty for whoever reads it."""
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    printed = capsys.readouterr()
    assert exited.value.code == 2
    assert printed.out == ""
    assert "examples:" in printed.err
    *_, last = printed.err.splitlines()
    assert last.endswith(complaint) or complaint in last
    meant = " ".join(["python -m detectors", *(name for name in arguments[:1] if name in USUAL)])
    assert last.startswith(f"{meant}: error: ")
    assert printed.err.startswith(f"usage: {meant} ")


def test_every_command_says_what_it_does_and_shows_how() -> None:
    """A line in the list of commands, a description, and examples that can be taken: help that teaches must not lie."""
    (_, whole), *helps = _helps()
    assert len(helps) == len(COMMANDS)
    assert {name for name, _ in helps} >= set(USUAL)
    for name, text in [("", whole), *helps]:
        calls = re.findall(rf"^  python -m detectors ({name}.*?)(?: +#.*)?$", text, flags=re.MULTILINE)
        assert len(calls) >= 2, name
        for call in calls:
            if "--help" not in call:
                build_parser().parse_args(shlex.split(call))
        before_options = text.partition("\noptions:")[0]
        assert len(before_options.split("\n\n")) >= 2, name
    for name, _ in helps:
        assert re.search(rf"^    {name} +\w", whole, flags=re.MULTILINE)


def test_a_span_before_now_is_no_option() -> None:
    """`--from -2h` is taken as it is written, not only as `--from=-2h`."""
    parser = build_parser()
    apart = parser.parse_args(["buckets", "--from", "-2h", "--to", "-1h"])
    joined = parser.parse_args(["buckets", "--from=-2h", "--to=-1h"])
    assert apart.last - apart.first == joined.last - joined.first
    assert (apart.last - apart.first).total_seconds() == 3600


def test_the_commands_run_where_only_the_product_is_installed() -> None:
    """As a process, from the folder of the code, with the version; neither developers' nor Azure's parts are loaded."""
    assert _run("--version").stdout == f"python -m detectors {__version__}\n"
    program = "import sys, detectors.__main__ as m; m.main(['rules']); print(*sorted(sys.modules))"
    modules = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()[-1]
    assert {"rich", "jinja2", "azure", "local"}.isdisjoint(modules.split())
    assert "msgspec" in modules.split()


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """`python -m detectors rules | head -1`."""
    with subprocess.Popen(
        [sys.executable, "-m", "detectors", "rules"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-m", "detectors", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
