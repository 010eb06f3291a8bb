"""The app that a deployment makes is what the code needs: its settings, its tables, its roles and no more."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from unittest.mock import Mock

import pytest

from detectors.configuration.settings import OVERRIDES, Settings
from detectors.detector import Detector
from detectors.storage.azure_tables import AzureTable
from detectors.storage.connection import StorageConnection
from infra.bicep import INFRA
from local.host import ROOT, sample_settings
from tests.infra.compiler import Compiler, Evaluated
from tests.infra.deployments import (
    COLLECTION,
    COMPONENT,
    DEPLOYMENTS,
    HUB,
    IDENTITY,
    MANY_SETTINGS,
    ROLE,
    SITE,
    STORAGE,
    STORAGE_TABLE,
)

ANSWERS = {
    "clientId": "11111111-2222-3333-4444-555555555555",
    "ConnectionString": "InstrumentationKey=00000000-0000-0000-0000-000000000000",
    "serviceBusEndpoint": "https://llmabuse-0a1b2c3d4e5f6.servicebus.windows.net:443/",
    "endpoints.logsIngestion": "https://llmabuse-0a1b.westeurope-1.ingest.monitor.azure.com",
    "immutableId": "dcr-0123456789abcdef0123456789abcdef",
}
"""What Azure answers, while deploying, to the properties that app settings are made of."""

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

GRANTED = {
    ("Azure Event Hubs Data Receiver", HUB),
    ("Monitoring Metrics Publisher", COLLECTION),
    ("Monitoring Metrics Publisher", COMPONENT),
    ("Storage Blob Data Owner", STORAGE),
    ("Storage Queue Data Contributor", STORAGE),
    ("Storage Table Data Contributor", STORAGE),
}
"""All that the app may do, and on what."""

each_deployment = pytest.mark.parametrize("name", DEPLOYMENTS)


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


def settings_of(evaluated: Evaluated) -> dict[str, str]:
    """Return the app settings as the app reads them: what is known only while deploying is filled in."""
    listed = evaluated.one(SITE)["properties"]["siteConfig"]["appSettings"]
    assert all(isinstance(setting["value"], str) for setting in listed), "Azure takes texts only"
    settings = {setting["name"]: _filled(setting["value"]) for setting in listed}
    assert len(settings) == len(listed), "a setting stands twice"
    return settings


def _filled(value: str) -> str:
    """Return a value whose expression, if it is one, reads a property of a resource of the deployment."""
    if not value.startswith("["):
        return value
    (name,) = re.findall(r"reference\('[^']+', '[0-9-]+'\)\.([\w.]+)", value)
    answer = ANSWERS[name]
    if found := re.fullmatch(r"\[format\('([^']+)', reference\([^)]+\)\.[\w.]+\)\]", value):
        return found[1].replace("{0}", answer)
    if value.startswith("[split(split("):  # the host name within an address
        return answer.split("//")[1].split(":")[0]
    assert re.fullmatch(r"\[reference\([^)]+\)\.[\w.]+\]", value), value
    return answer


@each_deployment
def test_the_app_starts_with_the_settings_that_are_deployed(name: str, compiler: Compiler) -> None:
    """Nothing is missing or misspelt, posting is on, and the identity is used."""
    evaluated, _ = compiler.deployed(name)
    values = settings_of(evaluated) | {"TUNING_FILE": "detectors/tuning.toml"}
    settings = Settings.from_env(values)
    assert settings.ingestion_endpoint == ANSWERS["endpoints.logsIngestion"]
    assert settings.ingestion_rule_id == ANSWERS["immutableId"]
    assert settings.event_hub_name == evaluated.one(HUB)["name"].split("/")[-1]
    assert values["EventHubConnection__fullyQualifiedNamespace"] == "llmabuse-0a1b2c3d4e5f6.servicebus.windows.net"
    storage = evaluated.one(STORAGE)["name"]
    assert settings.storage.table_endpoint == f"https://{storage}.table.core.windows.net"
    assert settings.storage.managed_identity
    assert settings.storage.client_id == ANSWERS["clientId"]


def test_every_setting_is_deployed_and_every_deployed_setting_is_read(compiler: Compiler) -> None:
    """Both ways, so that neither a new nor a removed setting is forgotten."""
    recording = _Recording(settings_of(compiler.deployed("defaults")[0]))
    Settings.from_env(recording)
    assert recording.asked - set(recording) == OTHER_FORMS
    assert set(recording) - recording.asked == FOR_THE_HOST


def test_deployed_values_are_those_of_a_local_run(compiler: Compiler) -> None:
    """A threshold that is changed in one place is changed in both."""
    deployed, local = settings_of(compiler.deployed("defaults")[0]), sample_settings()
    common = set(deployed) & set(local) - {"EventHubConnection__fullyQualifiedNamespace"}
    filled = {"LOGS_INGESTION_ENDPOINT", "LOGS_INGESTION_RULE_ID"}
    assert {name: deployed[name] for name in common - filled} == {name: local[name] for name in common - filled}
    assert filled < common


def test_settings_that_are_given_win_and_the_others_stay(compiler: Compiler) -> None:
    """Every rule can be tuned from the parameter file."""
    defaults, many = (settings_of(compiler.deployed(name)[0]) for name in ("defaults", "many-settings"))
    storage = {"AzureWebJobsStorage__accountName": many["AzureWebJobsStorage__accountName"]}
    assert many == defaults | MANY_SETTINGS | storage
    policy = Settings.from_env(many | {"TUNING_FILE": "detectors/tuning.toml"}).policy
    assert {change.origin for change in policy.changes} >= {f"app setting {name}" for name in OVERRIDES}


@each_deployment
def test_every_table_that_the_app_opens_is_there(
    name: str, compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The detector says which: all of its parts are made, and what they open is remembered."""
    evaluated, _ = compiler.deployed(name)
    opened = set[str]()

    def remember(_connection: StorageConnection, table: str) -> AzureTable:
        opened.add(table)
        return AzureTable(Mock())

    monkeypatch.setattr("detectors.detector.open_table", remember)
    detector = Detector(Settings.from_env(settings_of(compiler.deployed("defaults")[0])))
    for part, made in vars(Detector).items():
        if isinstance(made, cached_property):
            getattr(detector, part)
    assert {table["name"].split("/")[-1] for table in evaluated.of(STORAGE_TABLE)} == opened
    assert len(opened) > 3


