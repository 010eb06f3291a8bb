"""The mergeable aggregate of any set of records of one group.

Merging is associative and has an identity, so the same records give the same tally however they are cut into
batches, buckets and partitions. There is one exception: a stored tally lists at most `MAX_CALLERS` callers. It keeps
the counts of the callers seen first, and the bytes of those with most bytes, so that nobody hides in a crowd.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from detectors.sources.source import MAX_WHOLE
from detectors.windows import microseconds

Group = tuple[str, ...]
"""The values of a rule's group fields, such as the canonical resource id."""


class Key(NamedTuple):
    """The rule and group of a tally."""

    rule_id: str
    group: Group


MAX_CALLERS = 50
"""Callers listed for a group in one bucket of one partition, first seen first; the others are counted together."""


Observation = tuple[int, datetime | None, int | None, int | None, str]
"""What a tally takes from one selected record: the sequence number of its event; its own time, in UTC; its request and
response length in bytes, None if it carries none; and its caller as kept.
A plain tuple, since a named tuple takes eight times as long to create."""


ACCOUNT_SEEN = "(account seen)"
"""In place of a rule's id: what is counted of an account whatever rules count of it. Rules that look at first times
learn from it since when the account is known."""

MAX_DISTINCT = 100
"""Members kept for a group in one bucket of one partition, where a rule counts distinct ones; as above."""

MAX_MEMBER_CHARACTERS = 300
"""The longest name of a member: a longer one, such as a model's that a caller made up, is cut."""


