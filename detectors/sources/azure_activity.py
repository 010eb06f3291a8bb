"""Azure's activity log: what was done to resources through Azure Resource Manager, by whom, from where.

One diagnostic setting of a subscription covers all of its accounts, also those that nobody onboarded, and an account's
owner cannot take it away. An operation is logged when it starts and when it ends, under one correlation id; only its
end counts. Older exports say `Action`, `Write` or `Delete` for the category, so the operation's name goes first.

Source: "Azure activity log event schema", category Administrative; records in public samples.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import msgspec

from detectors.sources.callers import address, named
from detectors.sources.resources import canonical, kind_of
from detectors.sources.source import CALLER, LENGTHS, NOTHING, Field, LogSource, Observed

NAME = "azure_activity"
CATEGORIES = frozenset({"Administrative", "Action", "Write", "Delete"})
_STARTS = frozenset({"Start", "Started", "Accept", "Accepted"})
OBJECT_ID = "http://schemas.microsoft.com/identity/claims/objectidentifier"
_UPN = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn"


class ActivityRecord(msgspec.Struct, rename="camel", gc=False):
    """One record."""

    time: str | None = None
    category: str | None = None
    operation_name: str | None = None
    resource_id: str | None = None
    caller_ip_address: str | None = None
    result_type: str | int | None = None
    identity: msgspec.Raw = NOTHING


class Traits(NamedTuple):
    """What repeats.

    Attributes:
        stage: `start` or `end` of an operation.
        named: whether the caller is more than an address.
    """

    source: str
    operation_name: str | None
    resource_id: str | None
    stage: str
    named: bool


class _Claims(msgspec.Struct):
    object_id: str | None = msgspec.field(default=None, name=OBJECT_ID)
    upn: str | None = msgspec.field(default=None, name=_UPN)
    appid: str | None = None


class _Identity(msgspec.Struct):
    claims: _Claims = msgspec.field(default_factory=_Claims)


_decode_identity = msgspec.json.Decoder(_Identity).decode


@lru_cache(maxsize=1024)
def _who(identity: bytes) -> str:
    """Return the object id; without one the user's name, or the application's id."""
    try:
        claims = _decode_identity(identity).claims
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # in other categories identity is a text
        return ""
    return claims.object_id or claims.upn or claims.appid or ""


def _observe(record: ActivityRecord) -> Observed:
    who = _who(bytes(record.identity))
    stage = "start" if record.result_type in _STARTS else "end"
    traits = (NAME, record.operation_name, record.resource_id, stage, bool(who))
    return traits, record.time, None, None, who or record.caller_ip_address or "", frozenset()


_keep_name = partial(named, characters=128)


def _name_of_caller(of: Traits) -> Callable[[str], str]:
    return _keep_name if of.named else address


def _operation(operation_name: str | None) -> str | None:
    """Put an operation in capitals: services write it either way."""
    return None if operation_name is None else operation_name.upper()


def _resource(of: Traits) -> str | None:
    return None if of.resource_id is None else canonical(of.resource_id)


def _kind(of: Traits) -> str | None:
    resource = _resource(of)
    return None if resource is None else kind_of(resource)


def _recognises(record: ActivityRecord) -> bool:
    operation = record.operation_name
    return record.category in CATEGORIES and operation is not None and operation.upper().startswith("MICROSOFT.")


SOURCE = LogSource(
    name=NAME,
    title="Azure activity log",
    record=ActivityRecord,
    marks=("operation_name", "category"),
    recognises=_recognises,
    traits=Traits,
    observe=_observe,
    fields={
        "operation": Field(
            lambda of: _operation(of.operation_name), "operation_name", _operation, frozenset({"operationName"})
        ),
        "stage": Field(lambda of: of.stage, wire=frozenset({"resultType"})),
        "resource": Field(_resource, wire=frozenset({"resourceId"}), column="ResourceId", missing="no_resource"),
        "resource_kind": Field(_kind, wire=frozenset({"resourceId"})),
        CALLER: Field(
            lambda _: None, wire=frozenset({"identity", "callerIpAddress"}), column="Caller", missing="no_caller"
        ),
    },
    numbers=LENGTHS,
    number_wire={},
    name_of_caller=_name_of_caller,
    times=("time",),
    private=frozenset({"identity"}),
)
