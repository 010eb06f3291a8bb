"""Examples in words, for people: the documentation's pages and the command line."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from detectors.rules.rule import Example, ExampleEvent, Rule


@dataclass(frozen=True, slots=True)
class ExampleInWords:
    """An example: what happens, the records, a line for each event; and whether the rule fires."""

    says: str
    records: Sequence[str]
    fires: bool = field(kw_only=True)


def examples_of(rule: Rule) -> list[ExampleInWords]:
    """Return the examples of a rule, those that fire first."""
    examples = [ExampleInWords(one.says, _records(rule, one), fires=one.fires) for one in rule.examples]
    return sorted(examples, key=lambda one: not one.fires)


def _records(rule: Rule, example: Example) -> list[str]:
    return [", ".join(_parts(rule, event)) for event in example.events]


def _parts(rule: Rule, event: ExampleEvent) -> Iterator[str]:
    many = f"{event.times:,} records" if event.times > 1 else "1 record"
    over = f" over {_plural(event.over_minutes, 'minute')}" if event.over_minutes else ""
    yield f"{many}{over}"
    if event.days_before:
        yield f"{_plural(event.days_before, 'day')} before"
    if event.after_minutes:
        yield f"{_plural(event.after_minutes, 'minute')} later"
    if event.source not in {selection.source for selection in rule.select[:1]}:
        yield f"source {event.source}"
    for name, value in event.fields.items():
        if value is None:
            yield f"no {name}"
        else:
            yield f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}"


def _plural(number: int, word: str) -> str:
    return f"{number:,} {word}{'s' if number > 1 else ''}"
