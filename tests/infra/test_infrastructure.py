"""What Bicep deploys is what the code reads, writes and posts."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pycep import BicepParser

from detectors import detector
from detectors.findings import Finding, columns
from detectors.health import Heartbeat
from detectors.settings import Settings
from infra import tables
from local.host import ROOT, sample_settings

INFRA = ROOT / "infra"

GIVEN = {
    "applicationInsightsConnectionString": "InstrumentationKey=00000000-0000-0000-0000-000000000000",
    "storageName": "llmabuse0a1b2c3d4e5f6",
    "fullyQualifiedNamespace": "llmabuse-0a1b2c3d4e5f6.servicebus.windows.net",
    "identityClientId": "11111111-2222-3333-4444-555555555555",
    "ingestionEndpoint": "https://llmabuse-0a1b.westeurope-1.ingest.monitor.azure.com",
    "ingestionRuleId": "dcr-0123456789abcdef0123456789abcdef",
}
"""What a deployment gives the function app's module, in the forms that Azure answers with."""

FOR_THE_HOST = {
    # https://learn.microsoft.com/azure/azure-monitor/app/azure-ad-authentication
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    # https://learn.microsoft.com/azure/azure-functions/functions-reference#common-properties-for-identity-based-connections
    "EventHubConnection__credential",
    "EventHubConnection__clientId",
    # https://learn.microsoft.com/python/api/azure-identity/azure.identity.defaultazurecredential
    "AZURE_CLIENT_ID",
}
"""Settings that the host, its extensions or azure-identity read, and our settings do not."""

OTHER_FORMS = {"AzureWebJobsStorage__tableServiceUri", "EventHubConnection"}
"""Settings that say the same as others that are deployed."""

# https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
ROLES = {
    "Azure Event Hubs Data Receiver": "a638d3c7-ab3a-418d-83e6-5f17a39d4fde",
    "Monitoring Metrics Publisher": "3913510d-42f4-4e42-8a64-420c390055eb",
    "Storage Blob Data Owner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "Storage Queue Data Contributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
    "Storage Table Data Contributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
}


@cache
def _bicep(name: str) -> dict[str, Any]:
    return dict(BicepParser().parse(file_path=INFRA / name))


def _variable(file: str, name: str) -> Any:  # noqa: ANN401 - whatever the variable holds
    return _bicep(file)["variables"][name]["value"]


