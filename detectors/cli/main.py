"""The entry point of `llm-detector`: finds a command, runs it, and turns errors into exit codes.

A command's module is loaded when the command is called. So `--help` is quick, and `--rules` is heard before the
catalogue of rules is read.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from detectors import __version__
from detectors.cli.exit_codes import DONE, INTERRUPTED, USAGE_ERROR
from detectors.errors import DetectorError

COMMANDS = {
    "replay": "Backtest exported logs, with other thresholds if you like.",
    "rules": "Show what is detected, and how to triage it.",
    "rules check": "Check rule files, and play the examples in them.",
    "settings": "Check the app settings, and show what is in force.",
    "buckets": "Show what is stored, bucket by bucket.",
}
"""What each command does, in the order of the help. `rules check` is the module `rules_check`."""

EXAMPLES = """\b
Examples:
  llm-detector replay insights-logs-audit/ --report november.html
  llm-detector rules model_theft
  llm-detector settings --file local.settings.json

\b
Exit codes:
  0    done
  1    done, and what was asked about is not in order
  2    wrong usage, or input that cannot be read
  130  interrupted

\b
Completion, for .bashrc (zsh_source and fish_source for other shells):
  eval "$(_LLM_DETECTOR_COMPLETE=bash_source llm-detector)"
"""

WIDTH = 120


class Program(click.Group):
    """A group that loads a command when it is called, by a name of one word or of two."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the names in the order of the help."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"detectors.cli.{cmd_name.replace(' ', '_')}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first two words name, or else the first."""
        for words in (2, 1):
            name = " ".join(args[:words])
            if command := self.get_command(ctx, name):
                return name, command, args[words:]
        if ctx.resilient_parsing:  # somebody is still typing
            return None, None, args[1:]
        raise click.exceptions.NoSuchCommand(args[0], possibilities=COMMANDS, ctx=ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without loading them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        """Run the command, and answer what keeps it from its end."""
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
        except click.UsageError as error:
            name = ctx.invoked_subcommand
            if error.ctx is None and name and (command := self.get_command(ctx, name)):  # an option without its value
                error.ctx = click.Context(command, parent=ctx, info_name=name)
            raise
        except DetectorError as error:
            click.echo(f"Error: {error}", err=True)
            return USAGE_ERROR
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            return INTERRUPTED
        except (
            BrokenPipeError
        ):  # the reader, such as `head`, has seen enough: https://docs.python.org/3/library/signal.html
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return DONE
        return code


def _use_rules(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:
    """Name the folder where the catalogue looks for it."""
    del ctx, param
    if value:
        os.environ["RULES_FOLDER"] = str(value.absolute())


@click.group(
    cls=Program,
    epilog=EXAMPLES,
    context_settings={"max_content_width": WIDTH, "help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.option(
    "--rules",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    callback=_use_rules,
    expose_value=False,
    help="Add the rules of a folder of yours, as the app setting RULES_FOLDER does.",
)
def program() -> None:
    """Detect abuse of LLM services.

    The functions run in Azure; these commands run on your machine.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    try:
        code: int = program.main(arguments, prog_name="llm-detector", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:  # Ctrl-C before the command ran
        return INTERRUPTED
    return code
