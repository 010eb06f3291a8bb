"""A batch of events -> what it adds to its bucket. Pure: the same events give the same delta."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import Any

import msgspec

from detectors.events import Event
from detectors.ingestion.columns import Columns
from detectors.ingestion.decisions import Decider, Decision
from detectors.ingestion.delta import Delta
from detectors.ingestion.flaws import Flaws
from detectors.rules.rule import Rule
from detectors.rules.tally import Observation
from detectors.sources.catalogue import SOURCES
from detectors.sources.decoding import (
    EXCERPT_CHARACTERS,
    NO_RECORD,
    Decoder,
    Message,
    attributes_for,
    decode,
    record_type,
    without_content,
)
from detectors.sources.source import LogSource
from detectors.sources.text import storable
from detectors.sources.wrappers import MAX_DEPTH, unwrap
from detectors.windows import microseconds, record_time

Problem = tuple[str, str]
"""What is wrong with a record: reason and detail."""

_FIRST = "operation_name"
"""What is looked at first: if no rule reads an operation, nothing else of its records is looked at."""

_OPERATION = attrgetter(_FIRST)

_INCOMPLETE = ("unreadable_field", "counted without what its properties do not tell")
MAX_SHAPE_CHARACTERS = 100
_LET_GO = object()
_MAX_REMEMBERED = 20_000
"""Shapes and combinations remembered: names in logs may be made up, and must not fill the memory."""


_WATCHED = [source.watched_attribute for source in SOURCES if source.watched_attribute]

ColumnsOf = Callable[[int | None], Columns | Problem | None]
"""Where a record counts, by its own time in microseconds since 1970; or why it is bad, or None where nobody asked."""


class _Reader:
    """A source, and what decides for its records."""

    __slots__ = ("decider", "observe", "source")

    def __init__(self, source: LogSource, rules: Sequence[Rule]) -> None:
        self.source = source
        self.observe = source.observe
        self.decider = Decider(source, rules)


class BatchCounter:
    """Counts batches for a set of rules.

    Attributes:
        attributes: what it reads of records.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._readers = [_Reader(source, rules) for source in SOURCES]
        names = {selection.source for rule in rules for selection in rule.select}
        read = [source for source in SOURCES if source.name in names]
        self.attributes = attributes_for(read)
        self._decode = Decoder(record_type(self.attributes)).decode
        self._skim = Decoder(
            record_type({_FIRST, *_WATCHED, *(name for source in read for name in source.shape)})
        ).decode
        self._is_skimming = False
        marks = [mark for source in SOURCES for mark in source.marks]
        self._shape_of = attrgetter(*dict.fromkeys([*marks, *(name for source in read for name in source.shape)]))
        self._shape_wire = frozenset[str]().union(*(source.shape_wire for source in SOURCES))
        self._let_go: set[object] = set()
        self._by_shape: dict[object, _Reader | object | None] = {}
        self._decisions: dict[tuple[Any, ...], Decision | None] = {}

    def count(self, events: Sequence[Event], now: datetime) -> Delta:
        """Count these events. They must belong to one bucket; `now` is only for the lag."""
        delta, columns = Delta(), Columns()
        watched = _Watched()
        looked_at = 0
        for event in events:
            message = (self._skim if self._is_skimming else self._decode)(event.body)
            watched.note(message)
            if self._lets_go(message):
                delta.counters.records += len(message.records)
                continue
            looked_at += 1
            if self._is_skimming:
                message = self._decode(event.body)
            self.count_message(delta, event.sequence, message, columns)
        self._is_skimming = looked_at < len(events) / 2
        delta.tallies, selected = columns.add_up()
        delta.counters = delta.counters.merged(selected)
        delta.counters.messages = len(events)
        delta.counters.accounts = watched.names()
        if events:
            lag_ms = (microseconds(now) - microseconds(min(event.enqueued for event in events))) // 1000
            delta.counters.lag_ms = max(lag_ms, 0)
        return delta

    def _lets_go(self, message: Message) -> bool:
        """Tell whether nothing is wrong with a message and no rule reads any operation in it."""
        if message.flaws or message.unreadable:
            return False
        return self._let_go.issuperset(map(_OPERATION, message.records))

    def count_message(
        self,
        delta: Delta,
        sequence: int,
        message: Message,
        columns: Columns | ColumnsOf,
        *,
        step: int = 0,
        depth: int = 0,
    ) -> None:
        """Count one message: what went through and what was wrong into the delta, records into the columns.

        The first record is placed at `sequence`, each further one `step` behind: 1 where records are lines. `depth`
        is the number of wrappers around the message.
        """
        delta.counters.records += len(message.records)
        flaws = Flaws(delta, message, lambda index: sequence + step * index)
        decisions, unknown = self._decisions, list[int]()
        for index, record, reader in self._candidates(message.records):
            if record is NO_RECORD:
                continue
            if reader is None:
                if bodies := unwrap(message.whole[index]) if depth < MAX_DEPTH else []:
                    self._count_wrapped(delta, sequence + step * index, bodies, columns, depth + 1)
                else:
                    unknown.append(index)
                continue
            traits, text, request, response, caller, unreadable = reader.observe(record)
            try:
                decision = decisions[traits]
            except KeyError:
                decision = self._decide(reader, traits)
            problem = _INCOMPLETE if unreadable and reader.decider.could_select(record, unreadable) else None
            if decision is not None:
                time = record_time(text)
                place = columns if isinstance(columns, Columns) else columns(time)
                one = (sequence + step * index, time, request, response, decision.names[caller])
                if place.__class__ is Columns and (
                    (decision.is_plain and time is not None and caller) or decision.takes_plainly(time, caller)
                ):
                    place.observations[decision].append(one)
                elif place:
                    problem = _count_closely(place, decision, one) or problem
            if problem:
                flaws.add(index, *problem, partial(_excerpt, message, index))
        self._note_unreadable(flaws, message)
        _note_unknown(delta, message, [index for index in unknown if index not in flaws.flawed])

    def _count_wrapped(
        self, delta: Delta, sequence: int, bodies: Sequence[bytes], columns: Columns | ColumnsOf, depth: int
    ) -> None:
        """Count what a record wraps; then the record itself is none."""
        for body in bodies:
            self.count_message(delta, sequence, decode(body), columns, depth=depth)
        delta.counters.records -= 1

    def _candidates(self, records: Sequence[Any]) -> Iterator[tuple[int, Any, _Reader | None]]:
        """Yield the records that a rule may select, with their places and readers, and those of no known source."""
        shape_of, by_shape, let_go = self._shape_of, self._by_shape, self._let_go
        for index, record in enumerate(records):
            if record.operation_name in let_go:
                continue
            shape = shape_of(record)
            try:
                reader = by_shape[shape]
            except KeyError:
                reader = self._recognise(shape, record)
            if reader is not _LET_GO:
                yield index, record, reader  # type: ignore[misc]  # so it is a reader, or none

    def _recognise(self, shape: object, record: Any) -> _Reader | object | None:  # noqa: ANN401 - see `record_type`
        """Remember whoever reads records of a shape, if a rule may select them."""
        if len(self._by_shape) >= _MAX_REMEMBERED:
            self._by_shape.clear()
            self._let_go.clear()
        reader = self._reader_of(record)
        if reader is None or reader.decider.may_select(record):
            self._by_shape[shape] = reader
            return reader
        self._by_shape[shape] = _LET_GO
        operation = record.operation_name
        if operation is not None and not any(one.decider.may_select_with(_FIRST, operation) for one in self._readers):
            self._let_go.add(operation)
        return _LET_GO

    def _decide(self, reader: _Reader, traits: tuple[Any, ...]) -> Decision | None:
        if len(self._decisions) >= _MAX_REMEMBERED:
            self._decisions.clear()
        decision = self._decisions[traits] = reader.decider.decide(traits)
        return decision

    def _note_unreadable(self, flaws: Flaws, message: Message) -> None:
        """Add the flaws of records that a rule selects, or might have, if fields could be read."""
        for index, found in message.unreadable.items():
            record = message.records[index]
            if index not in flaws.flawed and self._could_select(record, frozenset(found.fields)):
                detail = f"{', '.join(found.fields)}: a value of another kind than this field has"
                flaws.add(index, "unreadable_field", detail, partial(getattr, found, "excerpt"))

    def _could_select(self, record: msgspec.Struct, unreadable: frozenset[str]) -> bool:
        reader = self._reader_of(record)
        if reader is None:  # it would be of some source if its marks could be read
            return not self._shape_wire.isdisjoint(unreadable)
        return reader.decider.could_select(record, unreadable)

    def _reader_of(self, record: msgspec.Struct) -> _Reader | None:
        return next((reader for reader in self._readers if reader.source.recognises(record)), None)


