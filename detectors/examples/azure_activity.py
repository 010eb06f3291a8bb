"""Writes Azure's activity log: see `detectors.sources.azure_activity`, which reads it."""

import re
from datetime import datetime
from typing import Any

from detectors.examples.writer import Fields, RecordWriter, account_of, guid_of, told, with_defaults
from detectors.sources.azure_activity import OBJECT_ID
from detectors.sources.resources import canonical, kind_of
from detectors.sources.source import Value

_CALLER_ADDRESS = "203.0.113.10"
_ADDRESS = re.compile(r"[0-9a-f]*[.:][0-9a-f.:]+")
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_KIND = "microsoft.cognitiveservices/accounts"
_DEFAULTS: Fields = {
    "operation": "MICROSOFT.COGNITIVESERVICES/ACCOUNTS/LISTKEYS/ACTION",
    "stage": "end",
    "resource": "aoai-prod",
    "caller": "an application",
}


def _complete(fields: Fields, customer: int) -> Fields:
    fields = with_defaults(fields, _DEFAULTS)
    kind = fields.get("resource_kind") or _KIND
    resource = account_of(fields["resource"], customer, str(kind))
    canonical_id = canonical(resource) if isinstance(resource, str) else None
    caller = fields["caller"]
    if isinstance(caller, str) and not _ADDRESS.fullmatch(caller) and not _GUID.fullmatch(caller):
        caller = guid_of(caller)
    return {
        **fields,
        "resource": resource,
        "resource_kind": None if canonical_id is None else kind_of(canonical_id),
        "caller": caller,
    }


def _write(fields: Fields, at: datetime) -> dict[str, Any]:
    caller, resource = fields.get("caller"), fields.get("resource")
    ended = fields.get("stage") == "end"
    return told(
        {
            "category": "Administrative",
            "operationName": fields.get("operation"),
            "resourceId": str(resource).upper() if resource else None,
            "resultType": "Success" if ended else "Start",
            "resultSignature": "Succeeded.OK" if ended else "Started.",
            "durationMs": "58" if ended else "0",
            "callerIpAddress": caller if caller is None or _is_address(caller) else _CALLER_ADDRESS,
            "correlationId": guid_of(f"{at}"),
            "identity": _identity(caller),
            "level": "Information",
            "properties": {"eventCategory": "Administrative", "entity": resource},
            "time": f"{at:%Y-%m-%dT%H:%M:%S.%f}0Z",
        }
    )


def _identity(caller: Value) -> dict[str, Any] | None:
    if caller is None or _is_address(caller):
        return None
    claims = {"aud": "https://management.core.windows.net/", "ipaddr": _CALLER_ADDRESS, OBJECT_ID: caller}
    return {"authorization": {"evidence": {"role": "Contributor"}}, "claims": claims}


def _is_address(caller: Value) -> bool:
    return isinstance(caller, str) and _ADDRESS.fullmatch(caller) is not None


WRITER = RecordWriter(_complete, _write)
