"""Event Hub message body -> the records in it, and what was wrong with the rest.

Azure Monitor sends `{"records": [...]}`; a bare record and a bare array of records occur as well. Only the fields
that some rule reads are decoded. The fast way hands a whole message to msgspec; a message that it refuses is read
again record by record, and if it is not even JSON, as far as `repair` can tell what it was. So no record is lost to
a bad neighbour. Nothing here raises, whatever the bytes.

Records of AWS Bedrock hold prompts and answers. Nothing of these is kept, not even of a record that is broken.

Source of the fields: "Monitor Azure OpenAI", Azure Monitor resource log schema, and records seen in public
samples of the Audit and RequestResponse categories; "Monitor model invocation" of the Amazon Bedrock user guide.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

import msgspec

from detectors import repair

MAX_WHOLE = 2**63 - 1
"""The largest length that storage can hold; a longer one is unreadable."""

Whole = Annotated[int, msgspec.Meta(ge=0, le=MAX_WHOLE)]

Scalar = str | int | float | bool | None
"""A field that other services fill in their own ways; only a text means something."""

NOTHING = msgspec.Raw(b"null")
"""JSON that is not there."""


class Properties(msgspec.Struct, rename="camel", gc=False):
    """The fields of a record's `properties`. Lengths are in bytes; a missing one is None, never 0."""

    object_id: str | None = None
    request_length: Whole | None = None
    response_length: Whole | None = None


class Record(msgspec.Struct, rename="camel", gc=False):
    """One diagnostic log record, as far as rules read it. `properties` may be JSON inside a string.

    Fields from `schema_type` on are AWS Bedrock's. Other services give these names to values of other kinds, which
    must not keep a record from being read. Objects stay JSON until a rule asks.
    """

    time: str | None = None
    category: str | None = None
    operation_name: str | None = None
    resource_id: str | None = None
    caller_ip_address: str | None = None
    result_signature: str | int | None = None
    properties: Properties | str | None = None
    schema_type: Scalar = None
    timestamp: Scalar = None
    account_id: Scalar = None
    model_id: Scalar = None
    error_code: Scalar = None
    identity: msgspec.Raw = NOTHING
    output: msgspec.Raw = NOTHING


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
LEFT_OUT = "(left out: the message holds prompts or answers)"
"""The excerpt of what cannot be told apart from prompts."""

_UNSTORABLE = re.compile("[\ud800-\udfff\ufffe\uffff]")
_DIGITS = re.compile(r"[0-9]{1,19}")
_NO_RECORD = Record()
_NO_PROPERTIES = Properties()
_CONTENT_FIELDS = frozenset({"identity", "output"})
_SHOWN_FIELDS = [one.encode_name for one in msgspec.structs.fields(Record) if one.name not in _CONTENT_FIELDS]
_HOLDS_CONTENT = re.compile(  # any one will do, as a broken record may have lost the others
    rb"ModelInvocationLog|schemaVersion|arn:|modelId|(?:in|out)put(?:Body|ContentType|TokenCount)"
)
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
    if isinstance(properties, Properties):
        return properties, True
    if not properties:
        return _NO_PROPERTIES, True
    try:
        return _decode_properties(properties), True
    except _REFUSED:
        return _lenient_properties(properties)


def without_content(record: Record) -> Record:
    """The record without what people say to models, and without who they are."""
    return msgspec.structs.replace(record, identity=NOTHING, output=NOTHING)


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
    private = _HOLDS_CONTENT.search(body) is not None
    for index, element in enumerate(_parsed(body)):
        if isinstance(element, Record):
            records.append(element)
        elif isinstance(element, dict):
            record, fields = _lenient_record(element)
            records.append(record)
            if fields:
                shown = {name: element[name] for name in _SHOWN_FIELDS if name in element} if private else element
                unreadable[index] = Unreadable(fields, _excerpt(json.dumps(shown)))
        else:
            records.append(_NO_RECORD)
            flaw = _flaw_of(index, element)
            flaws.append(replace(flaw, excerpt=LEFT_OUT) if private else flaw)
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
        result_signature=_text(value, "resultSignature", []),  # only text means something, and anything may stand there
        properties=_properties(value.get("properties"), unreadable),
        schema_type=_text(value, "schemaType", []),
        timestamp=_text(value, "timestamp", []),
        account_id=_text(value, "accountId", []),
        model_id=_text(value, "modelId", []),
        error_code=_text(value, "errorCode", []),
        identity=_raw(value, "identity"),
        output=_raw(value, "output"),
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
        return value and storable(value)
    unreadable.append("properties")
    return None


def _text(value: Mapping[str, object], name: str, unreadable: list[str]) -> str | None:
    text = value.get(name)
    if isinstance(text, str):
        return storable(text)
    if text is not None:
        unreadable.append(name)
    return None


def _raw(value: Mapping[str, object], name: str) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value[name]).encode()) if name in value else NOTHING


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


def storable(text: str) -> str:
    """The text with `?` for halves of surrogate pairs, which no encoding has, and for U+FFFE and U+FFFF.

    Azure's queues refuse these two as text (https://www.w3.org/TR/xml/#charsets); no name of a service holds any.
    """
    return text if text.isascii() else _UNSTORABLE.sub("?", text)


def _excerpt(text: str) -> str:
    return storable(text[:EXCERPT_CHARACTERS])
