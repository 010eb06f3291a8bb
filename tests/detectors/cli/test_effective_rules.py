"""`llm-detector rules --effective`: what holds for one resource, and why."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from detectors.cli.main import main
from detectors.rules.catalogue import CATALOGUE
from tests.builders import PIPELINE, ROLE_ARN, SUBSCRIPTION, USER_ARN, canonical_id, resource_id

TUNING = f"""
[rules.model_theft]
count = 60

[rules.large_transfer]
enabled = false

[[resources]]
rule = "model_theft"
resource = "*/accounts/aoai-ci-*"
count = 1_000
severity = "Low"
reason = "Tests read the keys for each run."

[[resources]]
rule = "*"
resource = "/subscriptions/{SUBSCRIPTION.upper()}/*"
request_length = 9_000
reason = "Long documents."

[[exceptions]]
rule = "model_theft"
resource = "*/accounts/aoai-ci-*"
callers = ["{PIPELINE}"]
reason = "The nightly rotation."
owner = "platform team"
expires = 2999-12-31

[[exceptions]]
rule = "*"
resource = "*/accounts/aoai-ci-1"
reason = "The penetration test."
owner = "red team"
expires = 2026-01-31

[[exceptions]]
rule = "*"
resource = "{ROLE_ARN}"
reason = "A demo."
owner = "sales"
expires = 2999-01-31
"""


@pytest.fixture
def tuned(tmp_path: Path) -> str:
    """Provide a tuning file."""
    path = tmp_path / "ours.toml"
    path.write_text(TUNING)
    return str(path)


def _settings(folder: Path, **values: str) -> str:
    """Return a local.settings.json without any setting that is not about rules."""
    path = folder / "local.settings.json"
    path.write_text(json.dumps({"Values": values}))
    return str(path)


def _printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["rules", *arguments]) == 0
    return capsys.readouterr().out


def _values(printed: str) -> Mapping[tuple[str, str], list[str]]:
    """Return the rest of each row by rule and what it is about."""
    rows = [re.split(r"\s{2,}", line) for line in printed.split("\n\n")[1].splitlines()]
    assert rows[0] == ["Rule", "What", "In force", "Because of", "Reason"]
    return {(row[0], row[1]): row[2:] for row in rows[1:]}


def _rules(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict[str, Any]]:
    printed = _printed(capsys, *arguments, "--format", "ndjson")
    return {rule["rule"]: rule for rule in map(json.loads, printed.splitlines())}


def test_each_value_is_shown_with_what_it_comes_from(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, tuned: str
) -> None:
    """Of a default, of the rule's table, of an entry for some resources with its reason, of an app setting."""
    file = _settings(tmp_path, MODEL_THEFT__RESPONSE_LENGTH="5000", INSECURE_OUTPUT__ENABLED="false")
    arguments = ["--file", file, "--tuning", tuned, "--effective"]
    ci, other = (_values(_printed(capsys, *arguments, resource_id(name))) for name in ("aoai-ci-7", "aoai-prod"))
    assert ci["model_theft", "count"] == ["1,000", f"{tuned} [[resources]] 1", "Tests read the keys for each run."]
    assert ci["model_theft", "severity"] == ["Low", f"{tuned} [[resources]] 1", "Tests read the keys for each run."]
    assert other["model_theft", "count"] == ["60", f"{tuned} [rules.model_theft]"]
    assert other["model_theft", "severity"] == ["Medium", "default"]
    for shown in (ci, other):
        assert shown["model_theft", "response_length"] == ["5,000", "app setting MODEL_THEFT__RESPONSE_LENGTH"]
        assert shown["denial_of_service", "request_length"] == ["9,000", f"{tuned} [[resources]] 2", "Long documents."]
        assert shown["insecure_output", "enabled"] == ["false", "app setting INSECURE_OUTPUT__ENABLED"]
        assert shown["large_transfer", "enabled"] == ["false", f"{tuned} [rules.large_transfer]"]
        assert shown["new_key_lister", "enabled"] == ["true", "default"]


def test_exceptions_that_cover_it_are_shown_whether_they_hold_or_not(
    capsys: pytest.CaptureFixture[str], tuned: str
) -> None:
    """With reason, owner and last day: whoever was not alerted wants to know why, and until when."""
    *_, table = _printed(capsys, "--tuning", tuned, "--effective", canonical_id("aoai-ci-1")).split("\n\n")
    assert [re.split(r"\s{2,}", line) for line in table.splitlines()] == [
        ["Exception", "Holds until", "State", "Owner", "For callers", "For rules"],
        ["The nightly rotation.", "2999-12-31", "in force", "platform team", PIPELINE, "model_theft"],
        ["The penetration test.", "2026-01-31", "expired", "red team", "all", "all"],
    ]
    *_, said = _printed(capsys, "--tuning", tuned, "--effective", canonical_id()).split("\n\n")
    assert said == "No exception covers it.\n"


