"""Wrappers: what shippers put around a record is taken off, and what only looks like one stays a record of its own."""

import json
from typing import Any

import pytest

from detectors.events import Event
from detectors.ingestion.counting import BatchCounter
from detectors.ingestion.delta import Delta
from detectors.rules.catalogue import BY_ID
from detectors.sources.catalogue import SOURCES
from detectors.sources.decoding import Record, decode
from detectors.sources.wrappers import SHORTEST, unwrap
from tests.builders import START, canonical_id, event, keys_listed, list_key, message

TEXT = json.dumps(list_key())
RECORD = list_key()

CLOUDWATCH: dict[str, Any] = {
    "messageType": "DATA_MESSAGE",
    "owner": "111122223333",
    "logGroup": "/models",
    "logEvents": [{"id": "1", "timestamp": 1, "message": TEXT}, {"id": "2", "timestamp": 2, "message": TEXT}],
}
EXPORTED = {
    "TimeGenerated": RECORD["time"],
    "Category": "Audit",
    "OperationName": "ListKey",
    "_ResourceId": canonical_id(),
    "properties_s": json.dumps(RECORD["properties"]),
}


_TOLD = frozenset[str]().union(*(source.record_wire for source in SOURCES))


def _counted(*records: object) -> Delta:
    return BatchCounter([BY_ID["model_theft"]]).count([event(1, *records)], START)


def _nested(depth: int) -> object:
    """Return a record in so many wrappers."""
    inner: object = RECORD
    for _ in range(depth):
        inner = {"message": json.dumps(inner)}
    return inner


@pytest.mark.parametrize(
    ("wrapped", "records"),
    [
        (CLOUDWATCH, 2),
        ({"version": "0", "detail-type": "API call", "detail": RECORD}, 1),
        ({"message": TEXT, "source_type": "aws_kinesis_firehose"}, 1),
        ({"@timestamp": 1, "log": f"{TEXT}\n"}, 1),
        ({"schema": {"type": "string"}, "payload": TEXT}, 1),
        ({"schema": None, "payload": RECORD}, 1),
        (EXPORTED, 1),
        (TEXT, 1),
        ({"message": json.dumps({"records": [RECORD, RECORD]})}, 2),
    ],
)
def test_what_is_wrapped_is_counted(wrapped: object, records: int) -> None:
    """As the records that it is; nothing of it is unknown."""
    delta = _counted(wrapped)
    assert [tally.count for key, tally in delta.tallies.items() if key.rule_id == "model_theft"] == [records]
    assert (delta.counters.unknown, delta.flaws) == ({}, [])


@pytest.mark.parametrize("text", ["{", "{}", "[{}]", '{"a": 1}'])
def test_what_is_too_short_for_a_record_is_wrapped_in_none(text: str) -> None:
    """Shippers send broken lines one by one; such a one is told by its shape, which costs less than a message."""
    delta = _counted({"log": text}, {"log": json.loads(text)} if text[-1] == "}" else {"log": text})
    assert (delta.counters.records, delta.counters.unknown, delta.flaws) == (2, {"log": 2}, [])
    assert min(len(json.dumps({name: 1}, separators=(",", ":"))) for name in _TOLD) == SHORTEST


@pytest.mark.parametrize(("depth", "known"), [(0, True), (1, True), (2, True), (3, False)])
def test_a_shipper_behind_a_shipper_is_the_most(depth: int, *, known: bool) -> None:
    """What lies deeper is of no source that is known, and said so."""
    delta = _counted(_nested(depth))
    assert any(key.rule_id == "model_theft" for key in delta.tallies) is known
    assert bool(delta.counters.unknown) is not known


