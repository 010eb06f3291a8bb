"""A batch of events -> what it adds to its bucket. Pure: the same events give the same delta."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from itertools import repeat
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
from detectors.windows import microseconds, record_times

Problem = tuple[str, str]
"""What is wrong with a record: reason and detail."""

_FIRST = "operation_name"
"""What is looked at first: if no rule reads an operation, nothing else of its records is looked at."""

_INCOMPLETE = ("unreadable_field", "counted without what its properties do not tell")
MAX_SHAPE_CHARACTERS = 100
_LET_GO = object()
_MAX_REMEMBERED = 20_000
"""Shapes and combinations remembered: names in logs may be made up, and must not fill the memory."""


_WATCHED = [source.watched_attribute for source in SOURCES if source.watched_attribute]

ColumnsOf = Callable[[Sequence[datetime | None]], Iterable[Columns | Problem | None]]
"""Where records count, by their own times; or why one is bad, or None where nobody asked."""


class _Reader:
    """A source, and what decides for its records."""

    __slots__ = ("decider", "decisions", "observe", "source")

    def __init__(self, source: LogSource, rules: Sequence[Rule]) -> None:
        self.source = source
        self.observe = source.observe
        self.decider = Decider(source, rules)
        self.decisions = _Decisions(self.decider)

    def count(
        self, records: Sequence[Any], indexes: Sequence[int], columns: Columns | ColumnsOf, sequence: int, step: int
    ) -> dict[int, Problem]:
        """Count the records of a message at some places, as `BatchCounter.count_message`; return what is wrong."""
        observe, decisions = self.observe, self.decisions
        if len(indexes) < len(records):
            records = [records[index] for index in indexes]
        observed = [observe(record) for record in records]
        times = record_times([one[1] for one in observed])
        where = repeat(columns, len(times)) if isinstance(columns, Columns) else columns(times)
        problems: dict[int, Problem] = {}
        for index, record, time, place, one in zip(indexes, records, times, where, observed, strict=True):
            traits, _, request, response, caller, unreadable = one
            decision = decisions[traits]
            if unreadable and self.decider.could_select(record, unreadable):
                problems[index] = _INCOMPLETE
            if decision is None:
                continue
            row = (sequence + step * index, time, request, response, decision.names[caller])
            if isinstance(place, Columns) and (
                (decision.is_plain and time is not None and caller) or decision.takes_plainly(time, caller)
            ):
                place.observations[decision].append(row)
            elif place and (problem := _count_closely(place, decision, row)):
                problems[index] = problem
        return problems


class _Decisions(dict[tuple[Any, ...], Decision | None]):
    """What was decided, by traits: remembered, as the same ones come again and again."""

    def __init__(self, decider: Decider) -> None:
        self._decider = decider

    def __missing__(self, traits: tuple[Any, ...]) -> Decision | None:
        if len(self) >= _MAX_REMEMBERED:
            self.clear()
        decision = self[traits] = self._decider.decide(traits)
        return decision


class BatchCounter:
    """Counts batches for a set of rules.

    Attributes:
        attributes: what it reads of records.
        first_attributes: what it needs to let go of records.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._readers = [_Reader(source, rules) for source in SOURCES]
        names = {selection.source for rule in rules for selection in rule.select}
        read = [source for source in SOURCES if source.name in names]
        self.attributes = attributes_for(read)
        self.first_attributes = frozenset({_FIRST, *(name for source in read for name in source.shape)})
        self._decode = Decoder(record_type(self.attributes)).decode
        self._skim = Decoder(record_type(self.first_attributes.union(_WATCHED))).decode
        self._is_skimming = False
        marks = [mark for source in SOURCES for mark in source.marks]
        self._shape_of = attrgetter(*dict.fromkeys([*marks, *(name for source in read for name in source.shape)]))
        self._shape_wire = frozenset[str]().union(*(source.shape_wire for source in SOURCES))
        self._let_go: set[object] = set()
        self._by_shape: dict[object, Any] = {}

    def count(self, events: Sequence[Event], now: datetime) -> Delta:
        """Count these events. They must belong to one bucket; `now` is only for the lag."""
        delta, columns = Delta(), Columns()
        watched = _Watched()
        looked_at = 0
        for event in events:
            message = (self._skim if self._is_skimming else self._decode)(event.body)
            watched.note(message)
            if self.lets_go(message):
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

    def lets_go(self, message: Message) -> bool:
        """Tell whether nothing is wrong with a message and no rule reads any operation in it."""
        if message.flaws or message.unreadable:
            return False
        return self._let_go.issuperset([record.operation_name for record in message.records])

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
        problems: dict[int, Problem] = {}
        unknown: list[int] = []
        for reader, indexes in self._by_reader(message.records):
            if reader is not None:
                problems |= reader.count(message.records, indexes, columns, sequence, step)
                continue
            for index in indexes:
                if message.records[index] is NO_RECORD:
                    continue
                if bodies := unwrap(message.whole[index]) if depth < MAX_DEPTH else []:
                    self._count_wrapped(delta, sequence + step * index, bodies, columns, depth + 1)
                else:
                    unknown.append(index)
        for index in sorted(problems):
            flaws.add(index, *problems[index], partial(_excerpt, message, index))
        self._note_unreadable(flaws, message)
        _note_unknown(delta, message, [index for index in unknown if index not in flaws.flawed])

    def _count_wrapped(
        self, delta: Delta, sequence: int, bodies: Sequence[bytes], columns: Columns | ColumnsOf, depth: int
    ) -> None:
        """Count what a record wraps; then the record itself is none."""
        for body in bodies:
            self.count_message(delta, sequence, decode(body), columns, depth=depth)
        delta.counters.records -= 1

    def _by_reader(self, records: Sequence[Any]) -> Iterable[tuple[_Reader | None, Sequence[int]]]:
        """Tell the places of records apart by who reads them, if a rule may select them; None reads unknown ones."""
        indexes: Sequence[int] = range(len(records))
        if not self._let_go.isdisjoint([record.operation_name for record in records]):
            indexes = [index for index in indexes if records[index].operation_name not in self._let_go]
            records = [records[index] for index in indexes]
        shapes = list(map(self._shape_of, records))
        try:
            readers: list[Any] = list(map(self._by_shape.__getitem__, shapes))
        except KeyError:
            readers = list(map(self._recognise, shapes, records))
        if len(set(readers)) == 1 and readers[0] is not _LET_GO:  # as mostly
            return [(readers[0], indexes)]
        found: defaultdict[_Reader | None, list[int]] = defaultdict(list)
        for index, reader in zip(indexes, readers, strict=True):
            if reader is not _LET_GO:
                found[reader].append(index)
        return found.items()

    def _recognise(self, shape: object, record: Any) -> Any:  # noqa: ANN401 - see `record_type`, `_LET_GO`
        """Return whoever reads records of a shape, if a rule may select them, and remember that."""
        if shape in self._by_shape:
            return self._by_shape[shape]
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
