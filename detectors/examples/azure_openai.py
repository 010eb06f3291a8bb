"""Writes diagnostic logs of Azure OpenAI accounts: see `detectors.sources.azure_openai`, which reads them."""

import json
import re
from datetime import datetime
from typing import Any

from detectors.examples.writer import Fields, RecordWriter, guid_of, told, with_defaults

AUDIT = "Audit"
_SUBSCRIPTION = "5b0c1f2e-3a4d-4e5f-8a6b-7c8d9e0f1a2b"
_ACCOUNT = (
    f"/subscriptions/{_SUBSCRIPTION}/resourceGroups/rg-genai-prod/providers/Microsoft.CognitiveServices/accounts/{{}}"
)
_REGION = "swedencentral"
_ADDRESS = "81.2.69.***"
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_DEFAULTS: Fields = {
    "category": "RequestResponse",
    "operation": "ChatCompletions_Create",
    "resource": "aoai-prod",
    "caller": "an application",
}
_OF_A_REQUEST: Fields = {"status": "200", "request_length": 1_200, "response_length": 1_500}
"""Audit records tell none of it."""


def _complete(fields: Fields) -> Fields:
    fields = with_defaults(fields, _DEFAULTS)
    if fields["category"] != AUDIT:
        fields = with_defaults(fields, _OF_A_REQUEST)
    resource, caller = fields["resource"], fields["caller"]
    authentication = fields.get("authentication") or ("key" if _is_address(caller) else "entra")
    if isinstance(resource, str) and "/" not in resource:
        resource = _ACCOUNT.format(resource)
    if isinstance(caller, str) and authentication == "key" and not _is_address(caller):
        caller = _ADDRESS
    elif isinstance(caller, str) and authentication == "entra" and not _GUID.fullmatch(caller):
        caller = guid_of(caller)
    return {**fields, "resource": resource, "caller": caller, "authentication": authentication}


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
            "responseLength": fields.get("response_length"),
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
        "durationMs": 1_200,
        "properties": json.dumps({"apiName": "Azure OpenAI API version 2024-10-21", **properties}),
    }
    return told({**request, **record, "callerIpAddress": record["callerIpAddress"] or (caller and _ADDRESS)})


WRITER = RecordWriter(_complete, _write)
