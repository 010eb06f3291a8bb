"""Analytic rules and hunting queries keep to the conventions of the Azure-Sentinel repository.

The conventions are those that its own checks enforce (`.script/tests/detectionTemplateSchemaValidation`, models of the
scheduled template), written anew here.
"""

import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from detectors.rules.catalogue import CATALOGUE
from tests.infra.kql import SENTINEL, Row, span, template

RULES = sorted(f"analytic-rules/{path.name}" for path in (SENTINEL / "analytic-rules").iterdir())
QUERIES = sorted(f"hunting-queries/{path.name}" for path in (SENTINEL / "hunting-queries").iterdir())

REQUIRED = {"id", "name", "version", "description", "requiredDataConnectors", "tactics", "relevantTechniques", "query"}
REQUIRED_OF_RULES = REQUIRED | {
    "kind",
    "severity",
    "queryFrequency",
    "queryPeriod",
    "triggerOperator",
    "triggerThreshold",
}
OPTIONAL = {"entityMappings"}
OPTIONAL_OF_RULES = OPTIONAL | {
    "enabled",  # ours: in the repository, who deploys a template switches it on
    "customDetails",
    "alertDetailsOverride",
    "eventGroupingSettings",
    "incidentConfiguration",
}

TACTICS_OF = {
    "T1110": {"CredentialAccess"},
    "T1211": {"DefenseEvasion"},
    "T1496": {"Impact"},
    "T1499": {"Impact"},
    "T1526": {"Discovery"},
    "T1528": {"CredentialAccess"},
    "T1555": {"CredentialAccess"},
    "T1562": {"DefenseEvasion"},
    "T1567": {"Exfiltration"},
    "T1595": {"Reconnaissance"},
}
"""The ATT&CK tactics of the techniques in use, as Sentinel knows them; a new technique needs a line here."""

IDENTIFIERS = {
    "Account": {
        "Name",
        "FullName",
        "UPNSuffix",
        "Sid",
        "AadTenantId",
        "AadUserId",
        "PUID",
        "DisplayName",
        "ObjectGuid",
    },
    "AzureResource": {"ResourceId"},
    "IP": {"Address"},
}
STRONG_ALONE = {
    "Account": {"FullName", "Sid", "Name", "AadUserId", "PUID", "ObjectGuid"},
    "AzureResource": {"ResourceId"},
    "IP": {"Address"},
}
"""An entity needs one of these to be one."""

PLACEHOLDER = re.compile(r"{{([^{}]*)}}")
DURATION = re.compile(r"\d+[mhd]")
GROUPING_LOOKBACK = re.compile(r"P(T\d+[MH]|[1-7]D)")
COLUMN = re.compile(r"[A-Za-z_]\w*")


def violations(found: Row, *, rule: bool) -> Iterator[str]:
    """Yield what Sentinel, or its repository's checks, would refuse."""
    required, optional = (REQUIRED_OF_RULES, OPTIONAL_OF_RULES) if rule else (REQUIRED, OPTIONAL)
    yield from (f"{name} is missing" for name in required - found.keys())
    yield from (f"{name} is not a known field" for name in found.keys() - required - optional)
    if required <= found.keys():
        yield from _texts(found)
        yield from _attack(found)
        yield from _entities(found.get("entityMappings", []))
        if rule:
            yield from _schedule(found)
            yield from _details(found)
            yield from _grouping(found)


def _texts(found: Row) -> Iterator[str]:
    try:
        UUID(found["id"])
    except ValueError:
        yield "id is no guid"
    for name, longest in [("name", 256), ("description", 5000), ("query", 10_000)]:
        if not 0 < len(found[name]) <= longest:
            yield f"{name} has {len(found[name])} characters, not 1 to {longest}"
    if not re.fullmatch(r"\d+\.\d+\.\d+", str(found["version"])):
        yield "version is not X.Y.Z"
    if not isinstance(found["requiredDataConnectors"], list):
        yield "requiredDataConnectors is no list"


