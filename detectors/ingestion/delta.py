"""What a batch adds to its bucket."""

from dataclasses import dataclass, field
from typing import NamedTuple

from detectors.rules.counters import Counters
from detectors.rules.tally import Key, Tally
from detectors.sources.decoding import RecordFlaw

Tallies = dict[Key, Tally]


class QuarantinedRecord(NamedTuple):
    """A flaw with the event that brought it."""

    sequence: int
    flaw: RecordFlaw


@dataclass(slots=True)
class Delta:
    """What a batch adds to its bucket."""

    tallies: Tallies = field(default_factory=dict)
    counters: Counters = field(default_factory=Counters)
    flaws: list[QuarantinedRecord] = field(default_factory=list)
