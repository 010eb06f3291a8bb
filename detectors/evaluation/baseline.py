"""Remembers which members were seen before, for rules that fire only for newcomers. Bounded and idempotent.

For each rule and resource, a row stores when the resource was first seen, and for each member (such as a caller) the
buckets of its first and last appearance. Members are stored as 8-byte hashes, which is enough to recognise them. Beyond
`MAX_MEMBERS` the members not seen for longest are forgotten, and would be new again; the row counts them.

A member is a newcomer in every window that holds its first bucket, so evaluating a window again gives the same result.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from detectors.evaluation.silence import ActiveHours
from detectors.evaluation.usual import DailyPeaks, Peak, learn_peaks
from detectors.rules.rule import Number
from detectors.rules.tally import ACCOUNT_SEEN, Key
from detectors.windows import WINDOW, from_microseconds, microseconds

MAX_MEMBERS = 1_000
"""Members remembered for one resource: about 20 KB."""

_DIGEST_BYTES = 8
_REFRESH_MICROSECONDS = timedelta(days=1) // timedelta(microseconds=1)
"""A stored last appearance may lag by this much, so that a busy member does not cause a write in every window."""

_LONG_AGO = timedelta(days=100)
"""Longer than a quarter, so that what comes once a quarter is known."""

_NEVER = (2**63, -(2**63))
"""The first and the last appearance of a member that is not known."""


class Sighting(msgspec.Struct, frozen=True):
    """A member of a group, and the start of the first bucket of a window in which it appeared."""

    rule_id: str
    group: tuple[str, ...]
    bucket: datetime

    @property
    def key(self) -> Key:
        """The member."""
        return Key(self.rule_id, self.group)

    @property
    def entity_key(self) -> Key:
        """The entity that the member belongs to: the group without its last field, or all of a group of one field."""
        return Key(self.rule_id, self.group[:-1] or self.group)

    @property
    def member(self) -> str:
        """The last field; empty for a group of one field, which has one member: that it was selected at all."""
        return self.group[-1] if len(self.group) > 1 else ""


class SeenMembers(msgspec.Struct, array_like=True):
    """The stored memory of one entity.

    Attributes:
        since: start of the first bucket that held any member, microseconds since 1970.
        members: by digest, the first and the last bucket in which it appeared, microseconds.
        forgotten: how many members were dropped beyond `MAX_MEMBERS`.
        hours: of an account, the hours in which it logged.
    """

    since: int
    members: dict[bytes, tuple[int, int]] = {}
    forgotten: int = 0
    hours: ActiveHours = ActiveHours()

    def first_bucket(self, sighting: Sighting, window_end: datetime) -> int | None:
        """Return a member's first bucket, in microseconds, if the window holds it; None if it was seen before."""
        bucket = microseconds(sighting.bucket)
        first, _ = self.members.get(digest(sighting.member), (bucket, bucket))
        return None if from_microseconds(first) < window_end - WINDOW else min(first, bucket)

    def is_over(self, at: datetime) -> bool:
        """Tell whether it was seen within one day alone, long ago: somebody may have made it up, and others need room.

        What was used for longer is known for good, since thieves like accounts that nobody uses any more.
        """
        last = max((last for _, last in self.members.values()), default=self.since)
        return last - self.since < _REFRESH_MICROSECONDS and from_microseconds(last) < at - _LONG_AGO

    def others_before(self, bucket: int) -> bool:
        """Tell whether any member was seen before a bucket."""
        return self.forgotten > 0 or any(first < bucket for first, _ in self.members.values())

    def with_sightings(self, sightings: Iterable[Sighting]) -> "SeenMembers":
        """Add sightings; return `self` if they change nothing."""
        changed, since = dict[bytes, tuple[int, int]](), self.since
        for sighting in sightings:
            bucket, member = microseconds(sighting.bucket), digest(sighting.member)
            first, last = changed.get(member) or self.members.get(member) or _NEVER
            if bucket < first or bucket - last >= _REFRESH_MICROSECONDS:
                changed[member] = min(first, bucket), max(last, bucket)
            since = min(since, bucket)
        if not changed:  # as mostly
            return self
        members = self.members | changed
        kept = dict(sorted(members.items(), key=lambda item: (-item[1][1], item[0]))[:MAX_MEMBERS])
        if (kept, since) == (self.members, self.since):
            return self
        return SeenMembers(since, kept, self.forgotten + len(members) - len(kept), self.hours)

    def with_hours(self, sightings: Iterable[Sighting]) -> "SeenMembers":
        """Add the hours of sightings; return `self` if they are known."""
        hours = self.hours
        for sighting in sightings:
            hours = hours.marked(sighting.bucket)
        return self if hours is self.hours else msgspec.structs.replace(self, hours=hours)