class _Recording(Mapping[str, str]):
    """Remembers which names were asked for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _deployed_settings() -> dict[str, str]:
    """The app settings of the function app, with what a deployment fills in."""
    given = {name: _variable("main.bicep", name) for name in ("hubName", "consumerGroup")} | GIVEN
    assert set(given) <= set(_bicep("modules/function-app.bicep")["parameters"])
    filled = {}
    for name, value in _variable("modules/function-app.bicep", "defaults").items():
        text = re.sub(r"\$\{(\w+)\}", lambda match: given[match[1]], value)
        filled[name] = given.get(text, text)
    return filled


def test_the_app_starts_with_the_settings_that_are_deployed() -> None:
    """Nothing is missing or misspelt, and posting is on."""
    settings = Settings.from_env(_deployed_settings())
    assert settings.ingestion_endpoint == GIVEN["ingestionEndpoint"]
    assert settings.storage.table_endpoint == "https://llmabuse0a1b2c3d4e5f6.table.core.windows.net"
    assert settings.storage.managed_identity
    assert settings.storage.client_id == GIVEN["identityClientId"]


def test_every_setting_is_deployed_and_every_deployed_setting_is_read() -> None:
    """Both ways, so that neither a new nor a removed setting is forgotten."""
    recording = _Recording(_deployed_settings())
    Settings.from_env(recording)
    assert recording.asked - set(recording) == OTHER_FORMS
    assert set(recording) - recording.asked == FOR_THE_HOST


def test_deployed_values_are_those_of_a_local_run() -> None:
    """A threshold that is changed in one place is changed in both."""
    deployed, local = _deployed_settings(), sample_settings()
    common = set(deployed) & set(local) - {"EventHubConnection__fullyQualifiedNamespace"}
    filled = {"LOGS_INGESTION_ENDPOINT", "LOGS_INGESTION_RULE_ID"}
    assert {name: deployed[name] for name in common - filled} == {name: local[name] for name in common - filled}
    assert filled < common


def test_columns_come_from_the_code() -> None:
    """After a change of columns: `python -m infra.tables`."""
    assert tables.FILE.read_text() == tables.render()
    listed = json.loads(tables.FILE.read_text())
    assert {column["name"]: column["type"] for column in listed["LlmThreatFindings_CL"]} == columns(Finding)
    assert {column["name"]: column["type"] for column in listed["LlmDetectorHealth_CL"]} == columns(Heartbeat)


def test_streams_are_those_that_the_app_posts_to() -> None:
    """Declared, let through, and each into the table of its name."""
    (rule,) = (
        resource["config"]["properties"]
        for resource in _bicep("modules/data-collection.bicep")["resources"].values()
        if resource["type"] == "Microsoft.Insights/dataCollectionRules"
    )
    settings = Settings.from_env(_deployed_settings())
    streams = {settings.findings_stream, settings.health_stream}
    assert {name.strip("'") for name in rule["streamDeclarations"]} == streams
    assert {stream for flow in rule["dataFlows"] for stream in flow["streams"]} == streams
    assert all([flow["outputStream"]] == flow["streams"] for flow in rule["dataFlows"])
    assert streams == {f"Custom-{table}" for table in json.loads(tables.FILE.read_text())}


def test_tables_of_the_storage_account_are_those_that_the_app_opens() -> None:
    """Buckets, journal, quarantine."""
    opened = {detector.BUCKETS_TABLE, detector.JOURNAL_TABLE, detector.QUARANTINE_TABLE}
    assert set(_variable("modules/storage.bicep", "tables")) == opened


def test_roles_are_azures_own_and_all_are_assigned() -> None:
    """By the ids that Azure documents."""
    assert json.loads((INFRA / "roles.json").read_text()) == ROLES
    text = "".join(path.read_text() for path in (INFRA / "modules").glob("*.bicep"))
    assert {role for role in ROLES if f"'{role}'" in text} == set(ROLES)
    assert re.findall(r"(?i)roleDefinitions', '", text) == []


def test_diagnostic_logs_may_only_be_sent() -> None:
    """The one key of the namespace that is handed out reads nothing."""
    rules = [
        resource["config"]["properties"]["rights"]
        for resource in _bicep("modules/event-hub.bicep")["resources"].values()
        if resource["type"].endswith("/authorizationRules")
    ]
    assert rules == [["Send"]]


def test_the_app_runs_on_the_python_that_is_tested() -> None:
    """And what is kept warm is a function that exists."""
    config = _bicep("modules/function-app.bicep")["resources"]["app"]["config"]["properties"]["functionAppConfig"]
    python = (ROOT / ".python-version").read_text().strip()
    assert config["runtime"] == {"name": "python", "version": python}
    (ready,) = _variable("modules/function-app.bicep", "ingestReady")
    kind, _, function = ready["name"].partition(":")
    assert kind == "function"
    assert f'function_name("{function}")' in (ROOT / "function_app.py").read_text()


def test_parameter_files_give_what_is_asked_for() -> None:
    """Every parameter without a default, and none that main.bicep does not have."""
    parameters = _bicep("main.bicep")["parameters"]
    required = {name for name, parameter in parameters.items() if parameter["default"] is None}
    assert required == {"namePrefix", "watchedAccountIds"}
    for name in ("main.bicepparam", "sample.bicepparam"):
        text = (INFRA / name).read_text()
        given = set(re.findall(r"(?m)^param (\w+) = ", text))
        assert "using 'main.bicep'" in text
        assert required <= given <= set(parameters), name


def test_azd_finds_the_function_app() -> None:
    """By its tag, and its template by path and name."""
    project = (ROOT / "azure.yaml").read_text()
    (service,) = re.findall(r"(?m)^services:\n  (\w+):", project)
    assert f"'azd-service-name': '{service}'" in (INFRA / "modules" / "function-app.bicep").read_text()
    assert "path: infra\n  module: main\n" in project
