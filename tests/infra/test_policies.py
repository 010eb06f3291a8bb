"""checkov's policies pass on what is deployed, except where a comment in the Bicep file says why not."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from infra.bicep import INFRA
from tests.infra.compiler import Compiler, Resource
from tests.infra.deployments import STORAGE

CHECKOV = INFRA / ".venv" / "bin" / "checkov"
SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
IN_CLEAR: Resource = {
    "type": STORAGE,
    "apiVersion": "2025-06-01",
    "name": "planted",
    "properties": {"supportsHttpsTrafficOnly": False},
}

EXPLAINED = {
    policy: reason
    for path in sorted((INFRA / "modules").glob("*.bicep"))
    for policy, reason in re.findall(r"// checkov:skip=(\w+):(.*)", path.read_text())
}
"""Policies that do not pass, and why, as the Bicep files say."""


@pytest.fixture(scope="module")
def policies(compiler: Compiler, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Provide what checkov says of two deployments, and of a planted resource that it must complain about."""
    if not CHECKOV.exists():
        pytest.fail("checkov is not installed: `make test` sets it up in infra/.venv")
    folder = tmp_path_factory.mktemp("policies")
    deployed = {name: compiler.deployed(name)[0].resources for name in ("defaults", "isolated")}
    for name, resources in (deployed | {"planted": [IN_CLEAR]}).items():
        template = {"$schema": SCHEMA, "contentVersion": "1.0.0.0", "resources": resources}
        (folder / f"{name}.json").write_text(json.dumps(template, indent=1))
    run = subprocess.run(  # noqa: S603 - from a path of its own
        [CHECKOV, "--framework", "arm", "--skip-download", "--output", "json", "--directory", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def failed(policies: dict[str, Any], name: str) -> set[str]:
    """Return the policies that do not pass on a deployment."""
    return {
        check["check_id"] for check in policies["results"]["failed_checks"] if Path(check["file_path"]).stem == name
    }


def test_checkov_reads_everything(policies: dict[str, Any], compiler: Compiler) -> None:
    """Its exit code says nothing of what it cannot read."""
    assert policies["results"]["parsing_errors"] == []
    deployed = [resource for name in ("defaults", "isolated") for resource in compiler.deployed(name)[0].resources]
    assert policies["summary"]["resource_count"] == len(deployed) + 1


def test_policies_pass_unless_it_is_explained(policies: dict[str, Any]) -> None:
    """And no explanation is left over. The planted account fails, as it takes plain HTTP."""
    assert failed(policies, "defaults") | failed(policies, "isolated") == EXPLAINED.keys()
    assert [policy for policy, reason in EXPLAINED.items() if len(reason) < 30] == []
    assert "CKV_AZURE_3" in failed(policies, "planted")


def test_isolation_closes_what_it_is_said_to_close(policies: dict[str, Any]) -> None:
    """Nothing else differs, but what only isolation makes necessary to explain."""
    closed = {policy for policy, reason in EXPLAINED.items() if reason.startswith("closed by the switch networkIsol")}
    opened = {policy for policy, reason in EXPLAINED.items() if reason.startswith("with networkIsolation")}
    assert failed(policies, "defaults") - failed(policies, "isolated") == closed
    assert failed(policies, "isolated") - failed(policies, "defaults") == opened
