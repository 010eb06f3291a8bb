"""The mergeable aggregate: what is known about one group from any set of its records.

Merging is associative and has an identity, so the same records give the same tally however they are cut into
batches, buckets and partitions. The one exception is marked: callers beyond `MAX_CALLERS` in a stored tally. Of more,
the first to come keep their counts, and the heaviest keep their bytes, so that nobody hides behind a crowd.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from detectors.records import MAX_WHOLE

Group = tuple[str, ...]
"""The values of a rule's group fields, such as the canonical resource id."""

MAX_CALLERS = 50
"""Callers kept for a group in one bucket of one partition, first come; the others are counted together."""


Entry = tuple[int, int | None, int | None, int | None, str]
"""What a tally takes from one selected record: the sequence number of the event that brought it; its own time in
microseconds since 1970, its request and its response length in bytes, each None if it tells none; and who made the
call, see `detectors.callers`. A plain tuple, since one with names takes eight times as long to make."""


class Lengths(msgspec.Struct, array_like=True, gc=False):
    """Lengths in bytes of the records that carry one; a record without takes no part.

    The total stops at the largest number that storage holds.
    """

    records: int = 0
    total: int = 0
    largest: int = 0

    @classmethod
    def of(cls, lengths: Iterable[int | None]) -> "Lengths":
        """Of these; None takes no part."""
        known = [length for length in lengths if length is not None]
        return cls(len(known), min(sum(known), MAX_WHOLE), max(known)) if known else cls()

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
        caller_bytes: response bytes by caller, for rules that look at them; the largest when there is no room for all.
        other_bytes: response bytes of callers that found no room; above 0 means that any of them may have had more.
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
    caller_bytes: dict[str, int] = msgspec.field(default_factory=dict)
    other_bytes: int = 0

    @classmethod
    def of(cls, entries: Sequence[Entry], *, weigh: bool = False) -> "Tally":
        """Of these records, at least one; with `weigh`, of their response bytes by caller too.

        Column by column, since that is several times faster than record by record.
        """
        sequences, times, requests, responses, callers = zip(*entries, strict=True)
        known = [time for time in times if time is not None]
        return cls(
            count=len(entries),
            requests=Lengths.of(requests),
            responses=Lengths.of(responses),
            first_time=min(known, default=None),
            last_time=max(known, default=None),
            first_sequence=min(sequences),
            last_sequence=max(sequences),
            callers=dict(Counter(callers)),
            caller_bytes=_bytes_by_caller(entries) if weigh else {},
        )

    def merged(self, later: "Tally", *, max_callers: int | None = None) -> "Tally":
        """Both together; with `max_callers`, callers first seen beyond that number are only counted."""
        callers = dict(self.callers)
        other_callers = self.other_callers + later.other_callers
        for caller, count in later.callers.items():
            if caller in callers or max_callers is None or len(callers) < max_callers:
                callers[caller] = callers.get(caller, 0) + count
            else:
                other_callers += count
        caller_bytes, other_bytes = _heaviest(self.caller_bytes, later.caller_bytes, max_callers)
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
            caller_bytes=caller_bytes,
            other_bytes=min(self.other_bytes + later.other_bytes + other_bytes, MAX_WHOLE),
        )

    def ranked_callers(self) -> list[str]:
        """The callers with most bytes first, where they are known, then those with most records."""
        bytes_of, records_of = self.caller_bytes.get, self.callers.get
        return sorted(
            self.callers.keys() | self.caller_bytes.keys(),
            key=lambda caller: (-bytes_of(caller, 0), -records_of(caller, 0), caller),
        )

    def shortened(self, most: int) -> "Tally":
        """With its first callers by rank only; what the others have is counted together."""
        kept = set(self.ranked_callers()[:most])
        if len(kept) == len(self.callers.keys() | self.caller_bytes.keys()):
            return self
        callers = {caller: count for caller, count in self.callers.items() if caller in kept}
        caller_bytes = {caller: count for caller, count in self.caller_bytes.items() if caller in kept}
        other_bytes = self.other_bytes + sum(self.caller_bytes.values()) - sum(caller_bytes.values())
        return msgspec.structs.replace(
            self,
            callers=callers,
            other_callers=self.other_callers + sum(self.callers.values()) - sum(callers.values()),
            caller_bytes=caller_bytes,
            other_bytes=min(other_bytes, MAX_WHOLE),
        )


def _least(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _greatest(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


def _bytes_by_caller(entries: Iterable[Entry]) -> dict[str, int]:
    summed: dict[str, int] = {}
    for _, _, _, length, caller in entries:
        if length:
            summed[caller] = min(summed.get(caller, 0) + length, MAX_WHOLE)
    return summed


def _heaviest(one: dict[str, int], other: dict[str, int], room: int | None) -> tuple[dict[str, int], int]:
    """The sums of both by caller, the heaviest if there is no room for all, and the bytes of the others."""
    if not other:
        return dict(one), 0
    summed = {caller: min(one.get(caller, 0) + other.get(caller, 0), MAX_WHOLE) for caller in one.keys() | other.keys()}
    if room is None or len(summed) <= room:
        return summed, 0
    ranked = sorted(summed.items(), key=lambda item: (-item[1], item[0]))
    return dict(ranked[:room]), sum(count for _, count in ranked[room:])