@each_deployment
def test_the_app_has_its_roles_where_it_needs_them_and_no_more(name: str, compiler: Compiler) -> None:
    """Each on one resource of the deployment, never on a group or a subscription, and for the app's identity."""
    evaluated, _ = compiler.deployed(name)
    identity = evaluated.one(IDENTITY)["id"]
    principal = f"[reference('{identity}', '2024-11-30').principalId]"
    by_role = {role_id: role for role, role_id in ROLES.items()}
    granted = []
    for assignment in evaluated.of(ROLE):
        (scope,) = re.findall(r"^\[extensionResourceId\('([^']+)', 'Microsoft.Authorization/roleAss", assignment["id"])
        properties = assignment["properties"]
        role_id = properties["roleDefinitionId"].split("/")[-1]
        assert properties["principalId"] == principal
        assert properties["principalType"] == "ServicePrincipal"
        # Named by all three, so that a second deployment meets what the first one made.
        assert assignment["name"] == f"[guid('{scope}', {principal[1:-1]}, '{role_id}')]"
        granted.append((by_role[role_id], scope))
    assert sorted(granted) == sorted((role, evaluated.one(kind)["id"]) for role, kind in GRANTED)
    assert evaluated.one(SITE)["identity"] == {"type": "UserAssigned", "userAssignedIdentities": {identity: {}}}


def test_roles_are_azures_own() -> None:
    """By the ids that Azure documents."""
    assert json.loads((INFRA / "roles.json").read_text()) == ROLES


@each_deployment
def test_no_key_is_read(name: str, compiler: Compiler) -> None:
    """Connections are by identity; a template that lists keys would put them into the deployment's history."""
    text = json.dumps(compiler.deployed(name)[0].resources)
    assert not re.search(r"(?i)list\w*Keys|listConnectionStrings|listAccountSas|AccountKey=|SharedAccessKey=", text)


@each_deployment
def test_the_app_runs_on_the_python_that_is_tested(name: str, compiler: Compiler) -> None:
    """And what is kept warm is a function that exists."""
    config = compiler.deployed(name)[0].one(SITE)["properties"]["functionAppConfig"]
    assert config["runtime"] == {"name": "python", "version": (ROOT / ".python-version").read_text().strip()}
    warm = config["scaleAndConcurrency"]["alwaysReady"]
    assert len(warm) == (1 if name == "many-settings" else 0)
    for ready in warm:
        kind, _, function = ready["name"].partition(":")
        assert (kind, ready["instanceCount"]) == ("function", 2)
        assert f'function_name("{function}")' in (ROOT / "function_app.py").read_text()


def test_azd_finds_the_function_app(compiler: Compiler) -> None:
    """By its tag, which stands beside the tags that are given, and its template by path and name."""
    project = (ROOT / "azure.yaml").read_text()
    (service,) = re.findall(r"(?m)^services:\n  (\w+):", project)
    tags = compiler.deployed("many-settings")[0].one(SITE)["tags"]
    assert tags == DEPLOYMENTS["many-settings"]["tags"] | {"azd-service-name": service}
    assert "path: infra\n  module: main\n" in project
