"""The Bicep files hold together, as far as that can be told without the compiler, and pass checkov's policies."""

import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pycep import BicepParser

from local.host import ROOT

INFRA = ROOT / "infra"
MAIN = INFRA / "main.bicep"
MODULES = sorted((INFRA / "modules").glob("*.bicep"))
CHECKOV = INFRA / ".venv" / "bin" / "checkov"

IN_PREVIEW = {"Microsoft.Insights/diagnosticSettings"}
"""Its only other version, 2016-09-01, is of the time of one setting for each resource: Azure documents the preview."""

KEYWORDS = {
    *("array", "bool", "existing", "false", "for", "if", "in", "int", "module", "null", "object", "output", "param"),
    *("resource", "string", "targetScope", "true", "var"),
}

files = pytest.mark.parametrize("path", [MAIN, *MODULES], ids=lambda path: path.name)


@cache
def _parsed(path: Path) -> dict[str, Any]:
    return dict(BicepParser().parse(file_path=path))


def _code(path: Path) -> str:
    """A file without its comments; an address in a string is none."""
    return re.sub(r"(?m)(?<!:)//.*$", "", path.read_text())


def _resources(path: Path) -> dict[str, dict[str, Any]]:
    return dict(_parsed(path).get("resources", {}))


def _module_calls() -> dict[str, tuple[Path, set[str]]]:
    """The modules of main.bicep: symbol, file, and the parameters it is given."""
    calls = {}
    for symbol, module in _parsed(MAIN)["modules"].items():
        config = module["config"]
        while "params" not in config:  # inside a condition or a loop
            config = config["config"]
        calls[symbol] = (INFRA / module["detail"]["path"], set(config["params"]))
    return calls


@files
def test_a_file_says_first_what_it_is_for(path: Path) -> None:
    """It parses, and begins with a comment."""
    assert path.read_text().startswith("// ")
    assert _parsed(path)


def test_every_module_is_used() -> None:
    """No file lies around, and none is missing."""
    assert sorted(path for path, _ in _module_calls().values()) == MODULES


def test_a_module_is_given_the_parameters_that_it_has() -> None:
    """All that it needs, and none that it does not know. No module has a default: main.bicep decides."""
    for path, given in _module_calls().values():
        assert given == set(_parsed(path)["parameters"]), path.name


def test_only_outputs_that_exist_are_used() -> None:
    """A misspelt output would fail in the middle of a deployment."""
    calls = _module_calls()
    used = re.findall(r"\b(\w+)!?\.outputs\.(\w+)", _code(MAIN))
    assert used
    for symbol, output in used:
        assert output in _parsed(calls[symbol][0])["outputs"], f"{symbol}.outputs.{output}"


def test_every_output_of_a_module_is_used() -> None:
    """What nobody reads is left out."""
    used = set(re.findall(r"\b(\w+)!?\.outputs\.(\w+)", _code(MAIN)))
    declared = {
        (symbol, output) for symbol, (path, _) in _module_calls().items() for output in _parsed(path).get("outputs", {})
    }
    assert declared == used


@files
def test_parameters_and_outputs_are_described(path: Path) -> None:
    """In a sentence."""
    for kind in ("parameters", "outputs"):
        for name, declared in _parsed(path).get(kind, {}).items():
            described = [mark["argument"] for mark in declared["decorators"] if mark["type"] == "description"]
            assert len(described) == 1, name
            assert len(described[0]) > 10, name


def _symbols(path: Path) -> tuple[set[str], list[str]]:
    """What a file declares, and what it refers to: names that are no key, no property and no function."""
    bicep = _parsed(path)
    declared = {
        name for kind in ("parameters", "variables", "resources", "modules", "outputs") for name in bicep.get(kind, {})
    }
    code = re.sub(r"(?m)^@\w+\(.*\)\s*$", "", _code(path))
    pieces = re.findall(r"\$\{([^}]*)\}", code)
    for _ in range(2):  # a string may hold a string: '${endsWith(x, 'd')}'
        code = re.sub(r"'(?:\$\{[^}]*\}|\\'|[^'\n$])*'", " ", code)
    declared |= set(re.findall(r"\[for (\w+) in", code))
    code = "\n".join([code, *(re.sub(r"'[^']*'", " ", piece) for piece in pieces)])
    code = re.sub(r"(?m)(^|[{,])\s*\w+\s*:", r"\1", code)  # keys
    return declared, re.findall(r"(?<![.\w?@])([A-Za-z_]\w*)\b(?!\s*\(|\w)", code)


