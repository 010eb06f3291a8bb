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

from detectors.rules.tally import Key
from detectors.windows import WINDOW, from_microseconds, microseconds

MAX_MEMBERS = 1_000
"""Members remembered for one resource: about 20 KB."""

_DIGEST_BYTES = 8
_REFRESH = timedelta(days=1)
"""A stored last appearance may lag by this much, so that a busy member does not cause a write in every window."""


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
        """The entity that the member belongs to: the group without its last field."""
        return Key(self.rule_id, self.group[:-1])


class SeenMembers(msgspec.Struct, array_like=True):
    """The stored memory of one entity.

    Attributes:
        since: start of the first bucket that held any member, microseconds since 1970.
        members: by digest, the first and the last bucket in which it appeared, microseconds.
        forgotten: how many members were dropped beyond `MAX_MEMBERS`.
    """

    since: int
    members: dict[bytes, tuple[int, int]] = {}
    forgotten: int = 0

    def days_watched(self, sighting: Sighting, window_end: datetime) -> int | None:
        """Count the days on which other members were seen before this newcomer; None if it is no newcomer."""
        bucket = microseconds(sighting.bucket)
        first, _ = self.members.get(digest(sighting.group[-1]), (bucket, bucket))
        if from_microseconds(first) < window_end - WINDOW:
            return None
        return (from_microseconds(min(first, bucket)) - from_microseconds(min(self.since, bucket))).days

    def with_sightings(self, sightings: Iterable[Sighting]) -> "SeenMembers":
        """Add sightings; return `self` if they change nothing."""
        members, since = dict(self.members), self.since
        for sighting in sightings:
            bucket, member = microseconds(sighting.bucket), digest(sighting.group[-1])
            first, last = members.get(member, (bucket, bucket))
            if member not in members or bucket < first or bucket - last >= _REFRESH // timedelta(microseconds=1):
                members[member] = min(first, bucket), max(last, bucket)
            since = min(since, bucket)
        kept = dict(sorted(members.items(), key=lambda item: (-item[1][1], item[0]))[:MAX_MEMBERS])
        if (kept, since) == (self.members, self.since):
            return self
        return SeenMembers(since, kept, self.forgotten + len(members) - len(kept))


def digest(member: str) -> bytes:
    """Hash a member as it is stored."""
    return hashlib.blake2b(member.encode(), digest_size=_DIGEST_BYTES).digest()


class Baseline(Protocol):
    """The members seen before: in Table Storage when deployed, in memory for a backtest."""

    def find_newcomers(self, sightings: Iterable[Sighting], window_end: datetime) -> Mapping[Key, int]:
        """Find the newcomers of a window, with the days on which others were seen before; remember all sightings."""


class MemoryBaseline:
    """A baseline that lives as long as the process."""

    def __init__(self) -> None:
        self._known: dict[Key, SeenMembers] = {}

    def find_newcomers(self, sightings: Iterable[Sighting], window_end: datetime) -> Mapping[Key, int]:
        """See `Baseline.find_newcomers`."""
        changed, found = learn(self._known, sightings, window_end)
        self._known |= changed
        return found


def learn(
    known: Mapping[Key, SeenMembers], sightings: Iterable[Sighting], window_end: datetime
) -> tuple[dict[Key, SeenMembers], dict[Key, int]]:
    """Apply the sightings of a window: return the changed memory by entity, and the newcomers with the days watched."""
    by_entity: dict[Key, list[Sighting]] = {}
    for sighting in sightings:
        by_entity.setdefault(sighting.entity_key, []).append(sighting)
    changed, found = {}, {}
    for key, its_sightings in by_entity.items():
        before = known.get(key) or SeenMembers(min(microseconds(sighting.bucket) for sighting in its_sightings))
        for sighting in its_sightings:
            if (days := before.days_watched(sighting, window_end)) is not None:
                found[sighting.key] = days
        after = before.with_sightings(its_sightings)
        if after is not known.get(key):
            changed[key] = after
    return changed, found
