"""A table of a TOML file, checked value by value: problems are noted with their place, not raised."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

type Path = tuple[str | int, ...]
"""Where a value stands: names of tables, and places in arrays of tables from 0."""

_MAX_SHOWN = 60
_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?")
_KEY = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*=""")
_MULTILINE = re.compile(r"\"\"\"|'''")


class TomlTable:
    """One table. Reading a value marks its name as known; `refuse_others` reports every name that was never read.

    Attributes:
        place: where it stands, such as `tuning.toml [[resources]] 2`.
        names: what it holds.
    """

    def __init__(
        self,
        place: str,
        values: dict[str, Any],
        problems: list[str],
        lines: Mapping[Path, int] | None = None,
        path: Path = (),
    ) -> None:
        self.place = place
        self.names = frozenset(values)
        self._values = values
        self._problems = problems
        self._lines = lines or {}
        self._path = path
        self._known: list[str] = []

    def inner(self, name: str, values: object, wanted: str, path: Path) -> "TomlTable | None":
        """Open a table inside this one; None if the value is no table.

        Args:
            name: how messages call it.
            values: what should be a table.
            wanted: what the message asks for if it is no table.
            path: where it stands below this table.
        """
        if isinstance(values, dict):
            return TomlTable(f"{self.place} {name}", values, self._problems, self._lines, (*self._path, *path))
        self.refuse(str(path[0]), f"{name} is {shown(values)}: give it {wanted}.")
        return None

    def table(self, name: str) -> "TomlTable | None":
        """Open the table `[name]`; None if there is none."""
        wanted = f"values below [{name}]"
        values = self.take(name, dict, wanted)
        return None if values is None else self.inner(f"[{name}]", values, wanted, (name,))

    def tables(self, name: str) -> Iterator["TomlTable"]:
        """Open the tables `[[name]]`, which messages count from 1."""
        wanted = f"entries, each below [[{name}]]"
        for number, values in enumerate(self.take(name, list, wanted) or []):
            if entry := self.inner(f"[[{name}]] {number + 1}", values, wanted, (name, number)):
                yield entry

    def take[T](self, name: str, kind: type[T], wanted: str) -> T | None:
        """Read a value of exactly this type; None if there is none."""
        value = self.take_any(name)
        if type(value) is kind:  # True is an int as well, and a datetime is a date
            return value
        if value is not None:
            self.refuse(name, f"{name} is {shown(value)}: give it {wanted}.")
        return None

    def take_any(self, name: str) -> object:
        """Read a value of any type, which the caller checks; None if there is none."""
        self._known.append(name)
        return self._values.get(name)

    def text(self, name: str, most: int) -> str | None:
        """Read a text of one line; None if there is none."""
        wanted = f"a text of one line, at most {most} characters"
        value = self.take(name, str, wanted)
        if value is not None and not (value.strip() and len(value) <= most and value.isprintable()):
            self.refuse(name, f"{name} is {shown(value)}: give it {wanted}.")
        return value

    def lines(self, name: str) -> str | None:
        """Read a text of several lines, without white space around it; None if there is none."""
        wanted = "a text"
        value = self.take(name, str, wanted)
        if value is not None and not value.strip():
            self.refuse(name, f"{name} is empty: give it {wanted}.")
        return value and value.strip()

    def number(self, name: str, least: int, most: int) -> int | None:
        """Read a whole number between two limits; None if there is none."""
        wanted = f"a whole number from {least} to {most}"
        value = self.take(name, int, wanted)
        if value is not None and not least <= value <= most:
            self.refuse(name, f"{name} is {shown(value)}: give it {wanted}.")
        return value

    def one_of[T: str](self, name: str, choices: Sequence[T]) -> T | None:
        """Read one of these words; None if there is none."""
        value = self.take(name, str, f"one of {', '.join(choices)}")
        if value is not None and value not in choices:
            self.refuse(name, f"{name} is {shown(value)}: {suggestion(value, choices)}")
        return next((choice for choice in choices if choice == value), None)

    def missing(self, name: str, wanted: str) -> str:
        """Report that a value is missing, unless it is there and was reported already; return an empty text."""
        if name not in self._values:
            self.refuse("", f"{name} is missing: give it {wanted}.")
        return ""

    def refuse(self, name: str, problem: str) -> None:
        """Note a problem with the place, and with the line of the value of this name, or of what is around it."""
        path = (*self._path, name)
        line = next((self._lines[path[:size]] for size in range(len(path), 0, -1) if path[:size] in self._lines), None)
        self._problems.append(f"{self.place}{f', line {line}' if line else ''}: {problem}")

    def refuse_unknown(self, name: str, known: Iterable[str], *, key: str = "") -> None:
        """Report an unknown name: the value of `key`, or a key itself."""
        self.refuse(key or name, f"{name} is not known: {suggestion(name, known)}")

    def refuse_others(self) -> None:
        """Report every name that was never read."""
        for name in self._values:
            if name not in self._known:
                self.refuse_unknown(name, self._known)


def lines_of(text: str) -> dict[Path, int]:
    """Find the line of each table and key of a TOML text, as far as its lines show."""
    lines: dict[Path, int] = {}
    path: Path = ()
    counts: dict[Path, int] = {}
    is_inside = False
    for number, line in enumerate(text.splitlines(), start=1):
        was_inside, quotes = is_inside, len(_MULTILINE.findall(line))
        is_inside ^= bool(quotes % 2)
        if was_inside:
            continue
        if header := _HEADER.match(line):
            path = tuple(part.strip().strip("\"'") for part in header[2].split("."))
            if header[1] == "[[":
                counts[path] = counts.get(path, -1) + 1
                path = (*path, counts[path])
            lines.setdefault(path, number)
        elif key := _KEY.match(line):
            lines.setdefault((*path, key[1] or key[2] or key[3]), number)
    return lines


def suggestion(word: str, known: Iterable[str]) -> str:
    """Suggest the nearest known word, and list all of them."""
    choices = {choice.lower(): choice for choice in known}
    close = get_close_matches(word.lower(), choices, n=1)
    meant = f"did you mean {choices[close[0]]}? There is" if close else "there is"
    return f"{meant} {', '.join(choices.values())}."


def shown(value: object) -> str:
    """Format a value for a message."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
