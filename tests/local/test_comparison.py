"""The check at the end of the demo: exact for what was played, red for each thing that is off."""

import copy
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from detectors.rules.catalogue import CATALOGUE
from local.__main__ import TUNING
from local.comparison import check, verdicts
from local.expected_findings import FIRST_SEEN, expectation
from local.ground_truth import Truth
from local.report import newest
from local.simulation import Faults, Outcome, Simulation
from local.traffic import Scenario, Traffic
from tests.oracle import AZURE_RULES

pytestmark = pytest.mark.real

type Played = tuple[Outcome, Truth]


@pytest.fixture(scope="module")
def played() -> Iterator[Played]:
    """Provide a stretch with every fault: redeliveries, a host that dies, missed timers, malformed messages.

    What is expected of it is worked out once.
    """
    scenario = Scenario(duration=timedelta(hours=4), records=5_000)
    traffic = Traffic(scenario)
    middle = scenario.start + timedelta(hours=2)
    faults = Faults(redelivered=0.5, crash_at=middle, silent=(middle, middle + timedelta(minutes=30)))
    outcome = Simulation(traffic, settings={"TUNING_FILE": TUNING}, batch_size=7, faults=faults).run(lambda _: None)
    known = expectation(traffic.truth)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("local.comparison.expectation", lambda truth: known if truth is traffic.truth else None)
        yield outcome, traffic.truth


def said(outcome: Outcome, truth: Truth) -> tuple[bool, str]:
    """Return what the check comes to, and what it prints."""
    text = StringIO()
    exact = check(outcome, truth, Console(file=text, width=200))
    return exact, text.getvalue()


def first(outcome: Outcome, rule_id: str, status: str) -> dict[str, Any]:
    """Return a posted row, as the newest of its finding; a change of it is a change of what was posted."""
    return next(row for row in newest(outcome.findings) if (row["RuleId"], row["Status"]) == (rule_id, status))


def test_a_stretch_with_every_fault_is_exact_for_every_rule(played: Played) -> None:
    """Counts, findings, alerts and ends, though batches came again and a host died."""
    outcome, truth = played
    exact, text = said(outcome, truth)
    assert outcome.redelivered > 100
    assert outcome.quarantine
    assert exact
    assert text.count("exact") == len(CATALOGUE) + 1
    assert "wrong" not in text
    rows: list[dict[str, Any]] = newest(outcome.findings)
    excused = {row["ResourceId"] for row in rows if row["Status"] == "Suppressed"}
    fired = {next(iter(row["Group"].values())) for row in rows if row["Triggers"]}
    assert fired == {subject for rule_id, subject in truth.attacked.items() if rule_id not in FIRST_SEEN} | excused


def test_verdicts_say_how_much_each_rule_did(played: Played) -> None:
    """As often as the stored tallies and the posted rows say."""
    by_rule = {one.rule_id: one for one in verdicts(*played)}
    alerts = {rule_id: one.alerts for rule_id, one in by_rule.items()}
    assert alerts == {rule.id: int(rule.id not in FIRST_SEEN) for rule in CATALOGUE}  # nobody is new within four hours
    assert by_rule["model_theft"].suppressed in {5, 6}
    assert (by_rule["insecure_output"].counted, by_rule["bedrock_guardrail_violations"].counted) == (16, 1)


RULES = sorted(AZURE_RULES | {f"bedrock_{name}" for name in ("denied_models", "validation_exceptions")})


@pytest.mark.parametrize("rule_id", RULES)
@pytest.mark.parametrize("more", [-1, 1])
def test_a_count_that_is_off_by_one_is_told_and_fails(played: Played, rule_id: str, more: int) -> None:
    """For the rule that is wrong, with the group, what was counted and what was generated."""
    outcome, truth = copy.deepcopy(played[0]), played[1]
    key = max((key for key in outcome.counts if key[0] == rule_id), key=lambda key: outcome.counts[key])
    outcome.counts[key] += more
    exact, text = said(outcome, truth)
    assert not exact
    assert [one.rule_id for one in verdicts(outcome, truth) if one.differences] == [rule_id]
    assert "NOT exact" in text
    assert f"{rule_id}: records of {key[1][0]}" in text
    assert f": {outcome.counts[key]}, but {outcome.counts[key] - more} generated" in text


def _without(row: dict[str, Any], outcome: Outcome) -> None:
    outcome.findings[:] = [one for one in outcome.findings if one["FindingId"] != row["FindingId"]]


def _twice(row: dict[str, Any], outcome: Outcome) -> None:
    outcome.findings.append({**row, "FindingId": "another", "WindowEnd": "2026-03-04T00:00:00Z"})


WRONG: dict[str, tuple[str, str, Callable[[dict[str, Any], Outcome], object], str]] = {
    "a finding is missing": ("insecure_output", "Ongoing", _without, "finding of"),
    "a minute is missing": ("denial_of_service", "Ongoing", _without, "finding of"),
    "a finding too many": ("model_theft", "Ongoing", _twice, "finding of"),
    "an end is missing": ("denial_of_service", "Closed", _without, "ends of"),
    "an end too many": ("large_transfer", "Closed", _twice, "ends of"),
    "a count": ("model_theft", "New", lambda row, _: row.update(EventCount=row["EventCount"] + 1), "finding of"),
    "no alert": ("bedrock_denied_models", "New", lambda row, _: row.update(Status="Ongoing"), "alerts of"),
    "a second alert": ("large_transfer", "Ongoing", lambda row, _: row.update(Status="New"), "alerts of"),
    "alerted on": ("model_theft", "Suppressed", lambda row, _: row.update(Status="Ongoing"), "finding of"),
    "suppressed": ("insecure_output", "Ongoing", lambda row, _: row.update(Status="Suppressed"), "finding of"),
    "a value": ("denial_of_service", "New", lambda row, _: row["Triggers"][1].update(Value=5_000), "finding of"),
    "a trigger": ("large_transfer", "Escalated", lambda row, _: row["Triggers"].pop(), "finding of"),
    "another window": (
        "model_theft",
        "New",
        lambda row, _: row.update(WindowEnd="2026-03-03T09:00:00Z"),
        "finding of",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_finding_that_is_off_is_told_and_fails(played: Played, what: str) -> None:
    """Whatever a reader of the table would see wrong."""
    outcome, truth = copy.deepcopy(played[0]), played[1]
    rule_id, status, spoil, sentence = WRONG[what]
    spoil(first(outcome, rule_id, status), outcome)
    exact, text = said(outcome, truth)
    assert not exact
    assert [one.rule_id for one in verdicts(outcome, truth) if one.differences] == [rule_id]
    assert f"{rule_id}: {sentence}" in text


def test_a_rule_that_counts_nothing_at_all_is_wrong(played: Played) -> None:
    """Nobody can lose a rule without being told."""
    outcome, truth = copy.deepcopy(played[0]), played[1]
    for key in [key for key in outcome.counts if key[0] == "insecure_output"]:
        del outcome.counts[key]
    outcome.findings[:] = [row for row in outcome.findings if row["RuleId"] != "insecure_output"]
    exact, text = said(outcome, truth)
    assert not exact
    assert "none, but" in text
