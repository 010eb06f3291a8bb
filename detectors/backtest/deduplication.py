"""Which captured events were counted: runs of sequence numbers, so that overlapping captures count once.

Captures hold partitions without gaps, so a month is a few runs. A hub that was deleted and made again begins at
sequence 0: its events are told apart by their time.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

import msgspec

from detectors.events import Source


class SequenceRange(msgspec.Struct):
    """Events of one life of a partition, in which later events have higher numbers.

    Attributes:
        earliest: arrival of the first, microseconds since 1970.
        latest: arrival of the last.
        firsts: where runs of numbers begin, ascending.
        lasts: where they end, included.
    """

    earliest: int
    latest: int
    firsts: list[int]
    lasts: list[int]

    def holds(self, sequence: int, arrival: int) -> bool:
        """Whether an event is among them."""
        if not self.earliest <= arrival <= self.latest:
            return False
        place = bisect_right(self.firsts, sequence) - 1
        return place >= 0 and sequence <= self.lasts[place]

    def fits(self, sequence: int, arrival: int) -> bool:
        """Whether an event that is not among them may belong to the same life."""
        if arrival > self.latest:
            return sequence > self.lasts[-1]
        return arrival >= self.earliest or sequence < self.firsts[0]

    def add(self, first: int, last: int, earliest: int, latest: int) -> None:
        """Take in a run, and join it with those that it touches."""
        self.earliest, self.latest = min(self.earliest, earliest), max(self.latest, latest)
        begin, end = bisect_left(self.lasts, first - 1), bisect_right(self.firsts, last + 1)
        if begin < end:
            first, last = min(first, self.firsts[begin]), max(last, self.lasts[end - 1])
        self.firsts[begin:end], self.lasts[begin:end] = [first], [last]

    def meets(self, other: "SequenceRange") -> bool:
        """Whether some event may be in both."""
        if self.latest < other.earliest or other.latest < self.earliest:
            return False
        return any(
            (place := bisect_right(self.firsts, last) - 1) >= 0 and self.lasts[place] >= first
            for first, last in other.runs()
        )

    def runs(self) -> Iterator[tuple[int, int]]:
        """The first and the last number of each run."""
        return zip(self.firsts, self.lasts, strict=True)


class Seen(msgspec.Struct):
    """Events by partition."""

    stretches: dict[Source, list[SequenceRange]] = msgspec.field(default_factory=dict)

    def holds(self, source: Source, sequence: int, arrival: int) -> bool:
        """Whether an event was counted."""
        return any(stretch.holds(sequence, arrival) for stretch in self.stretches.get(source, ()))

    def add(self, source: Source, sequence: int, arrival: int) -> bool:
        """Take in an event; whether it is new."""
        stretches = self.stretches.setdefault(source, [])
        if stretches:  # the usual case first: the event behind the last one
            newest = stretches[-1]
            if sequence == newest.lasts[-1] + 1 and arrival >= newest.latest:
                newest.lasts[-1], newest.latest = sequence, arrival
                return True
        if self.holds(source, sequence, arrival):
            return False
        self._insert(source, sequence, sequence, arrival, arrival)
        return True

    def meets(self, other: "Seen") -> bool:
        """Whether some event may be in both."""
        return any(
            mine.meets(theirs)
            for source, stretches in other.stretches.items()
            for theirs in stretches
            for mine in self.stretches.get(source, ())
        )

    def absorb(self, other: "Seen") -> None:
        """Take in all events of another piece, none of which is here yet."""
        for source, stretches in other.stretches.items():
            for stretch in stretches:
                for first, last in stretch.runs():
                    self._insert(source, first, last, stretch.earliest, stretch.latest)

    def _insert(self, source: Source, first: int, last: int, earliest: int, latest: int) -> None:
        stretches = self.stretches.setdefault(source, [])
        for stretch in reversed(stretches):  # the newest life first: an old one would take in what only seems to fit
            if stretch.fits(first, earliest) and stretch.fits(last, latest):
                stretch.add(first, last, earliest, latest)
                return
            if stretch.latest < earliest:  # the lives before it are over
                break
        stretches.append(SequenceRange(earliest, latest, [first], [last]))
