"""Denial of service: ten long prompts to one resource within a minute of the records' own time."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from detectors.ingestion.counting import BatchCounter
from detectors.rules.catalogue import BY_ID, CATALOGUE
from tests.builders import START, canonical_id, chat, event, list_key, of_rules
from tests.deployment import Deployment
from tests.oracle import RawRecord

DENIAL_OF_SERVICE = BY_ID["denial_of_service"]


def _chats(
    lengths: Sequence[int | None], time: str = "2026-11-23T07:59:58.1234567Z", **changes: object
) -> list[RawRecord]:
    """Return a chat for each request length; None for a record that carries none."""
    fields: list[RawRecord] = [{} if length is None else {"requestLength": length} for length in lengths]
    return [{**chat(**given), "time": time, **changes} for given in fields]


def _minutes(*records: RawRecord) -> dict[str, int]:
    """How many records each minute got."""
    tallies = BatchCounter(CATALOGUE).count([event(1, *records)], START).tallies
    return {key.group[1]: tally.count for key, tally in tallies.items() if key.rule_id == DENIAL_OF_SERVICE.id}


def _rows(*records: RawRecord) -> list[dict[str, Any]]:
    deployment = Deployment()
    deployment.arrive(START + timedelta(minutes=1), *records)
    deployment.tick(START + timedelta(minutes=10))
    return [dict(row) for row in deployment.posted.of(DENIAL_OF_SERVICE.id)]


@pytest.mark.parametrize(
    ("lengths", "fires"),
    [
        ([5_000] * 9, False),
        ([5_000] * 10, True),
        ([5_000] * 9 + [4_999], False),
        ([5_000] * 9 + [None], True),
        ([5_000] + [None] * 9, True),
        ([4_999] + [None] * 9, False),
        ([4_999] * 10, False),
        ([None] * 10, False),
        ([0] + [5_000] * 9, False),
        ([0] + [5_556] * 9, True),
        ([1_000_000] * 9, False),
        ([4_999] * 99 + [5_099], True),
        ([4_999] * 99 + [5_098], False),
    ],
)
def test_it_fires_at_ten_records_of_five_thousand_bytes_on_average(
    lengths: Sequence[int | None], *, fires: bool
) -> None:
    """Both are needed, each to the last byte; 4,999.9 is not 5,000, and a missing length is not 0."""
    assert bool(_rows(*_chats(lengths))) is fires


@pytest.mark.parametrize(
    ("time", "minute"),
    [
        ("2026-11-23T07:59:59.9999999Z", "2026-11-23T07:59Z"),
        ("2026-11-23T07:59:59.9999995Z", "2026-11-23T07:59Z"),
        ("2026-11-23T08:00:00.0000000Z", "2026-11-23T08:00Z"),
        ("2026-11-23T08:00:00Z", "2026-11-23T08:00Z"),
        ("2026-11-23T09:30:59.5+01:00", "2026-11-23T08:30Z"),
        ("2026-11-23T13:45:00+05:45", "2026-11-23T08:00Z"),
        ("2026-11-22T23:59:59-01:00", "2026-11-23T00:59Z"),
        ("1969-12-31T23:59:59.9999999Z", "1969-12-31T23:59Z"),
    ],
)
def test_a_minute_is_of_the_records_own_time(time: str, minute: str) -> None:
    """In UTC whatever the offset, and never rounded up, whenever the records arrive."""
    assert _minutes(*_chats([5_000] * 3, time)) == {minute: 3}


def test_ten_records_on_both_sides_of_a_minute_are_not_ten_in_a_minute() -> None:
    """Seven before and three after its end are two minutes."""
    before, after = "2026-11-23T07:59:59.9999999Z", "2026-11-23T08:00:00Z"
    assert _rows(*_chats([9_000] * 7, before), *_chats([9_000] * 3, after)) == []
    (row,) = _rows(*_chats([9_000] * 7, before), *_chats([9_000] * 3, "2026-11-23T07:59:00Z"))
    assert row["Group"] == {"ResourceId": canonical_id(), "Minute": "2026-11-23T07:59Z"}


@pytest.mark.parametrize("time", [None, "", "yesterday", "23/11/2026 08:00:00"])
def test_a_record_without_a_time_has_no_minute(time: str | None) -> None:
    """It is quarantined with the reason rather than counted for a made-up minute; other rules still count it."""
    delta = BatchCounter(CATALOGUE).count([event(1, {**chat(), "time": time})], START)
    assert [key.rule_id for key in of_rules(delta.tallies)] == ["first_key_use", "large_transfer"]
    (placed,) = delta.flaws
    assert (placed.flaw.reason, placed.flaw.detail) == (
        "no_time",
        "denial_of_service: not counted, ResourceId and Minute cannot be read",
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"operationName": "chatcompletions_create"},
        {"operationName": "ChatCompletions_Create "},
        {"operationName": "Embeddings_Create"},
        {"operationName": None},
        {"category": "Audit"},
        {"category": "AzureOpenAIRequestUsage"},
        {"properties": {"requestLength": 5_000, "responseLength": 0}},
    ],
)
def test_what_is_no_call_that_writes_an_answer_does_not_count(changes: RawRecord) -> None:
    """Case and spelling are exact, as in the upstream rule; usage records and the second row of a call are no calls."""
    assert _minutes(*_chats([5_000] * 20, **changes), list_key()) == {}


@pytest.mark.parametrize(
    "operation",
    [
        "Responses_Create",
        "Completions_Create",
        "Creates a completion for the chat message",
        "getChatCompletions",
    ],
)
def test_every_operation_in_which_a_model_writes_counts(operation: str) -> None:
    """By their names through the years, and in Foundry."""
    assert _minutes(*_chats([5_000] * 3, operationName=operation)) == {"2026-11-23T07:59Z": 3}


@pytest.mark.parametrize("changes", [{"resultSignature": "429"}, {"resultSignature": 500}])
def test_any_chat_counts_whatever_became_of_it(changes: RawRecord) -> None:
    """A request that was refused cost its length all the same."""
    assert len(_rows(*_chats([5_000] * 10, **changes))) == 1


def test_resources_have_minutes_of_their_own() -> None:
    """Ten prompts to two accounts are nine and one."""
    nine, one = _chats([9_000] * 9), {**chat("aoai-dev", requestLength=9_000), "time": "2026-11-23T07:59:58Z"}
    assert _rows(*nine, one) == []


def test_a_finding_tells_the_minute_and_the_average() -> None:
    """With both triggers, the caller, and the resource in its own columns; informational while the usual is unknown."""
    (row,) = _rows(*_chats([6_000] * 9 + [None, 7_000]))
    assert row["Triggers"] == [
        {"Name": "count", "Measure": "count", "Value": 11, "Threshold": 10},
        {"Name": "request_length", "Measure": "avg_request_length", "Value": 6_100.0, "Threshold": 5_000},
    ]
    assert (row["ResourceName"], row["EventCount"], row["AvgRequestLength"]) == ("aoai-prod", 11, 6_100.0)
    assert row["Callers"] == [{"ObjectId": "", "IpAddress": "81.2.69.***", "Count": 11}]
    assert (row["Severity"], row["RiskScore"], row["Techniques"]) == ("Informational", 47, ["AML.T0029", "LLM04"])


def test_it_is_the_upstream_rule() -> None:
    """Its numbers, severity and tags are the contract."""
    rule = DENIAL_OF_SERVICE
    assert (rule.source_id, rule.severity, rule.risk_score) == ("b0450411-46e5-46d2-9b35-8b5dd9ba763e", "Medium", 47)
    assert {one.name: one.at_least for one in rule.thresholds} == {"count": 10, "request_length": 5_000}
    assert (rule.requires, rule.per_minute, rule.first_seen_only) == ("all", True, False)
