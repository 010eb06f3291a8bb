"""Alerts of rules that look at minutes, whose rows are posted again under one id; and what exceptions explain."""

from collections import Counter
from contextlib import suppress
from datetime import date
from random import Random

import pytest

from detectors.errors import PostingError
from detectors.evaluation.policy import Policy
from detectors.evaluation.suppressions import Scope, SuppressionRule
from tests.builders import PIPELINE, canonical_id, chat, list_key, message
from tests.infra.attacks import STRANGER, TICK, alerts, at, clock, long_prompts, statuses, tick_until
from tests.infra.kql import FINDINGS, Deployment, Workspace


@pytest.fixture
def deployment() -> Deployment:
    """Provide a detector that posts into an empty workspace."""
    return Deployment(Workspace())


def flood(deployment: Deployment, arrived: float, minute: int, count: int) -> None:
    """Long prompts of one minute that arrive at another one."""
    deployment.receive(at(arrived), message(*[long_prompts(minute)] * count))


def test_a_minute_that_is_posted_again_alerts_no_one_again(deployment: Deployment) -> None:
    """Late records make it larger, under the same finding, which stays New."""
    for arrived, count in [(1, 12), (11, 5), (21, 3)]:
        flood(deployment, arrived, 1, count)
        deployment.tick(at(arrived + 9) + TICK)
    rows = deployment.posting.rows(FINDINGS)
    assert [(row["Status"], row["EventCount"]) for row in rows] == [("New", 12), ("New", 17), ("New", 20)]
    assert len({row["FindingId"] for row in rows}) == 1
    assert statuses(deployment, "denial_of_service", 60) == ["New"]


def test_a_minute_that_escalates_by_late_records_alerts(deployment: Deployment) -> None:
    """Its first row was Ongoing; the newest says that it doubled what was alerted on."""
    flood(deployment, 1, 1, 20)
    flood(deployment, 2, 2, 12)
    deployment.tick(at(10) + TICK)
    flood(deployment, 12, 2, 30)
    tick_until(deployment, 20, 60)
    rows = deployment.posting.rows(FINDINGS)
    assert [row["Status"] for row in rows] == ["New", "Ongoing", "Escalated"]
    assert rows[1]["FindingId"] == rows[2]["FindingId"]
    assert statuses(deployment, "denial_of_service", 90) == ["New", "Escalated"]


def test_several_minutes_of_one_window_are_one_alert_of_the_latest(deployment: Deployment) -> None:
    """The episode begins and doubles twice before anybody is told: the last of it says most."""
    for minute, count in [(1, 12), (2, 30), (3, 70), (4, 11)]:
        flood(deployment, minute, minute, count)
    tick_until(deployment, 10, 80)
    assert [row["Status"] for row in deployment.posting.rows(FINDINGS)] == [
        *("New", "Escalated", "Escalated", "Ongoing", "Closed")
    ]
    (row,) = alerts(deployment, "denial_of_service", 110)
    assert (row["Status"], row["EventCount"], row["Group"]) == (
        "Escalated",
        70,
        f'{{"ResourceId":"{canonical_id()}","Minute":"2026-11-23T08:03Z"}}',
    )


@pytest.mark.parametrize("seed", range(3))
def test_no_minute_alerts_twice_whatever_happens(deployment: Deployment, seed: int) -> None:
    """Late records, missed ticks, lost answers; every episode that readers see in the end was alerted on."""
    rng = Random(seed)
    waiting = [(minute, minute + rng.choice([0, 1, 12, 75]), rng.choice([4, 12, 30])) for minute in range(0, 120, 4)]
    for tick in range(1, 30):
        for one in [one for one in waiting if one[1] < tick * 10]:
            waiting.remove(one)
            minute, arrived, count = one
            flood(deployment, arrived, minute - rng.choice([0, 0, 1, 2]), count)
        deployment.posting.fails = rng.choice([0, 0, 0, 1])
        if rng.random() < 0.8 or tick > 26:
            with suppress(PostingError):
                deployment.tick(at(10 * tick) + TICK)
    deployment.posting.fails = 0
    tick_until(deployment, 300, 310)
    rows = alerts(deployment, "denial_of_service", 330)
    occasions = Counter((row["Status"], row["EpisodeId" if row["Status"] == "New" else "FindingId"]) for row in rows)
    assert set(occasions.values()) == {1}
    newest = {row["FindingId"]: row["EpisodeId"] for row in deployment.posting.rows(FINDINGS)}
    assert {row["EpisodeId"] for row in rows} >= set(newest.values())


@pytest.mark.parametrize("rule_id", ["model_theft", "denial_of_service"])
def test_what_an_exception_explains_alerts_no_one_until_a_stranger_joins(rule_id: str) -> None:
    """Suppressed windows and minutes, then one that nobody explains: New, once."""
    known = SuppressionRule(Scope(rule_id), frozenset({PIPELINE}), "Rotates keys.", "platform team", date(2026, 12, 31))
    deployment = Deployment(Workspace(), Policy(suppression_rules=[known]))
    for minute, caller in [(1, PIPELINE), (11, PIPELINE), (21, STRANGER)]:
        prompt = chat(objectId=caller, requestLength=6_000) | {"time": clock(minute)}
        record = list_key(caller=caller) if rule_id == "model_theft" else prompt
        deployment.receive(at(minute), message(*[record] * 120))
        deployment.tick(at(minute + 9) + TICK)
    assert [row["Status"] for row in deployment.posting.rows(FINDINGS)] == ["Suppressed", "Suppressed", "New"]
    assert statuses(deployment, rule_id, 33) == []
    tick_until(deployment, 40, 100)
    found = alerts(deployment, rule_id, 130)
    assert [(row["Status"], row["WindowEnd"]) for row in found] == [("New", at(30))]
