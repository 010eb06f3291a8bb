"""The analytics rules of the detections: written from their sources, and one alert for each episode and escalation."""

import re
from dataclasses import replace
from functools import cache

import pytest
import yaml

from detectors.rules.catalogue import BY_ID, CATALOGUE
from detectors.rules.rule import Raises
from infra.sentinel import analytic_rules
from tests.builders import AWS_ACCOUNT, MODEL, PIPELINE, ROLE_ARN, chat, list_key, message
from tests.infra.attacks import ATTACKS, STRANGER, SWEEPER, TICK, at, statuses, tick_until
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


@each_rule
def test_an_alert_sends_its_reader_to_the_whole_guide(rule_id: str) -> None:
    """By the command that prints it."""
    loaded = yaml.safe_load(analytic_rules.path(rule_id).read_text())
    assert f"llm-detector rules {rule_id}\n" in loaded["alertDetailsOverride"]["alertDescriptionFormat"]


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
    """What raises nothing at all is nothing that ships."""
    quiet = {rule_id for rule_id, detection in ALERTS.items() if detection.raises == "alert"}
    assert quiet >= {rule.id for rule in CATALOGUE if rule.severity == "Informational"}
    assert {detection.raises for detection in ALERTS.values()} == {"incident", "alert"}


@pytest.fixture(scope="module")
def attacked() -> Deployment:
    """Every rule fires at 08:01 and again, doubled, at 08:31; the keys of one account were listed for two weeks."""
    deployment = Deployment(Workspace())
    known = [list_key("watched", caller=PIPELINE), chat("keyless", objectId=PIPELINE)]
    deployment.receive(at(-15 * 24 * 60), message(*known))
    deployment.tick(at(-15 * 24 * 60 + 10) + TICK)
    tick_until(deployment, 0, 0)
    for minute in (1, 31):
        for attack in ATTACKS.values():
            deployment.receive(at(minute), message(*attack(minute)))
        tick_until(deployment, minute + 9, minute + 29)
    tick_until(deployment, 70, 110)
    return deployment


@pytest.mark.real
@each_rule
def test_an_episode_alerts_once_and_once_more_when_it_escalates(attacked: Deployment, rule_id: str) -> None:
    """Each rule by itself; a newcomer who comes back says nothing new."""
    expected = ["New"] if BY_ID[rule_id].first_seen_only else ["New", "Escalated"]
    assert statuses(attacked, rule_id, 120) == expected


def _shape(rule_id: str) -> str:
    """Return an analytics rule without the words between quotes: the engine does the same for all of one shape."""
    rendered = yaml.safe_load(analytic_rules.path(rule_id).read_text())
    return re.sub(r'"[^"]*"', '""', rendered["query"]) + repr(rendered["entityMappings"])


SHAPES = {_shape(rule.id): rule.id for rule in CATALOGUE}
"""The last rule of each shape."""

each_shape = pytest.mark.parametrize("rule_id", SHAPES.values())


HOUR = "Between 2026-11-23 07:10 and 08:10 UTC, by arrival; in each ten minutes: 0, 0, 0, 0, 0,"
USER = f"User: {ROLE_ARN}. AWS account: {AWS_ACCOUNT}."


def user(role: str) -> str:
    """Say who another role is."""
    return USER.replace("app-prod", role)


