"""Parsed JSON of any shape -> a struct of the fields that are read, and the names of those that cannot be.

The slow way, for records that msgspec refuses: it reads what is certain, such as `3.0` or `"3"` for a whole number.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import cache, partial

import msgspec

from detectors.sources.source import MAX_WHOLE, Scalar, Whole
from detectors.sources.text import storable

_DIGITS = re.compile(r"[0-9]{1,19}")


def read[S: msgspec.Struct](kind: type[S], value: Mapping[str, object]) -> tuple[S, tuple[str, ...]]:
    """Read the fields of a struct out of an object; the names in JSON of those that hold what they cannot hold."""
    unreadable: list[str] = []
    readers = _readers(kind)
    fields = {
        readers[name][0]: readers[name][1](name, told, unreadable) for name, told in value.items() if name in readers
    }
    return kind(**fields), tuple(unreadable)


_MEANS_TEXT = (Scalar, str | int | None)
"""Kinds of fields where other services put anything: what is no text means nothing."""


def may_be_unreadable(kind: object) -> bool:
    """Tell whether a field of this kind may hold what it cannot hold."""
    return kind is not msgspec.Raw and kind not in _MEANS_TEXT


type _Reader = Callable[[str, object, list[str]], object]


@cache
def _readers(kind: type[msgspec.Struct]) -> dict[str, tuple[str, _Reader]]:
    """How each field is read, by its name in JSON."""
    return {field.encode_name: (field.name, _reader(field.type)) for field in msgspec.structs.fields(kind)}


def _reader(kind: object) -> _Reader:
    if kind is msgspec.Raw:
        return lambda _name, value, _unreadable: (
            value if isinstance(value, msgspec.Raw) else msgspec.Raw(json.dumps(value).encode())
        )
    if kind == Whole | None:
        return _read_whole
    if kind in _MEANS_TEXT:
        return lambda _name, value, _unreadable: storable(value) if isinstance(value, str) else None
    options = getattr(kind, "__args__", ())
    nested = next((one for one in options if isinstance(one, type) and issubclass(one, msgspec.Struct)), None)
    return _read_text if nested is None else partial(_read_nested, nested)


def _read_whole(name: str, value: object, unreadable: list[str]) -> int | None:
    number = whole(value)
    if number is None and value is not None:
        unreadable.append(name)
    return number


def _read_text(name: str, value: object, unreadable: list[str]) -> str | None:
    if isinstance(value, str):
        return storable(value)
    if value is not None:
        unreadable.append(name)
    return None


def _read_nested(kind: type[msgspec.Struct], name: str, value: object, unreadable: list[str]) -> object:
    if not isinstance(value, dict):
        return _read_text(name, value, unreadable)
    nested, names = read(kind, value)
    unreadable += names
    return nested


def whole(number: object) -> int | None:
    """Read a whole number, also when it is written as `3.0` or `"3"`; None if it is none."""
    if isinstance(number, str):
        number = int(number) if _DIGITS.fullmatch(number) else None
    elif isinstance(number, float):
        number = int(number) if number.is_integer() else None
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= MAX_WHOLE:
        return number
    return None
