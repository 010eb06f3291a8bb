"""Records and messages for tests, in the shapes that public samples of Azure OpenAI logs have."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from detectors.events import Event, Source

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
NAMESPACE = "local.servicebus.windows.net"
SOURCE = Source(NAMESPACE, "llm-logs", "0")
SUBSCRIPTION = "5b0c1f2e-3a4d-4e5f-8a6b-7c8d9e0f1a2b"
PIPELINE = "0d1e2f3a-4b5c-4d6e-8f70-8192a3b4c5d6"


def resource_id(name: str = "aoai-prod", *, upper: bool = True) -> str:
    """The id of an account, in upper case as most records have it."""
    path = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-ai/providers/Microsoft.CognitiveServices/accounts/{name}"
    return path.upper() if upper else path


def canonical_id(name: str = "aoai-prod") -> str:
    """The id as findings show it."""
    return resource_id(name).lower()


def list_key(name: str = "aoai-prod", *, caller: str = PIPELINE, **properties: object) -> dict[str, Any]:
    """An Audit record of one ListKey call; keyword arguments go into its `properties`."""
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
    """A RequestResponse record of one chat completion."""
    return {
        "callerIpAddress": "81.2.69.***",
        "category": "RequestResponse",
        "correlationId": "c4cf2f2a-5f3e-4b0d-9f1e-2d3c4b5a6978",
        "durationMs": -1,
        "event": "ShoeboxCallResult",
        "location": "eastus",
        "operationName": "ChatCompletions_Create",
        "properties": json.dumps({"apiName": "Azure OpenAI API", "responseLength": 1523, "objectId": "", **properties}),
        "resourceId": resource_id(name),
        "resultSignature": "200",
        "time": "2026-11-23T07:59:58.1234567Z",
    }


def message(*records: object) -> bytes:
    """A message as Azure Monitor sends it."""
    return json.dumps({"records": records}).encode()


def event(sequence: int, *records: object, after: timedelta = timedelta()) -> Event:
    """An event that arrived some time after `START`."""
    return Event(sequence, START + after, message(*records))


def keys_listed(bodies: Sequence[Event]) -> int:
    """How many ListKey records well-formed events hold, counted without the detector."""
    return sum(record["operationName"] == "ListKey" for body in bodies for record in json.loads(body.body)["records"])
