"""Event Hub message body -> the records in it, and what was wrong with the rest.

Azure Monitor sends `{"records": [...]}`; a bare record and a bare array of records occur as well. Only the fields
that sources name are decoded, and of those only what the rules of a `Decoder` may read. The fast way hands a whole
message to msgspec; a message that it refuses is read again record by record, and if it is not even JSON, as far as
`repair` can tell what it was. So no record is lost to a bad neighbour. Nothing here raises, whatever the bytes.

Some sources' records hold prompts and answers. Nothing of these is kept, not even of a record that is broken.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from typing import Any

import msgspec

from detectors.sources import lenient, repair, wrappers
from detectors.sources.catalogue import SOURCES
from detectors.sources.source import LogSource, first_text
from detectors.sources.structure import marks_of
from detectors.sources.text import storable
from detectors.sources.wrappers import Wrapper, unquoted

_STRUCTS: list[type[msgspec.Struct]] = [*(source.record for source in SOURCES), Wrapper]
_FIELDS = {one.name: one for struct in _STRUCTS for one in msgspec.structs.fields(struct)}


def record_type(attributes: Collection[str] = _FIELDS.keys()) -> Any:  # noqa: ANN401 - a class made at run time
    """Make a struct of some of the fields of records."""
    fields = [
        (one.name, one.type, msgspec.field(name=one.encode_name, default=one.default))
        for one in _FIELDS.values()
        if one.name in attributes
    ]
    return msgspec.defstruct("Record", fields, module=__name__, gc=False, omit_defaults=True)


Record = record_type()
"""One record of any source, or a wrapper: the fields of all of them, so that a batch is decoded at once."""


class _WrittenEnvelope(msgspec.Struct, gc=False):
    """What Azure Monitor wraps around records."""

    records: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET


class RecordFlaw(msgspec.Struct, frozen=True):
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
    """Fields of a record that hold a value of a kind they cannot have.

    Attributes:
        fields: their names in JSON.
        text: the record, which may hold prompts and answers.
        private: whether its message may.
    """

    fields: tuple[str, ...]
    text: str = field(repr=False)
    private: bool

    @property
    def excerpt(self) -> str:
        """The beginning of the record, or of what may be shown of it."""
        if not self.private:
            return _excerpt(self.text)
        shown = repair.members(self.text, _SHOWN_FIELDS)
        return _excerpt(f"{{{', '.join(f'{json.dumps(name)}: {value}' for name, value in shown.items())}}}")


class Message(msgspec.Struct, frozen=True, dict=True):
    """What one message body holds.

    Attributes:
        records: in their order; a flawed one stands as an empty `Record`, so that places stay true.
        flaws: records that say nothing usable: the first of each reason.
        more_flaws: how many more there are, by reason.
        unreadable: by place, fields that had to be left out. Whether that matters depends on whether a rule
            selects the record.
        body: the message itself, if it is at hand.
        read_whole: reads the records again with all of their fields; None if they have them.
    """

    records: Sequence[Any]
    flaws: Sequence[RecordFlaw] = ()
    more_flaws: Mapping[str, int] = msgspec.field(default_factory=dict)
    unreadable: Mapping[int, Unreadable] = msgspec.field(default_factory=dict)
    body: bytes = b""
    read_whole: Callable[[], Sequence[Any]] | None = None

    @cached_property
    def whole(self) -> Sequence[Any]:
        """The records with all of their fields."""
        return self.records if self.read_whole is None else self.read_whole()

    def names(self, indexes: Sequence[int]) -> Mapping[tuple[str, ...], int]:
        """Count some records by the names of their fields, in order; by none if they cannot be read."""
        written = _as_written(self.body)
        texts: dict[bytes, int] = {}
        for index in indexes:
            text = bytes(written[index]) if index < len(written) else b""
            texts[text] = texts.get(text, 0) + 1
        found: dict[tuple[str, ...], int] = {}
        for text, count in texts.items():
            names = _names(text)
            found[names] = found.get(names, 0) + count
        return found


MAX_FLAWS = 20
"""Flaws of one reason that are kept of a message; more are counted."""

_LARGE = 2**18
_DENSE = 16
"""A message of more bytes, with more than one object in so many of them, is read one by one: objects of a few bytes say
nothing, and take more memory than thousands of records do."""

_SHORT, _MAX_REMEMBERED = 32, 4096
"""Records of a few characters are many in a message, and few of them differ: they are remembered."""

EXCERPT_CHARACTERS = 4096
LEFT_OUT = "(left out: the message holds prompts or answers)"
"""The excerpt of what cannot be told apart from prompts."""

NO_RECORD = Record()
"""Stands where a message holds none."""

_MARKS = marks_of(frozenset[str]().union(*(source.record_wire for source in SOURCES)), wrappers.MARKS)
_OF_ANY_SOURCE = frozenset(name for source in SOURCES for name in (*source.marks, source.watched_attribute)).union(
    one.name for one in _FIELDS.values() if lenient.may_be_unreadable(one.type)
)
"""Attributes to read whatever the rules: they tell sources apart, are watched, or make a record a flawed one."""

TIMES = tuple(dict.fromkeys(name for source in SOURCES for name in source.times))
"""Attributes that hold a record's own time; the first that is there counts."""

