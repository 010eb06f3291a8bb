"""The analytics rule for logs that no source reads: once when it begins, and once a day while that lasts."""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.builders import START, list_key, message
from tests.infra.kql import HEALTH, Deployment, Row, ScheduledRule, Workspace

pytestmark = pytest.mark.real

UNREAD = ScheduledRule.load("unread-logs.yaml")
TICK = timedelta(seconds=45)
WRAPPED = json.dumps({"kind": "Log", "content": json.dumps(list_key())}).encode()
"""What a shipper of an unknown form makes of a record."""


@pytest.fixture
def deployment() -> Deployment:
    """Provide a detector that posts into an empty workspace."""
    return Deployment(Workspace())


def run(deployment: Deployment, bodies: dict[range, list[bytes]], hours: int) -> None:
    """Deliver some messages in each ten minutes of a range of these, and evaluate."""
    for window in range(6 * hours):
        at = START + timedelta(minutes=10 * window)
        for when, several in bodies.items():
            if window in when:
                for body in several:
                    deployment.receive(at + timedelta(minutes=1), body)
        deployment.tick(at + timedelta(minutes=10) + TICK)


def alerts(deployment: Deployment, hours: int, *, worded: bool = False) -> Iterator[tuple[float, Row]]:
    """Yield each alert, with the hours after `START` up to which its run looked."""
    start = START + timedelta(minutes=2)
    for at, row in UNREAD.runs(deployment.posting.workspace, start, START + timedelta(hours=hours), worded=worded):
        yield (at - START) / timedelta(hours=1), row


def test_logs_that_nothing_reads_alert_once_when_it_begins_and_once_a_day(deployment: Deployment) -> None:
    """From an hour of such heartbeats on; the reminder comes at eight."""
    run(deployment, {range(28 * 6): [WRAPPED]}, hours=28)
    first, second = (hour for hour, _ in alerts(deployment, 28))
    assert 1 <= first < 1.5
    assert 24 <= second < 24.5


def test_logs_that_are_read_alert_no_one(deployment: Deployment) -> None:
    """Nor does silence."""
    run(deployment, {range(18): [message(list_key())]}, hours=8)
    assert list(alerts(deployment, 8)) == []


def test_a_single_odd_message_alerts_no_one(deployment: Deployment) -> None:
    """It is in the heartbeats of an hour, and that is not most of three."""
    run(deployment, {range(36): [message(list_key())], range(18, 19): [WRAPPED]}, hours=6)
    assert any(row["UnknownRecords"] for row in deployment.posting.rows(HEALTH))
    assert list(alerts(deployment, 6)) == []


def test_it_begins_anew_after_it_ended(deployment: Deployment) -> None:
    """Each beginning is an alert; among heartbeats that were sound it takes half of the three hours."""
    run(deployment, {range(18): [WRAPPED], range(18, 54): [message(list_key())], range(54, 72): [WRAPPED]}, hours=12)
    assert [round(hour) for hour, _ in alerts(deployment, 12)] == [1, 11]


@pytest.mark.parametrize(("besides", "severity"), [([], "Medium"), ([message(list_key())], "Low")])
def test_the_alert_names_the_fields_and_is_graver_if_nothing_is_read(
    deployment: Deployment, besides: list[bytes], severity: str
) -> None:
    """The fields tell which shipper it is; the records stay where they are."""
    run(deployment, {range(12): [WRAPPED, WRAPPED, *besides]}, hours=2)
    ((_, row),) = alerts(deployment, 2, worded=True)
    assert (row["Fields"], row["Severity"]) == ("content, kind", severity)
    assert row["Summary"].startswith("Logs arrive that no source reads: in ")
    assert ("may be blind" in row["Summary"]) is (severity == "Medium")
    assert list_key()["properties"]["objectId"] not in json.dumps(row, default=str)
