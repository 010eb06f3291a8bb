"""New key lister: keys of a resource listed by somebody new, once its listers have been watched for two weeks."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.evaluation.policy import Policy
from detectors.events import Event
from detectors.ingestion.counting import BatchCounter
from detectors.rules.catalogue import BY_ID, CATALOGUE
from detectors.storage.journal import Plan
from detectors.windows import BUCKET, bucket_start, key_of, window_ends
from tests import oracle
from tests.builders import PIPELINE, SOURCE, START, canonical_id, chat, event, list_key, message
from tests.deployment import Deployment
from tests.examples import examples
from tests.oracle import Arrival, Place, RawRecord

NEW_KEY_LISTER = BY_ID["new_key_lister"]

EVE, MALLORY = "1e2f3a4b-4b5c-4d6e-8f70-8192a3b4c5d6", "2e2f3a4b-4b5c-4d6e-8f70-8192a3b4c5d6"
TWO_WEEKS = timedelta(days=14)


def _rows(deployment: Deployment) -> list[dict[str, Any]]:
    return [dict(row) for row in deployment.posted.of(NEW_KEY_LISTER.id)]


def _watched(since: timedelta, name: str = "aoai-prod") -> Deployment:
    """Return a deployment in which the pipeline listed keys that long before 08:00."""
    deployment = Deployment()
    deployment.receive(START - since, 1, name)
    deployment.tick(START - since + BUCKET)
    return deployment


@pytest.mark.parametrize(
    ("since", "fires"),
    [
        (TWO_WEEKS - BUCKET, False),
        (TWO_WEEKS - BUCKET + timedelta(microseconds=1), True),
        (TWO_WEEKS, True),
        (TWO_WEEKS + timedelta(days=300), True),
        (timedelta(hours=2), False),
    ],
)
def test_a_newcomer_fires_once_others_were_watched_for_two_weeks(since: timedelta, *, fires: bool) -> None:
    """From the first bucket in which anybody listed keys of the resource; a bucket less is learning still."""
    deployment = _watched(since)
    deployment.receive(START, 1, caller=EVE)
    deployment.tick(START + BUCKET)
    rows = _rows(deployment)
    assert [(row["Status"], row["Group"]) for row in rows] == (
        [("New", {"ResourceId": canonical_id(), "Caller": EVE})] if fires else []
    )


def test_a_finding_tells_who_is_new_and_for_how_long_others_were_watched() -> None:
    """One listing is enough; the days are whole ones."""
    deployment = _watched(timedelta(days=20, hours=23))
    deployment.receive(START, 3, caller=EVE)
    deployment.tick(START + BUCKET)
    (row,) = _rows(deployment)
    assert row["Triggers"] == [
        {"Name": "count", "Measure": "count", "Value": 3, "Threshold": 1},
        {"Name": "learning_days", "Measure": "days_watched", "Value": 20, "Threshold": 14},
    ]
    assert (row["ResourceName"], row["Callers"]) == ("aoai-prod", [{"ObjectId": EVE, "IpAddress": "", "Count": 3}])
    assert (row["Severity"], row["RiskScore"]) == ("Low", 21)


def test_a_newcomer_is_one_episode_of_an_hour_and_known_from_then_on() -> None:
    """New once however often she lists keys, closed an hour later; when she comes again she is known."""
    deployment = _watched(TWO_WEEKS)
    for minute in range(5, 200, 10):
        deployment.receive(START + timedelta(minutes=minute), minute, caller=EVE)
    for tick in range(1, 21):
        deployment.tick(START + BUCKET * tick)
    assert [row["Status"] for row in _rows(deployment)] == ["New"] + ["Ongoing"] * 5 + ["Closed"]
    deployment.receive(START + timedelta(days=1), 1, caller=EVE)
    deployment.tick(START + timedelta(days=1, minutes=10))
    assert len(_rows(deployment)) == 7


def test_the_pipeline_itself_and_a_resource_that_is_new_fire_nothing() -> None:
    """Nobody was there before them to be compared with."""
    deployment = _watched(TWO_WEEKS)
    deployment.receive(START, 1, "aoai-new", caller=EVE)
    deployment.receive(START, 1, "aoai-new", caller=MALLORY)
    deployment.receive(START, 1)
    deployment.tick(START + BUCKET)
    assert _rows(deployment) == []


def test_a_caller_known_to_one_resource_is_new_to_another() -> None:
    """What is learnt belongs to a resource."""
    deployment = Deployment()
    for name, caller in [("aoai-prod", PIPELINE), ("aoai-prod", EVE), ("aoai-dev", PIPELINE)]:
        deployment.receive(START - TWO_WEEKS, 1, name, caller=caller)
    deployment.tick(START - TWO_WEEKS + BUCKET)
    for name in ("aoai-prod", "aoai-dev"):
        deployment.receive(START + timedelta(minutes=5), 1, name, caller=EVE)
    deployment.tick(START + BUCKET)
    assert [row["ResourceName"] for row in _rows(deployment)] == ["aoai-dev"]


def test_callers_without_an_object_id_are_not_told_apart() -> None:
    """Nor is anything but a key listing read; the excess is for model theft."""
    other = [list_key(caller=""), {**list_key(), "properties": None}, {**list_key(), "category": "audit"}, chat()]
    tallies = BatchCounter(CATALOGUE).count([event(1, *other)], START).tallies
    assert [key for key in tallies if key.rule_id == NEW_KEY_LISTER.id] == []


def test_evaluating_the_windows_again_says_the_same_again() -> None:
    """Though by then the newcomer is known."""
    deployment = _watched(TWO_WEEKS)
    deployment.receive(START, 2, caller=EVE)
    for tick in range(1, 9):
        deployment.tick(START + BUCKET * tick)
    before = [{**row, "TimeGenerated": ""} for row in _rows(deployment)]
    assert len(before) == 7
    for tick in range(1, 9):
        deployment.make_due(START + BUCKET * tick)
    assert len(deployment.tick(START + BUCKET * 9)) == 9
    assert [{**row, "TimeGenerated": ""} for row in _rows(deployment)] == before


def test_a_newcomer_is_dated_by_the_first_bucket_of_a_window() -> None:
    """Also in the first window that is evaluated after an outage, which holds six of them."""
    deployment = _watched(TWO_WEEKS)
    for minute in (5, 45):
        deployment.receive(START + timedelta(minutes=minute), 1, caller=EVE)
    found = [_new(deployment, START + timedelta(minutes=minute)) for minute in (60, 70)]
    assert found == [{(NEW_KEY_LISTER.id, (canonical_id(), EVE))}, set()]


def test_only_newcomers_fire_even_where_nothing_has_to_be_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is being new that counts; the learning period is one more threshold."""
    count, _ = NEW_KEY_LISTER.thresholds
    monkeypatch.setitem(BY_ID, NEW_KEY_LISTER.id, replace(NEW_KEY_LISTER, thresholds=(count,)))
    deployment = _watched(timedelta(hours=2))
    deployment.receive(START, 1)
    deployment.receive(START, 1, caller=EVE)
    assert _new(deployment, START + BUCKET) == {(NEW_KEY_LISTER.id, (canonical_id(), EVE))}


