"""Remembers which captured events were counted, as runs of sequence numbers, so that overlapping captures count once.

Captures hold partitions without gaps, so a month is a few runs. A hub that was deleted and created again starts at
sequence 0; its events are distinguished by their time.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

import msgspec

from detectors.events import Source


class SequenceRange(msgspec.Struct):
    """Events of a partition until its hub is created again: later events have higher numbers.

    Attributes:
        earliest: the arrival of the first event, microseconds since 1970.
        latest: the arrival of the last event.
        firsts: the first number of each run, ascending.
        lasts: the last number of each run.
    """

    earliest: int
    latest: int
    firsts: list[int]
    lasts: list[int]

    def holds(self, sequence: int, arrival: int) -> bool:
        """Check whether an event is in the range."""
        if not self.earliest <= arrival <= self.latest:
            return False
        place = bisect_right(self.firsts, sequence) - 1
        return place >= 0 and sequence <= self.lasts[place]

    def fits(self, sequence: int, arrival: int) -> bool:
        """Check whether an event outside the range may belong to it."""
        if arrival > self.latest:
            return sequence > self.lasts[-1]
        return arrival >= self.earliest or sequence < self.firsts[0]

    def add(self, first: int, last: int, earliest: int, latest: int) -> None:
        """Add a run, and join it with the runs that it touches."""
        self.earliest, self.latest = min(self.earliest, earliest), max(self.latest, latest)
        begin, end = bisect_left(self.lasts, first - 1), bisect_right(self.firsts, last + 1)
        if begin < end:
            first, last = min(first, self.firsts[begin]), max(last, self.lasts[end - 1])
        self.firsts[begin:end], self.lasts[begin:end] = [first], [last]

    def overlaps(self, other: "SequenceRange") -> bool:
        """Check whether some event may be in both."""
        if self.latest < other.earliest or other.latest < self.earliest:
            return False
        return any(
            (place := bisect_right(self.firsts, last) - 1) >= 0 and self.lasts[place] >= first
            for first, last in other.runs()
        )

    def runs(self) -> Iterator[tuple[int, int]]:
        """Yield the first and the last number of each run."""
        return zip(self.firsts, self.lasts, strict=True)


class SeenEvents(msgspec.Struct):
    """The counted events, by partition."""

    ranges: dict[Source, list[SequenceRange]] = msgspec.field(default_factory=dict)

    def holds(self, source: Source, sequence: int, arrival: int) -> bool:
        """Check whether an event was counted."""
        return any(known_range.holds(sequence, arrival) for known_range in self.ranges.get(source, ()))

    def add(self, source: Source, sequence: int, arrival: int) -> bool:
        """Add an event; return whether it is new."""
        ranges = self.ranges.setdefault(source, [])
        if ranges:  # the usual case first: the event after the last one
            newest = ranges[-1]
            if sequence == newest.lasts[-1] + 1 and arrival >= newest.latest:
                newest.lasts[-1], newest.latest = sequence, arrival
                return True
        if self.holds(source, sequence, arrival):
            return False
        self._insert(source, sequence, sequence, arrival, arrival)
        return True

    def overlaps(self, other: "SeenEvents") -> bool:
        """Check whether some event may be in both."""
        return any(
            mine.overlaps(theirs)
            for source, ranges in other.ranges.items()
            for theirs in ranges
            for mine in self.ranges.get(source, ())
        )

    def absorb(self, other: "SeenEvents") -> None:
        """Add all events of another chunk, none of which was counted yet."""
        for source, ranges in other.ranges.items():
            for known_range in ranges:
                for first, last in known_range.runs():
                    self._insert(source, first, last, known_range.earliest, known_range.latest)

    def _insert(self, source: Source, first: int, last: int, earliest: int, latest: int) -> None:
        ranges = self.ranges.setdefault(source, [])
        for known_range in reversed(ranges):  # the newest first: an old range would accept what only seems to fit
            if known_range.fits(first, earliest) and known_range.fits(last, latest):
                known_range.add(first, last, earliest, latest)
                return
            if known_range.latest < earliest:  # the ranges before it are complete
                break
        ranges.append(SequenceRange(earliest, latest, [first], [last]))
