"""Sentinel is given what its files say, in properties that Azure knows."""

import json
import re
from copy import deepcopy

import pytest
import yaml

from infra.sentinel import content
from tests.infra.compiler import Compiler, Evaluated, Resource, written_out
from tests.infra.deployments import COMPONENT, DEPLOYMENTS, LOG_TABLE
from tests.infra.kql import SENTINEL

RULE = "Microsoft.SecurityInsights/alertRules"
ONBOARDING = "Microsoft.SecurityInsights/onboardingStates"
HUNT = "Microsoft.OperationalInsights/workspaces/savedSearches"
WORKBOOK = "Microsoft.Insights/workbooks"

OPERATORS = {"eq": "Equal", "gt": "GreaterThan", "lt": "LessThan", "ne": "NotEqual"}
ISO = {"5m": "PT5M", "10m": "PT10M", "47h": "PT47H"}

with_sentinel = pytest.mark.parametrize("name", [name for name in DEPLOYMENTS if name != "without-sentinel"])


def files(folder: str) -> dict[str, Resource]:
    """Return the files of a folder by the id in them."""
    loaded = [yaml.safe_load(path.read_text()) for path in sorted((SENTINEL / folder).glob("*.yaml"))]
    return {one["id"]: one for one in loaded}


def deployed(evaluated: Evaluated, kind: str) -> dict[str, Resource]:
    """Return the properties of what is in the workspace, by name."""
    workspace = evaluated.one(COMPONENT)["properties"]["WorkspaceResourceId"]
    found = evaluated.of(kind)
    assert all(resource["id"].startswith(f"{workspace}/") for resource in found)
    return {resource["name"].split("/")[-1]: resource["properties"] for resource in found}


def test_bicep_knows_every_file() -> None:
    """After a new rule or hunting query: `python -m infra.sentinel.analytic_rules`."""
    assert content.FILE.read_text() == content.render()


@with_sentinel
def test_every_rule_is_deployed_as_its_file_says(name: str, compiler: Compiler) -> None:
    """In the words of the API, once for incidents and once for alerts alone; what a file leaves out is null."""
    raises = {"High": "incident", "Medium": "incident", "Low": "alert", "Informational": "row"}
    raises |= DEPLOYMENTS[name].get("raises", {})
    rules = deployed(compiler.deployed(name)[0], RULE)
    files_by_id = files("analytic-rules")
    by_name = {file["name"]: file for file in files_by_id.values()}
    for rule_id, rule in rules.items():
        incident = rule_id in files_by_id
        file = by_name[rule["displayName"].removesuffix(" (alert alone)")]
        kind = "incident" if incident else "alert"
        severities = sorted(severity for severity, raised in raises.items() if raised == kind)
        assert rule == {
            "displayName": file["name"] + ("" if incident else " (alert alone)"),
            "description": file["description"],
            "enabled": file.get("enabled", True) and bool(severities),
            "severity": file["severity"],
            "query": restricted(file["query"], severities),
            "queryFrequency": ISO[file["queryFrequency"]],
            "queryPeriod": ISO[file["queryPeriod"]],
            "triggerOperator": OPERATORS[file["triggerOperator"]],
            "triggerThreshold": file["triggerThreshold"],
            "suppressionEnabled": False,
            "suppressionDuration": "PT5H",
            "tactics": file["tactics"],
            "techniques": file["relevantTechniques"],
            "entityMappings": file.get("entityMappings"),
            "customDetails": file.get("customDetails"),
            "alertDetailsOverride": file.get("alertDetailsOverride"),
            "eventGroupingSettings": file.get("eventGroupingSettings"),
            "incidentConfiguration": {
                "createIncident": incident,
                "groupingConfiguration": file["incidentConfiguration"]["groupingConfiguration"] | {"enabled": incident},
            },
        }
    assert len(rules) == 2 * len(files_by_id)
    assert rules.keys() > files_by_id.keys()


def restricted(query: str, severities: list[str]) -> str:
    """Return a query that alerts on some severities."""
    every = 'dynamic(["High", "Medium", "Low", "Informational"])'
    assert query.count(every) == 1
    return query.replace(every, f"dynamic({json.dumps(severities, separators=(',', ':'))})")


def test_a_rule_is_deployed_switched_off_if_its_file_says_so(compiler: Compiler) -> None:
    """No file does today: how Bicep reads it is all that can be seen."""
    modules = compiler.template()["resources"]
    rule = modules["sentinelContent"]["properties"]["template"]["resources"]["alertRules"]
    assert re.fullmatch(r"\[and\(coalesce\(tryGet\(.*, 'enabled'\), true\(\)\), .*\)\]", rule["properties"]["enabled"])


@with_sentinel
def test_every_hunting_query_is_deployed_as_its_file_says(name: str, compiler: Compiler) -> None:
    """As a saved search of the category in which Sentinel looks for them."""
    assert deployed(compiler.deployed(name)[0], HUNT) == {
        hunt_id: {
            "category": "Hunting Queries",
            "displayName": file["name"],
            "query": file["query"],
            "version": 2,
            "tags": [
                {"name": "description", "value": file["description"]},
                {"name": "tactics", "value": ",".join(file["tactics"])},
                {"name": "techniques", "value": ",".join(file["relevantTechniques"])},
            ],
        }
        for hunt_id, file in files("hunting-queries").items()
    }


@with_sentinel
def test_the_workbook_is_deployed_as_its_file_says(name: str, compiler: Compiler) -> None:
    """For the workspace that has the findings, in its region."""
    evaluated, _ = compiler.deployed(name)
    workbook = evaluated.one(WORKBOOK)
    workspace = evaluated.one(COMPONENT)["properties"]["WorkspaceResourceId"]
    assert workbook["properties"]["serializedData"] == (SENTINEL / "workbook.json").read_text()
    assert workbook["properties"]["sourceId"] == workspace
    assert workspace.split("/")[:5] == workbook["id"].split("/")[:5], "in the workspace's group"
    assert (
        workbook["location"]
        == f"[reference('{workspace}', '{evaluated.of(LOG_TABLE)[0]['apiVersion']}', 'full').location]"
    )
    assert len(evaluated.of(ONBOARDING)) == 1


def test_without_sentinel_nothing_of_it_is_deployed(compiler: Compiler) -> None:
    """But the tables are there for queries."""
    evaluated, _ = compiler.deployed("without-sentinel")
    kinds = {resource["type"] for resource in evaluated.resources}
    assert kinds & {RULE, ONBOARDING, HUNT, WORKBOOK} == set()
    assert len(evaluated.of(LOG_TABLE)) == 2


def test_no_property_of_any_resource_is_unknown_to_azure(compiler: Compiler) -> None:
    """What comes out of lists and files has no type where it is written: written out, it has."""
    resources = [resource for name in DEPLOYMENTS for resource in compiler.deployed(name)[0].resources]
    assert compiler.checked("written-out", written_out(resources)).diagnostics == ""


def test_a_wrong_property_or_value_is_found_in_what_is_written_out(compiler: Compiler) -> None:
    """Anywhere in it, such as in a rule."""
    evaluated, _ = compiler.deployed("defaults")
    rule, other = deepcopy(evaluated.of(RULE)[:2])
    rule["properties"]["incidentConfiguration"]["groupingConfiguration"]["lookback"] = "PT1H"
    other["properties"]["triggerThreshold"] = "1"
    errors = compiler.checked(
        "wrong-rule", written_out([*evaluated.of(LOG_TABLE), rule, other])
    ).diagnostics.splitlines()
    assert len(errors) == 2
    assert '"lookback"' in errors[0]
    assert '"triggerThreshold"' in errors[1]
