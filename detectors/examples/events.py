"""The events of an example as records, each with its time."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from detectors.examples.catalogue import WRITERS
from detectors.examples.writer import Fields
from detectors.rules.rule import Condition, Example, ExampleEvent, Rule
from detectors.sources.source import Value


class Happening(NamedTuple):
    """A record of an example: when it happens, of which source it is, what it says, and how that looks."""

    at: datetime
    source: str
    fields: Fields
    record: dict[str, Any]


def happenings(rule: Rule, example: Example, start: datetime) -> Iterator[Happening]:
    """Yield the records of an example that starts at a time, event by event."""
    for event in example.events:
        writer = WRITERS[event.source]
        first = start + timedelta(minutes=event.after_minutes) - timedelta(days=event.days_before)
        step = timedelta(minutes=event.over_minutes) / event.times
        for number in range(event.times):
            fields = writer.complete(fields_of(rule, event, number + 1))
            at = first + number * step
            yield Happening(at, event.source, fields, writer.write(fields, at))


def fields_of(rule: Rule, event: ExampleEvent, number: int) -> Fields:
    """Fill in the fields of one of an event's records: what the rule asks for, then what the event says otherwise."""
    selection = next((one for one in rule.select if one.source == event.source), None)
    asked = (*selection.conditions, *selection.numbers) if selection else ()
    wanted = {one.field: value for one in asked for value in _wanted(one)}
    return wanted | {name: _numbered(value, number) for name, value in event.fields.items()}


def _wanted(condition: Condition) -> Iterator[Value]:
    """Yield the value that a condition asks for, if it asks for one."""
    if condition.test in {"is", "at_least"}:
        yield condition.values[0]
    elif condition.test == "known" and not condition.values[0]:
        yield None


def _numbered(value: Value, number: int) -> Value:
    return value.replace("{n}", str(number)) if isinstance(value, str) else value
