"""Writes diagnostic logs of Azure OpenAI accounts: see `detectors.sources.azure_openai`, which reads them."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from detectors.examples.writer import Fields, RecordWriter, account_of, guid_of, told, with_defaults
from detectors.sources.azure_openai import GENERATING
from detectors.sources.source import Value

AUDIT = "Audit"
_REGION = "swedencentral"
_DURATION_MS = 1_200
_API = "Azure OpenAI API version 2024-10-21"
_ADDRESS = "81.2.69.***"
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_DEFAULTS: Fields = {
    "category": "RequestResponse",
    "resource": "aoai-prod",
    "caller": "an application",
}
_OF_A_REQUEST: Fields = {"status": "200", "request_length": 1_200, "response_length": 1_500}
"""Audit records tell none of it."""


def _complete(fields: Fields, customer: int) -> Fields:
    """Return a resource that is no id yet is an account in the customer's subscription."""
    fields = with_defaults(fields, _DEFAULTS)
    if fields["category"] != AUDIT:
        fields = with_defaults(fields, _OF_A_REQUEST)
    operation = fields["operation"] if "operation" in fields else _operation(fields)
    streamed = fields.get("streamed") or "no"
    row = fields.get("row") or ("twin" if fields["category"] == AUDIT and not fields["caller"] else "call")
    caller = None if row == "twin" else fields["caller"]
    authentication = fields.get("authentication") or ("entra" if caller and not _is_address(caller) else "key")
    if row == "twin":
        authentication = "key"
    return {
        **fields,
        "operation": operation,
        "activity": "generation" if operation in GENERATING else None,
        "resource": account_of(fields["resource"], customer),
        "streamed": streamed,
        "response_length": None if streamed == "empty" or row == "twin" else fields.get("response_length"),
        "row": row,
        "authentication": authentication,
        "caller": _spelt(caller, authentication),
    }


def _operation(fields: Fields) -> str:
    """Choose a chat, or embeddings where an example asks for what generates nothing."""
    generates = fields.get("activity", "generation") is not None
    return "ChatCompletions_Create" if generates else "Embeddings_Create"


def _spelt(caller: Value, authentication: Value) -> Value:
    """Make a caller into what the service writes: an object id, or a masked address."""
    if isinstance(caller, str) and authentication == "key" and not _is_address(caller):
        return _ADDRESS
    if isinstance(caller, str) and authentication == "entra" and not _GUID.fullmatch(caller):
        return guid_of(caller)
    return caller


def _is_address(caller: object) -> bool:
    """Whether it is an address, of which Azure masks the end."""
    return isinstance(caller, str) and caller.endswith("*")


def _write(fields: Fields, at: datetime) -> dict[str, Any]:
    with_key = fields.get("authentication") == "key"
    caller = fields.get("caller")
    properties = told(
        {
            "objectId": "" if with_key else caller,
            "requestLength": fields.get("request_length"),
            "responseLength": 0 if fields.get("streamed") == "empty" else fields.get("response_length"),
        }
    )
    record = {
        "category": fields.get("category"),
        "operationName": fields.get("operation"),
        "resourceId": str(fields["resource"]).upper() if fields.get("resource") else None,
        "resultSignature": fields.get("status"),
        "callerIpAddress": caller if with_key else None,
        "time": f"{at:%Y-%m-%dT%H:%M:%S.%f}0Z",
    }
    if fields.get("category") == AUDIT:
        return told({"AssetIdentity": "", "Tenant": _REGION, **record, "properties": properties})
    request = {
        "Tenant": _REGION,
        "location": _REGION,
        "event": "ShoeboxCallResult",
        "correlationId": guid_of(f"{at}"),
        "durationMs": _DURATION_MS,
        "properties": json.dumps({"apiName": _API, **_times(at), **properties, **_model(fields)}),
    }
    return told({**request, **record, "callerIpAddress": record["callerIpAddress"] or (caller and _ADDRESS)})


def _times(at: datetime) -> dict[str, int]:
    """When the request came and was answered, as .NET counts: in tenths of microseconds from year 1."""
    ticks = (at - datetime(1, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 10
    return {"requestTime": ticks, "responseTime": ticks + _DURATION_MS * 10_000}


def _model(fields: Fields) -> dict[str, Any]:
    """Write what a twin of a call does not tell."""
    if fields.get("row") == "twin":
        return {}
    streamed = "Non-Streaming" if fields.get("streamed") == "no" else "Streaming"
    return {"streamType": streamed, "modelDeploymentName": "chat", "modelName": "gpt-4o", "modelVersion": "2024-11-20"}


WRITER = RecordWriter(_complete, _write)