_SAID = frozenset[str]().union(*(source.private for source in SOURCES))
_PRIVATE = _SAID.union(one.name for one in msgspec.structs.fields(Wrapper))  # a record in a wrapper is no less private
_SHOWN_FIELDS = [one.encode_name for one in _FIELDS.values() if one.name not in _PRIVATE]
_CONTENT = frozenset(one.encode_name for one in _FIELDS.values() if one.name in _SAID and one.type is msgspec.Raw)
_KINDS = {one.encode_name: one.type for one in _FIELDS.values()}
_PRIVATE_MARK = re.compile(b"|".join(re.escape(mark) for source in SOURCES for mark in source.private_marks))
_decode_parts = msgspec.json.Decoder(dict[str, msgspec.Raw] | list[msgspec.Raw]).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_lines = msgspec.json.Decoder(msgspec.Raw).decode_lines
_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_NOT_JSON = ("not_json", "this is not JSON")
_NO_OBJECT = ("not_a_record", "a record is an object, and this is none")

_decode_record = msgspec.json.Decoder(Record).decode
_decode_written_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_written_envelope = msgspec.json.Decoder(_WrittenEnvelope).decode
_decode_any = msgspec.json.Decoder().decode
_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode


def _as_written(body: bytes) -> list[msgspec.Raw]:
    """Tell the records of a message apart; none if it is broken."""
    try:
        value = _decode_parts(body)
        if isinstance(value, dict) and "records" in value:
            body = value["records"]
            value = _decode_parts(body)
        return value if isinstance(value, list) else [msgspec.Raw(body)]
    except _REFUSED:
        pass
    try:
        return _decode_lines(body)
    except _REFUSED:
        return []


def _names(record: bytes) -> tuple[str, ...]:
    try:
        return tuple(sorted(_decode_object(record)))
    except _REFUSED:
        return ()


class Decoder:
    """Reads messages of any bytes: of their records some fields, and the others when they are asked for.

    Args:
        record: what `record_type` made of the fields.
    """

    def __init__(self, record: Any = Record) -> None:  # noqa: ANN401 - see `record_type`
        envelope: Any = msgspec.defstruct(
            "Envelope", [("records", list[record] | msgspec.UnsetType, msgspec.UNSET)], module=__name__, gc=False
        )
        self._decode_envelope = msgspec.json.Decoder(envelope).decode
        self._decode_array = msgspec.json.Decoder(list[record]).decode
        self._is_partial = record is not Record

    def decode(self, body: bytes) -> Message:
        """Read one message body."""
        body = repair.clean(body)
        if len(body) > _LARGE and body.count(b"{") > len(body) // _DENSE:
            return _decode_one_by_one(body)
        try:
            records = self._decode_array(body) if body[:1] == b"[" else self._decode_envelope(body).records
            if records is msgspec.UNSET:  # what is no envelope is a bare record
                return Message([_decode_record(body)], body=body)
        except _REFUSED as error:
            return _decode_one_by_one(body, may_be_json=type(error) is not msgspec.DecodeError)
        return Message(records, body=body, read_whole=partial(_whole, body) if self._is_partial else None)


decode = Decoder().decode
"""Read one message body of any bytes, and all fields of its records."""


