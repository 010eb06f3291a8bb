"""What a batch adds to its bucket."""

from collections import Counter
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
    """What a batch adds to its bucket.

    Attributes:
        tallies: what rules counted.
        counters: what the heartbeat tells.
        flaws: the first flaws of each reason.
        kept: how many these are, by reason.
    """

    tallies: Tallies = field(default_factory=dict)
    counters: Counters = field(default_factory=Counters)
    flaws: list[QuarantinedRecord] = field(default_factory=list)
    kept: Counter[str] = field(default_factory=Counter, compare=False)

    def take_flaws(self) -> list[QuarantinedRecord]:
        """Return the flaws, and make room for others."""
        taken, self.flaws = self.flaws, []
        self.kept.clear()
        return taken
