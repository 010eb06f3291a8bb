"""Every KQL text passes the Kusto language service with the real tables, and gives the columns that templates name."""

import re
from collections.abc import Mapping

import pytest

from detectors.reporting.finding import Finding, columns
from tests.infra.kql import FINDINGS, SCHEMA, SENTINEL, Analysis, Row, analyse, span, template

TEMPLATES = sorted(str(path.relative_to(SENTINEL)) for path in SENTINEL.glob("*/*.yaml"))
RULES = [name for name in TEMPLATES if name.startswith("analytic-rules")]


@pytest.fixture(scope="module")
def analyses() -> dict[str, Analysis]:
    """Provide what the language service says of each template's query."""
    return analyse({name: template(name)["query"] for name in TEMPLATES})


def named_columns(found: Row) -> set[str]:
    """Return the columns that entity mappings, custom details and alert overrides name."""
    override = found.get("alertDetailsOverride", {})
    formats = " ".join(text for name, text in override.items() if name.endswith("Format"))
    return {
        *(field["columnName"] for mapping in found.get("entityMappings", []) for field in mapping["fieldMappings"]),
        *found.get("customDetails", {}).values(),
        *(text for name, text in override.items() if name.endswith("ColumnName")),
        *re.findall(r"{{(\w+)}}", formats),
    }


@pytest.mark.parametrize("name", TEMPLATES)
def test_queries_have_no_problems(name: str, analyses: Mapping[str, Analysis]) -> None:
    """Syntax, functions, types and columns."""
    assert analyses[name].problems == []


@pytest.mark.parametrize("name", TEMPLATES)
def test_results_have_every_column_that_the_template_names(name: str, analyses: Mapping[str, Analysis]) -> None:
    """Sentinel drops an entity or a detail whose column is not there, and says nothing."""
    assert named_columns(template(name)) - analyses[name].columns.keys() == set()


def test_a_column_that_the_detector_does_not_post_is_found() -> None:
    """Take away what the rule reads, and its query is refused."""
    read = {"EpisodeId", "Triggers", "BucketCounts", "CallersTruncated", "Severity"}
    query = template("analytic-rules/model-theft.yaml")["query"]
    posted = {name: kind for name, kind in columns(Finding).items() if name not in read}
    (answer,) = analyse({"rule": query}, {**SCHEMA, FINDINGS: posted}).values()
    assert read == {column for column in read if any(f"'{column}'" in problem for problem in answer.problems)}


def test_a_wrong_query_is_found() -> None:
    """Among them one that counts on a column that not every workspace has."""
    wrong = {
        "column": "LlmThreatFindings_CL | where Statuss == 'New'",
        "operator": "LlmThreatFindings_CL | summarise count()",
        "function": "LlmThreatFindings_CL | extend a = make_believe(1)",
        "table": "LlmThreatFindings | take 1",
        "type": "LlmThreatFindings_CL | where EventCount has 'many'",
        "maybe": "AzureDiagnostics | where isempty(properties_s)",
    }
    assert [name for name, answer in analyse(wrong).items() if not answer.problems] == []


def test_a_named_column_that_the_query_lost_is_found(analyses: Mapping[str, Analysis]) -> None:
    """The comparison looks into mappings, details and every kind of override."""
    rule = template("analytic-rules/model-theft.yaml")
    result = analyses["analytic-rules/model-theft.yaml"].columns.keys()
    for lost in ("Caller2", "ResourceId", "RiskScore", "Title", "Summary", "Severity"):
        assert named_columns(rule) - (result - {lost}) == {lost}


@pytest.mark.parametrize("name", RULES)
def test_slices_are_as_long_as_the_time_between_two_runs(name: str) -> None:
    """Otherwise alerts are lost, or come twice."""
    rule = template(name)
    (every,) = re.findall(r"let Every = (\w+);", rule["query"])
    assert span(every) == span(rule["queryFrequency"])


def test_every_reader_of_findings_takes_the_newest_row() -> None:
    """Posting is at least once."""
    for name in TEMPLATES:
        if FINDINGS in (query := template(name)["query"]):
            assert "arg_max(TimeGenerated, *) by FindingId" in query, name