@pytest.mark.parametrize(
    "record",
    [
        {"message": "a line of text"},
        {"message": 5},
        {"detail": "text"},
        {"logEvents": "none"},
        {"logEvents": [{"id": 1}]},
        {"log": '{"cut'},
        {"payload": [1]},
    ],
)
def test_what_only_looks_like_a_wrapper_is_told_and_costs_no_neighbour(record: dict[str, Any]) -> None:
    """By the names of its fields, or as a flaw."""
    delta = _counted(record, RECORD)
    assert [tally.count for key, tally in delta.tallies.items() if key.rule_id == "model_theft"] == [1]
    assert list(delta.counters.unknown) == [", ".join(record)] or [placed.flaw.reason for placed in delta.flaws]


def test_an_event_whose_detail_tells_no_time_has_that_of_the_event() -> None:
    """EventBridge says it outside."""
    (record,) = decode(
        message({"time": "2026-11-23T08:00:00Z", "detail": {"eventName": "A", "eventSource": "b"}})
    ).records
    (inner,) = unwrap(record)
    assert decode(inner).records[0].time == "2026-11-23T08:00:00Z"
    assert unwrap(Record()) == []


def test_wrapped_keys_are_listed() -> None:
    """The wrapper is what is missing here."""
    assert keys_listed([event(1, RECORD)]) == 1


RECORDS_OF_SHIPPERS = [
    {"message": TEXT, "source_type": "aws_s3"},
    {"@timestamp": 1, "log": f"{TEXT}\n"},
    {"schema": None, "payload": TEXT},
    {"messageType": "DATA_MESSAGE", "logEvents": [{"message": TEXT}]},
    {"detail-type": "API call", "detail": RECORD},
]


@pytest.mark.parametrize("wrapped", RECORDS_OF_SHIPPERS)
@pytest.mark.parametrize("cut", ['{"message": "{\\"time\\": \\"2026', '{"log": "{\\"a\\": {}', '{"log": {"time": '])
@pytest.mark.parametrize("between", ["\n", ", ", "},\n"])
def test_a_wrapper_behind_a_broken_line_is_found(wrapped: dict[str, Any], cut: str, between: str) -> None:
    """Though it names no field of a record itself."""
    body = (cut + between + json.dumps(wrapped)).encode()
    delta = BatchCounter([BY_ID["model_theft"]]).count([Event(1, START, body)], START)
    assert [tally.count for key, tally in delta.tallies.items() if key.rule_id == "model_theft"] == [1]
    assert delta.counters.quarantined == {"not_json": 1}


@pytest.mark.parametrize("part", [{"message": "a line of text"}, {"detail": "x"}, {"logEvents": None}, {"message": 5}])
def test_what_shares_a_name_with_wrappers_ends_no_broken_record(part: dict[str, Any]) -> None:
    """An error's message, say, in the middle of a record."""
    body = f'{{"x": what, "errors": [{{}}, {json.dumps(part)}]}}'.encode()
    delta = BatchCounter([BY_ID["model_theft"]]).count([Event(1, START, body)], START)
    assert (delta.counters.records, delta.counters.quarantined) == (1, {"not_json": 1})


@pytest.mark.parametrize(
    "odd", [{"Category": 1}, {"OperationName": 5, "Category": []}, {**EXPORTED, "OperationName": 7, "Category": None}]
)
def test_a_row_whose_category_and_operation_are_no_texts_is_no_export(odd: dict[str, Any]) -> None:
    """So it is unwrapped no further; its neighbour counts."""
    delta = _counted(odd, RECORD)
    assert [tally.count for key, tally in delta.tallies.items() if key.rule_id == "model_theft"] == [1]
    assert sum(delta.counters.unknown.values()) == 1


@pytest.mark.parametrize("status", ["200", 200])
def test_the_status_of_an_exported_row_is_kept_as_text_or_number(status: object) -> None:
    """Everything else in it is a text."""
    row = {"OperationName": "ChatCompletions_Create", "ResultSignature": status, "CallerIPAddress": 5}
    (inner,) = unwrap(decode(message(row)).records[0])
    assert json.loads(inner) == {"operationName": "ChatCompletions_Create", "resultSignature": status}
