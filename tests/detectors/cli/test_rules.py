"""`llm-detector rules`: the catalogue, a rule in full, and the guides beside the rules."""

import json
import re

import pytest
import yaml

from detectors.cli.main import main
from detectors.configuration.settings import setting_of
from detectors.rules.catalogue import CATALOGUE, HERE, guide
from detectors.rules.rule import Rule
from local.host import ROOT
from tests.infra.kql import SCHEMA, analyse

CHAPTERS = [
    "What fired",
    "The first five minutes",
    "Harmless or harmful",
    "Queries",
    "Containment",
    "Known false positives",
    "What it cannot see",
]
ACTIVITY = {
    "TimeGenerated": "datetime",
    "Caller": "string",
    "CallerIpAddress": "string",
    "OperationNameValue": "string",
    "ActivityStatusValue": "string",
    "_ResourceId": "string",
}
"""Columns of Azure's AzureActivity table, as far as guides use them."""


def _printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["rules", *arguments]) == 0
    return capsys.readouterr().out


def test_the_list_has_a_line_for_each_rule(capsys: pytest.CaptureFixture[str]) -> None:
    """With what fires it, how grave that is, and where it comes from."""
    header, *lines = _printed(capsys).splitlines()
    assert re.split(r"\s{2,}", header) == ["Rule", "Severity", "Risk", "Fires at", "Techniques", "Upstream"]
    assert [line.split()[0] for line in lines] == [rule.id for rule in CATALOGUE]
    for rule, line in zip(CATALOGUE, lines, strict=True):
        numbers = [f"{threshold.name} {threshold.at_least:,}" for threshold in rule.thresholds]
        assert {"any": " or ", "all": " and "}[rule.requires].join(numbers) in line
        for shown in (rule.severity, f" {rule.risk_score} ", rule.source_id, *rule.techniques, *numbers):
            assert shown in line


def test_the_list_as_markdown_has_the_same_cells(capsys: pytest.CaptureFixture[str]) -> None:
    """For a wiki or a README."""
    aligned = [re.split(r"\s{2,}", line) for line in _printed(capsys).splitlines()]
    header, _, *body = _printed(capsys, "--format", "markdown").splitlines()
    assert [line.strip("| ").split(" | ") for line in (header, *body)] == aligned


def test_each_line_of_ndjson_is_a_rule_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    """The same object, whether one was asked for or all."""
    objects = [json.loads(line) for line in _printed(capsys, "--format", "ndjson").splitlines()]
    assert [each["id"] for each in objects] == [rule.id for rule in CATALOGUE]
    for rule, each in zip(CATALOGUE, objects, strict=True):
        assert json.loads(_printed(capsys, rule.id, "--format", "ndjson")) == each
        assert (each["severity"], each["risk_score"]) == (rule.severity, rule.risk_score)
        assert each["thresholds"] == [
            {
                "name": threshold.name,
                "measure": threshold.measure,
                "at_least": threshold.at_least,
                "setting": setting_of(rule.id, threshold.name),
            }
            for threshold in rule.thresholds
        ]
        assert (each["description"], each["guide"]) == (rule.description, guide(rule))


@pytest.mark.parametrize("form", ["table", "markdown"])
@pytest.mark.parametrize("rule", CATALOGUE, ids=lambda rule: str(rule.id))
def test_a_rule_is_shown_in_full(capsys: pytest.CaptureFixture[str], rule: Rule, form: str) -> None:
    """Every fact, the setting of each threshold, and both texts."""
    text = _printed(capsys, rule.id, "--format", form)
    assert text.splitlines()[0].removeprefix("# ") == rule.name
    assert text.startswith("#") == (form == "markdown")
    facts = (f"version {rule.version}", f"risk {rule.risk_score}", rule.source_id, *rule.techniques, *rule.group_fields)
    for shown in (
        *facts,
        *(condition.field for selection in rule.select for condition in selection.conditions),
        rule.description,
        guide(rule),
    ):
        assert shown in text
    for threshold in rule.thresholds:
        (line,) = (line for line in text.splitlines() if line.strip("| ").startswith(f"{threshold.name} "))
        assert re.split(r"[ |]+", line.strip("| ")) == [
            threshold.name,
            f"{threshold.at_least:,}",
            threshold.measure,
            setting_of(rule.id, threshold.name),
        ]


@pytest.mark.parametrize("rule", CATALOGUE, ids=lambda rule: str(rule.id))
def test_every_rule_has_a_description_and_a_guide(rule: Rule) -> None:
    """Whoever gets the alert at night finds each chapter, and the numbers that fire by default."""
    assert len(rule.description) > 200
    text = guide(rule)
    assert text.startswith(f"# Triage: {rule.name}\n")
    chapters = re.split(r"^## (.*)\n", text, flags=re.MULTILINE)[1:]
    assert chapters[::2] == CHAPTERS
    assert all(len(body.strip()) > 100 for body in chapters[1::2])
    for threshold in rule.thresholds:
        assert f"{threshold.at_least:,}" in chapters[1]
        assert setting_of(rule.id, threshold.name) in chapters[1]


def test_every_guide_belongs_to_a_rule() -> None:
    """One that was left behind would be read."""
    assert {path.stem for path in HERE.glob("*.md")} == {rule.id for rule in CATALOGUE}


@pytest.mark.real
def test_the_queries_of_the_guides_are_sound() -> None:
    """Held against the Kusto language service and the columns that are posted, with something in each `<place>`."""
    queries = {
        f"{rule.id} {number}": re.sub(r"datetime\(<\w+>\)", "datetime(2026-11-23)", query)
        for rule in CATALOGUE
        for number, query in enumerate(re.findall(r"```kusto\n(.*?)```", guide(rule), flags=re.DOTALL))
    }
    assert len(queries) >= len(CATALOGUE)
    found = analyse(queries, {**SCHEMA, "AzureActivity": ACTIVITY})
    assert {name: analysis.problems for name, analysis in found.items() if analysis.problems} == {}


def test_the_hunting_queries_and_rules_that_the_guides_name_exist() -> None:
    """By the name under which Sentinel lists them."""
    hunts = (ROOT / "infra/sentinel/hunting-queries").iterdir()
    known = {yaml.safe_load(path.read_text())["name"] for path in hunts} | {rule.name for rule in CATALOGUE}
    for rule in CATALOGUE:
        prose = re.sub(r"```.*?```", "", guide(rule), flags=re.DOTALL)
        named = {" ".join(name.split()) for name in re.findall(r'"([A-Z][^"]{20,})"', prose)}
        assert named - known == set(), rule.id
