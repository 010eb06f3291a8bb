"""Insecure output: ten answers within the hour that succeed and say nothing."""

from datetime import timedelta
from typing import Any

import pytest

from detectors.ingestion.counting import BatchCounter
from detectors.rules.catalogue import BY_ID, CATALOGUE
from tests.builders import START, canonical_id, chat, event
from tests.deployment import Deployment
from tests.oracle import RawRecord

INSECURE_OUTPUT = BY_ID["insecure_output"]


def _empty(name: str = "aoai-prod", **changes: object) -> RawRecord:
    return {**chat(name, responseLength=0), **changes}


def _counted(*records: RawRecord) -> int:
    tallies = BatchCounter(CATALOGUE).count([event(1, *records)], START).tallies
    return sum(tally.count for key, tally in tallies.items() if key.rule_id == INSECURE_OUTPUT.id)


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({}, True),
        ({"resultSignature": 200}, True),
        ({"resultSignature": "429"}, False),
        ({"resultSignature": "200 "}, False),
        ({"resultSignature": None}, False),
        ({"resultSignature": True}, False),
        ({"properties": {"responseLength": 0, "modelName": "gpt-4o"}}, True),
        ({"properties": {"responseLength": 0, "objectId": "1e2f3a4b"}}, True),
        ({"properties": {"responseLength": 0, "modelName": "gpt-4o", "streamType": "Non-Streaming"}}, True),
        ({"properties": {"responseLength": 0, "modelName": "gpt-4o", "streamType": "Streaming"}}, False),
        ({"properties": {"responseLength": 0}}, False),
        ({"properties": {"responseLength": 1}}, False),
        ({"properties": {"responseLength": None}}, False),
        ({"properties": {}}, False),
        ({"properties": None}, False),
        ({"properties": '{"requestLength": 7}'}, False),
        ({"properties": {"responseLength": -1}}, False),
        ({"operationName": "Completions_Create"}, True),
        ({"operationName": "Responses_Create"}, True),
        ({"operationName": "Embeddings_Create"}, False),
        ({"operationName": "chatCompletions_Create"}, False),
        ({"category": "Audit"}, False),
        ({"time": None}, True),
    ],
)
def test_it_counts_chats_that_succeed_with_nothing(changes: RawRecord, *, counts: bool) -> None:
    """A missing length is not 0, and neither is the 0 of a stream; a row of no model and no caller is no call."""
    assert _counted(_empty(**changes)) == counts


def _rows(*arrivals: tuple[float, int]) -> list[dict[str, Any]]:
    """Return the rows of the window from 08:00 to 09:00: each arrival is a minute and a number of empty answers."""
    deployment = Deployment()
    for minute, count in arrivals:
        deployment.arrive(START + timedelta(minutes=minute), *[_empty()] * count)
    deployment.tick(START + timedelta(minutes=60))
    return [
        dict(row)
        for row in deployment.posted.of(INSECURE_OUTPUT.id)
        if row["WindowEnd"][11:16] == "09:00" and row["Triggers"]
    ]


@pytest.mark.parametrize(
    ("arrivals", "fires"),
    [
        ([(1, 9)], False),
        ([(1, 10)], True),
        ([(0, 5), (59.999, 5)], True),
        ([(0, 5), (60, 5)], False),
        ([(-0.001, 1), (0, 9)], False),
        ([(5, 4), (15, 1), (45, 4)], False),
        ([(5, 4), (15, 1), (45, 5)], True),
    ],
)
def test_it_fires_at_ten_within_the_hour_of_arrival(arrivals: list[tuple[float, int]], *, fires: bool) -> None:
    """Nine do not, and ten over the edge of the hour do not."""
    assert bool(_rows(*arrivals)) is fires


def test_answers_that_say_something_do_not_count() -> None:
    """Among a thousand of them, nine empty ones are nine."""
    deployment = Deployment()
    deployment.arrive(START, *[chat()] * 1_000, *[_empty()] * 9, *[_empty("aoai-dev")] * 10)
    deployment.tick(START + timedelta(minutes=10))
    (row,) = deployment.posted.of(INSECURE_OUTPUT.id)
    assert (row["ResourceId"], row["EventCount"], row["Group"]) == (
        canonical_id("aoai-dev"),
        10,
        {"ResourceId": canonical_id("aoai-dev")},
    )
    assert (row["MaxResponseLength"], row["TotalResponseLength"]) == (0, 0)


def test_it_is_the_upstream_rule() -> None:
    """Its number, severity and tags are the contract."""
    rule = INSECURE_OUTPUT
    assert (rule.source_id, rule.severity, rule.risk_score) == ("fb16f9ef-cb03-4234-adc2-44641f3b71ee", "Low", 21)
    assert {one.name: one.at_least for one in rule.thresholds} == {"count": 10}
    assert (rule.techniques, rule.per_minute, rule.first_seen_only) == (("LLM02",), False, False)
