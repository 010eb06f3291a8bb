"""Event Hub message body -> the records in it, and what was wrong with the rest.

Azure Monitor sends `{"records": [...]}`; a bare record and a bare array of records occur as well. Only the fields
that some rule reads are decoded. The fast way hands a whole message to msgspec; a message that it refuses is read
again record by record, and if it is not even JSON, as far as `repair` can tell what it was. So no record is lost to
a bad neighbour. Nothing here raises, whatever the bytes.

Source of the fields: "Monitor Azure OpenAI", Azure Monitor resource log schema, and records seen in public
samples of the Audit and RequestResponse categories.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import msgspec

from detectors import repair

MAX_WHOLE = 2**63 - 1
"""The largest length that storage can hold; a longer one is unreadable."""

Whole = Annotated[int, msgspec.Meta(ge=0, le=MAX_WHOLE)]


class Properties(msgspec.Struct, rename="camel", gc=False):
    """The fields of a record's `properties`. Lengths are in bytes; a missing one is None, never 0."""

    object_id: str | None = None
    request_length: Whole | None = None
    response_length: Whole | None = None


class Record(msgspec.Struct, rename="camel", gc=False):
    """One diagnostic log record, as far as rules read it. `properties` may be JSON inside a string."""

    time: str | None = None
    category: str | None = None
    operation_name: str | None = None
    resource_id: str | None = None
    caller_ip_address: str | None = None
    properties: Properties | str | None = None


class Envelope(msgspec.Struct, gc=False):
    """What Azure Monitor wraps around records; any other object is a bare record."""

    records: list[Record] | msgspec.UnsetType = msgspec.UNSET


class RawEnvelope(msgspec.Struct, gc=False):
    """An envelope whose records are read one by one."""

    records: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class Flaw:
    """A record that is not counted, or not in full, and why.

    Attributes:
        index: its place among the records of its message, from 0.
        reason: a short stable code, such as `not_json`.
        detail: a sentence for the person who looks at it.
        excerpt: the beginning of what was there.
    """

    index: int
    reason: str
    detail: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Fields of a record that hold a value of a kind they cannot have, and the beginning of the record."""

    fields: tuple[str, ...]
    excerpt: str


@dataclass(frozen=True, slots=True)
class Message:
    """What one message body holds.

    Attributes:
        records: in their order; a flawed one stands as an empty `Record`, so that places stay true.
        flaws: records that say nothing usable.
        unreadable: by place, fields that had to be left out. Whether that matters depends on whether a rule
            selects the record.
    """

    records: Sequence[Record]
    flaws: Sequence[Flaw] = ()
    unreadable: Mapping[int, Unreadable] = field(default_factory=dict)


EXCERPT_CHARACTERS = 4096
_DIGITS = re.compile(r"[0-9]{1,19}")
_NO_RECORD = Record()
_NO_PROPERTIES = Properties()
_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_raw_envelope = msgspec.json.Decoder(RawEnvelope).decode
_decode_array = msgspec.json.Decoder(list[Record]).decode
_decode_raw_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_record = msgspec.json.Decoder(Record).decode
_decode_properties = msgspec.json.Decoder(Properties).decode


def decode(body: bytes) -> Message:
    """Read one message body of any bytes."""
    body = repair.clean(body)
    try:
        if body[:1] == b"[":
            return Message(_decode_array(body))
        records = _decode_envelope(body).records
        return Message([_decode_record(body)] if records is msgspec.UNSET else records)
    except _REFUSED:
        return _decode_one_by_one(body)


def properties_of(record: Record) -> tuple[Properties, bool]:
    """The record's properties, decoded if they are JSON in a string, and whether all of them could be read."""
    properties = record.properties
    if properties is None or properties == "":
        return _NO_PROPERTIES, True
    if isinstance(properties, Properties):
        return properties, True
    try:
        return _decode_properties(properties), True
    except _REFUSED:
        return _lenient_properties(properties)


def _lenient_properties(text: str) -> tuple[Properties, bool]:
    try:
        value = repair.parse(text)
    except ValueError:
        return _NO_PROPERTIES, False
    unreadable: list[str] = []
    properties = _properties(value, unreadable)
    if not isinstance(properties, Properties):
        return _NO_PROPERTIES, False
    return properties, not unreadable


@dataclass(frozen=True, slots=True)
class _NoObject:
    """JSON that stands where a record belongs."""

    text: str


