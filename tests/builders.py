"""Records and messages for tests, in the shapes that public samples of Azure OpenAI logs have."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from detectors.events import Event, Source
from detectors.rules.tally import ACCOUNT_SEEN, Key, Tally

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
NAMESPACE = "local.servicebus.windows.net"
SOURCE = Source(NAMESPACE, "llm-logs", "0")
SUBSCRIPTION = "5b0c1f2e-3a4d-4e5f-8a6b-7c8d9e0f1a2b"
PIPELINE = "0d1e2f3a-4b5c-4d6e-8f70-8192a3b4c5d6"
ROLE_ARN = "arn:aws:sts::111122223333:assumed-role/app-prod"
USER_ARN = f"{ROLE_ARN}/dana"
AWS_ACCOUNT = "111122223333"
MODEL = "anthropic.claude-3-5-sonnet-20240620-v1:0"


def resource_id(name: str = "aoai-prod", *, upper: bool = True) -> str:
    """Return the id of an account, in upper case as most records have it."""
    path = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-ai/providers/Microsoft.CognitiveServices/accounts/{name}"
    return path.upper() if upper else path


def canonical_id(name: str = "aoai-prod") -> str:
    """Return the id as findings show it."""
    return resource_id(name).lower()


def list_key(name: str = "aoai-prod", *, caller: str = PIPELINE, **properties: object) -> dict[str, Any]:
    """Return an Audit record of one ListKey call; keyword arguments go into its `properties`."""
    return {
        "AssetIdentity": "",
        "Tenant": "eastus",
        "category": "Audit",
        "operationName": "ListKey",
        "properties": {"objectId": caller, **properties},
        "resourceId": resource_id(name),
        "time": "2026-11-23T07:59:58.1234567Z",
    }


def chat(name: str = "aoai-prod", **properties: object) -> dict[str, Any]:
    """Return a RequestResponse record of one chat completion."""
    return {
        "callerIpAddress": "81.2.69.***",
        "category": "RequestResponse",
        "correlationId": "c4cf2f2a-5f3e-4b0d-9f1e-2d3c4b5a6978",
        "durationMs": -1,
        "event": "ShoeboxCallResult",
        "location": "eastus",
        "operationName": "ChatCompletions_Create",
        "properties": json.dumps(
            {"apiName": "Azure OpenAI API", "responseLength": 1523, "objectId": "", "modelName": "gpt-4o", **properties}
        ),
        "resourceId": resource_id(name),
        "resultSignature": "200",
        "time": "2026-11-23T07:59:58.1234567Z",
    }


def of_another_service() -> dict[str, Any]:
    """Return a record that no rule selects; other services share the hub."""
    return {
        "category": "FunctionAppLogs",
        "operationName": "Microsoft.Web/sites/functions/log",
        "properties": {"message": "Retry 2 of 5", "levelId": 3},
        "resourceId": f"/SUBSCRIPTIONS/{SUBSCRIPTION}/RESOURCEGROUPS/RG-WEB/PROVIDERS/MICROSOFT.WEB/SITES/FN",
        "time": "2026-11-23T07:59:58Z",
    }


def bedrock(user: str = USER_ARN, *, answer: object = None, **fields: object) -> dict[str, Any]:
    """Make a record of one call of an AWS Bedrock model, answered with this body; keyword arguments are its fields."""
    prompt = {"messages": [{"role": "user", "content": [{"text": "What do I need for a picnic?"}]}]}
    return {
        "schemaType": "ModelInvocationLog",
        "schemaVersion": "1.0",
        "timestamp": "2026-11-23T07:59:58Z",
        "accountId": AWS_ACCOUNT,
        "identity": {"arn": user},
        "region": "us-east-1",
        "requestId": "0f1e2d3c-4b5a-4968-8776-655443322110",
        "operation": "Converse",
        "modelId": MODEL,
        "input": {"inputContentType": "application/json", "inputBodyJson": prompt, "inputTokenCount": 9},
        "output": {"outputContentType": "application/json", "outputBodyJson": answer, "outputTokenCount": 4},
        **fields,
    }


def refused(error_code: str, user: str = USER_ARN, **fields: object) -> dict[str, Any]:
    """Return a record of a call that Bedrock refused; it has no answer."""
    record = bedrock(user, errorCode=error_code, **fields)
    del record["output"]
    return record


def assessment(*blocking: str, **actions: str) -> dict[str, Any]:
    """Return what a guardrail says: these policies block, those named with an action do something else."""
    lists = {"topicPolicy": "topics", "wordPolicy": "customWords", "sensitiveInformationPolicy": "piiEntities"}
    said = dict.fromkeys(blocking, "BLOCKED") | actions
    policies = {name: {lists.get(name, "filters"): [{"name": "x", "action": what}]} for name, what in said.items()}
    return {**policies, "invocationMetrics": {"guardrailProcessingLatency": 250}}


def of_rules(tallies: Mapping[Key, Tally]) -> dict[Key, Tally]:
    """Return the tallies of rules, without what is noted of accounts whatever rules count."""
    return {key: tally for key, tally in tallies.items() if key.rule_id != ACCOUNT_SEEN}


def message(*records: object) -> bytes:
    """Return a message as Azure Monitor sends it."""
    return json.dumps({"records": records}).encode()


def event(sequence: int, *records: object, after: timedelta = timedelta()) -> Event:
    """Return an event that arrived some time after `START`."""
    return Event(sequence, START + after, message(*records))


def keys_listed(bodies: Sequence[Event]) -> int:
    """How many ListKey records well-formed events hold, counted without the detector."""
    return sum(record["operationName"] == "ListKey" for body in bodies for record in json.loads(body.body)["records"])