def test_its_numbers_are_the_contract() -> None:
    """One listing, two weeks."""
    rule = NEW_KEY_LISTER
    assert {one.name: one.at_least for one in rule.thresholds} == {"count": 1, "learning_days": 14}
    assert (rule.requires, rule.first_seen_only, rule.per_minute) == ("all", True, False)


callers = st.sampled_from(["", PIPELINE, EVE, MALLORY])


@st.composite
def streams(draw: st.DrawFn) -> list[Arrival]:
    """Key listings and other records of two resources within three days, some of them many at once."""
    hours = st.integers(0, 71)
    every = []
    for hour in sorted(draw(st.lists(hours, min_size=1, max_size=12))):
        at = START + timedelta(hours=hour, seconds=draw(st.sampled_from([0, 599, 600, 1800, 3599])))
        record: RawRecord = list_key(draw(st.sampled_from(["aoai-prod", "aoai-dev"])), caller=draw(callers))
        record = draw(st.sampled_from([record, record, record, {**record, "category": "audit"}, chat()]))
        every += [Arrival(at, record)] * draw(st.integers(1, 3))
    return sorted(every, key=lambda arrival: arrival.at)


def _new(deployment: Deployment, end: datetime) -> set[Place]:
    """Whom an evaluation of a window finds new, through the real steps."""
    plan = Plan(key_of(end), inputs="", base_window=None, base="", etag=None)
    shards = deployment.evaluated(plan)
    return {(one.rule_id, one.group) for shard in shards for one in shard.results if one.triggers}


@examples(50)
@given(every=streams(), again=st.integers(0, 5), data=st.data())
def test_newcomers_are_whom_plain_loops_find(every: list[Arrival], again: int, data: st.DataObject) -> None:
    """In every window that holds anything, as it comes and again at the end; events are delivered again."""
    numbers = {NEW_KEY_LISTER.id: {"count": 1, "learning_days": 1}}
    deployment = Deployment(shards=2, policy=Policy(numbers))
    events = [
        Event(sequence, arrival.at, b"\xef\xbb\xbf" + message(arrival.record, 42))
        for sequence, arrival in enumerate(every)
    ]
    expected: dict[datetime, set[Place]] = {}
    delivered = 0
    for end in _windows(every):
        ready = sum(event.enqueued < end for event in events)
        if ready > delivered:
            deployment.ingest(SOURCE, events[max(delivered - again, 0) : ready])
            delivered = ready
        expected[end] = oracle.newcomers(every, end, timedelta(days=1))
        assert _new(deployment, end) == expected[end]
    for end in data.draw(st.lists(st.sampled_from(list(expected)), max_size=5)):
        assert _new(deployment, end) == expected[end]


def _windows(every: Sequence[Arrival]) -> list[datetime]:
    """Return the windows that hold an arrival, oldest first."""
    firsts = {bucket_start(arrival.at) + BUCKET for arrival in every}
    return sorted({end for first in firsts for end in window_ends(first, first + 5 * BUCKET)})


def test_the_case_of_an_object_id_does_matter() -> None:
    """Entra writes them in one way; two spellings would be two callers, and are shown as they came."""
    tallies = BatchCounter(CATALOGUE).count([event(1, list_key(caller=EVE), list_key(caller=EVE.upper()))], START)
    groups = {key.group[1] for key in tallies.tallies if key.rule_id == NEW_KEY_LISTER.id}
    assert json.dumps(sorted(groups)) == json.dumps(sorted([EVE, EVE.upper()]))