SAID = {
    "model_theft": f"Key listings: 130 (fires at 100). {HOUR} 130. Callers: {STRANGER} (130).",
    "denial_of_service": (
        "Calls that write an answer: 13 (fires at 10); Bytes in a prompt, on average: 6000 (fires at 5000). "
        "In the minute 2026-11-23T08:01Z. Callers: 81.2.69.*** (13)."
    ),
    "insecure_output": f"Empty answers with status 200: 11 (fires at 10). {HOUR} 11. Callers: 81.2.69.*** (11).",
    "large_transfer": (
        f"Bytes in one response: 1600000 (fires at 1000000). {HOUR} 1. Callers with their bytes: 81.2.69.*** (1600000)."
    ),
    "new_key_lister": (
        "Key listings: 1 (fires at 1); Days for which the account is known: 15 (fires at 14). "
        f"{HOUR} 1. Callers: {STRANGER} (1)."
    ),
    "bedrock_denied_models": f"Calls that were denied: 5 (fires at 4). {HOUR} 5. {USER} Model: {MODEL}.",
    "bedrock_validation_exceptions": (
        f"Requests that failed validation: 5 (fires at 4). In the minute 2026-11-23T08:01Z. {USER}"
    ),
    "bedrock_guardrail_violations": f"Blocked requests: 2 (fires at 1). {HOUR} 2. {USER} Model: {MODEL}. Policies: 2.",
    "key_sweep": (
        f"Accounts whose keys were listed: 7 (fires at 5): swept-0, swept-1, swept-2 and others. {HOUR} 7. "
        f"Callers: {SWEEPER} (7)."
    ),
    "first_key_use": (
        "Calls with a key: 1 (fires at 1); Days for which the account is known: 15 (fires at 14). "
        f"{HOUR} 1. Callers: 203.0.113.*** (1)."
    ),
    "refused_access": (f"Requests refused with 401 or 403: 51 (fires at 50). {HOUR} 51. Callers: {STRANGER} (51)."),
    "bedrock_model_enumeration": (
        "Different models that were refused: 6 (fires at 5): vendor.model-0, vendor.model-1, vendor.model-2 "
        f"and others. {HOUR} 6. {user('explorer')}"
    ),
    "bedrock_blocked_requests": f"Blocked requests: 7 (fires at 6). {HOUR} 7. {user('visitors')}",
    "bedrock_token_burst": (
        "Calls: 12 (fires at 11); Tokens in the largest prompt: 9000 (fires at 5001); "
        f"Tokens in an answer, on average: 600 (fires at 501). {HOUR} 12. {user('spender')} Model: {MODEL}."
    ),
    "bedrock_guardrail_weakened": f"Guardrails deleted or changed: 1 (fires at 1). {HOUR} 1. {user('intruder')}",
}


@cache
def first_alert(attacked: Deployment, rule_id: str) -> Row:
    """Return the one of the run that owns the rows posted at 08:10, with all of its words, which take a second."""
    rule = ScheduledRule.load(analytic_rules.path(rule_id).name)
    ((_, row),) = rule.runs(attacked.posting.workspace, at(14), at(14), worded=True)
    return row


def test_every_alert_that_is_worded_in_another_way_is_read_below() -> None:
    """None that is worded like another one besides: a query with its words takes a second."""
    assert SAID.keys() == set(SHAPES.values())


@pytest.mark.real
@each_shape
def test_an_alert_says_what_happened_and_to_whom(attacked: Deployment, rule_id: str) -> None:
    """In the words of its rule, with the severity of the finding."""
    row, rule = first_alert(attacked, rule_id), BY_ID[rule_id]
    if rule_id.startswith("bedrock"):
        where = f": {row['UserArn'].rpartition(':')[2]}"
    else:
        where = f": {SWEEPER}" if rule_id == "key_sweep" else f" on {row['ResourceName']}"
    assert (row["Title"], row["Summary"]) == (f"{rule.name}{where}", SAID[rule_id])
    has_to_be_known = any(one.usual and not one.unknown_is_unusual for one in rule.thresholds)
    assert (row["RuleId"], row["Severity"]) == (rule_id, "Informational" if has_to_be_known else rule.severity)
    assert row["AtlasTechniques"] == ", ".join(rule.techniques)


@pytest.mark.real
@each_shape
def test_entities_are_the_account_and_its_callers_or_the_user_of_aws(attacked: Deployment, rule_id: str) -> None:
    """Every entity that a rule maps has a value where a finding tells one."""
    row = first_alert(attacked, rule_id)
    loaded = yaml.safe_load(analytic_rules.path(rule_id).read_text())
    mapped = [
        (one["entityType"], one["fieldMappings"][0]["identifier"], row[one["fieldMappings"][0]["columnName"]])
        for one in loaded["entityMappings"]
    ]
    if rule_id.startswith("bedrock"):
        assert mapped == [("Account", "Name", row["UserArn"])]
        return
    if "ResourceId" in BY_ID[rule_id].group_fields:
        assert mapped.pop(0) == ("AzureResource", "ResourceId", row["ResourceId"])
    named = rule_id not in {"denial_of_service", "insecure_output", "large_transfer", "first_key_use"}
    thief = SWEEPER if rule_id == "key_sweep" else STRANGER
    assert mapped[0] == ("Account", "AadUserId", thief if named else "")
    assert len(mapped) == (1 if "Caller" in BY_ID[rule_id].group_fields else 3)
