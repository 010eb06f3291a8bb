"""A new rule is a file and its guide: everything else follows from them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from detectors.rules.catalogue import CATALOGUE, RULES_FOLDER
from local.host import ROOT

REST = """
[[example]]
says = "a caller tries names until one is there"
fires = true
events = [{ times = 20, over_minutes = 30, caller = "a guesser" }]

[[example]]
says = "nineteen of an application's requests find nothing"
fires = false
events = [{ times = 19, over_minutes = 30 }, { times = 60, over_minutes = 60, status = "200" }]

[alert]
id = "5d0b6c0e-6a86-4d2c-9a52-3b8c5c0f5a11"
version = "1.0.0"
raises = "alert"
attack = { Reconnaissance = ["T1595"] }
hunt = { id = "0c9f4c5b-7c0a-4b52-8f0e-2f6d3a1b9c77", name = "Azure OpenAI guesses in raw logs", version = "1.0.0" }
says = "within one hour one caller asked again and again for what is not there."
triage = "1. Who is it?"
"""

pytestmark = pytest.mark.real

PROGRAM = """
import json
from datetime import timedelta

import yaml

from detectors.cli.rules_check import check
from detectors.configuration import tuning
from detectors.configuration.settings import policy_from_env, setting_of
from detectors.examples.words import examples_of
from detectors.rules.catalogue import BY_ID, CATALOGUE, PROBLEMS, guide
from infra.sentinel import analytic_rules, hunting_queries
from local.expected_findings import expectation
from local.traffic import Scenario, Traffic

rule = BY_ID["guessed_deployments"]
traffic = Traffic(Scenario(records=4_000))
list(traffic)
alerts = [group for rule_id, group in expectation(traffic.truth).alerts if rule_id == rule.id]
print(json.dumps({
    "problems": PROBLEMS,
    "rules": [one.id for one in CATALOGUE],
    "guide": guide(rule),
    "examples hold": [one.holds for one in check().rules[-1].played],
    "in words": [one.says for one in examples_of(rule)],
    "tuned": tuning.parse("[rules.guessed_deployments]\\ncount = 30", "tuning.toml").changes[0].thresholds["count"],
    "setting": setting_of(rule.id, "count"),
    "set": policy_from_env({"GUESSED_DEPLOYMENTS__COUNT": "25"}).resolve(rule.id, "").thresholds["count"].value,
    "alert": yaml.safe_load(analytic_rules.render(rule, rule.alert))["name"],
    "hunt": yaml.safe_load(hunting_queries.render(rule, rule.alert, rule.alert.hunt))["query"],
    "attacked": [traffic.truth.attacked[rule.id]] == [group[0] for group in alerts],
}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide the rule that the README writes, with examples, an alert and a guide."""
    path = tmp_path_factory.mktemp("my-rules")
    readme = (ROOT / "README.md").read_text()
    (text,) = re.findall(r'```toml\n(id = "guessed_deployments".*?)```', readme, flags=re.DOTALL)
    (path / "guessed_deployments.toml").write_text(text + REST)
    (path / "guessed_deployments.md").write_text("# Triage: guessed deployments\n")
    return path


@pytest.fixture(scope="module")
def made(folder: Path) -> dict[str, Any]:
    """Provide what a process says that starts with it."""
    done = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={**os.environ, RULES_FOLDER: str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_new_rule_is_in_the_catalogue_with_its_guide(made: dict[str, Any]) -> None:
    """Behind the shipped ones."""
    assert made["problems"] == []
    assert made["rules"] == [*(rule.id for rule in CATALOGUE), "guessed_deployments"]
    assert made["guide"] == "# Triage: guessed deployments"


def test_its_examples_are_its_test_and_its_documentation(made: dict[str, Any]) -> None:
    """Played, and told in words."""
    assert made["examples hold"] == [True, True]
    assert made["in words"] == [
        "a caller tries names until one is there",
        "nineteen of an application's requests find nothing",
    ]


def test_it_can_be_tuned_and_set(made: dict[str, Any]) -> None:
    """Under its own names."""
    assert (made["tuned"], made["setting"], made["set"]) == (30, "GUESSED_DEPLOYMENTS__COUNT", 25)


def test_sentinel_gets_a_rule_and_a_hunting_query(made: dict[str, Any]) -> None:
    """From its table [alert], and from what it selects."""
    assert made["alert"] == "Azure OpenAI Deployments Guessed by One Caller"
    assert '| where Category == "RequestResponse" and ResultSignature == "404"' in made["hunt"]
    assert "by ResourceId, Caller, WindowEnd" in made["hunt"]


def test_the_demo_attacks_with_it(made: dict[str, Any]) -> None:
    """And expects one alert, about whom it attacked."""
    assert made["attacked"] is True
