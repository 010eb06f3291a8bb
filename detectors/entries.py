"""A table of a configuration file, checked value by value: problems are noted with their place, not raised."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

_MAX_SHOWN = 60


class Entry:
    """One table. What is asked for is known; `refuse_others` refuses all else that it holds.

    Attributes:
        place: where it stands, such as `tuning.toml [[resources]] 2`.
        names: what it holds.
    """

    def __init__(self, place: str, values: dict[str, Any], problems: list[str]) -> None:
        self.place = place
        self.names = frozenset(values)
        self._values = values
        self._problems = problems
        self._known: list[str] = []

    def inner(self, name: str, values: object, wanted: str) -> "Entry | None":
        """A table inside of this one; None if it is none."""
        if isinstance(values, dict):
            return Entry(f"{self.place} {name}", values, self._problems)
        self.refuse(f"{name} is {shown(values)}: give it {wanted}.")
        return None

    def take[T](self, name: str, kind: type[T], wanted: str) -> T | None:
        """A value of exactly this type; None if there is none."""
        self._known.append(name)
        value = self._values.get(name)
        if type(value) is kind:  # True is an int as well, and a datetime is a date
            return value
        if value is not None:
            self.refuse(f"{name} is {shown(value)}: give it {wanted}.")
        return None

    def text(self, name: str, most: int) -> str | None:
        """A text of one line; None if there is none."""
        wanted = f"a text of one line, at most {most} characters"
        value = self.take(name, str, wanted)
        if value is not None and not (value.strip() and len(value) <= most and value.isprintable()):
            self.refuse(f"{name} is {shown(value)}: give it {wanted}.")
        return value

    def number(self, name: str, least: int, most: int) -> int | None:
        """A whole number between two limits; None if there is none."""
        wanted = f"a whole number from {least} to {most}"
        value = self.take(name, int, wanted)
        if value is not None and not least <= value <= most:
            self.refuse(f"{name} is {shown(value)}: give it {wanted}.")
        return value

    def one_of[T: str](self, name: str, choices: Sequence[T]) -> T | None:
        """One of these words; None if there is none."""
        value = self.take(name, str, f"one of {', '.join(choices)}")
        if value is not None and value not in choices:
            self.refuse(f"{name} is {shown(value)}: {nearest(value, choices)}")
        return next((choice for choice in choices if choice == value), None)

    def missing(self, name: str, wanted: str) -> str:
        """Refuse that a value is not there, unless it is there and was refused already; an empty text."""
        if name not in self._values:
            self.refuse(f"{name} is missing: give it {wanted}.")
        return ""

    def refuse(self, problem: str) -> None:
        """Note a problem with the place."""
        self._problems.append(f"{self.place}: {problem}")

    def refuse_others(self) -> None:
        """Refuse what nobody asked for."""
        for name in self._values:
            if name not in self._known:
                self.refuse(f"{name} is not known: {nearest(name, self._known)}")


def nearest(word: str, known: Iterable[str]) -> str:
    """What somebody may have meant, and all that there is."""
    choices = {choice.lower(): choice for choice in known}
    close = get_close_matches(word.lower(), choices, n=1)
    meant = f"did you mean {choices[close[0]]}? There is" if close else "there is"
    return f"{meant} {', '.join(choices.values())}."


def shown(value: object) -> str:
    """A value as a message shows it."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
