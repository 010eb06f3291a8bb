"""Where the values in a JSON text begin and end: found without recursion, and without reading them.

A text is walked in steps from bracket to bracket; what lies between is matched at once. What a walk has found out
about a place is remembered, so that no other walk goes over it in the same state (outside of quotes, in single or in
double ones): whatever the text, and wherever readers ask for values, it is gone over three times at most.

Certain repairs are part of the grammar: raw control characters inside of strings, single quotes for double ones, and
`[ 218 B blob data ]` where a value belongs.
"""

import re
from array import array
from collections.abc import Collection, Iterator

_W = r"[ \t\n\r]*+"
_ESCAPE = r"\\(?:[%s\\/bfnrt]|u[0-9a-fA-F]{4})"
STRING = rf'"(?:[^"\\]++|{_ESCAPE % '"'})*+"|' + rf"'(?:[^'\\]++|{_ESCAPE % '"\''})*+'"
BLOB = r"\[ [0-9]++ B blob data \]"
_NUMBER = r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+"
SIMPLE = rf"(?:{STRING}|{_NUMBER}|true|false|null|NaN|-?Infinity|\[{_W}\]|\{{{_W}\}}|{BLOB})"
"""A value in which no other stands."""

_KEY = rf"(?:{STRING}){_W}:{_W}"
_CLOSE = rf"([\]}}](?:{_W}[\]}}])*+)"
_OPEN = rf"(\{{|\[(?:{_W}\[(?!{_W}\]))*+)"
_ELEMENTS = rf"{_W}(?:{SIMPLE}{_W},{_W})*+(?:{SIMPLE}{_W}{_CLOSE}|{_OPEN})"
_MEMBERS = rf"{_W}(?:{_KEY}{SIMPLE}{_W},{_W})*+{_KEY}(?:{SIMPLE}{_W}{_CLOSE}|{_OPEN})"
# Possessive throughout: nothing is gone over again when a step fails.
_FIRST = {"[": re.compile(_ELEMENTS), "{": re.compile(_MEMBERS)}
_FURTHER = {"[": re.compile(rf"{_W},{_ELEMENTS}"), "{": re.compile(rf"{_W},{_MEMBERS}")}
_IS_SIMPLE = re.compile(SIMPLE)
_ELEMENT = re.compile(rf"[ \t\n\r,]*+(?:({SIMPLE})|(?=[\[{{]))")
_MEMBER = re.compile(rf"[ \t\n\r,]*+({STRING}){_W}:{_W}(?:({SIMPLE})|(?=[\[{{]))")
_NEXT_RECORD = re.compile(r"""(?:[\[},]\s*+(?:,\s*+)?+|(?<=\n))(?=\{\s*+["'])""")
_NOTHING = re.compile(r"(?!)")
_BROKEN = -1

type Span = tuple[int, int]


def marks_of(names: Collection[str], patterns: Collection[str] = ()) -> re.Pattern[str]:
    """Compile what tells a record: the names that it has in JSON, or patterns of members."""
    known = "|".join(map(re.escape, sorted(names)))
    return re.compile("|".join([rf"""["'](?:{known})["']{_W}:""", *patterns]))


class Structure:
    """The values in a text, which may be broken; an object with one of the `marks` among its members is a record."""

    def __init__(self, text: str, marks: re.Pattern[str] = _NOTHING) -> None:
        self._text = text
        self._mark = marks
        self._ends = array("i", bytes(4 * len(text)))
        """Where the object or array that begins at a place ends: negative if it is no record."""

    def end(self, start: int) -> int:
        """Where the value that begins at a place ends; 0 if there is none."""
        if simple := _IS_SIMPLE.match(self._text, start):
            return simple.end()
        end = self._container(start)
        return 0 if end == _BROKEN else abs(end)

    def next_record(self, start: int) -> int:
        """Where the next record begins behind a broken one; the end of the text if there is none."""
        for gap in _NEXT_RECORD.finditer(self._text, start + 1):
            if self._container(gap.end()) > 0:
                return gap.end()
        return len(self._text)

    def elements(self, start: int) -> Iterator[Span]:
        """Yield the values in the array that begins at a place; none if it is not sound."""
        position = start + 1 if self._container(start) != _BROKEN else len(self._text)
        while found := _ELEMENT.match(self._text, position):
            first, position = found.span(1) if found[1] else (found.end(), abs(self._container(found.end())))
            yield first, position

    def members(self, start: int) -> Iterator[tuple[str, Span]]:
        """Yield the names, as written, and values in the object that begins at a place; none if it is not sound."""
        position = start + 1 if self._container(start) != _BROKEN else len(self._text)
        while found := _MEMBER.match(self._text, position):
            first, position = found.span(2) if found[2] else (found.end(), abs(self._container(found.end())))
            yield found[1], (first, position)

    def _container(self, start: int) -> int:
        if self._text[start : start + 1] not in _FIRST:
            return _BROKEN
        if not self._ends[start]:
            self._walk(start)
        return self._ends[start]

    def _walk(self, start: int) -> None:
        """Find the ends of the object or array that begins at a place, and of all in it, as far as it is sound."""
        text = self._text
        pattern, position = _FIRST[text[start]], start + 1
        step = pattern.match(text, position)
        if step and step.lastindex == 1:  # most hold no other
            self._ends[start] = self._flat(start, step)
            return
        opened, named = array("i", [start]), bytearray(1)
        while step:
            if not named[-1] and text[opened[-1]] == "{" and self._mark.search(text, position, step.end()):
                named[-1] = 1
            position = step.end()
            if step.lastindex == 1:
                if not self._close(step.start(1), position, opened, named):
                    break
                pattern = _FURTHER[text[opened[-1]]]
            else:
                first = step.start(2)
                opened.append(first)
                if position - first > 1:
                    opened.extend(place for place in range(first + 1, position) if text[place] == "[")
                named += bytes(len(opened) - len(named))
                pattern = _FIRST[text[position - 1]]
            step = pattern.match(text, position)
        for place in opened:
            self._ends[place] = _BROKEN

    def _flat(self, start: int, step: re.Match[str]) -> int:
        """Return what is noted of an object or array in which no other stands, or that ends with a wrong bracket."""
        is_object, place = self._text[start] == "{", step.start(1)
        if is_object != (self._text[place] == "}"):
            return _BROKEN
        return place + 1 if is_object and self._mark.search(self._text, start, place) else -place - 1

    def _close(self, start: int, end: int, opened: array[int], named: bytearray) -> bool:
        """Note which of what is open ends at the brackets of a stretch; whether the walk goes on behind them."""
        for place in range(start, end):
            bracket = self._text[place]
            if bracket not in "]}":
                continue
            if (bracket == "]") != (self._text[opened[-1]] == "["):
                return False
            self._ends[opened.pop()] = place + 1 if named.pop() else -place - 1
            if not opened:
                return False
        return True
