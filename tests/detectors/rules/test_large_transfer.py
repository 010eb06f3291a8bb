"""Large transfer: one large answer of any operation, or very many bytes to one caller within the hour."""

from datetime import timedelta
from typing import Any

import pytest

from detectors.ingestion.counting import BatchCounter
from detectors.rules.catalogue import BY_ID, CATALOGUE
from tests.builders import START, chat, event, list_key, of_another_service
from tests.deployment import Deployment
from tests.oracle import RawRecord

LARGE_TRANSFER = BY_ID["large_transfer"]

EVE, MALLORY = "1e2f3a4b-4b5c-4d6e-8f70-8192a3b4c5d6", "2e2f3a4b-4b5c-4d6e-8f70-8192a3b4c5d6"


def _answer(length: int, caller: str = EVE, **changes: object) -> RawRecord:
    return {**chat(responseLength=length, objectId=caller), "operationName": "Embeddings_Create", **changes}


def _rows(*batches: list[RawRecord]) -> list[dict[str, Any]]:
    """Return what is posted for an hour in which each batch arrives in a bucket of its own."""
    deployment = Deployment()
    for place, records in enumerate(batches):
        deployment.arrive(START + timedelta(minutes=10 * place + 1), *records)
    deployment.tick(START + timedelta(minutes=60))
    return [
        dict(row)
        for row in deployment.posted.of(LARGE_TRANSFER.id)
        if row["WindowEnd"][11:16] == "09:00" and row["Triggers"]
    ]


@pytest.mark.parametrize(
    "operation",
    ["ChatCompletions_Create", "Embeddings_Create", "ListFiles", "something that comes next year", "", None],
)
@pytest.mark.parametrize(("length", "fires"), [(999_999, False), (1_000_000, True)])
def test_one_large_answer_of_any_operation_fires(operation: str | None, length: int, *, fires: bool) -> None:
    """At a million bytes and not one below, also of operations that nobody has heard of."""
    assert bool(_rows([_answer(length, operationName=operation)])) is fires


@pytest.mark.parametrize(
    ("batches", "fires"),
    [
        ([[_answer(999_999)] * 1_000], False),  # 999,999,000
        ([[_answer(999_999)] * 1_000 + [_answer(999)]], False),  # 999,999,999
        ([[_answer(999_999)] * 1_000 + [_answer(1_000)]], True),  # 1,000,000,000
        ([[_answer(999_999)] * 400, [], [_answer(999_999)] * 600, [_answer(1_000)]], True),
        ([[_answer(999_999)] * 1_000, [_answer(999_999, MALLORY)] * 1_000], False),
        ([[_answer(999_999, "")] * 1_000 + [_answer(1_000, "")]], True),
        ([[_answer(999_999, "")] * 1_000 + [_answer(1_000, "", callerIpAddress="81.2.70.***")]], False),
    ],
)
def test_a_thousand_million_bytes_to_one_caller_fire(batches: list[list[RawRecord]], *, fires: bool) -> None:
    """Summed over the hour's buckets by caller: two callers of half as much are none."""
    assert bool(_rows(*batches)) is fires


def test_a_finding_names_the_heaviest_caller_first() -> None:
    """With bytes and records, though others called more often."""
    (row,) = _rows([_answer(100, MALLORY)] * 50, [_answer(700_000)] * 2, [_answer(1_500_000)])
    assert row["Triggers"] == [
        {"Name": "response_length", "Measure": "max_response_length", "Value": 1_500_000, "Threshold": 1_000_000}
    ]
    assert row["Callers"] == [
        {"ObjectId": EVE, "IpAddress": "", "Count": 3, "Bytes": 2_900_000},
        {"ObjectId": MALLORY, "IpAddress": "", "Count": 50, "Bytes": 5_000},
    ]
    assert (row["TotalResponseLength"], row["MaxResponseLength"], row["EventCount"]) == (2_905_000, 1_500_000, 53)


def test_both_triggers_can_fire_together() -> None:
    """Each with its own value."""
    (row,) = _rows([_answer(1_000_000)] * 1_000)
    assert [(one["Name"], one["Value"]) for one in row["Triggers"]] == [
        ("response_length", 1_000_000),
        ("caller_bytes", 1_000_000_000),
    ]


@pytest.mark.parametrize(
    "record",
    [
        _answer(5_000_000, category="Audit"),
        _answer(5_000_000, category="requestresponse"),
        list_key(responseLength=5_000_000),
        chat() | {"properties": {"requestLength": 5_000_000}},
        chat() | {"properties": None},
        of_another_service(),
        of_another_service() | {"properties": {"responseLength": 5_000_000}},
    ],
)
def test_other_categories_and_answers_without_a_length_do_not_count(record: RawRecord) -> None:
    """The length of a key listing is model theft's; another service's length means something else."""
    tallies = BatchCounter(CATALOGUE).count([event(1, record)], START).tallies
    assert [key for key in tallies if key.rule_id == LARGE_TRANSFER.id] == []


def test_only_this_rule_needs_bytes_by_caller() -> None:
    """Bytes by caller cost room, so the others do without."""
    tallies = BatchCounter(CATALOGUE).count([event(1, chat(responseLength=7, objectId=EVE), list_key())], START).tallies
    weighed = {key.rule_id: tally.caller_bytes for key, tally in tallies.items() if tally.caller_bytes}
    assert weighed == {LARGE_TRANSFER.id: {EVE: 7}}
    assert [rule.id for rule in CATALOGUE if rule.needs_bytes_by_caller] == [LARGE_TRANSFER.id]


def test_its_numbers_are_the_contract() -> None:
    """Medium where it is unusual for the account; informational where it is everyday use, which is learned."""
    rule = LARGE_TRANSFER
    assert {one.name: one.at_least for one in rule.thresholds} == {
        "response_length": 1_000_000,
        "caller_bytes": 1_000_000_000,
    }
    assert (rule.requires, rule.severity) == ("any", "Medium")
    assert all(one.usual for one in rule.thresholds)
