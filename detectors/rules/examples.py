"""Examples of a rule: events that fire it, and events that do not, in the words of the log sources' fields.

[[example]]
says = "a script lists the keys a hundred times"
fires = true
events = [{ times = 100, over_minutes = 50 }]   # each once and at the start, unless it says otherwise

An event has the values that the first table [[select]] of its source asks for, and for the rest those of an ordinary
record. It may give any field another value: `caller = "a colleague"`, `response_length = 5`, and
`status = { known = false }` for a record without one. `{n}` in a text counts the records of an event from 1.
`source` names another log source than that of the rule's first table [[select]]. `after_minutes` moves an event away
from the start, and `days_before` moves it to that many days before: what the rule has seen by then.
"""

from collections.abc import Iterator, Sequence

from detectors.rules.rule import Example, ExampleEvent, Selection
from detectors.sources import catalogue as sources
from detectors.sources.source import LogSource, Value
from detectors.toml_table import TomlTable, shown

_MAX_TEXT = 200
_MAX_TIMES = 100_000
_MAX_MINUTES = 24 * 60
_MAX_DAYS = 365
WORDS = frozenset({"times", "over_minutes", "after_minutes", "days_before", "source"})
"""What an event says besides fields: no source has a field of these names."""


def read_examples(top: TomlTable, select: Sequence[Selection]) -> Iterator[Example]:
    """Read the tables `[[example]]`."""
    for table in top.tables("example"):
        fires = table.take("fires", bool, "true or false")
        if fires is None:
            table.missing("fires", "true or false")
        yield Example(
            says=table.text("says", _MAX_TEXT) or table.missing("says", "what happens, in a few words"),
            fires=bool(fires),
            events=tuple(_events(table, select)),
        )
        table.refuse_others()


def _events(table: TomlTable, select: Sequence[Selection]) -> Iterator[ExampleEvent]:
    wanted = "a list of events, such as [{ times = 100, over_minutes = 50 }]"
    events = table.take("events", list, wanted)
    if events is None:
        table.missing("events", wanted)
    elif not events:
        table.refuse("events", f"events is {shown(events)}: give it {wanted}.")
    for number, values in enumerate(events or []):
        event = table.inner(f"events {number + 1}", values, "values between { and }", ("events", number))
        if event and (read := _event(event, select)):
            yield read


def _event(table: TomlTable, select: Sequence[Selection]) -> ExampleEvent | None:
    default = select[0].source if select else None
    name = table.one_of("source", tuple(sources.BY_NAME)) or default
    if name is None:  # which was refused where the source was to be named
        return None
    return ExampleEvent(
        source=name,
        fields=dict(_fields(table, sources.BY_NAME[name])),
        times=table.number("times", 1, _MAX_TIMES) or 1,
        over_minutes=table.number("over_minutes", 0, _MAX_MINUTES) or 0,
        after_minutes=table.number("after_minutes", 0, _MAX_MINUTES) or 0,
        days_before=table.number("days_before", 0, _MAX_DAYS) or 0,
    )


def _fields(table: TomlTable, source: LogSource) -> Iterator[tuple[str, Value]]:
    known = (*source.fields, *source.number_wire)
    for field in sorted(table.names - WORDS):
        value = table.take_any(field)
        if field not in known:
            table.refuse_unknown(field, (*known, *sorted(WORDS)))
        elif value == {"known": False}:
            yield field, None
        elif isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
            yield field, value
        else:
            table.refuse(field, f"{field} is {shown(value)}: give it a text, a number, or {{ known = false }}.")
