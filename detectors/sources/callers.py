"""Who made a call: an Entra object id, a masked address where there is none, an AWS ARN; kept as one short text."""

import hashlib
from typing import NamedTuple

from detectors.sources.text import storable

_ADDRESS = "ip "
_MAX_CHARACTERS = 128


class Caller(NamedTuple):
    """A caller as shown in a finding; one of the two is empty, and both are for an unknown caller.

    The object id of a caller of AWS is its ARN.
    """

    object_id: str
    ip_address: str


def named(name: str | None, characters: int = _MAX_CHARACTERS) -> str:
    """Format a named caller; empty without a name. A long name is cut, and distinguished by its hash."""
    if not name or len(name) <= characters:
        return storable(name or "")
    mark = hashlib.blake2b(name.encode(errors="replace"), digest_size=8).hexdigest()
    return f"{storable(name[: characters - len(mark) - 1])}~{mark}"


def address(ip_address: str | None) -> str:
    """Return the text for a caller of whom only an address is known; empty without one.

    Azure masks an address digit by digit, so one network ends in one, two or three stars: they are made three.
    """
    if ip_address and ip_address.endswith("*"):
        ip_address = ip_address.rstrip("*") + "***"
    return f"{_ADDRESS}{storable(ip_address[:_MAX_CHARACTERS])}" if ip_address else ""


def parse(text: str) -> Caller:
    """Parse a text made here back to its caller."""
    if text.startswith(_ADDRESS):
        return Caller(object_id="", ip_address=text.removeprefix(_ADDRESS))
    return Caller(object_id=text, ip_address="")
