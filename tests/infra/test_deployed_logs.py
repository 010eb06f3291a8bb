"""Logs of the watched accounts reach the hub, and findings the workspace, wherever both are."""

import re

import pytest

from detectors.reporting.finding import Finding, columns
from detectors.reporting.heartbeat import Heartbeat
from infra import tables
from local.host import sample_settings
from tests.infra.compiler import Compiler, Evaluated
from tests.infra.deployments import (
    COLLECTION,
    COMPONENT,
    DEPLOYMENTS,
    DIAGNOSTICS,
    FIVE_ACCOUNTS,
    HUB,
    HUB_NAMESPACE,
    LOG_TABLE,
    LOG_WORKSPACE,
    NAMESPACE,
    SITE,
    STORAGE,
    WORKSPACE,
    account,
)

COLUMNS = {"LlmThreatFindings_CL": columns(Finding), "LlmDetectorHealth_CL": columns(Heartbeat)}
"""What the app posts to each table."""

ACCOUNTS = "/providers/Microsoft.CognitiveServices/accounts/"

IN_PREVIEW = {DIAGNOSTICS}
"""Its only other version, 2016-09-01, is of the time of one setting for each resource: Azure documents the preview."""

each_deployment = pytest.mark.parametrize("name", DEPLOYMENTS)


@each_deployment
def test_every_watched_account_sends_its_logs_to_the_hub(name: str, compiler: Compiler) -> None:
    """By a setting on the account itself, in its subscription and group, with the rule that may only send."""
    evaluated, _ = compiler.deployed(name)
    watched = DEPLOYMENTS[name].get("watchedAccountIds", [account("aoai-prod")])
    settings = [setting for setting in evaluated.of(DIAGNOSTICS) if ACCOUNTS in setting["id"]]
    made = {setting["id"] for setting in settings}
    assert made == {f"{one}/providers/{DIAGNOSTICS}/llm-abuse-detector" for one in watched}
    sender = evaluated.one(f"{HUB_NAMESPACE}/authorizationRules")
    assert sender["properties"]["rights"] == ["Send"]
    categories = ["Audit"] if name == "without-sentinel" else ["Audit", "RequestResponse"]
    for setting in settings:
        assert setting["properties"] == {
            "eventHubAuthorizationRuleId": sender["id"],
            "eventHubName": evaluated.one(HUB)["name"].split("/")[-1],
            "logs": [{"category": category, "enabled": True} for category in categories],
        }


@each_deployment
def test_each_of_their_subscriptions_sends_its_activity_log_once_if_that_is_asked_for(
    name: str, compiler: Compiler
) -> None:
    """What was done to resources, alone."""
    evaluated, _ = compiler.deployed(name)
    settings = [setting for setting in evaluated.of(DIAGNOSTICS) if ACCOUNTS not in setting["id"]]
    asked_for = DEPLOYMENTS[name].get("includeActivityLog", False)
    subscriptions = {one.split("/")[2] for one in DEPLOYMENTS[name].get("watchedAccountIds", []) if asked_for}
    assert sorted(setting["id"] for setting in settings) == [
        f"/subscriptions/{one}/providers/{DIAGNOSTICS}/llm-abuse-detector" for one in sorted(subscriptions)
    ]
    for setting in settings:
        assert setting["properties"] == {
            "eventHubAuthorizationRuleId": evaluated.one(f"{HUB_NAMESPACE}/authorizationRules")["id"],
            "eventHubName": evaluated.one(HUB)["name"].split("/")[-1],
            "logs": [{"category": "Administrative", "enabled": True}],
        }


def test_accounts_of_three_subscriptions_are_watched() -> None:
    """The case above is the hard one."""
    assert len({one.split("/")[2] for one in FIVE_ACCOUNTS}) == 3
    assert len(FIVE_ACCOUNTS) == 5


@each_deployment
def test_the_app_reads_the_hub_as_a_consumer_group_of_its_own(name: str, compiler: Compiler) -> None:
    """By the names that its settings have."""
    evaluated, _ = compiler.deployed(name)
    listed = evaluated.one(SITE)["properties"]["siteConfig"]["appSettings"]
    settings = {setting["name"]: setting["value"] for setting in listed}
    namespace, hub, group = evaluated.one(f"{HUB}/consumergroups")["name"].split("/")
    assert (hub, group) == (settings["EVENT_HUB_NAME"], settings["EVENT_HUB_CONSUMER_GROUP"])
    assert f"/{HUB_NAMESPACE}/{namespace}'" in settings["EventHubConnection__fullyQualifiedNamespace"]


def test_columns_come_from_the_code() -> None:
    """After a change of columns or tables: `python -m infra.tables`."""
    assert tables.FILE.read_text() == tables.render()
    assert tables.STORAGE_FILE.read_text() == tables.render_storage()


