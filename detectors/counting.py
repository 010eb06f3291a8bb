"""A batch of events -> what it adds to its bucket. Pure: the same events give the same delta."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from itertools import count as numbers_from
from typing import NamedTuple

import msgspec

from detectors.callers import caller_of
from detectors.events import Event
from detectors.records import (
    EXCERPT_CHARACTERS,
    Flaw,
    Message,
    Properties,
    Record,
    decode,
    properties_of,
    storable,
    without_content,
)
from detectors.resources import openai_accounts
from detectors.rules.rule import Rule, Ungrouped
from detectors.tally import Entry, Group, Tally
from detectors.windows import microseconds, record_time

MAX_ACCOUNTS = 100
"""Accounts that counters list: with their longest ids they still fit into a storage property."""


class Key(NamedTuple):
    """What a tally belongs to."""

    rule_id: str
    group: Group


class Selected(msgspec.Struct, array_like=True, gc=False):
    """Records that a rule selected, and how many of them carried a response length (the dead-field canary)."""

    records: int = 0
    with_length: int = 0

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> "Selected":
        """Of these records."""
        lengths = [length for _, _, _, length, _ in entries]
        return cls(len(lengths), len(lengths) - lengths.count(None))

    def merged(self, other: "Selected") -> "Selected":
        """Both together."""
        return Selected(self.records + other.records, self.with_length + other.with_length)


class Counters(msgspec.Struct, array_like=True):
    """What went through, for the heartbeat.

    Attributes:
        messages: Event Hub events.
        records: records in them, flawed ones included.
        selected: by rule id.
        quarantined: flaws by reason.
        lag_ms: the longest time between arrival in the hub and counting, milliseconds.
        accounts: canonical ids of the Azure OpenAI accounts that logged anything, selected or not; the first
            `MAX_ACCOUNTS` in order.
        by_any_rule: records that at least one rule selected.
    """

    messages: int = 0
    records: int = 0
    selected: dict[str, Selected] = msgspec.field(default_factory=dict)
    quarantined: dict[str, int] = msgspec.field(default_factory=dict)
    lag_ms: int = 0
    accounts: list[str] = msgspec.field(default_factory=list)
    by_any_rule: Selected = msgspec.field(default_factory=Selected)

    def merged(self, other: "Counters") -> "Counters":
        """Both together."""
        selected = dict(self.selected)
        for rule_id, more in other.selected.items():
            selected[rule_id] = selected[rule_id].merged(more) if rule_id in selected else more
        quarantined = dict(self.quarantined)
        for reason, count in other.quarantined.items():
            quarantined[reason] = quarantined.get(reason, 0) + count
        return Counters(
            messages=self.messages + other.messages,
            records=self.records + other.records,
            selected=selected,
            quarantined=quarantined,
            lag_ms=max(self.lag_ms, other.lag_ms),
            accounts=sorted({*self.accounts, *other.accounts})[:MAX_ACCOUNTS],
            by_any_rule=self.by_any_rule.merged(other.by_any_rule),
        )


Tallies = dict[Key, Tally]


class Entries:
    """Selected records, before they become tallies.

    Attributes:
        by_rule: by rule id and group; a record that two rules select is in both.
        every: each of them once.

    Args:
        weighing: ids of the rules that look at response bytes by caller.
    """

    __slots__ = ("_weighing", "by_rule", "every")

    def __init__(self, weighing: Collection[str]) -> None:
        self._weighing = weighing
        self.by_rule: defaultdict[str, defaultdict[Group, list[Entry]]] = defaultdict(lambda: defaultdict(list))
        self.every: list[Entry] = []

    def tallies(self) -> Tallies:
        """What they come to."""
        return {
            Key(rule_id, group): Tally.of(entries, weigh=rule_id in self._weighing)
            for rule_id, groups in self.by_rule.items()
            for group, entries in groups.items()
        }

    def selected(self) -> Counters:
        """How many there are, and how many carried a response length."""
        by_rule = {rule_id: Selected.of(chain(*groups.values())) for rule_id, groups in self.by_rule.items()}
        return Counters(selected=by_rule, by_any_rule=Selected.of(self.every))


Problem = tuple[str, str]
"""What is wrong with a record: reason and detail."""

EntriesOf = Callable[[int | None], Entries | Problem | None]
"""Where a record counts, by its own time in microseconds since 1970; or why it is bad, or None where nobody asked."""


class PlacedFlaw(NamedTuple):
    """A flaw with the event that brought it."""

    sequence: int
    flaw: Flaw


@dataclass(slots=True)
class Delta:
    """What a batch adds to its bucket."""

    tallies: Tallies = field(default_factory=dict)
    counters: Counters = field(default_factory=Counters)
    flaws: list[PlacedFlaw] = field(default_factory=list)


class BatchCounter:
    """Counts batches for a set of rules."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        every = tuple(rule for rule in rules if rule.operations is None)
        named = {operation for rule in rules for operation in rule.operations or ()}
        self._otherwise = every or None
        self._weighing = frozenset(rule.id for rule in rules if rule.weighs_callers)
        self._by_operation: dict[object, tuple[Rule, ...]] = {
            operation: tuple(rule for rule in rules if rule.operations is None or operation in rule.operations)
            for operation in named
        }

    def count(self, events: Sequence[Event], now: datetime) -> Delta:
        """What these events add. They must belong to one bucket; `now` is only for the lag."""
        delta, entries = Delta(), self.entries()
        resource_ids: set[str | None] = set()
        for event in events:
            message = decode(event.body)
            resource_ids.update([record.resource_id for record in message.records])
            self.count_message(delta, event.sequence, message, lambda _: entries)
        delta.tallies = entries.tallies()
        delta.counters = delta.counters.merged(entries.selected())
        delta.counters.messages = len(events)
        delta.counters.accounts = sorted(openai_accounts(resource_ids))
        if events:
            lag_ms = (microseconds(now) - microseconds(min(event.enqueued for event in events))) // 1000
            delta.counters.lag_ms = max(lag_ms, 0)
        return delta

    def entries(self) -> Entries:
        """Room for records that the rules select."""
        return Entries(self._weighing)

    def count_message(
        self, delta: Delta, sequence: int, message: Message, entries_of: EntriesOf, *, step: int = 0
    ) -> None:
        """Count one message: what went through and what was wrong into the delta, records where `entries_of` says.

        The first record is placed at `sequence`, each further one `step` behind: 1 where records are lines.
        """
        delta.counters.records += len(message.records)
        flaws = {flaw.index: flaw for flaw in message.flaws}
        rules_for, otherwise = self._by_operation.get, self._otherwise
        for index, (place, record) in enumerate(zip(numbers_from(sequence, step), message.records, strict=False)):
            rules = rules_for(record.operation_name or record.schema_type, otherwise)
            if rules is not None and (problem := _count_record(place, record, rules, entries_of)):
                flaws.setdefault(index, Flaw(index, *problem, _excerpt(record)))
        for index, unreadable in message.unreadable.items():
            if self._matters(message.records[index], unreadable.fields):
                detail = f"{', '.join(unreadable.fields)}: a value of another kind than this field has"
                flaws.setdefault(index, Flaw(index, "unreadable_field", detail, unreadable.excerpt))
        for flaw in flaws.values():
            delta.flaws.append(PlacedFlaw(sequence + step * flaw.index, flaw))
            delta.counters.quarantined[flaw.reason] = delta.counters.quarantined.get(flaw.reason, 0) + 1

    def _matters(self, record: Record, unreadable: tuple[str, ...]) -> bool:
        """Whether a rule selects the record, or could have if the fields were readable."""
        if not {"operationName", "category"}.isdisjoint(unreadable):
            return True
        rules = self._by_operation.get(record.operation_name or record.schema_type, self._otherwise)
        return _could_select(rules or (), record, properties_of(record)[0])