def _decode_one_by_one(body: bytes) -> Message:
    """The slow way: every record on its own, so that a bad one costs only itself."""
    records: list[Record] = []
    flaws: list[Flaw] = []
    unreadable: dict[int, Unreadable] = {}
    for index, element in enumerate(_parsed(body)):
        if isinstance(element, Record):
            records.append(element)
        elif isinstance(element, dict):
            record, fields = _lenient_record(element)
            records.append(record)
            if fields:
                unreadable[index] = Unreadable(fields, _excerpt(json.dumps(element)))
        else:
            records.append(_NO_RECORD)
            flaws.append(_flaw_of(index, element))
    return Message(records, flaws, unreadable)


def _parsed(body: bytes) -> Iterable[object]:
    """What stands in a message: records, other JSON values, and stretches that are no JSON."""
    try:
        raw = _decode_raw_array(body) if body[:1] == b"[" else _decode_raw_envelope(body).records
    except _REFUSED:
        raw = msgspec.UNSET
    if raw is not msgspec.UNSET:
        return map(_parsed_element, raw)
    text = body.decode(errors="replace")
    try:
        return _elements(repair.parse(text))
    except ValueError:
        elements = list(repair.salvage(text))
        broken_only = all(isinstance(element, repair.Broken) for element in elements)
        return [repair.Broken(text)] if broken_only else elements


def _parsed_element(raw: msgspec.Raw) -> object:
    try:
        return _decode_record(raw)
    except _REFUSED:
        text = bytes(raw).decode(errors="replace")
    if not text.startswith("{"):
        return _NoObject(text)
    try:
        return repair.parse(text)
    except ValueError:
        return repair.Broken(text)


def _elements(value: object) -> Sequence[object]:
    """The records of a parsed message, whatever it turned out to be."""
    if isinstance(value, dict) and "records" in value:
        value = value["records"]
    if value is None:
        return ()
    return value if isinstance(value, list) else [value]


def _flaw_of(index: int, element: object) -> Flaw:
    if isinstance(element, repair.Broken):
        return Flaw(index, "not_json", "this is not JSON", _excerpt(element.text))
    text = element.text if isinstance(element, _NoObject) else json.dumps(element)
    return Flaw(index, "not_a_record", "a record is an object, and this is none", _excerpt(text))


def _lenient_record(value: Mapping[str, object]) -> tuple[Record, tuple[str, ...]]:
    """A record from parsed JSON, with the names of the fields that hold what they cannot hold."""
    unreadable: list[str] = []
    record = Record(
        time=_text(value, "time", unreadable),
        category=_text(value, "category", unreadable),
        operation_name=_text(value, "operationName", unreadable),
        resource_id=_text(value, "resourceId", unreadable),
        caller_ip_address=_text(value, "callerIpAddress", unreadable),
        properties=_properties(value.get("properties"), unreadable),
    )
    return record, tuple(unreadable)


def _properties(value: object, unreadable: list[str]) -> Properties | str | None:
    if isinstance(value, dict):
        return Properties(
            object_id=_text(value, "objectId", unreadable),
            request_length=_whole(value, "requestLength", unreadable),
            response_length=_whole(value, "responseLength", unreadable),
        )
    if value is None or isinstance(value, str):
        return value and _storable(value)
    unreadable.append("properties")
    return None


def _text(value: Mapping[str, object], name: str, unreadable: list[str]) -> str | None:
    text = value.get(name)
    if isinstance(text, str):
        return _storable(text)
    if text is not None:
        unreadable.append(name)
    return None


def _whole(value: Mapping[str, object], name: str, unreadable: list[str]) -> int | None:
    """A whole number, also when it is written as `3.0` or `"3"`."""
    number = value.get(name)
    digits = isinstance(number, str) and _DIGITS.fullmatch(number)
    if digits or (isinstance(number, float) and number.is_integer()):
        number = int(number)  # type: ignore[call-overload]  # one of the two, which mypy cannot see through `or`
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= MAX_WHOLE:
        return number
    if number is not None:
        unreadable.append(name)
    return None


def _storable(text: str) -> str:
    """The text with `?` for any half of a surrogate pair, which no encoding can store."""
    return text.encode(errors="replace").decode()


def _excerpt(text: str) -> str:
    return _storable(text[:EXCERPT_CHARACTERS])
