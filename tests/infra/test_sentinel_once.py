"""Exactly one alert for each New and Escalated that is true in the end, whatever is late, repeated or corrected."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import NamedTuple

import pytest

from tests.builders import START, list_key, message
from tests.infra.kql import FINDINGS, SCHEMA, Deployment, ScheduledRule, Workspace

pytestmark = pytest.mark.real

THEFT = ScheduledRule.load("model-theft.yaml")
TICK = timedelta(seconds=45)
PHASES = (0, 2.5, 4)
"""Minutes after 08:00 at which the runs begin."""


def at(minutes: float) -> datetime:
    """So many minutes after 08:00."""
    return START + timedelta(minutes=minutes)


class Posted(NamedTuple):
    """A row as far as alerts depend on it; the minutes at which it was made and ingested."""

    made: float
    ingested: float
    finding: str
    episode: str
    status: str
    severity: str = "Medium"

    @property
    def seen(self) -> float:
        """The minute from which a run can look at it."""
        return max(self.made, self.ingested)

    @property
    def occasion(self) -> str:
        """What it is an alert of: the beginning of its episode, or the escalation that this finding is."""
        return {"New": self.episode, "Escalated": self.finding}.get(self.status, "")


class Told(NamedTuple):
    """An alert: the minute of the run, the finding, its episode and status."""

    run: float
    finding: str
    episode: str
    status: str


def workspace_with(rows: Iterable[Posted]) -> Workspace:
    """Return a workspace that holds these rows; a finding's hour ends at the minute that its id ends with."""
    workspace = Workspace()
    for row in rows:
        columns = dict.fromkeys(SCHEMA[FINDINGS]) | {
            "TimeGenerated": at(row.made).isoformat(),
            "RuleId": "model_theft",
            "FindingId": row.finding,
            "EpisodeId": row.episode,
            "Status": row.status,
            "Severity": row.severity,
            "WindowEnd": at(int(row.finding[-2:])).isoformat(),
        }
        workspace.add(FINDINGS, [columns], at(row.ingested))
    return workspace


def told(workspace: Workspace, phase: float, until: float) -> list[Told]:
    """Return what the rule tells, run by run."""
    return [
        Told((run - START) / timedelta(minutes=1), row["FindingId"], row["EpisodeId"], row["Status"])
        for run, row in THEFT.runs(workspace, at(phase), at(until))
    ]


def told_by_one_who_remembers(rows: Sequence[Posted], phase: float, until: float) -> list[Told]:
    """Return the same by a reader who notes down whom it told: what the rule, which remembers nothing, must equal."""
    known: set[str] = set()
    alerts = []
    run = phase
    while run <= until:
        newest: dict[str, Posted] = {}
        for row in sorted((row for row in rows if row.seen <= run), key=lambda row: row.made):
            newest[row.finding] = row
        fresh = [row for row in newest.values() if row.occasion and row.occasion not in known]
        known |= {row.occasion for row in fresh}
        latest = {row.episode: row for row in sorted(fresh, key=lambda row: int(row.finding[-2:]))}
        alerts += [Told(run, row.finding, row.episode, row.status) for row in latest.values()]
        run += 5
    return alerts


NEW, RISEN = ("10", "episode"), ("20", "episode")
SEQUENCES: dict[str, tuple[list[tuple[float, str, str, str]], list[str]]] = {
    "corrected before a run saw it": ([(21, *RISEN, "Escalated"), (21.5, *RISEN, "Ongoing")], []),
    "explained before a run saw it": ([(21, *RISEN, "Escalated"), (21.5, *RISEN, "Suppressed")], []),
    "corrected, and true again": (
        [(21, *RISEN, "Escalated"), (21.5, *RISEN, "Ongoing"), (41, *RISEN, "Escalated")],
        ["Escalated"],
    ),
    "told, corrected, and true again": (
        [(21, *RISEN, "Escalated"), (31, *RISEN, "Ongoing"), (41, *RISEN, "Escalated")],
        ["Escalated"],
    ),
    "told and corrected": ([(21, *RISEN, "Escalated"), (31, *RISEN, "Ongoing")], ["Escalated"]),
    "an exception published and withdrawn": (
        [(21, *NEW, "New"), (21.5, *NEW, "Suppressed"), (51, *NEW, "New")],
        ["New"],
    ),
    "told, explained, and no longer": ([(21, *NEW, "New"), (31, *NEW, "Suppressed"), (51, *NEW, "New")], ["New"]),
    "begun earlier after all": (
        [(21, *RISEN, "New"), (31, *NEW, "New"), (31, *RISEN, "Escalated")],
        ["New", "Escalated"],
    ),
    "explained, then of a new episode": (
        [(21, *NEW, "Suppressed"), (31, "20", "another", "New")],
        ["New"],
    ),
}


