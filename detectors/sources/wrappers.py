"""What shippers wrap around records, in their default forms, and the records in it.

    CloudWatch Logs    {"messageType": "DATA_MESSAGE", "logEvents": [{"message": "<record>"}]}
    EventBridge        {"detail-type": "...", "detail": {<record>}}
    Vector             {"message": "<record>"}
    Fluent Bit         {"log": "<record>"}
    Kafka Connect      {"schema": {...}, "payload": "<record>" or {<record>}}
    Log Analytics      {"TimeGenerated": "...", "OperationName": "...", "properties_s": "<properties>"}

Sources: subscription filters of CloudWatch Logs; events of EventBridge; the codecs of Vector and Fluent Bit; the
JsonConverter of Kafka Connect; the table AzureDiagnostics and data export of Log Analytics.
"""

from collections.abc import Iterator
from operator import attrgetter

import msgspec

from detectors.sources.source import NOTHING, Scalar

MAX_DEPTH = 2
"""How often a wrapper may stand inside of another: a shipper behind a shipper."""


MARKS = (
    r"""["'](?:message|log|payload)["']\s*+:\s*+["'](?:\s|\\[nrt])*+[{\[]""",
    r"""["']logEvents["']\s*+:\s*+\[""",
    r"""["']detail["']\s*+:\s*+\{""",
)
"""Patterns of JSON that tell a wrapper: names that many use, each with the beginning of what it wraps."""

SHORTEST = len('{"time":1}')
"""Bytes of the shortest object with a field of any source: what is shorter wraps nothing."""


class Wrapper(msgspec.Struct, gc=False):
    """The fields of all wrappers. Objects and texts stay JSON until it is known that they wrap something."""

    message: msgspec.Raw = NOTHING
    log: msgspec.Raw = NOTHING
    payload: msgspec.Raw = NOTHING
    detail: msgspec.Raw = NOTHING
    log_events: msgspec.Raw = msgspec.field(default=NOTHING, name="logEvents")
    exported_time: Scalar = msgspec.field(default=None, name="TimeGenerated")
    exported_category: Scalar = msgspec.field(default=None, name="Category")
    exported_operation: Scalar = msgspec.field(default=None, name="OperationName")
    exported_resource: Scalar = msgspec.field(default=None, name="_ResourceId")
    exported_resource_id: Scalar = msgspec.field(default=None, name="ResourceId")
    exported_status: Scalar = msgspec.field(default=None, name="ResultSignature")
    exported_address: Scalar = msgspec.field(default=None, name="CallerIPAddress")
    exported_properties: Scalar = msgspec.field(default=None, name="properties_s")


class _LogEvent(msgspec.Struct):
    message: str


_WRAPPED = attrgetter(*(one.name for one in msgspec.structs.fields(Wrapper) if one.type is msgspec.Raw))
_NOTHING_WRAPPED = _WRAPPED(Wrapper())
_decode_text = msgspec.json.Decoder(str).decode
_decode_log_events = msgspec.json.Decoder(list[_LogEvent]).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def unwrap(record: Wrapper) -> list[bytes]:
    """Unwrap the messages inside of a record that no source knows; empty if it is no wrapper."""
    if isinstance(record.exported_operation, str) or isinstance(record.exported_category, str):
        return [msgspec.json.encode(_exported(record))]
    if _WRAPPED(record) == _NOTHING_WRAPPED:  # as most
        return []
    try:
        return list(_inner(record))
    except _REFUSED:
        return []


def unquoted(text: str) -> bytes | None:
    """Return the message in a text that is JSON once more; None if it holds none."""
    inner = text.strip()
    return inner.encode(errors="replace") if len(inner) >= SHORTEST and inner[0] in "{[" else None


def _inner(record: Wrapper) -> Iterator[bytes]:
    if record.detail is not NOTHING and _is_object(bytes(record.detail)):
        fields = _decode_object(record.detail)
        own_time = getattr(record, "time", None)  # that of the event, where its detail tells none
        if isinstance(own_time, str):
            fields.setdefault("time", msgspec.Raw(msgspec.json.encode(own_time)))
        yield msgspec.json.encode(fields)
    for raw in (record.message, record.log, record.payload):
        if raw is NOTHING:
            continue
        value = bytes(raw)
        if value[:1] == b'"' and (inner := unquoted(_decode_text(value))):
            yield inner
        elif _is_object(value):
            yield value
    if record.log_events is not NOTHING and bytes(record.log_events) != bytes(NOTHING):
        for event in _decode_log_events(record.log_events):
            if inner := unquoted(event.message):
                yield inner


def _is_object(value: bytes) -> bool:
    return len(value) >= SHORTEST and value[:1] == b"{"


def _exported(record: Wrapper) -> dict[str, Scalar]:
    """Rebuild the record from a row of AzureDiagnostics: of its columns those that hold texts, or a status."""
    columns = {
        "time": record.exported_time,
        "category": record.exported_category,
        "operationName": record.exported_operation,
        "resourceId": record.exported_resource_id or record.exported_resource,
        "callerIpAddress": record.exported_address,
        "properties": record.exported_properties,
    }
    texts: dict[str, Scalar] = {name: value for name, value in columns.items() if isinstance(value, str)}
    status = record.exported_status
    return texts | ({"resultSignature": status} if isinstance(status, str | int) else {})
