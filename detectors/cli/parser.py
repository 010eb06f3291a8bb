"""How a command describes itself, and how a call that cannot be taken is answered."""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import NoReturn

from detectors.cli.times import EARLIER

TAKEN, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: done; the call was fine and what it asked about is not; the call cannot be taken."""

_CHOICE = re.compile(r"invalid choice: (['\"])(?P<word>.*)\1 \(choose from (?P<choices>.*)\)$", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """Answers a call that it cannot take with the whole help and the nearest word that it knows.

    Whoever mistypes wants to see what there is.
    """

    def error(self, message: str) -> NoReturn:
        """Explain, and exit with 2."""
        if wrong := _CHOICE.search(message):
            choices = [choice.strip(" '\"") for choice in wrong["choices"].split(",")]
            message += nearest(wrong["word"], choices)
        self.print_help(sys.stderr)
        self.exit(REFUSED, f"\n{self.prog}: error: {message}\n")

    def parse_known_args(  # type: ignore[override] # argparse's own signature is overloaded for other namespaces
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse; what a command does not know is refused by that command, whose help is the one that helps."""
        words = sys.argv[1:] if args is None else list(args)
        options, unknown = super().parse_known_args(_joined(words), namespace)
        if unknown:
            known = [option for action in self._actions for option in action.option_strings]
            hint = next(filter(None, (nearest(word.partition("=")[0], known) for word in unknown)), "")
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return options, unknown


type Commands = argparse._SubParsersAction[Parser]  # noqa: SLF001 - argparse keeps the name to itself


def add_command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int], *, summary: str, about: str, examples: str
) -> Parser:
    """Add a new command.

    Args:
        commands: where it goes.
        name: what it is called by.
        run: gives the exit code; what it finds wrong with the call goes to `options.refuse`.
        summary: a line for the list of commands.
        about: a paragraph or two for its own help.
        examples: calls that can be taken, one a line, each beginning with `python -m detectors`.
    """
    parser = commands.add_parser(
        name,
        help=summary,
        description=about,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run, refuse=parser.error)
    return parser


def add_format(parser: Parser, *forms: str) -> None:
    """`--format`, of which the first form is the default."""
    parser.add_argument("--format", choices=forms, default=forms[0], help=f"default: {forms[0]}")


def nearest(word: str, known: Sequence[str]) -> str:
    """Return a question that ends a message: which known word was meant; empty if none is near."""
    found = get_close_matches(word, known, n=1)
    return f"; did you mean {found[0]}?" if found else ""


def _joined(words: Sequence[str]) -> list[str]:
    """`--from -2h` as `--from=-2h`: argparse would take the time for an option."""
    joined: list[str] = []
    for word in words:
        if EARLIER.fullmatch(word) and joined and re.fullmatch(r"--[a-z-]+", joined[-1]):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined
