"""Where values begin and end: as the standard library finds it, in work that is proportional to the text."""

import json
import re
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.sources import structure
from detectors.sources.structure import Structure, marks_of

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
MARKS = st.sampled_from(list("{}[],:'\"\\ \n\x01\xa0é\U0001f600"))
WORDS = st.sampled_from(["{}", "[]", '"a"', '"time":', "1", "-0", "1.", ".5", "1e9", "01", "NaN", "-Infinity", "true"])
PIECES = MARKS | WORDS | st.sampled_from(["nul", "\\u0041", "\\ud83d", "\\q"])


def _end(text: str) -> int:
    """Where the standard library sees the first value end; 0 if it sees none."""
    try:
        return json.JSONDecoder(strict=False).raw_decode(text)[1]
    except ValueError:
        return 0


@settings(max_examples=500, deadline=None)
@given(st.one_of(VALUES.map(json.dumps), st.lists(PIECES, max_size=20).map("".join)))
def test_a_value_ends_where_the_standard_library_sees_it_end(text: str) -> None:
    """Sound or not, at every place. An apostrophe would be a quote there."""
    text = text.replace("'", "")
    known = Structure(text)
    assert [known.end(start) for start in range(len(text))] == [
        _end(text[start:]) and start + _end(text[start:]) for start in range(len(text))
    ]


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.text(), VALUES, max_size=5), st.lists(VALUES, max_size=5), st.sampled_from([None, 1]))
def test_what_stands_in_objects_and_arrays_is_told(
    members: dict[str, Any], elements: list[Any], indent: int | None
) -> None:
    """Each under its name, in order."""
    text = json.dumps(members, indent=indent)
    found = Structure(text).members(0)
    assert {json.loads(name): repr(json.loads(text[slice(*span)])) for name, span in found} == {
        name: repr(value) for name, value in members.items()
    }
    text = json.dumps(elements, indent=indent)
    assert [repr(json.loads(text[slice(*span)])) for span in Structure(text).elements(0)] == list(map(repr, elements))


@pytest.mark.parametrize(
    "text",
    [
        "{'a': 1}",
        "{'it\\'s': 'a \"b\"'}",
        '{"a": [ 218 B blob data ]}',
        "[\"a\tb\n\", 'c']",
        "[" * 99_999 + "]" * 99_999,
    ],
)
def test_what_can_be_repaired_is_sound(text: str) -> None:
    """However deep it is."""
    assert Structure(text).end(0) == len(text)


@pytest.mark.parametrize("text", ['{"a": 1, "b": {"c": [}', '{"a": {"b": "', "{", "", "x", "[[1, 2]", '{"a" 1}'])
def test_what_is_not_sound_holds_nothing(text: str) -> None:
    """Whoever asks for it gets an answer, not an endless walk."""
    known = Structure(text)
    assert not [*islice(known.members(0), 9), *islice(known.elements(0), 9)]


class Measured:
    """A pattern that counts what it goes over."""

    def __init__(self, pattern: re.Pattern[str], lengths: list[int]) -> None:
        self._pattern = pattern
        self._lengths = lengths

    def match(self, text: str, start: int) -> re.Match[str] | None:
        """As a pattern does."""
        found = self._pattern.match(text, start)
        self._lengths.append(found.end() - start if found else 1)
        return found


@pytest.mark.parametrize(
    "unit",
    [
        '[{"a":',
        '{"time":[',
        ',{"',
        '{"a":"},{"',
        '{"a":\'},{"',
        '{"a":1},',
        "[1],",
        "{'a':{\"b\":'",
        '}{"a":{"',
        '{"x":[{"a":\\',
        '\n{"log":"{',
        '\n{"message":"{"',
    ],
)
@pytest.mark.parametrize("begin", ["", '{"records":[{"time":"', "[{'x':'", '[{"a":1}x'])
def test_no_text_is_gone_over_more_than_three_times(monkeypatch: pytest.MonkeyPatch, unit: str, begin: str) -> None:
    """Though every place in it is asked for."""
    lengths: list[int] = []
    for patterns in (structure._FIRST, structure._FURTHER):  # noqa: SLF001 - counts what it does
        for bracket, pattern in patterns.items():
            monkeypatch.setitem(patterns, bracket, Measured(pattern, lengths))
    text = begin + unit * 500
    known = Structure(text, marks_of({"time"}))
    for start in range(len(text)):
        if text[start] in "[{":
            known.end(start)
    assert 0 < sum(lengths) <= 3 * len(text) + text.count("{") + text.count("[")