@files
def test_names_are_declared_before_they_are_used(path: Path) -> None:
    """And what is declared is used."""
    declared, used = _symbols(path)
    assert set(used) - declared - KEYWORDS == set()
    for name in set(_parsed(path).get("parameters", {})) | set(_parsed(path).get("variables", {})):
        assert used.count(name) >= 2, f"{name} is declared for nobody"


def test_versions_of_the_api_are_generally_available() -> None:
    """And the same for a type wherever it stands."""
    versions: dict[str, set[str]] = {}
    for path in [MAIN, *MODULES]:
        for resource in _resources(path).values():
            versions.setdefault(resource["type"], set()).add(resource["api_version"])
    assert len(versions) > 20
    assert {kind: found for kind, found in versions.items() if len(found) > 1} == {}
    assert {
        kind for kind, (version,) in versions.items() if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", version)
    } == (IN_PREVIEW)


@files
def test_role_assignments_are_named_so_that_a_second_deployment_meets_them(path: Path) -> None:
    """By scope, identity and role."""
    for symbol, resource in _resources(path).items():
        if resource["type"] != "Microsoft.Authorization/roleAssignments":
            continue
        config = resource["config"].get("config", resource["config"])
        assert config["name"]["function"]["type"] == "guid", symbol
        assert config["properties"]["principalType"] == "ServicePrincipal", symbol


@files
def test_no_key_is_read(path: Path) -> None:
    """Connections are by identity; a template that lists keys would put them into the deployment's history."""
    assert not re.search(
        r"(?i)listKeys|listConnectionStrings|listAccountSas|AccountKey=|SharedAccessKey=", path.read_text()
    )


def test_files_that_are_loaded_exist() -> None:
    """Columns, roles, and what Sentinel is given."""
    loaded = [
        (path.parent / name).resolve()
        for path in MODULES
        for name in re.findall(r"load\w+Content\('([^']+)'\)", path.read_text())
    ]
    assert loaded
    assert [path for path in loaded if not path.is_file()] == []


def test_sentinel_is_given_all_of_its_content() -> None:
    """A rule that nobody lists would never be deployed."""
    text = (INFRA / "modules" / "sentinel.bicep").read_text()
    content = {path for path in (INFRA / "sentinel").rglob("*") if path.suffix in {".yaml", ".json"}}
    assert {f"../{path.relative_to(INFRA)}" for path in content} == set(re.findall(r"'(\.\./sentinel/[^']+)'", text))


UNREADABLE = "resource thing 'A/b@2020-01-01' = {\n  name: \n"
IN_CLEAR = """
resource account 'Microsoft.Storage/storageAccounts@2026-09-01' = {
  name: 'planted'
  properties: {
    supportsHttpsTrafficOnly: false
  }
}
"""


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What checkov says of all files, and of two planted ones that it must complain about."""
    if not CHECKOV.exists():
        pytest.fail("checkov is not installed: `make test` sets it up in infra/.venv")
    planted = tmp_path_factory.mktemp("planted")
    (planted / "unreadable.bicep").write_text(UNREADABLE)
    (planted / "in_clear.bicep").write_text(IN_CLEAR)
    paths = [str(path) for path in [MAIN, *MODULES, *sorted(planted.iterdir())]]
    run = subprocess.run(  # noqa: S603 - from a path of its own
        [CHECKOV, "--framework", "bicep", "--skip-download", "--output", "json", "--file", *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def test_checkov_reads_every_file(policies: dict[str, Any]) -> None:
    """Its exit code says nothing of a file that it cannot read: only the planted one is such."""
    assert [Path(path).name for path in policies["results"]["parsing_errors"]] == ["unreadable.bicep"]
    assert policies["summary"]["resource_count"] > 50


def test_policies_pass(policies: dict[str, Any]) -> None:
    """Only the planted account fails, as it takes plain HTTP."""
    failed = [check for check in policies["results"]["failed_checks"] if "in_clear" not in check["file_path"]]
    assert [(check["check_id"], check["resource"], check["file_path"]) for check in failed] == []
    planted = {check["check_id"] for check in policies["results"]["failed_checks"]}
    assert "CKV_AZURE_3" in planted


def test_every_skipped_policy_is_explained_and_still_needed(policies: dict[str, Any]) -> None:
    """A skip that no longer skips anything goes."""
    written = {
        (path.name, check): reason
        for path in [MAIN, *MODULES]
        for check, reason in re.findall(r"checkov:skip=(\w+):(.*)", path.read_text())
    }
    skipped = {(Path(check["file_path"]).name, check["check_id"]) for check in policies["results"]["skipped_checks"]}
    assert set(written) == skipped
    assert [place for place, reason in written.items() if len(reason) < 30] == []