def _note_unknown(delta: Delta, message: Message, indexes: Sequence[int]) -> None:
    """Count records of no known source by the names of their fields."""
    if not indexes:  # as mostly
        return
    for names, count in message.names(indexes).items():
        shape = ", ".join(names)[:MAX_SHAPE_CHARACTERS] or "(unreadable)"
        delta.counters.unknown[shape] = delta.counters.unknown.get(shape, 0) + count


class _Watched:
    """What logged anything, selected or not."""

    def __init__(self) -> None:
        self._values: dict[str, set[Any]] = {
            source.watched_attribute: set() for source in SOURCES if source.watched_attribute
        }

    def note(self, message: Message) -> None:
        """Remember the records of a message."""
        for attribute, values in self._values.items():
            values.update(map(attrgetter(attribute), message.records))

    def names(self) -> list[str]:
        """Return what is watched, in order."""
        return sorted(
            name
            for source in SOURCES
            if source.watched_attribute
            for name in source.watched(self._values[source.watched_attribute])
        )


def _count_closely(columns: Columns | Problem, decision: Decision, one: Observation) -> Problem | None:
    """Count a record for the targets that take it; what is wrong with it, or None."""
    taking = [target for target in decision.targets if target.choice.takes(one)]
    if not isinstance(columns, Columns):
        return columns if taking else None
    missing = [(target, reason) for target in taking if (reason := target.missed(one))]
    if len(missing) < len(taking):
        columns.observations[decision].append(one)
    if not missing:
        return None
    target, reason = missing[-1]
    rule = target.choice.rule
    return reason, f"{rule.id}: not counted, {' and '.join(rule.group_fields)} cannot be read"


def _excerpt(message: Message, index: int) -> str:
    record = message.whole[index]
    return storable(msgspec.json.encode(without_content(record)).decode()[:EXCERPT_CHARACTERS])
