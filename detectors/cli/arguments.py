"""What several commands take: a rule, a threshold with numbers, a span of time, a file of settings."""

from argparse import ArgumentTypeError
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from detectors.cli.parser import Parser, nearest
from detectors.cli.times import parse_time
from detectors.configuration.tuning import Tuning, read
from detectors.errors import InputError
from detectors.evaluation.policy import MAX_THRESHOLD
from detectors.rules.catalogue import BY_ID, CATALOGUE


class ThresholdValues(NamedTuple):
    """Numbers for a threshold of a rule, ascending, each once."""

    rule_id: str
    threshold: str
    values: tuple[int, ...]


def threshold_names() -> list[str]:
    """Return what stands before the `=`: `RULE.THRESHOLD` of every threshold of the catalogue."""
    return [f"{rule.id}.{threshold.name}" for rule in CATALOGUE for threshold in rule.thresholds]


def threshold_values(text: str) -> ThresholdValues:
    """Read `RULE.THRESHOLD=VALUE` or `RULE.THRESHOLD=VALUE,VALUE,…`.

    Raises:
        ArgumentTypeError: there is no such threshold (the message knows the nearest), or a value is no whole number
            that a setting would take.
    """
    name, equals, numbers = text.partition("=")
    known = threshold_names()
    if name not in known:
        raise ArgumentTypeError(f"{name!r} is no threshold, there is {', '.join(known)}{nearest(name, known)}")
    values = {_threshold(number) for number in numbers.split(",")} if equals else {None}
    if None in values:
        raise ArgumentTypeError(
            f"{text!r}: give {name}= whole numbers from 1 to {MAX_THRESHOLD:,}, with commas between"
        )
    rule_id, _, threshold = name.partition(".")
    return ThresholdValues(rule_id, threshold, tuple(sorted(value for value in values if value is not None)))


def add_rule_option(parser: Parser, purpose: str) -> None:
    """`--rule NAME`, by default every rule."""
    parser.add_argument("--rule", choices=tuple(BY_ID), metavar="NAME", help=f"{purpose} (default: all)")


def add_span(parser: Parser, first: str | None, last: str | None) -> None:
    """`--from` and `--to`, parsed as `options.first` and `options.last`, with texts for defaults or None."""
    now = datetime.now(UTC)  # one moment for both
    for option, name, default in (("--from", "first", first), ("--to", "last", last)):
        parser.add_argument(
            option,
            dest=name,
            type=lambda text: parse_time(text, now),
            default=default,
            metavar="T",
            help=f"ISO 8601, UTC if without zone; now; or before now, such as -2h (default: {default or 'no limit'})",
        )


def add_settings_file(parser: Parser) -> None:
    """`--file`, parsed as `options.file`."""
    parser.add_argument(
        "--file", type=Path, metavar="FILE", help="a local.settings.json to read in place of the environment"
    )


def add_tuning(parser: Parser, purpose: str) -> None:
    """`--tuning`, parsed as `options.tuning`."""
    parser.add_argument("--tuning", type=Path, metavar="FILE", help=purpose)


def read_tuning(path: Path) -> Tuning:
    """Read a tuning file with its problems. Raises `InputError` if there is none."""
    if not path.is_file():
        raise InputError(f"--tuning: there is no file {path}.")
    return read(path, str(path))


def _threshold(text: str) -> int | None:
    """Return a number as the setting of a threshold takes it, else None."""
    number = text.strip()
    whole = number.isascii() and number.isdecimal() and len(number) <= len(str(MAX_THRESHOLD))
    return int(number) if whole and 1 <= int(number) <= MAX_THRESHOLD else None
