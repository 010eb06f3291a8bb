"""A batch of events -> what it adds to its bucket. Pure: the same events give the same delta."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from detectors.events import Event
from detectors.records import EXCERPT_CHARACTERS, Flaw, Message, Record, decode, properties_of
from detectors.resources import openai_accounts
from detectors.rules.rule import Rule
from detectors.tally import Group, Tally
from detectors.windows import microseconds

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
    """

    messages: int = 0
    records: int = 0
    selected: dict[str, Selected] = msgspec.field(default_factory=dict)
    quarantined: dict[str, int] = msgspec.field(default_factory=dict)
    lag_ms: int = 0
    accounts: list[str] = msgspec.field(default_factory=list)

    def merged(self, other: "Counters") -> "Counters":
        """Both together."""
        selected = dict(self.selected)
        for rule_id, more in other.selected.items():
            known = selected.get(rule_id, Selected())
            selected[rule_id] = Selected(known.records + more.records, known.with_length + more.with_length)
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
        )


Tallies = dict[Key, Tally]
TalliesOf = Callable[[int | None], Tallies | None]
"""Where a record counts, by its own `time` in microseconds since 1970; None where it counts nowhere."""


class PlacedFlaw(NamedTuple):
    """A flaw with the event that brought it."""

    sequence: int
    flaw: Flaw


@dataclass(slots=True)
class Delta:
    """What a batch adds to its bucket."""

    tallies: Tallies = field(default_factory=lambda: defaultdict(Tally))
    counters: Counters = field(default_factory=Counters)
    flaws: list[PlacedFlaw] = field(default_factory=list)


class BatchCounter:
    """Counts batches for a set of rules."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._by_operation: dict[str | None, tuple[Rule, ...]] = {
            operation: tuple(rule for rule in rules if operation in rule.operations)
            for operation in frozenset[str]().union(*(rule.operations for rule in rules))
        }

    def count(self, events: Sequence[Event], now: datetime) -> Delta:
        """What these events add. They must belong to one bucket; `now` is only for the lag."""
        delta = Delta()
        resource_ids: set[str | None] = set()
        for event in events:
            message = decode(event.body)
            resource_ids.update([record.resource_id for record in message.records])
            self.count_message(delta, event.sequence, message, lambda _: delta.tallies)
        delta.counters.messages = len(events)
        delta.counters.accounts = sorted(openai_accounts(resource_ids))
        if events:
            lag_ms = (microseconds(now) - microseconds(min(event.enqueued for event in events))) // 1000
            delta.counters.lag_ms = max(lag_ms, 0)
        return delta

    def reads(self, operation: str | None) -> bool:
        """Whether any rule reads records of an operation."""
        return operation in self._by_operation

    def count_message(self, delta: Delta, sequence: int, message: Message, tallies_of: TalliesOf) -> None:
        """Count one message: what went through and what was wrong into the delta, records where `tallies_of` says."""
        delta.counters.records += len(message.records)
        flaws = {flaw.index: flaw for flaw in message.flaws}
        rules_for = self._by_operation.get
        for index, record in enumerate(message.records):
            rules = rules_for(record.operation_name)
            if rules is None:
                continue
            for rule in rules:
                if rule.selects(record) and (problem := _count_record(delta, sequence, record, rule, tallies_of)):
                    flaws.setdefault(index, Flaw(index, *problem, _excerpt(record)))
        for index, unreadable in message.unreadable.items():
            if self._matters(message.records[index], unreadable.fields):
                detail = f"{', '.join(unreadable.fields)}: a value of another kind than this field has"
                flaws.setdefault(index, Flaw(index, "unreadable_field", detail, unreadable.excerpt))
        for flaw in flaws.values():
            delta.flaws.append(PlacedFlaw(sequence, flaw))
            delta.counters.quarantined[flaw.reason] = delta.counters.quarantined.get(flaw.reason, 0) + 1

    def _matters(self, record: Record, unreadable: tuple[str, ...]) -> bool:
        """Whether a rule selects the record, or could have if the fields were readable."""
        rules = self._by_operation.get(record.operation_name, ())
        return not {"operationName", "category"}.isdisjoint(unreadable) or any(rule.selects(record) for rule in rules)


def _count_record(
    delta: Delta, sequence: int, record: Record, rule: Rule, tallies_of: TalliesOf
) -> tuple[str, str] | None:
    """Count a selected record; what is wrong with it, as reason and detail, or None."""
    group = rule.group(record)
    if group is None:
        return rule.ungrouped, f"{rule.id}: not counted, {' and '.join(rule.group_fields)} cannot be read"
    time = record_time(record.time)
    tallies = tallies_of(time)
    if tallies is None:
        return None
    properties, complete = properties_of(record)
    tallies[Key(rule.id, group)].add(
        sequence=sequence,
        time=time,
        request_length=properties.request_length,
        response_length=properties.response_length,
        caller=rule.caller(record, properties),
    )
    selected = delta.counters.selected.setdefault(rule.id, Selected())
    selected.records += 1
    selected.with_length += properties.response_length is not None
    return None if complete else ("unreadable_field", f"{rule.id}: counted without what its properties do not tell")


def _excerpt(record: Record) -> str:
    return msgspec.json.encode(record).decode()[:EXCERPT_CHARACTERS]


def record_time(text: str | None) -> int | None:
    """A record's `time` (up to seven fraction digits and a Z) in microseconds since 1970."""
    try:
        at = datetime.fromisoformat(text or "")
        return None if at.tzinfo is None else microseconds(at.astimezone(UTC))
    except (ValueError, OverflowError):  # no time, or one that is before year 1 or after year 9999 in UTC
        return None
