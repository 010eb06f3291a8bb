"""What several commands take: a rule, thresholds with numbers, a span of time, files, a format."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, override

import click

from detectors.cli.times import Time
from detectors.configuration.tuning import Tuning, read
from detectors.errors import InputError
from detectors.evaluation.policy import MAX_THRESHOLD
from detectors.rules.catalogue import CATALOGUE, PROBLEMS
from detectors.toml_table import suggestion

FILE = click.Path(path_type=Path)


class Word(click.Choice[str]):
    """One of some words; a mistyped one is answered with the nearest."""

    @override
    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Take a word that there is."""
        if value not in self.choices:
            self.fail(f"{value!r} is not known: {suggestion(value, self.choices)}", param, ctx)
        return value


class ThresholdValues(NamedTuple):
    """Numbers for a threshold of a rule, ascending, each once."""

    rule_id: str
    threshold: str
    values: tuple[int, ...]


RULE = Word([rule.id for rule in CATALOGUE])


def threshold_names() -> list[str]:
    """Name every threshold of the catalogue as `RULE.THRESHOLD`."""
    return [f"{rule.id}.{threshold.name}" for rule in CATALOGUE for threshold in rule.thresholds]


def threshold_values(text: str) -> ThresholdValues:
    """Read `RULE.THRESHOLD=VALUE` or `RULE.THRESHOLD=VALUE,VALUE,…`.

    Raises:
        click.BadParameter: there is no such threshold, or a value is no whole number that a setting would take.
    """
    name, equals, numbers = text.partition("=")
    known = threshold_names()
    if name not in known:
        raise click.BadParameter(f"{name!r} is no threshold: {suggestion(name, known)}")
    values = {_threshold(number) for number in numbers.split(",")} if equals else {None}
    if None in values:
        raise click.BadParameter(
            f"{text!r}: give {name}= whole numbers from 1 to {MAX_THRESHOLD:,}, with commas between"
        )
    rule_id, _, threshold = name.partition(".")
    return ThresholdValues(rule_id, threshold, tuple(sorted(value for value in values if value is not None)))


def _threshold(text: str) -> int | None:
    """Read a number as the setting of a threshold takes it, else None."""
    number = text.strip()
    whole = number.isascii() and number.isdecimal() and len(number) <= len(str(MAX_THRESHOLD))
    return int(number) if whole and 1 <= int(number) <= MAX_THRESHOLD else None


def span_options[**P](first: str | None, last: str | None) -> Callable[[Callable[P, int]], Callable[P, int]]:
    """Add `--from` and `--to`, the arguments `first` and `last`, with texts for defaults or None."""

    def add(command: Callable[P, int]) -> Callable[P, int]:
        for option, name, default in (("--to", "last", last), ("--from", "first", first)):
            command = click.option(
                option,
                name,
                type=Time(),
                default=default,
                metavar="T",
                help=f"ISO 8601 (UTC if without zone), now, or before now as in -2h (default: {default or 'no limit'})",
            )(command)
        return command

    return add


def settings_file_option[**P](command: Callable[P, int]) -> Callable[P, int]:
    """Add `--file`."""
    purpose = "A local.settings.json to read in place of the environment."
    return click.option("--file", type=FILE, metavar="FILE", help=purpose)(command)


def tuning_option[**P](purpose: str) -> Callable[[Callable[P, int]], Callable[P, int]]:
    """Add `--tuning`."""
    return click.option("--tuning", type=FILE, metavar="FILE", help=purpose)


def format_option[**P](*forms: str) -> Callable[[Callable[P, int]], Callable[P, int]]:
    """Add `--format`, the argument `form`; the first one is the default."""
    return click.option(
        "--format", "form", type=Word(forms), default=forms[0], show_default=True, help="Of the output."
    )


def read_tuning(path: Path) -> Tuning:
    """Read a tuning file, with what is wrong with it. Raises `InputError` if there is none."""
    if not path.is_file():
        raise InputError(f"--tuning: there is no file {path}.")
    return read(path, str(path))


def require_sound_rules() -> None:
    """Raise `InputError` with all that is wrong with the rules: one that is left out would look like safety."""
    if PROBLEMS:
        raise InputError("\n".join(("the rules have problems:", *(f"  - {problem}" for problem in PROBLEMS))))