def _whole(body: bytes) -> Sequence[Any]:
    return decode(body).records


def attributes_for(sources: Iterable[LogSource]) -> frozenset[str]:
    """Name what to read of records if rules read some sources."""
    return _OF_ANY_SOURCE.union(one.name for source in sources for one in msgspec.structs.fields(source.record))


def own_time(record: msgspec.Struct) -> str | None:
    """When a record says it happened, as it is written; None if it does not say so."""
    return first_text(record, TIMES)


def without_content(record: msgspec.Struct) -> msgspec.Struct:
    """Take out of a record what people say to models, and who they are."""
    return msgspec.structs.replace(record, **{name: _FIELDS[name].default for name in _PRIVATE})


def _decode_one_by_one(body: bytes, *, may_be_json: bool = True) -> Message:
    """Decode every record on its own, the slow way, so that a bad one costs only itself."""
    records: list[Any] = []
    flaws: list[RecordFlaw] = []
    kept: dict[str, int] = {}
    more: dict[str, int] = {}
    unreadable: dict[int, Unreadable] = {}
    private = _PRIVATE_MARK.search(body) is not None
    for index, written in enumerate(_elements(body) if may_be_json else _repaired(body)):
        element = _unquoted(written) if isinstance(written, str) and written[0] == '"' else written
        if isinstance(element, str) and element[0] == "{":
            record, fields = _read_short(element) if len(element) <= _SHORT else _read(element)
            records.append(record)
            if fields:
                unreadable[index] = Unreadable(fields, element, private)
            continue
        records.append(NO_RECORD)
        reason, detail = _NOT_JSON if isinstance(element, repair.Broken) else _NO_OBJECT
        if kept.get(reason, 0) == MAX_FLAWS:
            more[reason] = more.get(reason, 0) + 1
        else:
            kept[reason] = kept.get(reason, 0) + 1
            text = element.text if isinstance(element, repair.Broken) else element
            flaws.append(RecordFlaw(index, reason, detail, LEFT_OUT if private else _excerpt(text)))
    return Message(records, flaws, more, unreadable, body)


def _elements(body: bytes) -> Iterable[str | repair.Broken]:
    """Tell apart what stands in a message, as it is written: with msgspec if it is JSON, else with `repair`."""
    try:
        written = _decode_written_array(body) if body[:1] == b"[" else _decode_written_envelope(body).records
        if written is not msgspec.UNSET and body.decode():
            return (bytes(one).decode() for one in written)
    except _REFUSED:
        pass
    return _repaired(body)


def _repaired(body: bytes) -> Iterable[str | repair.Broken]:
    return repair.elements(body.decode(errors="replace"), _MARKS)


def _unquoted(element: str) -> str | repair.Broken:
    """Return the object in a text that stands where a record belongs; any other text as it is."""
    try:
        inner = unquoted(json.loads(element))
    except ValueError:
        return element
    if inner is None:
        return element
    text = repair.clean(inner).decode(errors="replace")
    return text if repair.is_sound(text) else repair.Broken(text)


def _read(text: str) -> tuple[Any, tuple[str, ...]]:
    """Return the record that an object is, and the names in JSON of fields that hold what they cannot hold."""
    try:
        return _decode_record(text), ()
    except _REFUSED:
        respelled = repair.respelled(text)
    if respelled != text:
        return _read(respelled)
    try:
        values = {
            name: _value(name, bytes(value).decode(errors="replace"))
            for name, value in _decode_object(text).items()
            if name in _KINDS
        }
    except _REFUSED:
        values = {name: _value(name, value) for name, value in repair.members(text, _KINDS).items()}
    return lenient.read(Record, values)


def _value(name: str, written: str) -> object:
    """Return what is written in a field. Blob data and the like are an empty list: no field can hold one.

    What may hold prompts or answers stays as it is written.
    """
    if name in _CONTENT:
        return msgspec.Raw(written.encode())
    try:
        return _decode_raw(written) if _KINDS[name] is msgspec.Raw else _decode_any(written)
    except _REFUSED:
        pass
    try:
        return repair.parse(written)
    except ValueError:
        return []


_read_short = lru_cache(_MAX_REMEMBERED)(_read)


def _excerpt(text: str) -> str:
    return storable(text[:EXCERPT_CHARACTERS])
