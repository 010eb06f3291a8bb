"""What the documents say is what the code does."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from detectors.cli.main import program as llm_detector
from detectors.configuration import tuning
from detectors.ingestion.counting import BatchCounter
from detectors.reporting.finding import Finding, columns
from detectors.reporting.heartbeat import Heartbeat
from detectors.rules.catalogue import CATALOGUE, load
from detectors.rules.tally import Key
from local.__main__ import program as local_runs
from local.host import ROOT, SAMPLE
from local.simulation import Play
from tests.builders import START, canonical_id, chat, event
from tests.commands import parsed
from tests.infra.compiler import Compiler

README = (ROOT / "README.md").read_text()
DEPLOY = (ROOT / "docs" / "deploy.md").read_text()


def _chapter(title: str, document: str = README) -> str:
    """The text of a chapter, up to the next one of its level or a higher one."""
    level = title.count("#")
    return re.split(rf"^#{{2,{level}}} ", document.split(f"\n{title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def _rows(text: str) -> list[list[str]]:
    """The cells of a Markdown table's body."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize(("chapter", "table"), [("## Findings", Finding), ("## Heartbeats", Heartbeat)])
def test_the_columns_in_the_readme_are_those_that_are_posted(chapter: str, table: type[Finding | Heartbeat]) -> None:
    """Names, types and order."""
    assert {row[0]: row[1] for row in _rows(_chapter(chapter))} == columns(table)
    assert [row[0] for row in _rows(_chapter(chapter))] == list(columns(table))


def test_the_settings_in_the_readme_are_those_of_the_sample() -> None:
    """Each setting once, with the default that the sample shows."""
    sample = json.loads(SAMPLE.read_text())["Values"]
    documented = {row[0].strip("`"): row[1].strip("`") for row in _rows(_chapter("## Settings"))}
    named = {name.split("__fully")[0] for name in sample} - {"FUNCTIONS_WORKER_RUNTIME"}
    assert set(documented) == named
    fixed = {name: value for name, value in documented.items() if value not in {"required", "none"}}
    assert {name: sample[name] for name in fixed if name != "BucketStorage"} == {
        name: value for name, value in fixed.items() if name != "BucketStorage"
    }


def test_the_rules_in_the_readme_are_those_of_the_catalogue() -> None:
    """With their numbers."""
    rows = _rows(_chapter("## What it detects, and what it cannot see"))
    assert len(rows) == len(CATALOGUE)
    for rule, (name, fires, severity) in zip(CATALOGUE, rows, strict=True):
        assert name == f"{rule.name} (`{rule.id}`)"
        assert severity == f"{rule.severity}, risk {rule.risk_score}"
        assert all(f"{threshold.at_least:,}" in fires for threshold in rule.thresholds)


def test_the_host_settings_in_the_readme_are_those_of_host_json() -> None:
    """Every setting of an extension is explained, with its value."""
    extensions = json.loads((ROOT / "host.json").read_text())["extensions"]
    values = {**extensions["eventHubs"], **extensions["durableTask"]}
    values |= values.pop("storageProvider")
    values["initialOffsetOptions"] = values["initialOffsetOptions"]["type"]
    documented = {name.strip("` "): row[1] for row in _rows(_chapter("### host.json")) for name in row[0].split(",")}
    assert documented == {name: str(value) for name, value in values.items()}


def test_local_runs_cut_batches_as_host_json_does() -> None:
    """A local run stands for production."""
    size = json.loads((ROOT / "host.json").read_text())["extensions"]["eventHubs"]["maxEventBatchSize"]
    assert parsed(local_runs, ["run"])["batch_size"] == size
    assert Play([]).batch_size == size


def test_the_paths_in_the_readme_exist() -> None:
    """The layout names no ghosts, and no module of the product is left out."""
    named = {path.strip("` ") for row in _rows(_chapter("## Layout")) for path in row[0].split(",")}
    assert [path for path in named if not (ROOT / path).exists()] == []
    modules = {f"detectors/{path.name}" for path in (ROOT / "detectors").glob("*.py")} - {"detectors/__init__.py"}
    assert modules - named == set()


