"""The analytics rules for records that cannot be read, for groups beyond the room, and for a rule that fails."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from detectors.rules.rule import Rule
from tests.builders import START, chat, list_key, message, refused
from tests.infra.kql import Deployment, Row, ScheduledRule, Workspace

pytestmark = pytest.mark.real

RISES = ScheduledRule.load("quarantine-rises.yaml")
TRUNCATED = ScheduledRule.load("groups-truncated.yaml")
SILENT = ScheduledRule.load("detector-silent.yaml")
TICK = timedelta(seconds=45)
MALLORY = "arn:aws:iam::111122223333:user/mallory"


@pytest.fixture
def deployment() -> Deployment:
    """Provide a detector that posts into an empty workspace."""
    return Deployment(Workspace())


def _at(window: int) -> datetime:
    return START + timedelta(minutes=10 * window)


def _run(deployment: Deployment, unread: dict[range, int], windows: int) -> None:
    """Deliver a sound record in each ten minutes, and in some of them others without a resource; evaluate."""
    for window in range(windows):
        broken = sum(many for when, many in unread.items() if window in when)
        records = [list_key()] * 100 + [{**list_key(), "resourceId": None}] * broken
        deployment.receive(_at(window) + timedelta(minutes=1), message(*records))
        deployment.tick(_at(window + 1) + TICK)


def _alerts(
    rule: ScheduledRule, deployment: Deployment, windows: int, *, worded: bool = False
) -> Iterator[tuple[int, Row]]:
    """Yield each alert, with the number of the ten minutes up to which its run looked."""
    start = START + timedelta(minutes=12)
    for at, row in rule.runs(deployment.posting.workspace, start, _at(windows), worded=worded):
        yield (at - START) // timedelta(minutes=10), row


def test_more_unreadable_records_than_usual_alert_once_when_it_begins(deployment: Deployment) -> None:
    """However long it lasts."""
    _run(deployment, {range(60): 1, range(30, 60): 30}, 60)
    ((window, row),) = _alerts(RISES, deployment, 60)
    assert 30 <= window <= 32
    assert (row["Reason"], row["Severity"]) == ("no_resource", "Low")


def test_as_many_as_usual_alert_no_one(deployment: Deployment) -> None:
    """But for the first time, when nobody knows what is usual."""
    _run(deployment, {range(50): 8}, 50)
    assert [window for window, _ in _alerts(RISES, deployment, 50)] == [4]


def test_a_flood_behind_a_trickle_alerts_though_it_rises_by_steps(deployment: Deployment) -> None:
    """Each heartbeat holds an hour, so that none is three times the one before."""
    _run(deployment, {range(60): 5, range(40, 60): 25}, 60)
    assert [window for window, _ in _alerts(RISES, deployment, 60)] == [5, 44]


def test_the_alert_says_how_many_of_how_many(deployment: Deployment) -> None:
    """Beside what is usual; it is graver from a tenth of all on."""
    _run(deployment, {range(2): 60}, 4)
    ((_, row),) = _alerts(RISES, deployment, 4, worded=True)
    assert row["Severity"] == "Medium"
    assert row["Summary"] == (
        "60 records of an hour are in quarantine for the reason no_resource, of 160. "
        "In the two days before it were 0 in an hour at most."
    )


def test_groups_that_find_no_room_alert_once_for_whoever_has_them(deployment: Deployment) -> None:
    """With the detection that counted most of them together."""
    noise = [refused("AccessDeniedException", MALLORY, modelId=f"model-{number}") for number in range(80)]
    crowd = [{**chat("busy"), "resultSignature": "401", "properties": {"objectId": f"c-{one}"}} for one in range(51)]
    for window in range(20):
        records = [list_key(), *(noise if window >= 6 else []), *(crowd if window == 12 else [])]
        deployment.receive(_at(window) + timedelta(minutes=1), message(*records))
        deployment.tick(_at(window + 1) + TICK)
    (first, one), (second, other) = _alerts(TRUNCATED, deployment, 22, worded=True)
    assert (one["Lead"], one["RuleId"], one["Together"]) == (MALLORY, "bedrock_denied_models", 30)
    assert one["Summary"].startswith(f"{MALLORY} has more groups than are told apart in 2 detections.")
    assert other["Lead"].endswith("/busy")
    assert first in range(6, 9)
    assert second in range(12, 15)


def test_rules_within_their_room_alert_no_one(deployment: Deployment) -> None:
    """As everybody's logs are."""
    _run(deployment, {}, 6)
    assert list(_alerts(TRUNCATED, deployment, 6)) == []


def test_a_rule_that_fails_alerts_when_it_begins(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its id; others go on."""
    _run(deployment, {}, 3)

    def fails(rule: Rule, *_: object) -> tuple[()]:
        if rule.id == "model_theft":
            raise RuntimeError("not thought of")
        return ()

    monkeypatch.setattr(Rule, "triggers", fails)
    for window in range(3, 12):
        deployment.receive(_at(window) + timedelta(minutes=1), message(list_key()))
        deployment.tick(_at(window + 1) + TICK)
    ((window, row),) = _alerts(SILENT, deployment, 12, worded=True)
    assert 4 <= window <= 5
    assert (row["Condition"], row["Severity"], row["FailedRule"]) == ("a rule fails", "High", "model_theft")
    assert "model_theft could not be evaluated" in row["Summary"]