@pytest.mark.parametrize("phase", PHASES)
def test_what_is_true_when_a_run_sees_it_is_told_once(phase: float) -> None:
    """Whatever was posted of it before and after."""
    rows = [
        Posted(made, made, f"{name}: {finding}", f"{name}: {episode}", status)
        for name, (sequence, _) in SEQUENCES.items()
        for made, finding, episode, status in sequence
    ]
    alerts = told(workspace_with(rows), phase, 60)
    found = {name: [one.status for one in alerts if one.finding.startswith(name)] for name in SEQUENCES}
    assert found == {name: expected for name, (_, expected) in SEQUENCES.items()}


@pytest.mark.parametrize("phase", PHASES)
def test_an_escalation_that_was_corrected_and_came_true_again_alerts(phase: float) -> None:
    """The correction comes while the first row is still on its way into the workspace."""
    deployment = Deployment(workspace := Workspace())
    for arrived, count, tick, delay in [(1, 120, 10, 2), (11, 130, 20, 13), (2, 20, 30, 1), (12, 20, 40, 1)]:
        deployment.receive(at(arrived), message(*[list_key()] * count))
        deployment.posting.delay = timedelta(minutes=delay)
        deployment.tick(at(tick) + TICK)
    rows = [row for row in deployment.posting.rows(FINDINGS) if row["WindowEnd"] == at(20).strftime("%FT%TZ")]
    assert [row["Status"] for row in rows] == ["Escalated", "Ongoing", "Escalated"]
    assert [alert.status for alert in told(workspace, phase, 80)] == ["New", "Escalated"]


def test_a_run_five_minutes_after_the_end_of_what_it_sees_comes_in_time() -> None:
    """A row alerts in the first run whose time span holds it."""
    rows = [Posted(11, 12, *NEW, "New")]
    assert [alert.run for alert in told(workspace_with(rows), 2.5, 80)] == [12.5]
    assert [alert.run for alert in told(workspace_with(rows), 2, 80)] == [12]
    assert [alert.run for alert in told(workspace_with(rows), 1.99, 80)] == [16.99]


def random_rows(rng: Random) -> list[Posted]:
    """Return findings of two episodes, posted again and again as something else; late, out of order, and twice."""
    rows = []
    for made in range(1, 80):
        finding, episode = str(rng.choice([10, 20, 30, 40])), rng.choice(["one"] * 9 + ["other"])
        status = rng.choice(["New", "Ongoing", "Escalated", "Suppressed"])
        for _ in range(rng.choice([1, 1, 2])):
            ingested = made + rng.choice([-2, rng.randint(1, 8), rng.randint(0, 80)]) / 4
            rows.append(Posted(made, ingested, finding, episode, status))
    return rows


@pytest.mark.parametrize("seed", range(4))
def test_the_rule_tells_what_one_who_remembers_tells(seed: int) -> None:
    """And so nothing twice, and everything that is true in the end."""
    rng = Random(seed)
    rows, phase = random_rows(rng), rng.randint(0, 19) / 4
    alerts = told(workspace_with(rows), phase, 110)
    assert sorted(alerts) == sorted(told_by_one_who_remembers(rows, phase, 110))
    once(alerts, rows)


@pytest.mark.parametrize("seed", range(3))
def test_real_findings_are_told_once_however_long_they_are_on_their_way(seed: int) -> None:
    """Batches counted late correct what earlier windows said, and each post takes up to twenty minutes."""
    rng = Random(seed)
    deployment = Deployment(workspace := Workspace())
    for tick in range(1, 16):
        for late in (0, 0, rng.randint(10, 60)):
            arrived = max(10 * tick - 9 - late, 1)
            deployment.receive(at(arrived), message(*[list_key()] * rng.choice([0, 20, 45, 120])))
        deployment.posting.delay = timedelta(minutes=rng.uniform(0.3, 20))
        deployment.tick(at(10 * tick) + TICK)
    sent = deployment.posting.rows(FINDINGS)
    rows = [Posted(0, 0, row["FindingId"], row["EpisodeId"], row["Status"]) for row in sent]
    assert len(rows) > len({row.finding for row in rows})
    once(told(workspace, rng.uniform(0, 5), 190), rows)


def once(alerts: Sequence[Told], rows: Iterable[Posted]) -> None:
    """Check that no occasion was told twice, and that all that stand in the end were, or a later one in their place."""
    assert alerts
    occasions = Counter(alert.episode if alert.status == "New" else alert.finding for alert in alerts)
    assert set(occasions.values()) == {1}
    newest = {row.finding: row for row in rows}
    missing = [row for row in newest.values() if row.occasion and row.occasion not in occasions]
    assert {row.episode for row in missing} <= {alert.episode for alert in alerts}
