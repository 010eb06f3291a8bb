"""`rules check`: whether rule files can be read, and whether each rule does what its examples say."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from detectors.errors import InputError
from detectors.examples.play import Played, play
from detectors.rules import catalogue
from detectors.rules.rule import Rule


@dataclass(frozen=True, slots=True)
class CheckedRule:
    """A rule that could be read, and what came of its examples."""

    rule_id: str
    played: Sequence[Played]


@dataclass(frozen=True, slots=True)
class Checked:
    """What is wrong with files, and what came of the rules that could be read."""

    problems: Sequence[str]
    rules: Sequence[CheckedRule]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong and every example holds."""
        return not self.problems and all(one.holds for rule in self.rules for one in rule.played)


def check(folder: Path | None = None) -> Checked:
    """Read the rules of a folder and play their examples; without one, of the catalogue.

    Which rules there are is settled when a process starts: those of a folder are played in one of their own.

    Raises:
        InputError: there is no such folder.
    """
    if folder is None:
        return _played(catalogue.CATALOGUE)
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder: name one that holds rules, such as my_rule.toml.")
    before = os.environ.get(catalogue.RULES_FOLDER)
    os.environ[catalogue.RULES_FOLDER] = str(folder.absolute())
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            return process.submit(_check_own).result()
    finally:
        if before is None:
            del os.environ[catalogue.RULES_FOLDER]
        else:
            os.environ[catalogue.RULES_FOLDER] = before


def lines(checked: Checked) -> Iterator[str]:
    """Yield the result for people."""
    yield from checked.problems
    for rule in checked.rules:
        yield rule.rule_id
        if not rule.played:
            yield "  no example: nothing was tried"
        for one in rule.played:
            yield f"  {'ok  ' if one.holds else 'FAIL'}  {_outcome(one):<{_WIDTH}}  {one.example.says}"
            if one.quarantined:
                yield f"        records that were not counted, or not in full: {', '.join(one.quarantined)}"


_WIDTH = len("fires, and should not")


def _outcome(played: Played) -> str:
    if played.holds:
        return "fires" if played.fires else "does not fire"
    return "fires, and should not" if played.fires else "should fire, does not"


def _check_own() -> Checked:
    """Check the rules that are not shipped with the detector."""
    shipped = {rule.id for rule in catalogue.load([catalogue.HERE])[0]}
    return _played([rule for rule in catalogue.CATALOGUE if rule.id not in shipped])


def _played(rules: Sequence[Rule]) -> Checked:
    return Checked(
        catalogue.PROBLEMS,
        [CheckedRule(rule.id, [play(rule, example) for example in rule.examples]) for rule in rules],
    )
