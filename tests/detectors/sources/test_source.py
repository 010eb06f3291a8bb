"""What holds for every log source, so that rules can be written over it."""

from typing import Any

import msgspec
import pytest

from detectors.sources.catalogue import BY_NAME, SOURCES
from detectors.sources.decoding import decode
from detectors.sources.source import CALLER, LENGTHS, TOKENS, LogSource, first_text
from tests.builders import bedrock, chat, list_key, message, of_another_service, refused

each_source = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
RECORDS: list[dict[str, Any]] = [
    chat(),
    list_key(),
    of_another_service(),
    bedrock(),
    refused("ThrottlingException"),
    {},
]


def _decoded(record: dict[str, Any]) -> msgspec.Struct:
    decoded: msgspec.Struct = decode(message(record)).records[0]
    return decoded


@each_source
def test_each_attribute_that_a_source_names_is_one_of_its_records(source: LogSource) -> None:
    """A misspelt one would be missing from every record."""
    attributes = {one.name for one in msgspec.structs.fields(source.record)}
    assert {*source.shape, *source.times, *source.private, source.watched_attribute} - {""} <= attributes


@each_source
def test_a_source_has_callers_and_no_field_that_is_called_as_a_number(source: LogSource) -> None:
    """Rules name both in one table; what is grouped by has a column, and a reason for records without it."""
    assert CALLER in source.fields
    assert source.fields.keys().isdisjoint(LENGTHS + TOKENS)
    assert source.number_wire.keys() <= set(source.numbers)
    assert [name for name, field in source.fields.items() if bool(field.column) < bool(field.missing)] == []


@each_source
def test_what_a_source_observes_begins_with_its_name_and_can_be_remembered(source: LogSource) -> None:
    """Traits of two sources are never taken for each other, and each has a name."""
    for record in RECORDS:
        traits, *_ = source.observe(_decoded(record))
        assert traits[0] == source.name
        assert hash(traits) == hash(tuple(traits))
        assert [field.read(source.traits(*traits)) for name, field in source.fields.items() if name == CALLER] == [None]


@each_source
def test_an_attribute_that_decides_a_field_alone_says_what_the_field_says(source: LogSource) -> None:
    """Else a record would be let go of by its shape that a rule selects."""
    for record in RECORDS:
        decoded = _decoded(record)
        of = source.traits(*source.observe(decoded)[0])
        for field in source.fields.values():
            assert not field.attribute or field.read(of) == field.of(decoded)


def test_each_record_has_one_reader_and_sources_have_names_of_their_own() -> None:
    """What says nothing has none."""
    assert list(BY_NAME.values()) == list(SOURCES)
    assert not any(source.recognises(_decoded({})) for source in SOURCES)


class Timed(msgspec.Struct):
    """A record with two times."""

    time: str | None = None
    timestamp: str | int | None = None


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (Timed("a", "b"), "a"),
        (Timed(None, "b"), "b"),
        (Timed("", "b"), "b"),
        (Timed(None, 1_700_000_000), None),
        (Timed(), None),
    ],
)
def test_the_first_that_is_there_is_the_time_if_it_is_a_text(record: Timed, found: str | None) -> None:
    """A number is none, whatever else stands there."""
    assert first_text(record, ("time", "timestamp")) == found
