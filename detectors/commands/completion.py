"""`completion`: a script that completes the commands of a shell, and a short name to call them by."""

import argparse
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from detectors.commands.arguments import threshold_names, threshold_values
from detectors.commands.layout import write
from detectors.commands.parser import TAKEN, Commands, Parser, add_command
from detectors.errors import DetectorError

ABOUT = """Prints a script for your shell: a function `detectors` that stands for this program, and its completion.

Commands, options, rules, thresholds and files complete. The script is made once, so no Python runs at a press of Tab;
make it again after an upgrade. It is made by shtab, which is among the developer's tools (requirements-dev.txt).
"""

EXAMPLES = """examples:
  python -m detectors completion bash     # from ~/.bashrc: eval "$(python -m detectors completion bash)"
  python -m detectors completion zsh      # from ~/.zshrc, after compinit: eval "$(python -m detectors completion zsh)"
"""

ROOT = Path(__file__).parents[2]
SHELLS = ("bash", "zsh")

_FUNCTION = 'detectors() {{ PYTHONPATH={root}${{PYTHONPATH:+:$PYTHONPATH}} {python} -m detectors "$@"; }}'


class CompletionError(DetectorError):
    """The library that makes completions is not installed."""


def add(commands: Commands) -> None:
    """Describe the command."""
    completion = add_command(
        commands, "completion", _run, summary="complete commands in bash and zsh", about=ABOUT, examples=EXAMPLES
    )
    completion.add_argument("shell", choices=SHELLS, help="the shell you use")


def _run(options: argparse.Namespace) -> int:
    function = _FUNCTION.format(root=shlex.quote(str(ROOT)), python=shlex.quote(sys.executable))
    write([function, "", script(options.program, options.shell)])
    return TAKEN


def script(program: Parser, shell: str) -> str:
    """The completion of a command line that is called as `detectors`. Raises `CompletionError` without shtab."""
    try:
        import shtab  # noqa: PLC0415 - a developer's tool
    except ModuleNotFoundError as error:
        raise CompletionError("shtab is not installed: python -m pip install -r requirements-dev.txt") from error
    program.prog = "detectors"
    for action in _actions(program):
        if action.metavar in {"FILE", "PATH"}:
            action.complete = shtab.FILE  # type: ignore[attr-defined] # where shtab looks for it
        elif action.type is threshold_values:
            action.choices = [f"{name}=" for name in threshold_names()]
    return str(shtab.complete(program, shell))


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Everything that a parser and its commands take."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to them
        yield action
        if isinstance(action.choices, dict):
            for command in action.choices.values():
                yield from _actions(command)
