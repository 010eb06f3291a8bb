"""What a message says by the standard library alone: an oracle for the decoder where a message is JSON."""

import json
from typing import Any

import msgspec

from detectors.sources.decoding import Record
from detectors.sources.repair import clean
from detectors.sources.source import NOTHING
from detectors.sources.text import storable

_FIELDS = msgspec.structs.fields(Record)
_DEEP = 60
"""Deeper values are not compared: of those the decoder may say that they are unreadable."""


def elements_of(body: bytes) -> list[Any] | None:
    """Return what stands where records belong; None if that is no JSON, or holds JSON in a text, or is too deep."""
    try:
        value = json.loads(clean(body).decode())
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict) and "records" in value:
        value = value["records"]
    if value is None:
        return []
    told = value if isinstance(value, list) else [value]
    return None if any(isinstance(one, str) for one in told) or _is_deep(told, _DEEP) else told


def says_the_same(record: msgspec.Struct, element: dict[str, Any]) -> bool:
    """Tell whether the fields of a decoded record say what an object says."""
    return all(_is_same(getattr(record, field.name), element.get(field.encode_name), field.type) for field in _FIELDS)


def _is_same(read: object, told: object, kind: object) -> bool:
    if kind is msgspec.Raw:
        assert isinstance(read, msgspec.Raw)
        return told is None if read is NOTHING else repr(json.loads(bytes(read).decode(errors="replace"))) == repr(told)
    if isinstance(told, str):
        return isinstance(read, str) and storable(read) == storable(told)
    return not isinstance(read, str)


def _is_deep(value: object, room: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    return room == 0 or any(_is_deep(one, room - 1) for one in (value.values() if isinstance(value, dict) else value))
