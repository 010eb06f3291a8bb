"""Records as Log Analytics holds them, for queries on raw logs."""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from tests.infra.kql import Row, template

FLATTENED = {
    "objectId": "objectId_g",
    "modelName": "modelName_s",
    "streamType": "streamType_s",
    "requestLength": "requestLength_d",
    "responseLength": "responseLength_d",
}
"""The columns that properties get where they are not kept as text."""


def hunt(name: str) -> str:
    """Return the text of a hunting query."""
    text: str = template(f"hunting-queries/{name}.yaml")["query"]
    return text


def raw(record: Row, ingested: datetime, *, flattened: bool = False) -> Row:
    """Return a record as AzureDiagnostics holds it: properties as text in one column, or each in its own."""
    properties = record.get("properties")
    fields = json.loads(properties) if isinstance(properties, str) else properties or {}
    row = {
        "TimeGenerated": record["time"],
        "IngestionTime": ingested.isoformat(),
        "Category": record.get("category"),
        "OperationName": record.get("operationName"),
        "ResultSignature": record.get("resultSignature"),
        "CallerIPAddress": record.get("callerIpAddress"),
        "_ResourceId": (record.get("resourceId") or "").lower(),
    }
    if not flattened:
        return row | {"properties_s": json.dumps(fields)}
    return row | {"properties_s": ""} | {column: fields.get(name) for name, column in FLATTENED.items()}


def records(bodies: Iterable[bytes]) -> Iterator[Row]:
    """Yield the records of sound messages."""
    for body in bodies:
        read: Any = json.loads(body)
        yield from read if isinstance(read, list) else read.get("records", [read])
