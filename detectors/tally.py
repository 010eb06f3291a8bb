"""The mergeable aggregate: what is known about one group from any set of its records.

Merging is associative and has an identity, so the same records give the same tally however they are cut into
batches, buckets and partitions. The one exception is marked: callers beyond `MAX_CALLERS` in a stored tally.
"""

import msgspec

from detectors.records import MAX_WHOLE

Group = tuple[str, ...]
"""The values of a rule's group fields, such as the canonical resource id."""

MAX_CALLERS = 50
"""Callers kept for a group in one bucket of one partition, first come; the others are counted together."""


class Lengths(msgspec.Struct, array_like=True, gc=False):
    """Lengths in bytes of the records that carry one; a record without takes no part.

    The total stops at the largest number that storage holds.
    """

    records: int = 0
    total: int = 0
    largest: int = 0

    def add(self, length: int) -> None:
        """Take in one record's length."""
        self.records += 1
        self.total = min(self.total + length, MAX_WHOLE)
        self.largest = max(self.largest, length)

    def merged(self, other: "Lengths") -> "Lengths":
        """Both together."""
        return Lengths(
            self.records + other.records,
            min(self.total + other.total, MAX_WHOLE),
            max(self.largest, other.largest),
        )


class Tally(msgspec.Struct, array_like=True):
    """What is known about one group.

    Attributes:
        count: records that the rule selected.
        requests: their request lengths.
        responses: their response lengths.
        first_time: the earliest `time` of a record, microseconds since 1970; None if none was readable.
        last_time: the latest.
        first_sequence: the lowest Event Hub sequence number that brought a record; None in an empty tally.
        last_sequence: the highest.
        callers: records by caller, in the order of first appearance.
        other_callers: records of callers that no longer found room; above 0 means `callers` is truncated.
    """

    count: int = 0
    requests: Lengths = msgspec.field(default_factory=Lengths)
    responses: Lengths = msgspec.field(default_factory=Lengths)
    first_time: int | None = None
    last_time: int | None = None
    first_sequence: int | None = None
    last_sequence: int | None = None
    callers: dict[str, int] = msgspec.field(default_factory=dict)
    other_callers: int = 0

    def add(
        self,
        *,
        sequence: int,
        time: int | None,
        request_length: int | None,
        response_length: int | None,
        caller: str | None,
    ) -> None:
        """Take in one selected record."""
        self.count += 1
        if request_length is not None:
            self.requests.add(request_length)
        if response_length is not None:
            self.responses.add(response_length)
        self.first_time = _least(self.first_time, time)
        self.last_time = _greatest(self.last_time, time)
        self.first_sequence = _least(self.first_sequence, sequence)
        self.last_sequence = _greatest(self.last_sequence, sequence)
        if caller is not None:
            self.callers[caller] = self.callers.get(caller, 0) + 1

    def merged(self, later: "Tally", *, max_callers: int | None = None) -> "Tally":
        """Both together; with `max_callers`, callers first seen beyond that number are only counted."""
        callers = dict(self.callers)
        other_callers = self.other_callers + later.other_callers
        for caller, count in later.callers.items():
            if caller in callers or max_callers is None or len(callers) < max_callers:
                callers[caller] = callers.get(caller, 0) + count
            else:
                other_callers += count
        return Tally(
            count=self.count + later.count,
            requests=self.requests.merged(later.requests),
            responses=self.responses.merged(later.responses),
            first_time=_least(self.first_time, later.first_time),
            last_time=_greatest(self.last_time, later.last_time),
            first_sequence=_least(self.first_sequence, later.first_sequence),
            last_sequence=_greatest(self.last_sequence, later.last_sequence),
            callers=callers,
            other_callers=other_callers,
        )


def _least(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _greatest(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)
