"""The analytics rules of the detections: written from their sources, and one alert for each episode and escalation."""

from dataclasses import replace

import pytest
import yaml

from detectors.rules.catalogue import BY_ID, CATALOGUE
from detectors.rules.rule import Raises
from infra.sentinel import analytic_rules
from tests.builders import AWS_ACCOUNT, MODEL, PIPELINE, USER_ARN, canonical_id, list_key, message
from tests.infra.attacks import ATTACKS, STRANGER, TICK, at, statuses, tick_until
from tests.infra.kql import Deployment, Row, ScheduledRule, Workspace

ALERTS = {rule.id: rule.alert for rule in CATALOGUE if rule.alert}
each_rule = pytest.mark.parametrize("rule_id", [rule.id for rule in CATALOGUE])


@each_rule
def test_analytics_rules_are_written_from_their_sources(rule_id: str) -> None:
    """After a change: `python -m infra.sentinel.analytic_rules`."""
    rendered = analytic_rules.render(BY_ID[rule_id], ALERTS[rule_id])
    assert analytic_rules.path(rule_id).read_text() == rendered


def test_every_detection_has_its_rule_and_every_threshold_its_words() -> None:
    """None is left over, either."""
    assert ALERTS.keys() == BY_ID.keys()
    for rule in CATALOGUE:
        assert all(threshold.unit for threshold in rule.thresholds)
        assert len(rule.thresholds) <= 2, "an alert has words for two"


@each_rule
def test_an_alert_sends_its_reader_to_the_whole_guide(rule_id: str) -> None:
    """By the command that prints it."""
    loaded = yaml.safe_load(analytic_rules.path(rule_id).read_text())
    assert f"python -m detectors rules {rule_id}\n" in loaded["alertDetailsOverride"]["alertDescriptionFormat"]


@pytest.mark.parametrize(
    ("raises", "enabled", "incident"), [("incident", True, True), ("alert", True, False), ("nothing", False, False)]
)
def test_each_detection_can_be_made_quiet_or_switched_off_alone(
    raises: Raises, *, enabled: bool, incident: bool
) -> None:
    """One word in the rule's file; Bicep takes a rule without `enabled` as switched on."""
    detection = replace(ALERTS["model_theft"], raises=raises)
    loaded = yaml.safe_load(analytic_rules.render(BY_ID["model_theft"], detection))
    assert loaded.get("enabled", True) is enabled
    assert loaded["incidentConfiguration"]["createIncident"] is incident


def test_what_is_informational_opens_no_incident() -> None:
    """And everything else does."""
    quiet = {rule_id for rule_id, detection in ALERTS.items() if detection.raises == "alert"}
    assert quiet == {rule.id for rule in CATALOGUE if rule.severity == "Informational"}
    assert {detection.raises for detection in ALERTS.values()} == {"incident", "alert"}


@pytest.fixture(scope="module")
def attacked() -> Deployment:
    """Every rule fires at 08:01 and again, doubled, at 08:31; the keys of one account were listed for two weeks."""
    deployment = Deployment(Workspace())
    deployment.receive(at(-15 * 24 * 60), message(list_key("watched", caller=PIPELINE)))
    deployment.tick(at(-15 * 24 * 60 + 10) + TICK)
    tick_until(deployment, 0, 0)
    for minute in (1, 31):
        for attack in ATTACKS.values():
            deployment.receive(at(minute), message(*attack(minute)))
        tick_until(deployment, minute + 9, minute + 29)
    tick_until(deployment, 70, 110)
    return deployment


@each_rule
def test_an_episode_alerts_once_and_once_more_when_it_escalates(attacked: Deployment, rule_id: str) -> None:
    """Each rule by itself; a newcomer who comes back says nothing new."""
    expected = ["New"] if BY_ID[rule_id].only_new else ["New", "Escalated"]
    assert statuses(attacked, rule_id, 120) == expected


HOUR = "Between 2026-11-23 07:10 and 08:10 UTC, by arrival; in each ten minutes: 0, 0, 0, 0, 0,"
USER = f"User: {USER_ARN}. AWS account: {AWS_ACCOUNT}."
SAID = {
    "model_theft": f"Key listings: 130 (fires at 100). {HOUR} 130. Callers: {STRANGER} (130).",
    "denial_of_service": (
        "Chat completions: 13 (fires at 10); Bytes in a prompt, on average: 6000 (fires at 5000). "
        "In the minute 2026-11-23T08:01Z. Callers: 81.2.69.*** (13)."
    ),
    "insecure_output": f"Empty answers with status 200: 11 (fires at 10). {HOUR} 11. Callers: 81.2.69.*** (11).",
    "large_transfer": (
        f"Bytes in one response: 1600000 (fires at 1000000). {HOUR} 1. Callers with their bytes: 81.2.69.*** (1600000)."
    ),
    "new_key_lister": (
        "Key listings: 1 (fires at 1); Days for which others were watched: 15 (fires at 14). "
        f"{HOUR} 1. Callers: {STRANGER} (1)."
    ),
    "bedrock_denied_models": f"Calls that were denied: 5 (fires at 4). {HOUR} 5. {USER} Model: {MODEL}.",
    "bedrock_validation_exceptions": (
        f"Requests that failed validation: 5 (fires at 4). In the minute 2026-11-23T08:01Z. {USER}"
    ),
    "bedrock_guardrail_violations": f"Blocked requests: 2 (fires at 1). {HOUR} 2. {USER} Model: {MODEL}. Policies: 2.",
}


def first_alert(attacked: Deployment, rule_id: str) -> Row:
    """The one of the run that owns the rows posted at 08:10, with all of its words."""
    rule = ScheduledRule.load(analytic_rules.path(rule_id).name)
    ((_, row),) = rule.runs(attacked.posting.workspace, at(14), at(14), worded=True)
    return row


@each_rule
def test_an_alert_says_what_happened_and_to_whom(attacked: Deployment, rule_id: str) -> None:
    """In the words of its rule, with the severity of the finding."""
    row, rule = first_alert(attacked, rule_id), BY_ID[rule_id]
    where = ": assumed-role/app-prod/dana" if rule_id.startswith("bedrock") else f" on {row['ResourceName']}"
    assert (row["Title"], row["Summary"]) == (f"{rule.name}{where}", SAID[rule_id])
    assert (row["RuleId"], row["Severity"]) == (rule_id, rule.severity)
    assert row["AtlasTechniques"] == ", ".join(rule.techniques)


@each_rule
def test_entities_are_the_account_and_its_callers_or_the_user_of_aws(attacked: Deployment, rule_id: str) -> None:
    """Every entity that a rule maps has a value where a finding tells one."""
    row = first_alert(attacked, rule_id)
    loaded = yaml.safe_load(analytic_rules.path(rule_id).read_text())
    mapped = [
        (one["entityType"], one["fieldMappings"][0]["identifier"], row[one["fieldMappings"][0]["columnName"]])
        for one in loaded["entityMappings"]
    ]
    if rule_id.startswith("bedrock"):
        assert mapped == [("Account", "Name", USER_ARN)]
        return
    by_key = rule_id in {"model_theft", "new_key_lister"}
    assert mapped[0] == ("AzureResource", "ResourceId", canonical_id(row["ResourceName"]))
    assert mapped[1] == ("Account", "AadUserId", STRANGER if by_key else "")
    assert len(mapped) == (2 if rule_id == "new_key_lister" else 4)
