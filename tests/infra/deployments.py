"""Deployments that are evaluated: the six that people make, with the parameters of each."""

from typing import Any

from detectors.configuration.settings import ENABLED, OVERRIDES

OWN, SOC, HUBS, RESEARCH = (f"{number}-0000-4000-8000-000000000000" for number in ("1" * 8, "2" * 8, "3" * 8, "4" * 8))
"""Subscriptions: the deployment's own, that of a workspace, that of a namespace, that of others' accounts."""

GROUP, REGION = "llm-detector", "westeurope"


def account(name: str, subscription: str = OWN, group: str = "ai-prod") -> str:
    """Return the resource id of an Azure OpenAI account."""
    return f"/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.CognitiveServices/accounts/{name}"


WORKSPACE = f"/subscriptions/{SOC}/resourceGroups/soc/providers/Microsoft.OperationalInsights/workspaces/soc-logs"
NAMESPACE = f"/subscriptions/{HUBS}/resourceGroups/streaming/providers/Microsoft.EventHub/namespaces/logs-weu"

FIVE_ACCOUNTS = [
    account("aoai-prod"),
    account("aoai-test", group="ai-test"),
    account("aoai-search", SOC, "search"),
    account("aoai-labs", RESEARCH, "labs"),
    account("aoai-labs-eu", RESEARCH, "labs"),
]

MANY_SETTINGS = {name: "true" if what == ENABLED else "30" for name, (_, what) in OVERRIDES.items()} | {
    "BUCKET_RETENTION_HOURS": "49",
    "TUNING_FILE": "detectors/our tuning.toml",
}

DEPLOYMENTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "foreign": {"existingWorkspaceId": WORKSPACE, "existingEventHubNamespaceId": NAMESPACE},
    "isolated": {
        "networkIsolation": True,
        "raises": {"High": "alert", "Medium": "alert", "Low": "row", "Informational": "row"},
    },
    "without-sentinel": {"sentinel": False, "includeRequestResponse": False},
    "five-accounts": {"watchedAccountIds": FIVE_ACCOUNTS, "includeActivityLog": True},
    "many-settings": {
        "settings": MANY_SETTINGS,
        "tags": {"cost-center": "SOC", "owner": "it's ${nobody}"},
        "raises": {"High": "incident", "Medium": "alert", "Low": "row", "Informational": "row"},
        "alwaysReadyInstances": 2,
        "maximumThroughputUnits": 40,
        "findingsRetentionDays": 1095,
    },
}
"""Parameters of each, over a prefix and one account."""

IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities"
SITE = "Microsoft.Web/sites"
STORAGE = "Microsoft.Storage/storageAccounts"
STORAGE_TABLE = "Microsoft.Storage/storageAccounts/tableServices/tables"
HUB_NAMESPACE = "Microsoft.EventHub/namespaces"
HUB = "Microsoft.EventHub/namespaces/eventhubs"
COLLECTION = "Microsoft.Insights/dataCollectionRules"
COMPONENT = "Microsoft.Insights/components"
DIAGNOSTICS = "Microsoft.Insights/diagnosticSettings"
LOG_WORKSPACE = "Microsoft.OperationalInsights/workspaces"
LOG_TABLE = "Microsoft.OperationalInsights/workspaces/tables"
ROLE = "Microsoft.Authorization/roleAssignments"