def test_each_line_of_ndjson_is_a_rule(capsys: pytest.CaptureFixture[str], tuned: str) -> None:
    """With the same facts as values."""
    rules = _rules(capsys, "--tuning", tuned, "--effective", resource_id("aoai-ci-1"))
    theft = rules["model_theft"]
    assert theft["resource"] == canonical_id("aoai-ci-1")
    assert theft["thresholds"]["count"] == {
        "value": 1000,
        "origin": f"{tuned} [[resources]] 1",
        "reason": "Tests read the keys for each run.",
    }
    assert theft["enabled"] == {"value": True, "origin": "default", "reason": ""}
    assert theft["severity"]["value"] == "Low"
    assert [(each["owner"], each["in_force"], each["callers"]) for each in theft["exceptions"]] == [
        ("platform team", True, [PIPELINE]),
        ("red team", False, []),
    ]
    assert [each["owner"] for each in rules["insecure_output"]["exceptions"]] == ["red team"]


def test_only_rules_that_can_fire_for_it_are_shown(capsys: pytest.CaptureFixture[str], tuned: str) -> None:
    """Those about Bedrock look at AWS identities; of all or of the one that is asked for."""
    by_first = {first: {rule.id for rule in CATALOGUE if rule.group_fields[0] == first} for first in FIRST}
    for first, entity in FIRST.items():
        assert set(_rules(capsys, "--effective", entity)) == by_first[first]
    assert sum(map(len, by_first.values())) == len(CATALOGUE)
    one = _rules(capsys, "bedrock_denied_models", "--effective", USER_ARN, "--tuning", tuned)
    assert [each["owner"] for each in one.pop("bedrock_denied_models")["exceptions"]] == ["sales"]
    assert one == {}


FIRST = {"ResourceId": canonical_id(), "UserArn": USER_ARN, "Caller": PIPELINE}


def test_an_id_counts_in_any_case_and_a_child_as_its_parent(capsys: pytest.CaptureFixture[str], tuned: str) -> None:
    """As in the logs."""
    ids = [resource_id("aoai-ci-1"), resource_id("aoai-ci-1", upper=False), f"{resource_id('aoai-ci-1')}/deployments/x"]
    shown = {_printed(capsys, "--tuning", tuned, "--effective", text) for text in ids}
    assert len(shown) == 1
    assert shown.pop().startswith(f"{canonical_id('aoai-ci-1')}\n")


def test_the_tuning_file_is_the_one_that_the_settings_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tuned: str
) -> None:
    """From the environment or a file; no setting of storage, hub or posting has to be there."""
    monkeypatch.setattr("detectors.configuration.settings.ROOT", tmp_path)
    file = _settings(tmp_path, TUNING_FILE=Path(tuned).name)
    for name in ("AzureWebJobsStorage", "EVENT_HUB_NAME"):
        monkeypatch.delenv(name, raising=False)
    assert _values(_printed(capsys, "--file", file, "--effective", canonical_id()))["model_theft", "count"] == [
        "60",
        "ours.toml [rules.model_theft]",
    ]
    monkeypatch.setenv("TUNING_FILE", Path(tuned).name)
    monkeypatch.setenv("MODEL_THEFT__COUNT", "61")
    assert _values(_printed(capsys, "--effective", canonical_id()))["model_theft", "count"] == [
        "61",
        "app setting MODEL_THEFT__COUNT",
    ]


def test_it_is_a_table_for_a_wiki_too(capsys: pytest.CaptureFixture[str], tuned: str) -> None:
    """Two of them, one below the other."""
    printed = _printed(capsys, "--tuning", tuned, "--format", "markdown", "--effective", canonical_id("aoai-ci-1"))
    assert "| model_theft | response_length | 1,000,000 | default |  |" in printed
    assert "| The penetration test. | 2026-01-31 | expired | red team | all | all |" in printed


def test_problems_are_told_all_at_once_and_the_exit_code_is_1(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Those of the tuning file and of the settings."""
    path = tmp_path / "bad.toml"
    path.write_text("[rules.model_theft]\ncuont = 5\n")
    file = _settings(tmp_path, MODEL_THEFT__COUNT="many", BUCKET_RETENTION_HOURS="none of its business")
    assert main(["rules", "--effective", canonical_id(), "--file", file, "--tuning", str(path)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    first, *problems = printed.err.splitlines()
    assert first == f"{file}: 2 setting(s) need attention:"
    assert [problem.split()[1] for problem in problems] == [str(path), "MODEL_THEFT__COUNT"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--effective", "aoai-prod"], "'aoai-prod' is no whole id"),
        (["--effective", "*/accounts/aoai-*"], "is no whole id"),
        (["--effective", ""], "is no whole id"),
        (["--effective", "arn:aws:iam::1:user/a b"], "is no whole id"),
        (["bedrock_denied_models", "--effective", canonical_id()], "never fires for"),
        (["--tuning", "detectors/tuning.toml"], "go with --effective"),
        (["--file", "local.settings.sample.json"], "go with --effective"),
    ],
)
def test_a_call_that_says_nothing_is_refused(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2."""
    assert main(["rules", *arguments]) == 2
    assert told in " ".join(capsys.readouterr().err.split())


def test_a_file_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Exit code 2, in one line."""
    for option in ("--tuning", "--file"):
        assert main(["rules", "--effective", canonical_id(), option, str(tmp_path / "none")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert str(tmp_path / "none") in line