def _attack(found: Row) -> Iterator[str]:
    used = set[str]()
    for technique in found["relevantTechniques"]:
        if not re.fullmatch(r"T\d{4}(\.\d{3})?", technique):
            yield f"{technique} is no ATT&CK technique"
        tactics = TACTICS_OF.get(technique.split(".")[0], set())
        if not tactics or not tactics <= set(found["tactics"]):
            yield f"{technique} is without its tactics"
        used |= tactics
    yield from (f"tactic {tactic} has no technique" for tactic in set(found["tactics"]) - used)


def _entities(mappings: list[Row]) -> Iterator[str]:
    if len(mappings) > 5:
        yield "more than 5 entity mappings"
    for mapping in mappings:
        kind, fields = mapping["entityType"], mapping["fieldMappings"]
        used = [field["identifier"] for field in fields]
        if not set(used) <= IDENTIFIERS.get(kind, set()):
            yield f"{kind} has no identifier {used}"
        if not set(used) & STRONG_ALONE.get(kind, set()):
            yield f"{kind} is not told by {used}"
        if len(used) != len(set(used)) or not 1 <= len(used) <= 3:
            yield f"{kind} needs 1 to 3 identifiers, each once"
        yield from (f"{field} is no column name" for field in fields if not COLUMN.fullmatch(field["columnName"]))


def _schedule(found: Row) -> Iterator[str]:
    if found["kind"] != "Scheduled" or found["triggerOperator"] not in {"gt", "lt", "eq", "ne"}:
        yield "kind or triggerOperator is unknown"
    if found["severity"] not in {"Informational", "Low", "Medium", "High"}:
        yield "severity is unknown"
    if not 0 <= found["triggerThreshold"] <= 10_000:
        yield "triggerThreshold is not 0 to 10,000"
    texts = [found["queryFrequency"], found["queryPeriod"]]
    if not all(DURATION.fullmatch(text) for text in texts):
        yield "a duration is not <number><m|h|d>"
        return
    frequency, period = map(span, texts)
    if not timedelta(minutes=5) <= frequency <= period <= timedelta(days=14):
        yield "5 minutes <= queryFrequency <= queryPeriod <= 14 days does not hold"
    if period >= timedelta(days=2) and frequency < timedelta(hours=1):
        yield "a period of 2 days or more allows no frequency below an hour"


def _details(found: Row) -> Iterator[str]:
    details = found.get("customDetails", {})
    if len(details) > 20:
        yield "more than 20 custom details"
    for name, column in details.items():
        if not re.fullmatch(r"[A-Za-z]\w{0,19}", name) or not COLUMN.fullmatch(column):
            yield f"custom detail {name}: {column} is not named well"
    override = found.get("alertDetailsOverride", {})
    if unknown := override.keys() - {"alertDisplayNameFormat", "alertDescriptionFormat", "alertSeverityColumnName"}:
        yield f"alertDetailsOverride has {unknown}"
    for name, longest in [("alertDisplayNameFormat", 256), ("alertDescriptionFormat", 5000)]:
        text = override.get(name, "-")
        if not 0 < len(text) <= longest or len(PLACEHOLDER.findall(text)) > 3:
            yield f"{name} is empty, too long, or has more than 3 placeholders"


def _grouping(found: Row) -> Iterator[str]:
    kind = found.get("eventGroupingSettings", {"aggregationKind": "SingleAlert"})["aggregationKind"]
    if kind not in {"SingleAlert", "AlertPerResult"}:
        yield "aggregationKind is unknown"
    grouping = found.get("incidentConfiguration", {}).get("groupingConfiguration")
    if grouping is None:
        return
    if grouping["matchingMethod"] not in {"AllEntities", "AnyAlert", "Selected"}:
        yield "matchingMethod is unknown"
    if not GROUPING_LOOKBACK.fullmatch(grouping["lookbackDuration"]):
        yield "lookbackDuration is not an ISO 8601 duration of up to 7 days"
    if not set(grouping["groupByCustomDetails"]) <= found.get("customDetails", {}).keys():
        yield "alerts are grouped by a custom detail that they do not have"
    if not set(grouping["groupByEntities"]) <= {one["entityType"] for one in found.get("entityMappings", [])}:
        yield "alerts are grouped by an entity that they do not have"


