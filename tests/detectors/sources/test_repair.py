"""Repairs of broken JSON: what is certain is read, and no more."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.sources.repair import Broken, clean, elements, parse
from detectors.sources.structure import marks_of
from tests.examples import examples

RECORD = {"operationName": "ListKey", "note": 'it\'s said: "no"'}
TEXT = json.dumps(RECORD)
MARKS = marks_of({"operationName"})


def test_what_surrounds_a_message_is_taken_off() -> None:
    """A byte order mark, NULs, white space; inside nothing changes."""
    assert clean(b'\xef\xbb\xbf \n{"a": "\x00 "}\x00\x00\r\n') == b'{"a": "\x00 "}'


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": "x\ny\tz"}', {"a": "x\ny\tz"}),
        ("{'a': 'b'}", {"a": "b"}),
        ("{'a': 'it\\'s \"so\"'}", {"a": 'it\'s "so"'}),
        ('{"a": "it\'s"}', {"a": "it's"}),
        ('{"a": [ 218 B blob data ], "b": 1}', {"a": [], "b": 1}),
        ('{"a": "[ 218 B blob data ]"}', {"a": "[ 218 B blob data ]"}),
        ("{'a': [ 1 B blob data ]}", {"a": []}),
    ],
)
def test_a_known_breakage_has_one_meaning(text: str, value: object) -> None:
    """Each repair is made only where the text cannot mean anything else."""
    assert parse(text) == value


@pytest.mark.parametrize("text", ["", "{", "{'a: 1}", '{"a" 1}', "what", "{a: 1}", "[" * 5_000, '{"a": 1} x'])
def test_what_is_not_certain_is_not_read(text: str) -> None:
    """A guess would count what nobody said."""
    with pytest.raises(json.JSONDecodeError):
        parse(text)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@examples(100)
@given(json_values)
def test_json_that_is_sound_is_read_as_it_is(value: object) -> None:
    """No repair touches it."""
    assert parse(json.dumps(value)) == value


@examples(100)
@given(st.dictionaries(st.text("ab'\"\\ é{}[],:"), st.text("ab'\"\\ é{}[],:"), max_size=4))
def test_any_text_in_single_quotes_comes_back(value: dict[str, str]) -> None:
    """As a sender writes it that quotes with an apostrophe and escapes it."""

    def quoted(text: str) -> str:
        return "'" + json.dumps(text, ensure_ascii=False)[1:-1].replace('\\"', '"').replace("'", "\\'") + "'"

    written = ", ".join(f"{quoted(name)}: {quoted(text)}" for name, text in value.items())
    assert parse(f"{{{written}}}") == value


@pytest.mark.parametrize("joined", [f"{TEXT}\n{TEXT}", f'{{"records": [{TEXT}]}}\n{{"records":[{TEXT}]}}', TEXT * 2])
def test_records_in_a_row_are_read_one_by_one(joined: str) -> None:
    """Some senders join messages."""
    assert list(elements(joined, MARKS)) == [TEXT] * 2


def test_a_broken_record_keeps_its_place_between_sound_ones() -> None:
    """As the stretch of text that it is."""
    found = list(elements(f'{{"records": [{TEXT}, {{"operationName": what}}, {TEXT}]}}', MARKS))
    assert [found[0], found[2]] == [TEXT] * 2
    assert isinstance(found[1], Broken)
    assert "what" in found[1].text


@examples(60)
@given(cut=st.integers(1, len(TEXT) - 1), before=st.integers(0, 3))
def test_a_message_cut_anywhere_gives_the_records_before_the_cut(cut: int, before: int) -> None:
    """Whole, and the rest as one that is broken."""
    found = list(elements('{"records": [' + f"{TEXT}, " * before + TEXT[:cut], MARKS))
    assert found[:before] == [TEXT] * before
    assert all(isinstance(one, Broken) for one in found[before:])
