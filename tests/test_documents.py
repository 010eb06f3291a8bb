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
from detectors.rules.catalogue import load
from detectors.rules.tally import Key
from generate.pages import BLOCKS, DETECTIONS, pages
from local.__main__ import program as local_runs
from local.host import ROOT
from local.simulation import Simulation
from tests.builders import START, canonical_id, chat, event, of_rules
from tests.commands import parsed
from tests.infra.compiler import Compiler

README = (ROOT / "README.md").read_text()
DEPLOY = (ROOT / "docs" / "deploy.md").read_text()
DOCUMENTS = [
    path.relative_to(ROOT)
    for path in (*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md")), *(ROOT / "detectors/rules").glob("*.md"))
]


def _chapter(title: str, document: str = README) -> str:
    """Return the text of a chapter, up to the next one of its level or a higher one."""
    level = title.count("#")
    return re.split(rf"^#{{2,{level}}} ", document.split(f"\n{title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def _rows(text: str) -> list[list[str]]:
    """Return the cells of a Markdown table's body."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_readme_can_be_read_in_one_go() -> None:
    """The rest stands in docs/."""
    assert len(README.splitlines()) <= 200


def test_generated_pages_and_blocks_are_up_to_date() -> None:
    """`make generate` would change nothing, and every block that can be made stands somewhere."""
    wanted = pages()
    assert [path.name for path, text in wanted.items() if not path.exists() or path.read_text() != text] == []
    assert {*DETECTIONS.glob("*.md")} <= wanted.keys()
    assert {name for text in wanted.values() for name in re.findall(r"<!-- generated: (.*?) -->", text)} > BLOCKS.keys()


def test_local_runs_cut_batches_as_host_json_does() -> None:
    """A local run stands for production."""
    size = json.loads((ROOT / "host.json").read_text())["extensions"]["eventHubs"]["maxEventBatchSize"]
    assert parsed(local_runs, ["run"])["batch_size"] == size
    assert Simulation([]).batch_size == size


def test_the_paths_in_the_layout_exist() -> None:
    """The layout names no ghosts, and no module of the product is left out."""
    rows = _rows(_chapter("## Where things live", (ROOT / "CONTRIBUTING.md").read_text()))
    named = {path.strip("` ") for row in rows for path in row[0].split(",")}
    assert [path for path in named if not (ROOT / path).exists()] == []
    modules = {f"detectors/{path.name}" for path in (ROOT / "detectors").glob("*.py")} - {"detectors/__init__.py"}
    assert modules - named == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_the_commands_in_the_documents_can_be_taken(document: Path) -> None:
    """Targets that make knows, arguments that the command lines know."""
    text = (ROOT / document).read_text()
    makefile = (ROOT / "Makefile").read_text()
    assert [target for target in re.findall(r"`make ([\w-]+)`", text) if f"\n{target}:" not in makefile] == []
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    for line in [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]:
        match shlex.split(line, comments=True):
            case ["make", target]:
                assert f"\n{target}:" in makefile
            case ["make", "run", arguments]:
                parsed(local_runs, ["run", *shlex.split(arguments.removeprefix("ARGS="))])
            case ["llm-detector", *arguments]:
                parsed(llm_detector, arguments)


def test_the_readme_shows_the_commands_that_people_come_for() -> None:
    """Try it, test it, backtest."""
    commands = re.findall(r"^(?:make \w+|llm-detector \w+)", README, re.MULTILINE)
    assert {"make demo", "make test", "llm-detector replay"} <= set(commands)


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
    documented = [
        [cell.strip("`") for cell in row] for row in _rows((ROOT / "docs/reference/parameters.md").read_text())
    ]
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


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_within_the_documents_lead_somewhere(document: Path) -> None:
    """To files that exist, and to headings of theirs."""
    text = re.sub(r"```.*?```", "", (ROOT / document).read_text(), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", text)
    broken = []
    for page, anchor in links:
        target = ROOT / document.parent / page if page else ROOT / document
        if not target.exists() or (anchor and anchor not in _anchors(target.read_text())):
            broken.append((page, anchor))
    assert broken == []


def _anchors(text: str) -> set[str]:
    """Return what links may name of a page: its headings as GitHub writes them."""
    titles = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def _default(value: object) -> str:
    """Return a default as the README shows it."""
    if isinstance(value, dict) and value:
        return f"{{ {', '.join(f"{name}: '{one}'" for name, one in value.items())} }}"
    if value is None:
        return "required"
    if value in ("", {}):
        return "none"
    if value == "[resourceGroup().location]":
        return "that of the resource group"
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize(("document", "chapter"), [("README.md", "## Write a rule"), ("docs/extending/rule.md", "# ")])
def test_the_rule_that_the_documents_write_works(document: str, chapter: str, tmp_path: Path) -> None:
    """Its file is read as it stands there, and the rule fires at its number and not below."""
    (text,) = re.findall(r"```toml\n(.*?)```", (ROOT / document).read_text().split(chapter, 1)[1], re.DOTALL)
    (tmp_path / "guessed_deployments.toml").write_text(text)
    ((rule,), problems) = load([tmp_path])
    assert problems == []
    guessed = {**chat(objectId="eve"), "resultSignature": "404"}
    for count, fires in ((19, False), (20, True)):
        records = [*[guessed] * count, chat(objectId="eve"), *[{**guessed, "category": "Audit"}] * 5]
        tallies = of_rules(BatchCounter([rule]).count([event(1, *records)], START).tallies)
        assert list(tallies) == [Key(rule.id, (canonical_id(), "eve"))]
        (tally,) = tallies.values()
        assert bool(rule.triggers(tally, {one.name: one.at_least for one in rule.thresholds})) is fires


def test_the_tuning_file_in_the_documents_can_be_taken() -> None:
    """As it stands there, and as shipped."""
    tune = (ROOT / "docs/tune-and-triage.md").read_text()
    (text,) = re.findall(r"```toml\n(.*?)```", _chapter("## Tune", tune), re.DOTALL)
    tuned = tuning.parse(text, "tune-and-triage.md")
    assert tuned.problems == ()
    assert (len(tuned.changes), len(tuned.suppression_rules)) == (2, 1)