def digest(member: str) -> bytes:
    """Hash a member as it is stored."""
    return hashlib.blake2b(member.encode(), digest_size=_DIGEST_BYTES).digest()


class Baseline(Protocol):
    """The members seen before: in Table Storage when deployed, in memory for a backtest."""

    def of(self, slices: range) -> "Baseline":
        """Return the part of it for entities in some slices of storage, as one step asks for it: it is read once."""

    def find_newcomers(self, sightings: Iterable[Sighting], window_end: datetime) -> Mapping[Key, int]:
        """Find the newcomers of a window, with the days on which others were seen before; remember all sightings."""

    def find_usual(self, seen: Mapping[Peak, Number], window_end: datetime, began: datetime) -> Mapping[Peak, Number]:
        """Find what is usual for the entities of a window, where that is known; remember the window's peaks.

        `began` is the first window that was evaluated.
        """

    def active_hours(self) -> Mapping[str, ActiveHours]:
        """Tell the hours in which each account logged."""


class MemoryBaseline:
    """A baseline that lives as long as the process."""

    def __init__(self) -> None:
        self._known: dict[Key, SeenMembers] = {}
        self._peaks: dict[Peak, DailyPeaks] = {}

    def of(self, slices: range) -> "MemoryBaseline":
        """See `Baseline.of`. All of it is at hand."""
        assert slices
        return self

    def find_newcomers(self, sightings: Iterable[Sighting], window_end: datetime) -> Mapping[Key, int]:
        """See `Baseline.find_newcomers`."""
        changed, found = learn(self._known, sightings, window_end)
        self._known |= changed
        return found

    def find_usual(self, seen: Mapping[Peak, Number], window_end: datetime, began: datetime) -> Mapping[Peak, Number]:
        """See `Baseline.find_usual`."""
        changed, usual = learn_peaks(self._peaks, seen, window_end, began)
        self._peaks |= changed
        return usual

    def active_hours(self) -> Mapping[str, ActiveHours]:
        """See `Baseline.active_hours`."""
        return {key.group[0]: seen.hours for key, seen in self._known.items() if key.rule_id == ACCOUNT_SEEN}


def learn(
    known: Mapping[Key, SeenMembers], sightings: Iterable[Sighting], window_end: datetime
) -> tuple[dict[Key, SeenMembers], dict[Key, int]]:
    """Apply the sightings of a window: return the changed memory by entity, and the newcomers with the days watched.

    An account is watched from its first record on, whatever rule counted it; anything else from its first member on.
    """
    by_entity: dict[Key, list[Sighting]] = {}
    for sighting in sightings:
        by_entity.setdefault(sighting.entity_key, []).append(sighting)
    memory = {
        key: known.get(key) or SeenMembers(min(microseconds(one.bucket) for one in its_sightings))
        for key, its_sightings in by_entity.items()
    }
    changed, found = {}, {}
    for key, its_sightings in by_entity.items():
        before = memory[key]
        account = Key(ACCOUNT_SEEN, key.group[:1])
        watched_since = min(before.since, (memory.get(account) or known.get(account) or before).since)
        after = before.with_sightings(its_sightings)
        for sighting in its_sightings if key.rule_id != ACCOUNT_SEEN else ():
            first = before.first_bucket(sighting, window_end)
            if first is not None and (not sighting.member or after.others_before(first)):
                found[sighting.key] = (from_microseconds(first) - from_microseconds(min(watched_since, first))).days
        if key.rule_id == ACCOUNT_SEEN:
            after = after.with_hours(its_sightings)
        if after is not known.get(key):
            changed[key] = after
    return changed, found
