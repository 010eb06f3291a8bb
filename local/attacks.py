"""What is done during the day besides ordinary load: each rule's attack and its look-alike.

An attack is the rule's first example that fires, a look-alike the first that does not. Both befall accounts and users
of the same names, of two customers: who does not tell these apart mixes them up.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random

from detectors.examples.events import happenings
from detectors.rules.catalogue import CATALOGUE
from detectors.rules.rule import Example, ExampleEvent, Rule
from detectors.sources import catalogue as sources
from local.ground_truth import Truth
from local.record_writer import PlannedRecord, RecordWriter
from local.samples import Account

MINUTE = timedelta(minutes=1)
ATTACKED, RESEMBLING = 1, 2
"""Customers: who is attacked, and whose traffic only looks like it."""

_AT_THE_END = 30 * MINUTE
"""How long before the end of the day an example goes on that began days before: at the start of this one."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What a day is made with.

    Attributes:
        rng: everything random.
        writer: writes the records.
        accounts: those with ordinary load.
        start: of the day.
        duration: of the day.
    """

    rng: Random
    writer: RecordWriter
    accounts: Sequence[Account]
    start: datetime
    duration: timedelta

    @property
    def duration_ms(self) -> int:
        """The same in milliseconds."""
        return self.duration // timedelta(milliseconds=1)


def attacks(stage: Stage, truth: Truth) -> Iterator[PlannedRecord]:
    """All of them, spread over the day; whom they befall is noted in the truth."""
    for place, rule in enumerate(CATALOGUE):
        for customer, fires, befallen in ((ATTACKED, True, truth.attacked), (RESEMBLING, False, truth.resembling)):
            example = next((one for one in rule.examples if one.fires is fires), None)
            if example is not None:
                share = 0.05 + 0.9 * (place + (customer == RESEMBLING) / 2) / len(CATALOGUE)
                for record in _played(stage, rule, example, customer, share):
                    befallen.setdefault(rule.id, str(record.fact.fields[rule.group_by[0]]))
                    yield record


def _played(stage: Stage, rule: Rule, example: Example, customer: int, share: float) -> Iterator[PlannedRecord]:
    """Yield the records of an example that starts when a share of the day is over."""
    events = [_named(rule, event) for event in example.events]
    before = [replace(event, days_before=0) for event in events if event.days_before]
    now = [event for event in events if not event.days_before]
    span = max((event.after_minutes + event.over_minutes) * MINUTE for event in now)
    first = stage.duration - _AT_THE_END if before else share * (stage.duration - span - _AT_THE_END) // MINUTE * MINUTE
    for some, start in ((before, stage.start), (now, stage.start + first)):
        for one in happenings(rule, replace(example, events=tuple(some)), start, customer):
            yield stage.writer.happened(one)


def _named(rule: Rule, event: ExampleEvent) -> ExampleEvent:
    """Return the event on something that is called as the rule, if it does not say on what."""
    subject = rule.group_by[0]
    if subject not in sources.BY_NAME[event.source].fields:
        return event
    return replace(event, fields={subject: rule.id.replace("_", "-"), **event.fields})