class Lengths(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Lengths in bytes of the records that carry one; records without a length are left out.

    The total is capped at the largest number that storage holds.
    """

    records: int = 0
    total: int = 0
    largest: int = 0

    @classmethod
    def of(cls, lengths: Sequence[int | None]) -> "Lengths":
        """Sum up lengths; None is left out."""
        known = [length for length in lengths if length is not None]
        return cls(len(known), min(sum(known), MAX_WHOLE), max(known)) if known else _NO_LENGTHS

    def merged(self, other: "Lengths") -> "Lengths":
        """Combine both."""
        if not (self.records and other.records):
            return self if self.records else other
        return Lengths(
            self.records + other.records,
            min(self.total + other.total, MAX_WHOLE),
            max(self.largest, other.largest),
        )


_NO_LENGTHS = Lengths()


class Tally(msgspec.Struct, array_like=True):
    """The aggregate of one group.

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
        input_tokens: their tokens of prompts, where a source tells tokens and no lengths.
        output_tokens: their tokens of answers, likewise.
        members: records by what a rule counts distinct ones of, such as accounts; in the order of first appearance.
        other_members: records of members that no longer found room.
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
    input_tokens: Lengths = msgspec.field(default_factory=Lengths)
    output_tokens: Lengths = msgspec.field(default_factory=Lengths)
    members: dict[str, int] = msgspec.field(default_factory=dict)
    other_members: int = 0

    @classmethod
    def of(cls, observations: Sequence[Observation], *, tokens: bool = False) -> "Tally":
        """Add up records, at least one; their numbers may be tokens."""
        sequences, times, requests, responses, names = zip(*observations, strict=True)
        known = times if None not in times else [time for time in times if time is not None]
        callers: dict[str, int] = {}
        for name in names:
            callers[name] = callers.get(name, 0) + 1
        asked, answered, none = Lengths.of(requests), Lengths.of(responses), _NO_LENGTHS
        return cls(
            count=len(observations),
            requests=none if tokens else asked,
            responses=none if tokens else answered,
            input_tokens=asked if tokens else none,
            output_tokens=answered if tokens else none,
            first_time=microseconds(min(known)) if known else None,
            last_time=microseconds(max(known)) if known else None,
            first_sequence=min(sequences),
            last_sequence=max(sequences),
            callers=callers,
        )

    def weighed(self, observations: Sequence[Observation]) -> "Tally":
        """Add the response bytes of each caller."""
        received: defaultdict[str, int] = defaultdict(int)
        for _, _, _, response, caller in observations:
            if response:
                received[caller] += response
        return msgspec.structs.replace(self, caller_bytes=self._capped(dict(received)))

    def of_member(self, member: str | None) -> "Tally":
        """Return the same with all records as those of one member; None where members are the callers."""
        members = dict(self.callers) if member is None else {member: self.count}
        return msgspec.structs.replace(self, members=members)

    def add(self, later: "Tally") -> None:
        """Merge another tally into this one, keeping all callers; as `merged`, but without creating a new tally."""
        self.count += later.count
        self.requests = self.requests.merged(later.requests)
        self.responses = self.responses.merged(later.responses)
        self.input_tokens = self.input_tokens.merged(later.input_tokens)
        self.output_tokens = self.output_tokens.merged(later.output_tokens)
        self.first_time = _least(self.first_time, later.first_time)
        self.last_time = _greatest(self.last_time, later.last_time)
        self.first_sequence = _least(self.first_sequence, later.first_sequence)
        self.last_sequence = _greatest(self.last_sequence, later.last_sequence)
        _add(self.callers, later.callers)
        _add(self.members, later.members)
        _add(self.caller_bytes, later.caller_bytes)
        self.caller_bytes = self._capped(self.caller_bytes)

    def _capped(self, caller_bytes: dict[str, int]) -> dict[str, int]:
        """Return response bytes by caller, as far as storage holds them; all together are no less than those of one."""
        if self.responses.total < MAX_WHOLE:
            return caller_bytes
        return {caller: min(total, MAX_WHOLE) for caller, total in caller_bytes.items()}

    def merged(self, later: "Tally", *, max_callers: int | None = None) -> "Tally":
        """Both together; with `max_callers`, callers first seen beyond that number are only counted."""
        callers, more_callers = _with_room(self.callers, later.callers, max_callers)
        members, more_members = _with_room(self.members, later.members, max_callers and MAX_DISTINCT)
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
            other_callers=self.other_callers + later.other_callers + more_callers,
            caller_bytes=caller_bytes,
            other_bytes=min(self.other_bytes + later.other_bytes + other_bytes, MAX_WHOLE),
            input_tokens=self.input_tokens.merged(later.input_tokens),
            output_tokens=self.output_tokens.merged(later.output_tokens),
            members=members,
            other_members=self.other_members + later.other_members + more_members,
        )

    def ranked_members(self) -> list[str]:
        """List the members, most records first."""
        return sorted(self.members, key=lambda name: (-self.members[name], name))

    def ranked_callers(self) -> list[str]:
        """Rank the callers by bytes, where known, then by records."""
        bytes_of, records_of = self.caller_bytes.get, self.callers.get
        return sorted(
            self.callers.keys() | self.caller_bytes.keys(),
            key=lambda caller: (-bytes_of(caller, 0), -records_of(caller, 0), caller),
        )

    def shortened(self, most: int) -> "Tally":
        """Keep only the first callers and members by rank; the others are counted together."""
        kept = set(self.ranked_callers()[:most])
        if len(kept) == len(self.callers.keys() | self.caller_bytes.keys()) and len(self.members) <= most:
            return self
        members = {name: self.members[name] for name in self.ranked_members()[:most]}
        callers = {caller: count for caller, count in self.callers.items() if caller in kept}
        caller_bytes = {caller: count for caller, count in self.caller_bytes.items() if caller in kept}
        other_bytes = self.other_bytes + sum(self.caller_bytes.values()) - sum(caller_bytes.values())
        return msgspec.structs.replace(
            self,
            callers=callers,
            other_callers=self.other_callers + sum(self.callers.values()) - sum(callers.values()),
            caller_bytes=caller_bytes,
            other_bytes=min(other_bytes, MAX_WHOLE),
            members=members,
            other_members=self.other_members + sum(self.members.values()) - sum(members.values()),
        )


def _add(counts: dict[str, int], later: dict[str, int]) -> None:
    for name, count in later.items():
        counts[name] = counts.get(name, 0) + count


def _with_room(known: dict[str, int], later: dict[str, int], room: int | None) -> tuple[dict[str, int], int]:
    """Sum both by name, first come first kept; also return the count of the names beyond the limit."""
    names, others = dict(known), 0
    for name, count in later.items():
        if name in names or room is None or len(names) < room:
            names[name] = names.get(name, 0) + count
        else:
            others += count
    return names, others


def _least(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _greatest(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


def _heaviest(one: dict[str, int], other: dict[str, int], room: int | None) -> tuple[dict[str, int], int]:
    """Add both by caller; keep the largest if there are too many, and return the bytes of the others."""
    if not other:
        return dict(one), 0
    summed = {caller: min(one.get(caller, 0) + other.get(caller, 0), MAX_WHOLE) for caller in {**one, **other}}
    if room is None or len(summed) <= room:
        return summed, 0
    ranked = sorted(summed.items(), key=lambda item: (-item[1], item[0]))
    return dict(ranked[:room]), sum(count for _, count in ranked[room:])
