"""Who made a call: an Entra object id, or a masked address where there is none, kept as one short text."""

from typing import NamedTuple

from detectors.records import Properties, Record

_ADDRESS = "ip "
_MAX_CHARACTERS = 128


class Caller(NamedTuple):
    """A caller as shown in a finding; one of the two is empty, and both are for an unknown caller."""

    object_id: str
    ip_address: str


def azure_caller(record: Record, properties: Properties) -> str:
    """The caller of an Azure record: its object id; with key authentication, which has none, its masked address."""
    if properties.object_id:
        return properties.object_id[:_MAX_CHARACTERS]
    address = record.caller_ip_address
    return f"{_ADDRESS}{address[:_MAX_CHARACTERS]}" if address else ""


def parse(text: str) -> Caller:
    """The caller behind a text made here."""
    if text.startswith(_ADDRESS):
        return Caller(object_id="", ip_address=text.removeprefix(_ADDRESS))
    return Caller(object_id=text, ip_address="")
