"""The product's command line: `python -m detectors <command>`.

Builds the parser, hands a call to its command, and turns errors into exit codes. Output is plain text on standard
output: `rich` is a developer's tool that is not installed where the detector runs, an aligned table is a few lines, and
what is printed should survive a pipe, a log and a README.

No command loads Azure's clients before it needs them: they take longer than most commands run.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from detectors import __version__
from detectors.cli import buckets, replay, rules, settings
from detectors.cli.parser import REFUSED, TAKEN, Parser
from detectors.errors import DetectorError

__all__ = ["COMMANDS", "Parser", "build_parser", "main"]

EXAMPLES = """examples:
  python -m detectors rules model_theft
  python -m detectors settings --file local.settings.json
  python -m detectors buckets --from -2h
  python -m detectors replay --help
"""

COMMANDS = (replay.add, rules.add, settings.add, buckets.add)
"""Every command, in the order of the help. A new command is a module in `detectors/commands/` and a word here."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code.

    0 is done, 1 is a call that was fine about something that is not, such as settings with problems, and 2 is a call
    that cannot be taken (which argparse raises) or input that cannot be read.
    """
    options = build_parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        code = run(options)
        sys.stdout.flush()
    except DetectorError as error:
        sys.stderr.write(f"python -m detectors {options.command}: error: {error}\n")
        return REFUSED
    except (
        BrokenPipeError
    ):  # the reader, such as `head`, has seen enough: https://docs.python.org/3/library/signal.html
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return TAKEN
    return code


def build_parser() -> Parser:
    """Build the parser of the command line."""
    parser = Parser(
        prog="python -m detectors",
        description="Detects abuse of LLM services on Azure. The functions run in Azure; these commands go with them.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for add in COMMANDS:
        add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
