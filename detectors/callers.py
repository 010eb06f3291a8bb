"""Who made a call: an Entra object id, a masked address where there is none, an AWS ARN; kept as one short text."""

from typing import NamedTuple

from detectors import bedrock
from detectors.records import Properties, Record, storable

_ADDRESS = "ip "
_MAX_CHARACTERS = 128
_MAX_ARN_CHARACTERS = 256


class Caller(NamedTuple):
    """A caller as shown in a finding; one of the two is empty, and both are for an unknown caller.

    The object id of a caller of AWS is its ARN.
    """

    object_id: str
    ip_address: str


def caller_of(record: Record, properties: Properties) -> str:
    """The caller of a record of either cloud; empty if nobody can be named."""
    if record.schema_type == bedrock.SCHEMA and not record.operation_name:
        return bedrock_caller(record, properties)
    return azure_caller(record, properties)


def azure_caller(record: Record, properties: Properties) -> str:
    """The caller of an Azure record: its object id; with key authentication, which has none, its masked address."""
    if properties.object_id:
        return storable(properties.object_id[:_MAX_CHARACTERS])
    address = record.caller_ip_address
    return f"{_ADDRESS}{storable(address[:_MAX_CHARACTERS])}" if address else ""


def bedrock_caller(record: Record, _: Properties) -> str:
    """The caller of an AWS Bedrock record: its ARN, which is never taken for an address."""
    return (bedrock.user_arn(record) or "")[:_MAX_ARN_CHARACTERS]


def parse(text: str) -> Caller:
    """The caller behind a text made here."""
    if text.startswith(_ADDRESS):
        return Caller(object_id="", ip_address=text.removeprefix(_ADDRESS))
    return Caller(object_id=text, ip_address="")