def own_time(record: Record) -> int | None:
    """When a record says it happened, microseconds since 1970; None if it does not say so readably.

    AWS calls the field `timestamp`; where both stand, the other belongs to whoever passed the record on.
    """
    if record.time:
        return record_time(record.time)
    return record_time(record.timestamp) if isinstance(record.timestamp, str) else None


def _count_record(sequence: int, record: Record, rules: Sequence[Rule], entries_of: EntriesOf) -> Problem | None:
    """Count a record for the rules that select it; what is wrong with it, or None."""
    properties, complete = properties_of(record)
    problem = None if complete else ("unreadable_field", "counted without what its properties do not tell")
    selecting = [rule for rule in rules if rule.selects(record, properties)]
    if not selecting:
        return problem if problem and _could_select(rules, record, properties) else None
    time = own_time(record)
    entries = entries_of(time)
    if not isinstance(entries, Entries):
        return entries
    caller = caller_of(record, properties)
    entry = (sequence, time, properties.request_length, properties.response_length, caller)
    is_counted = False
    for rule in selecting:
        group = rule.group(record, properties, time)
        if isinstance(group, Ungrouped):
            problem = group.value, f"{rule.id}: not counted, {' and '.join(rule.group_fields)} cannot be read"
        else:
            entries.by_rule[rule.id][group].append(entry)
            is_counted = True
    if is_counted:
        entries.every.append(entry)
    return problem


def _could_select(rules: Iterable[Rule], record: Record, properties: Properties) -> bool:
    """Whether a rule selects a record, or would if what cannot be read were there."""
    full = Properties(properties.object_id or "?", properties.request_length or 0, properties.response_length or 0)
    return any(rule.selects(record, properties) or rule.selects(record, full) for rule in rules)


def _excerpt(record: Record) -> str:
    return storable(msgspec.json.encode(without_content(record)).decode()[:EXCERPT_CHARACTERS])
