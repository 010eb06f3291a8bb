"""What a log source is: how its records look, and what they say to rules.

A batch holds thousands of records of few kinds: all but the numbers, the time and the place of a record repeats
endlessly. So a source splits a record into traits, which repeat, and numbers, which do not. What rules ask about
traits is decided once for each distinct combination of them.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any

import msgspec

MAX_WHOLE = 2**63 - 1
"""The largest length that storage can hold; a longer one is unreadable."""

Whole = Annotated[int, msgspec.Meta(ge=0, le=MAX_WHOLE)]

Scalar = str | int | float | bool | None
"""A field that other services fill in their own ways; only a text means something."""

NOTHING = msgspec.Raw(b"null")
"""JSON that is not there."""

LENGTHS = ("request_length", "response_length")
"""What a source measures of a call, if it tells lengths: bytes."""

TOKENS = ("input_tokens", "output_tokens")
"""What a source measures of a call, if it tells tokens."""

Value = str | int | None
"""What a field of a record says; None if the record does not say it."""


Observed = tuple[tuple[Any, ...], str | None, int | None, int | None, str, frozenset[str]]
"""What a source reads of one record: its traits, which are hashable and begin with the source's name; its own time as
it is written; what it measures of request and response, see `LogSource.numbers`, None for what it does not; its caller
as it is written, empty if it names none; and the names in JSON of what it holds and cannot be read. A plain tuple:
one with names takes eight times as long to make."""

CALLER = "caller"
"""The one field of every source that is no trait: callers are many, and any of them can make up names."""


@dataclass(frozen=True, slots=True)
class Field:
    """A named property of a source's records, as rules select and group by it.

    Attributes:
        read: its value, from a record's traits by name; of `CALLER`, of which nothing is read here, None.
        attribute: the attribute of the decoded record that alone decides it, if there is one.
        derive: what the field makes of that attribute; as it is, if nothing.
        wire: the names in JSON of what it is made of: if one is unreadable, the field is.
        column: what findings call it when a rule groups by it; empty if none may.
        missing: the reason under which a record without it is quarantined when a rule groups by it.
    """

    read: Callable[[Any], Value]
    attribute: str = ""
    derive: Callable[[Any], Value] | None = None
    wire: frozenset[str] = frozenset()
    column: str = ""
    missing: str = ""

    def of(self, record: msgspec.Struct) -> Value:
        """Return the value of a decoded record, for a field that one attribute decides."""
        return self.said(getattr(record, self.attribute))

    def said(self, value: Any) -> Value:  # noqa: ANN401 - whatever JSON holds
        """Return the value that an attribute's value stands for."""
        return value if self.derive is None else self.derive(value)


@dataclass(frozen=True, slots=True)
class RawTable:
    """Where a Log Analytics workspace keeps the records themselves, and how KQL says there what fields say.

    Attributes:
        name: the table.
        prepare: steps of a query that the expressions need, in order. One makes the column ObjectId: of the caller,
            empty for one without.
        fields: KQL expressions, by the names of fields and numbers. Those that are a column's name alone need no step.
    """

    name: str
    prepare: tuple[str, ...]
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LogSource:
    """One kind of log.

    Attributes:
        name: how rules call it.
        title: how people call it.
        record: the fields of its records that are decoded. Fields of the same name in several sources have one type.
        marks: attributes by which it recognises its records.
        recognises: whether a record is of this source.
        traits: the names of what `observe` puts into traits: a named tuple.
        observe: reads a record; called for those alone that a rule may select, so it may assume `recognises`.
        fields: by the names that rules use.
        numbers: what it measures: `LENGTHS` or `TOKENS`.
        number_wire: by number, the names in JSON of what it is made of.
        name_of_caller: how the callers of records with these traits are kept: see `detectors.sources.callers`.
        watched_attribute: the attribute that names what is watched for silence; empty if nothing is.
        watched: the names of what is watched, from values of that attribute in any spelling and of any service.
        account: the account that a record is about, from traits, if it is one to know: rules that look at first times
            learn by it.
        times: attributes that hold a record's own time, as it is written; the first that is there counts.
        private: attributes that hold what people say to models, or who they are: never shown, never stored.
        private_marks: any of these in a broken message tells that it may hold prompts or answers.
        raw: the table of a workspace that holds its records; None if there is none of its own.
    """

    name: str
    title: str
    record: type[msgspec.Struct]
    marks: tuple[str, ...]
    recognises: Callable[[Any], bool]
    traits: Callable[..., Any]
    observe: Callable[[Any], Observed]
    fields: Mapping[str, Field]
    numbers: tuple[str, str]
    number_wire: Mapping[str, frozenset[str]]
    name_of_caller: Callable[[Any], Callable[[str], str]]
    times: tuple[str, ...]
    account: Callable[[Any], str | None] = lambda _: None
    watched_attribute: str = ""
    watched: Callable[[Iterable[Any]], Collection[str]] = frozenset
    private: frozenset[str] = frozenset()
    private_marks: tuple[bytes, ...] = ()
    raw: RawTable | None = None

    @property
    def shape(self) -> tuple[str, ...]:
        """Attributes that tell what sort a record is, before anything else is looked at."""
        return tuple(dict.fromkeys((*self.marks, *(one.attribute for one in self.fields.values() if one.attribute))))

    @property
    def shape_wire(self) -> frozenset[str]:
        """The same as names in JSON."""
        return self._wire(self.shape)

    @property
    def record_wire(self) -> frozenset[str]:
        """Names in JSON that tell a record of it, of any sort, from other objects."""
        return self._wire(self.marks, self.times, filter(None, [self.watched_attribute]))

    def _wire(self, *attributes: Iterable[str]) -> frozenset[str]:
        wire = {one.name: one.encode_name for one in msgspec.structs.fields(self.record)}
        return frozenset(wire[name] for name in chain(*attributes))


def first_text(record: msgspec.Struct, attributes: Iterable[str]) -> str | None:
    """Find the first of some attributes that is set, if it is a text; None otherwise."""
    value = next((value for name in attributes if (value := getattr(record, name))), None)
    return value if isinstance(value, str) else None
