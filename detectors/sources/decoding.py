"""Event Hub message body -> the records in it, and what was wrong with the rest.

Azure Monitor sends `{"records": [...]}`; a bare record and a bare array of records occur as well. Only the fields
that sources name are decoded. The fast way hands a whole message to msgspec; a message that it refuses is read
again record by record, and if it is not even JSON, as far as `repair` can tell what it was. So no record is lost to
a bad neighbour. Nothing here raises, whatever the bytes.

Some sources' records hold prompts and answers. Nothing of these is kept, not even of a record that is broken.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from detectors.sources import lenient, repair
from detectors.sources.catalogue import SOURCES
from detectors.sources.source import first_text
from detectors.sources.text import storable
from detectors.sources.wrappers import Wrapper, unquoted

_STRUCTS: list[type[msgspec.Struct]] = [*(source.record for source in SOURCES), Wrapper]
_FIELDS = {one.name: one for struct in _STRUCTS for one in msgspec.structs.fields(struct)}

Record: Any = msgspec.defstruct(
    "Record",
    [(one.name, one.type, msgspec.field(name=one.encode_name, default=one.default)) for one in _FIELDS.values()],
    module=__name__,
    gc=False,
)
"""One record of any source, or a wrapper: the fields of all of them, so that a batch is decoded at once."""


Envelope: Any = msgspec.defstruct(
    "Envelope", [("records", list[Record] | msgspec.UnsetType, msgspec.UNSET)], module=__name__, gc=False
)
"""What Azure Monitor wraps around records; any other object is a bare record."""


class RawEnvelope(msgspec.Struct, gc=False):
    """An envelope whose records are read one by one."""

    records: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class RecordFlaw:
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
        body: the message itself, if it is at hand.
    """

    records: Sequence[Any]
    flaws: Sequence[RecordFlaw] = ()
    unreadable: Mapping[int, Unreadable] = field(default_factory=dict)
    body: bytes = b""

    def names(self, indexes: Sequence[int]) -> list[list[str]]:
        """List the names of the fields of some records, in order; empty if they cannot be read."""
        records = _objects(self.body) if indexes else []
        return [sorted(records[index]) if index < len(records) else [] for index in indexes]


EXCERPT_CHARACTERS = 4096
LEFT_OUT = "(left out: the message holds prompts or answers)"
"""The excerpt of what cannot be told apart from prompts."""

_NO_RECORD = Record()
_TIMES = tuple(dict.fromkeys(name for source in SOURCES for name in source.times))
_PRIVATE = frozenset().union(*(source.private for source in SOURCES))
_SHOWN_FIELDS = [one.encode_name for one in _FIELDS.values() if one.name not in _PRIVATE]
_HOLDS_CONTENT = re.compile(b"|".join(source.private_mark for source in SOURCES if source.private_mark))
_decode_any = msgspec.json.Decoder(dict[str, msgspec.Raw] | list[msgspec.Raw]).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_objects = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode_lines
_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_raw_envelope = msgspec.json.Decoder(RawEnvelope).decode
_decode_array = msgspec.json.Decoder(list[Record]).decode
_decode_raw_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_record = msgspec.json.Decoder(Record).decode


def _objects(body: bytes) -> list[dict[str, msgspec.Raw]]:
    """Read the records of a message as they are written: empty ones for what is no object, none if it is broken."""
    try:
        value = _decode_any(body)
        if isinstance(value, dict) and "records" in value:
            value = _decode_any(value["records"])
    except _REFUSED:
        value = None
    if value is not None:
        return [value] if isinstance(value, dict) else [_object(one) for one in value]
    try:
        return _decode_objects(body)
    except _REFUSED:
        return []


def _object(text: msgspec.Raw) -> dict[str, msgspec.Raw]:
    try:
        return _decode_object(text)
    except _REFUSED:
        return {}


def decode(body: bytes) -> Message:
    """Read one message body of any bytes."""
    body = repair.clean(body)
    try:
        if body[:1] == b"[":
            return Message(_decode_array(body), body=body)
        records = _decode_envelope(body).records
        return Message([_decode_record(body)] if records is msgspec.UNSET else records, body=body)
    except _REFUSED:
        return _decode_one_by_one(body)


def own_time(record: msgspec.Struct) -> str | None:
    """When a record says it happened, as it is written; None if it does not say so."""
    return first_text(record, _TIMES)


def without_content(record: msgspec.Struct) -> msgspec.Struct:
    """Take out of a record what people say to models, and who they are."""
    return msgspec.structs.replace(record, **{name: _FIELDS[name].default for name in _PRIVATE})


@dataclass(frozen=True, slots=True)
class _NoObject:
    """JSON that stands where a record belongs."""

    text: str


def _decode_one_by_one(body: bytes) -> Message:
    """Decode every record on its own, the slow way, so that a bad one costs only itself."""
    records: list[Any] = []
    flaws: list[RecordFlaw] = []
    unreadable: dict[int, Unreadable] = {}
    private = _HOLDS_CONTENT.search(body) is not None
    for index, element in enumerate(map(_unquoted, _parsed(body))):
        if isinstance(element, Record):
            records.append(element)
        elif isinstance(element, dict):
            record, fields = lenient.read(Record, element)
            records.append(record)
            if fields:
                shown = {name: element[name] for name in _SHOWN_FIELDS if name in element} if private else element
                unreadable[index] = Unreadable(fields, _excerpt(json.dumps(shown)))
        else:
            records.append(_NO_RECORD)
            flaw = _flaw_of(index, element)
            flaws.append(replace(flaw, excerpt=LEFT_OUT) if private else flaw)
    return Message(records, flaws, unreadable, body)


def _unquoted(element: object) -> object:
    """Parse a text that stands where a record belongs; leave anything else as it is."""
    text = element
    if isinstance(element, _NoObject):
        try:
            text = json.loads(element.text)
        except ValueError:
            return element
    inner = unquoted(text) if isinstance(text, str) else None
    return element if inner is None else _parsed_element(msgspec.Raw(inner))


def _parsed(body: bytes) -> Iterable[object]:
    """Split a message into records, other JSON values, and text that is no JSON."""
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
    """Return the records of a parsed message, whatever it turned out to be."""
    if isinstance(value, dict) and "records" in value:
        value = value["records"]
    if value is None:
        return ()
    return value if isinstance(value, list) else [value]


def _flaw_of(index: int, element: object) -> RecordFlaw:
    if isinstance(element, repair.Broken):
        return RecordFlaw(index, "not_json", "this is not JSON", _excerpt(element.text))
    text = element.text if isinstance(element, _NoObject) else json.dumps(element)
    return RecordFlaw(index, "not_a_record", "a record is an object, and this is none", _excerpt(text))


def _excerpt(text: str) -> str:
    return storable(text[:EXCERPT_CHARACTERS])
