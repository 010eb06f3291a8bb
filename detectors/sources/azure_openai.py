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
from detectors.sources.resources import canonical, is_account, openai_accounts
from detectors.sources.source import CALLER, LENGTHS, Field, LogSource, Observed, RawTable, Scalar, Whole

NAME = "azure_openai"


class Properties(msgspec.Struct, rename="camel", gc=False, omit_defaults=True):
    """The fields of a record's `properties`. Lengths are in bytes; a missing one is None, never 0.

    Newer records name the caller in `callerObjectId`, with or without `objectId` beside it.
    """

    object_id: str | None = None
    caller_object_id: Scalar = None
    request_length: Whole | None = None
    response_length: Whole | None = None
    stream_type: Scalar = None
    model_name: Scalar = None


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
        streamed: `empty` for a streamed answer that is logged with length 0, as all of them are; `yes` for another
            streamed one, `no` for one that is not.
        row: `twin` for the second, near-empty row that some accounts log of each call: no model, no caller, no answer.
    """

    source: str
    category: str | None
    operation_name: str | None
    resource_id: str | None
    result_signature: str | int | None
    authentication: str
    streamed: str
    row: str


GENERATING = frozenset(
    {
        "ChatCompletions_Create",
        "Responses_Create",
        "Completions_Create",
        "Creates a completion for the chat message",
        "getChatCompletions",
    }
)
"""Operations in which a model writes an answer, by their names through the years and in Foundry."""

_NO_PROPERTIES = Properties()
_ALL_READ: frozenset[str] = frozenset()
_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_decode_properties = msgspec.json.Decoder(Properties).decode


def _observe(record: AzureRecord) -> Observed:
    properties, unreadable = record.properties, _ALL_READ
    if properties.__class__ is not Properties:
        properties, unreadable = properties_of(record)
    assert isinstance(properties, Properties)
    caller = properties.object_id or properties.caller_object_id
    response_length = properties.response_length
    streamed = "no"
    if properties.stream_type == "Streaming":
        streamed = "yes" if response_length else "empty"
        response_length = response_length or None  # a streamed 0 is no length
    return (
        (
            NAME,
            record.category,
            record.operation_name,
            record.resource_id,
            record.result_signature,
            "entra" if caller else "key",
            streamed,
            "call" if caller or response_length or properties.model_name else "twin",
        ),
        record.time,
        properties.request_length,
        response_length,
        str(caller or record.caller_ip_address or ""),
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


def _activity(operation_name: str | None) -> str | None:
    return "generation" if operation_name in GENERATING else None


def _status(result_signature: str | int | None) -> str | None:
    return None if result_signature is None else str(result_signature)


def _resource(of: Traits) -> str | None:
    return None if of.resource_id is None else canonical(of.resource_id)


_GENERATING = ", ".join(f'"{name}"' for name in sorted(GENERATING))
_RAW = RawTable(
    "AzureDiagnostics",
    (
        'extend Properties = parse_json(column_ifexists("properties_s", ""))',
        """extend ObjectId = coalesce(
    tostring(Properties.objectId), column_ifexists("objectId_g", ""), column_ifexists("objectId_s", ""),
    tostring(Properties.callerObjectId))""",
        """extend
    ModelName = coalesce(tostring(Properties.modelName), column_ifexists("modelName_s", "")),
    IsStreamed = coalesce(tostring(Properties.streamType), column_ifexists("streamType_s", "")) == "Streaming",
    Written = coalesce(tolong(Properties.responseLength), tolong(column_ifexists("responseLength_d", real(null))))""",
    ),
    {
        "category": "Category",
        "operation": "OperationName",
        "resource": "tolower(_ResourceId)",
        "activity": f'iff(OperationName in ({_GENERATING}), "generation", "")',
        "status": "ResultSignature",
        "streamed": 'iff(IsStreamed, iff(Written > 0, "yes", "empty"), "no")',
        "row": 'iff(isnotempty(ObjectId) or Written > 0 or isnotempty(ModelName), "call", "twin")',
        "authentication": 'iff(isempty(ObjectId), "key", "entra")',
        CALLER: (
            "iff(isempty(ObjectId) and isnotempty(CallerIPAddress), "
            'strcat("ip ", replace_regex(CallerIPAddress, @"\\*+$", "***")), ObjectId)'
        ),
        "request_length": (
            'coalesce(tolong(Properties.requestLength), tolong(column_ifexists("requestLength_d", real(null))))'
        ),
        "response_length": "iff(IsStreamed and Written == 0, long(null), Written)",
    },
)
"""Properties are text in one column, or have a column each once a record needed it."""


def _account(of: Traits) -> str | None:
    resource = _resource(of)
    return resource if resource and is_account(resource) else None


_OBJECT_ID = frozenset({"properties", "objectId", "callerObjectId"})

SOURCE = LogSource(
    name=NAME,
    title="Azure OpenAI diagnostic logs",
    record=AzureRecord,
    marks=("operation_name", "category"),
    recognises=lambda record: record.operation_name is not None or record.category is not None,
    traits=Traits,
    observe=_observe,
    fields={
        "category": Field(lambda of: of.category, "category", wire=frozenset({"category"})),
        "operation": Field(lambda of: of.operation_name, "operation_name", wire=frozenset({"operationName"})),
        "resource": Field(_resource, wire=frozenset({"resourceId"}), column="ResourceId", missing="no_resource"),
        "activity": Field(
            lambda of: _activity(of.operation_name), "operation_name", _activity, frozenset({"operationName"})
        ),
        "status": Field(lambda of: _status(of.result_signature), wire=frozenset({"resultSignature"})),
        "streamed": Field(lambda of: of.streamed, wire=frozenset({"properties", "streamType", "responseLength"})),
        "row": Field(lambda of: of.row, wire=_OBJECT_ID | {"modelName"}),
        "authentication": Field(lambda of: of.authentication, wire=_OBJECT_ID),
        CALLER: Field(lambda _: None, wire=_OBJECT_ID | {"callerIpAddress"}, column="Caller", missing="no_caller"),
    },
    numbers=LENGTHS,
    number_wire={
        "request_length": frozenset({"properties", "requestLength"}),
        "response_length": frozenset({"properties", "responseLength"}),
    },
    name_of_caller=_name_of_caller,
    times=("time",),
    account=_account,
    watched_attribute="resource_id",
    watched=openai_accounts,
    raw=_RAW,
)