def test_the_commands_in_the_readme_can_be_taken() -> None:
    """Targets that make knows, arguments that the command line knows."""
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"`?make (\w+)`?", README)
    assert {"demo", "test", "bench"} <= set(targets)
    assert [target for target in targets if f"\n{target}:" not in makefile] == []
    commands = re.findall(r"^python -m local (.*)$", README, flags=re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        parsed(local_runs, shlex.split(command))
    for command in re.findall(r"^llm-detector (.*)$", README, flags=re.MULTILINE):
        parsed(llm_detector, shlex.split(command, comments=True))


def test_the_runbook_says_how_long_messages_of_a_dead_host_are_hidden() -> None:
    """As host.json has it."""
    storage = json.loads((ROOT / "host.json").read_text())["extensions"]["durableTask"]["storageProvider"]
    timeouts = {storage["controlQueueVisibilityTimeout"], storage["workItemQueueVisibilityTimeout"]}
    row = next(row for row in _rows((ROOT / "docs/runbook.md").read_text()) if row[0].startswith("a step"))
    assert timeouts == {"00:01:00"}
    assert row[1].startswith("a minute:")


def test_ci_runs_the_test_command_of_the_readme() -> None:
    """What users are told to run is what guards every change."""
    assert (ROOT / ".ci/run").read_text().splitlines()[-1] == "make test"


def test_the_parameters_in_the_documents_are_those_of_the_template(compiler: Compiler) -> None:
    """Names in order, defaults, and what each is."""
    parameters = compiler.template()["parameters"]
    documented = [[cell.strip("`") for cell in row] for row in _rows(_chapter("## Parameters", DEPLOY))]
    assert documented == [
        [name, _default(parameter.get("defaultValue")), parameter["metadata"]["description"]]
        for name, parameter in parameters.items()
    ]


def test_the_readme_deploys_as_the_checklist_does() -> None:
    """Who follows the one needs nothing else from the other."""
    (commands,) = re.findall(r"```sh\n(.*?)```", _chapter("## Deploy"), flags=re.DOTALL)
    assert f"```sh\n{commands}```" in _chapter("## Way A: Azure CLI and Core Tools", DEPLOY)


def test_the_least_azd_in_the_checklist_is_that_of_azure_yaml() -> None:
    """An older one would build remotely whatever azure.yaml says."""
    required = yaml.safe_load((ROOT / "azure.yaml").read_text())["requiredVersions"]["azd"]
    (documented,) = [
        row[2] for row in _rows(_chapter("## Before you begin", DEPLOY)) if "Azure Developer CLI" in row[1]
    ]
    assert required == f">= {documented}"


@pytest.mark.parametrize("document", [path.relative_to(ROOT) for path in (ROOT / "docs").glob("*.md")], ids=str)
def test_links_within_the_documents_lead_somewhere(document: Path) -> None:
    """To files that exist, and to headings of theirs."""
    links = re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", (ROOT / document).read_text())
    broken = []
    for page, anchor in links:
        target = ROOT / document.parent / page if page else ROOT / document
        if not target.exists() or (anchor and anchor not in _anchors(target.read_text())):
            broken.append((page, anchor))
    assert broken == []


def _anchors(text: str) -> set[str]:
    """What links may name of a page: its headings as GitHub writes them."""
    titles = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def _default(value: object) -> str:
    """A default as the README shows it."""
    if value is None:
        return "required"
    if value in ("", {}):
        return "none"
    if value == "[resourceGroup().location]":
        return "that of the resource group"
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_the_rule_that_the_readme_writes_works(tmp_path: Path) -> None:
    """Its file is read as it stands there, and the rule fires at its number and not below."""
    (text,) = re.findall(r"```toml\n(.*?)```", _chapter("## Write your own rule"), flags=re.DOTALL)
    (tmp_path / "refused_requests.toml").write_text(text)
    ((rule,), problems) = load([tmp_path])
    assert problems == []
    refused = {**chat(objectId="eve"), "resultSignature": "400"}
    for count, fires in ((19, False), (20, True)):
        records = [*[refused] * count, chat(objectId="eve"), *[{**refused, "category": "Audit"}] * 5]
        tallies = BatchCounter([rule]).count([event(1, *records)], START).tallies
        assert list(tallies) == [Key(rule.id, (canonical_id(), "eve"))]
        (tally,) = tallies.values()
        assert bool(rule.triggers(tally, {one.name: one.at_least for one in rule.thresholds})) is fires


def test_the_tuning_file_in_the_readme_can_be_taken() -> None:
    """As it stands there, and as shipped."""
    (text,) = re.findall(r"```toml\n(.*?)```", _chapter("## Tune"), flags=re.DOTALL)
    tuned = tuning.parse(text, "README.md")
    assert tuned.problems == ()
    assert (len(tuned.changes), len(tuned.suppression_rules)) == (2, 1)
