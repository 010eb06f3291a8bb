"""Skipping: nothing that a rule could select is lost, whatever the message looks like."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors import counting
from detectors.counting import BatchCounter
from detectors.events import Event
from detectors.rules import BY_ID, CATALOGUE
from detectors.sieve import Sieve, first_resource_id, records_in
from tests.builders import START, canonical_id, chat, list_key, message, resource_id

THEFT = BY_ID["model_theft"]
KEY_RULES = (THEFT, BY_ID["new_key_lister"])


def _escaped(text: str, places: set[int]) -> str:
    """A JSON string in which the letters at some places are written as escapes."""
    return '"' + "".join(f"\\u{ord(c):04x}" if i in places else c for i, c in enumerate(text)) + '"'


@given(st.sets(st.integers(0, 6)), st.sampled_from(["", " ", "\n"]))
def test_a_key_reading_is_seen_however_its_name_is_written(places: set[int], space: str) -> None:
    """Plain, with some letters as escapes, or all of them."""
    body = message(list_key()).replace(b'"ListKey"', f"{space}{_escaped('ListKey', places)}".encode())
    assert json.loads(body)["records"][0]["operationName"] == "ListKey"
    assert not Sieve([THEFT]).skips(body)
    (tally,) = BatchCounter([THEFT]).count([Event(1, START, body)], START).tallies.values()
    assert tally.count == 1


@given(st.lists(st.sampled_from([chat(), list_key(), {**list_key(), "category": "audit"}, {"time": 5}]), max_size=6))
def test_counts_are_the_same_with_and_without_it(records: list[dict[str, object]]) -> None:
    """Skipping is a matter of speed alone."""
    events = [Event(number, START, message(*records[number:])) for number in range(4)]
    with_sieve = BatchCounter(KEY_RULES).count(events, START).tallies
    without = BatchCounter((*KEY_RULES, BY_ID["large_transfer"])).count(events, START).tallies
    assert with_sieve == {key: tally for key, tally in without.items() if key.rule_id != "large_transfer"}


def test_only_messages_of_other_operations_are_skipped() -> None:
    """By rules that read one operation; with more, most messages would have to be parsed anyway."""
    other = message(chat(), chat())
    assert Sieve(KEY_RULES).skips(other)
    assert not Sieve(KEY_RULES).skips(message(chat(), list_key()))
    assert not Sieve(KEY_RULES).skips(message({**chat(), "operationName": "caf\u00e9"}))
    assert not Sieve(CATALOGUE).skips(other)
    assert not Sieve([THEFT, BY_ID["insecure_output"]]).skips(other)
    assert not Sieve([THEFT, replace(THEFT, operations=None)]).skips(other)
    assert not Sieve([]).skips(other)


def test_a_skipped_message_counts_as_seen_and_names_its_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """The heartbeat must not tell of silence: records and accounts are taken from the text."""
    monkeypatch.setattr(counting, "decode", None)  # nothing is parsed
    counters = BatchCounter([THEFT]).count([Event(1, START, message(chat(), chat("aoai-dev")))], START).counters
    assert (counters.messages, counters.records, counters.accounts) == (1, 2, [canonical_id()])


def test_records_and_resource_are_read_off_the_text() -> None:
    """Of what has none, nothing is made up."""
    assert records_in(b"nonsense") == 0
    assert first_resource_id(b"nonsense") is None
    assert first_resource_id(b'{"resourceId" : "/a"}') == "/a"
    assert first_resource_id(message(chat())) == resource_id()
