"""Diagnostic logs of Azure OpenAI accounts, categories Audit and RequestResponse.

`properties` is an object in some records and JSON inside a string in others. Services spell a resource id in upper,
lower and mixed case. An address is masked, and the object id is empty for calls with a key.

Source: "Monitor Azure OpenAI" and the Azure Monitor resource log schema; public samples of both categories.
"""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from detectors.sources import lenient, repair
from detectors.sources.callers import address, named
from detectors.sources.resources import canonical, openai_accounts
from detectors.sources.source import CALLER, Field, LogSource, Observed, RawTable, Whole

NAME = "azure_openai"


class Properties(msgspec.Struct, rename="camel", gc=False):
    """The fields of a record's `properties`. Lengths are in bytes; a missing one is None, never 0."""

    object_id: str | None = None
    request_length: Whole | None = None
    response_length: Whole | None = None


class AzureRecord(msgspec.Struct, rename="camel", gc=False):
    """One record."""

    time: str | None = None
    category: str | None = None
    operation_name: str | None = None
    resource_id: str | None = None
    caller_ip_address: str | None = None
    result_signature: str | int | None = None
    properties: Properties | str | None = None


class Traits(NamedTuple):
    """What repeats.

    Attributes:
        authentication: `entra` for a caller with an object id, else `key`.
    """

    source: str
    category: str | None
    operation_name: str | None
    resource_id: str | None
    result_signature: str | int | None
    authentication: str


_NO_PROPERTIES = Properties()
_ALL_READ: frozenset[str] = frozenset()
_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_decode_properties = msgspec.json.Decoder(Properties).decode


def _observe(record: AzureRecord) -> Observed:
    properties, unreadable = record.properties, _ALL_READ
    if properties.__class__ is not Properties:
        properties, unreadable = properties_of(record)
    assert isinstance(properties, Properties)
    object_id = properties.object_id
    return (
        (
            NAME,
            record.category,
            record.operation_name,
            record.resource_id,
            record.result_signature,
            "entra" if object_id else "key",
        ),
        record.time,
        properties.request_length,
        properties.response_length,
        object_id or record.caller_ip_address or "",
        unreadable,
    )


def properties_of(record: AzureRecord) -> tuple[Properties, frozenset[str]]:
    """Return the properties, decoded if they are JSON in a string; and the names in JSON of what cannot be read."""
    text = record.properties
    if isinstance(text, Properties):
        return text, _ALL_READ
    if not text:
        return _NO_PROPERTIES, _ALL_READ
    try:
        return _decode_properties(text), _ALL_READ
    except _REFUSED:
        pass
    try:
        value = repair.parse(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        return _NO_PROPERTIES, frozenset({"properties"})
    properties, unreadable = lenient.read(Properties, value)
    return properties, frozenset(unreadable)


def _name_of_caller(of: Traits) -> Callable[[str], str]:
    """Name the caller by object id, or by masked address with key authentication, which has none."""
    return named if of.authentication == "entra" else address


def _resource(of: Traits) -> str | None:
    return None if of.resource_id is None else canonical(of.resource_id)


_RAW = RawTable(
    "AzureDiagnostics",
    (
        'extend Properties = parse_json(column_ifexists("properties_s", ""))',
        """extend ObjectId = coalesce(
    tostring(Properties.objectId), column_ifexists("objectId_g", ""), column_ifexists("objectId_s", ""))""",
    ),
    {
        "category": "Category",
        "operation": "OperationName",
        "resource": "tolower(_ResourceId)",
        "status": "ResultSignature",
        "authentication": 'iff(isempty(ObjectId), "key", "entra")',
        CALLER: "coalesce(ObjectId, CallerIPAddress)",
        "request_length": (
            'coalesce(tolong(Properties.requestLength), tolong(column_ifexists("requestLength_d", real(null))))'
        ),
        "response_length": (
            'coalesce(tolong(Properties.responseLength), tolong(column_ifexists("responseLength_d", real(null))))'
        ),
    },
)
"""Properties are text in one column, or have a column each once a record needed it."""

_OBJECT_ID = frozenset({"properties", "objectId"})

SOURCE = LogSource(
    name=NAME,
    title="Azure OpenAI diagnostic logs",
    record=AzureRecord,
    marks=(),
    recognises=lambda record: True,  # noqa: ARG005 - Azure Monitor's records need not say what they are of
    traits=Traits,
    observe=_observe,
    fields={
        "category": Field(lambda of: of.category, "category", frozenset({"category"})),
        "operation": Field(lambda of: of.operation_name, "operation_name", frozenset({"operationName"})),
        "resource": Field(_resource, "", frozenset({"resourceId"}), "ResourceId", "no_resource"),
        "status": Field(lambda of: of.result_signature, "", frozenset({"resultSignature"})),
        "authentication": Field(lambda of: of.authentication, "", _OBJECT_ID),
        CALLER: Field(lambda _: None, "", _OBJECT_ID | {"callerIpAddress"}, "Caller", "no_caller"),
    },
    number_wire={
        "request_length": frozenset({"properties", "requestLength"}),
        "response_length": frozenset({"properties", "responseLength"}),
    },
    name_of_caller=_name_of_caller,
    times=("time",),
    watched_attribute="resource_id",
    watched=openai_accounts,
    raw=_RAW,
)