@pytest.mark.parametrize("name", RULES + QUERIES)
def test_templates_keep_to_the_conventions(name: str) -> None:
    """Sentinel takes them, and the repository would."""
    assert list(violations(template(name), rule=name in RULES)) == []


def test_ids_are_unique() -> None:
    """Two templates of one id overwrite one another."""
    ids = [template(name)["id"] for name in RULES + QUERIES]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rule: rule.update(id="model-theft"), "no guid"),
        (lambda rule: rule.pop("severity"), "severity is missing"),
        (lambda rule: rule.update(queryfrequency="5m"), "not a known field"),
        (lambda rule: rule.update(name="x" * 257), "name has 257"),
        (lambda rule: rule.update(query="x" * 10_001), "query has 10001"),
        (lambda rule: rule.update(version="1.0"), "X.Y.Z"),
        (lambda rule: rule["relevantTechniques"].append("AML.T0044"), "no ATT&CK technique"),
        (lambda rule: rule["tactics"].remove("Exfiltration"), "T1567 is without its tactics"),
        (lambda rule: rule["tactics"].append("Impact"), "Impact has no technique"),
        (lambda rule: rule["entityMappings"][0]["fieldMappings"][0].update(identifier="Id"), "no identifier"),
        (lambda rule: rule["entityMappings"][1]["fieldMappings"][0].update(identifier="DisplayName"), "not told by"),
        (lambda rule: rule["entityMappings"].extend(rule["entityMappings"]), "more than 5"),
        (lambda rule: rule.update(triggerOperator="GreaterThan"), "triggerOperator"),
        (lambda rule: rule.update(severity="medium"), "severity is unknown"),
        (lambda rule: rule.update(queryFrequency="PT5M"), "a duration"),
        (lambda rule: rule.update(queryFrequency="4m"), "does not hold"),
        (lambda rule: rule.update(queryPeriod="2d"), "no frequency below an hour"),
        (lambda rule: rule["customDetails"].update(TheAverageRequestLength="AvgRequestLength"), "not named well"),
        (lambda rule: rule["customDetails"].update({f"Detail{n}": "Status" for n in range(20)}), "more than 20"),
        (
            lambda rule: rule["alertDetailsOverride"].update(alertDisplayNameFormat="{{A}}{{B}}{{C}}{{D}}"),
            "more than 3 placeholders",
        ),
        (lambda rule: rule["eventGroupingSettings"].update(aggregationKind="PerResult"), "aggregationKind"),
        (lambda rule: rule["customDetails"].pop("EpisodeId"), "custom detail that they do not have"),
        (
            lambda rule: rule["incidentConfiguration"]["groupingConfiguration"].update(lookbackDuration="P8D"),
            "lookbackDuration",
        ),
    ],
)
def test_each_convention_can_be_broken(change: Callable[[Row], Any], said: str) -> None:
    """A check that accepts everything is none."""
    rule = deepcopy(template("analytic-rules/model-theft.yaml"))
    change(rule)
    assert any(said in violation for violation in violations(rule, rule=True))


def test_every_detection_has_its_rule() -> None:
    """With the severity that the catalogue has, and one alert for a row of its query."""
    for detection in CATALOGUE:
        rule = template(f"analytic-rules/{detection.id.replace('_', '-')}.yaml")
        assert rule["severity"] == detection.severity
        assert f'RuleId == "{detection.id}"' in rule["query"]
        assert rule["eventGroupingSettings"]["aggregationKind"] == "AlertPerResult"


@pytest.mark.parametrize("name", RULES)
def test_alerts_take_their_severity_from_the_row(name: str) -> None:
    """What the finding or the condition says, not what the template says."""
    assert template(name)["alertDetailsOverride"]["alertSeverityColumnName"] == "Severity"


@pytest.mark.parametrize("name", RULES + QUERIES)
def test_no_masked_address_becomes_an_entity(name: str) -> None:
    """81.2.69.*** is nobody."""
    assert all(mapping["entityType"] != "IP" for mapping in template(name).get("entityMappings", []))