@each_deployment
def test_findings_flow_from_their_stream_into_the_table_of_its_name(name: str, compiler: Compiler) -> None:
    """Each with the columns that the app posts; the streams are those that the app posts to."""
    evaluated, _ = compiler.deployed(name)
    rule = evaluated.one(COLLECTION)["properties"]
    streams = {stream: told(declared["columns"]) for stream, declared in rule["streamDeclarations"].items()}
    assert streams == {f"Custom-{table}": kinds for table, kinds in COLUMNS.items()}
    local = sample_settings()
    assert streams.keys() == {local["LOGS_INGESTION_STREAM"], local["LOGS_INGESTION_HEALTH_STREAM"]}
    (destination,) = rule["destinations"]["logAnalytics"]
    assert destination["workspaceResourceId"] == workspace_of(evaluated)
    assert rule["dataFlows"] == [
        {"streams": [one], "destinations": [destination["name"]], "transformKql": "source", "outputStream": one}
        for one in streams
    ]


@each_deployment
def test_the_tables_of_the_workspace_have_the_columns_of_the_streams(name: str, compiler: Compiler) -> None:
    """They are kept for as long as is said, and for two years at most at hand."""
    evaluated, _ = compiler.deployed(name)
    days = DEPLOYMENTS[name].get("findingsRetentionDays", 365)
    for table in evaluated.of(LOG_TABLE):
        properties = table["properties"]
        kinds = {column: kind.lower() for column, kind in told(properties["schema"]["columns"]).items()}
        assert kinds == COLUMNS[properties["schema"]["name"]]
        assert table["id"] == f"{workspace_of(evaluated)}/tables/{properties['schema']['name']}"
        assert (properties["retentionInDays"], properties["totalRetentionInDays"]) == (min(days, 730), days)
    assert {table["name"].split("/")[-1] for table in evaluated.of(LOG_TABLE)} == COLUMNS.keys()


def told(listed: list[dict[str, str]]) -> dict[str, str]:
    """Names and types of columns."""
    return {column["name"]: column["type"] for column in listed}


def workspace_of(evaluated: Evaluated) -> str:
    """Where the app's own log goes, and so everything else has to."""
    return str(evaluated.one(COMPONENT)["properties"]["WorkspaceResourceId"])


def test_a_workspace_and_a_namespace_of_others_are_used_and_not_made(compiler: Compiler) -> None:
    """What is put into them is put where they are; each deployment without them makes its own."""
    foreign, own = (compiler.deployed(name)[0] for name in ("foreign", "defaults"))
    assert workspace_of(foreign) == WORKSPACE
    assert foreign.one(HUB)["id"].startswith(f"{NAMESPACE}/")
    assert foreign.of(LOG_WORKSPACE) == foreign.of(HUB_NAMESPACE) == []
    assert workspace_of(own) == own.one(LOG_WORKSPACE)["id"]
    assert own.one(HUB_NAMESPACE)["properties"]["maximumThroughputUnits"] == 10
    assert own.one(HUB)["id"].startswith(f"{own.one(HUB_NAMESPACE)['id']}/")


def test_a_new_namespace_grows_as_far_as_it_may(compiler: Compiler) -> None:
    """Azure Monitor drops logs that a namespace throttles for long."""
    many, _ = compiler.deployed("many-settings")
    hub = many.one(HUB_NAMESPACE)["properties"]
    assert (hub["isAutoInflateEnabled"], hub["maximumThroughputUnits"]) == (True, 40)


def test_an_isolated_deployment_is_reached_through_private_endpoints_alone(compiler: Compiler) -> None:
    """One for each service that the app uses, in the network that the app joins; without isolation there is none."""
    isolated, _ = compiler.deployed("isolated")
    network = isolated.one("Microsoft.Network/virtualNetworks")
    subnets = {
        subnet["name"]: f"{network['id']}/subnets/{subnet['name']}" for subnet in network["properties"]["subnets"]
    }
    storage, hub = isolated.one(STORAGE), isolated.one(HUB_NAMESPACE)
    reached = set()
    for endpoint in isolated.of("Microsoft.Network/privateEndpoints"):
        (connection,) = endpoint["properties"]["privateLinkServiceConnections"]
        (group,) = connection["properties"]["groupIds"]
        assert endpoint["properties"]["subnet"]["id"] == subnets["private-endpoints"]
        reached.add((connection["properties"]["privateLinkServiceId"], group))
    assert reached == {*((storage["id"], group) for group in ("blob", "queue", "table")), (hub["id"], "namespace")}
    assert isolated.one(SITE)["properties"]["virtualNetworkSubnetId"] == subnets["functions"]
    assert storage["properties"]["publicNetworkAccess"] == hub["properties"]["publicNetworkAccess"] == "Disabled"
    own, _ = compiler.deployed("defaults")
    assert [resource for resource in own.resources if resource["type"].startswith("Microsoft.Network/")] == []
    assert own.one(SITE)["properties"]["virtualNetworkSubnetId"] is None


def test_versions_of_the_api_are_generally_available(compiler: Compiler) -> None:
    """And the same for a type wherever it stands."""
    versions: dict[str, set[str]] = {}
    for name in DEPLOYMENTS:
        for resource in compiler.deployed(name)[0].resources:
            versions.setdefault(resource["type"], set()).add(resource["apiVersion"])
    assert len(versions) > 20
    assert {kind: found for kind, found in versions.items() if len(found) > 1} == {}
    preview = {kind for kind, (version,) in versions.items() if not re.fullmatch(r"[0-9]{4}(-[0-9]{2}){2}", version)}
    assert preview == IN_PREVIEW
