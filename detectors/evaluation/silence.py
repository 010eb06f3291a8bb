"""Tells the silence of an account from its usual rest: nights, weekends, the time between two jobs. Pure.

An account is silent when it has logged nothing for twice its longest rest of the last four weeks, and for a day at
least. Time is taken from the account that logged last: when nothing arrives at all, that is no account's doing. Then
all of them together have been silent, which is unusual after half as long again as their longest rest.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import reduce
from typing import NamedTuple

import msgspec

from detectors.windows import from_microseconds, microseconds

MAX_SILENT = 100
"""Silent accounts that one heartbeat lists; keeps the column far below 64 KB."""

_HOUR = timedelta(hours=1) // timedelta(microseconds=1)
_KEPT = 28 * 24
"""Hours that are remembered: a bit each."""

_KNOWN_AFTER = 7 * 24
"""Hours after which an account that still logs has shown a weekend."""

_AT_LEAST = 24
_UNKNOWN = 84
"""The rest, in hours, that an account is granted until then."""

_FACTOR = 2
_WEEKEND = 72
"""The rest, in hours, that all accounts together are granted until then."""

_FACTOR_OF_ALL = 1.5
_FORGOTTEN_AFTER = 28 * 24
"""Hours after which a silent account is taken for deleted."""


class ActiveHours(msgspec.Struct, frozen=True, array_like=True):
    """The hours in which an account logged.

    Attributes:
        last: the last one, counted since 1970; 0 if there is none.
        marks: a bit for each of the hours up to the last, which is the lowest bit.
    """

    last: int = 0
    marks: bytes = b""

    def marked(self, bucket: datetime) -> "ActiveHours":
        """Add the hour of a bucket; return `self` if it is known, or too old to matter."""
        hour = microseconds(bucket) // _HOUR
        bits = int.from_bytes(self.marks)
        last = max(self.last, hour)
        known = bits << (last - self.last) if bits and last - self.last < _KEPT else 0
        added = (known | 1 << (last - hour)) & ((1 << _KEPT) - 1) if last - hour < _KEPT else known
        if (added, last) == (bits, self.last):
            return self
        return ActiveHours(last, added.to_bytes((added.bit_length() + 7) // 8))

    def joined(self, other: "ActiveHours") -> "ActiveHours":
        """Return the hours in which either logged."""
        last = max(self.last, other.last)
        bits = 0
        for one in (self, other):
            bits |= int.from_bytes(one.marks) << (last - one.last) if one.last and last - one.last < _KEPT else 0
        bits &= (1 << _KEPT) - 1
        return ActiveHours(last, bits.to_bytes((bits.bit_length() + 7) // 8))

    @property
    def is_known(self) -> bool:
        """Whether it was watched for long enough to have shown a weekend."""
        return int.from_bytes(self.marks).bit_length() > _KNOWN_AFTER

    @property
    def usual_gap(self) -> int:
        """The longest rest in hours, from one active hour to the next."""
        rests = f"{int.from_bytes(self.marks):b}".split("1")[1:-1]
        return 1 + max(map(len, rests), default=0)

    @property
    def patience(self) -> int:
        """The hours after which its silence is unusual."""
        granted = 0 if self.is_known else _UNKNOWN
        return max(_AT_LEAST, _FACTOR * max(self.usual_gap, granted))


class SilentAccount(NamedTuple):
    """An account that has stopped logging.

    Attributes:
        resource_id: canonical.
        last_seen: the begin of the last hour in which it logged.
        usual_gap: its longest rest before that, in hours.
    """

    resource_id: str
    last_seen: datetime
    usual_gap: int


def silent_accounts(accounts: Mapping[str, ActiveHours]) -> list[SilentAccount]:
    """Find the accounts that are silent, the latest first."""
    now = max((hours.last for hours in accounts.values()), default=0)
    silent = [
        SilentAccount(account, from_microseconds(hours.last * _HOUR), hours.usual_gap)
        for account, hours in accounts.items()
        if hours.patience <= now - hours.last < hours.patience + _FORGOTTEN_AFTER
    ]
    return sorted(silent, key=lambda one: (-microseconds(one.last_seen), one.resource_id))


def joined(parts: Iterable[ActiveHours]) -> ActiveHours:
    """Return the hours in which any of several accounts logged."""
    return reduce(ActiveHours.joined, parts, ActiveHours())


def empty_hours(together: ActiveHours, window_end: datetime) -> int | None:
    """Return for how many hours no account has logged, if that is unusual; 0 if not; None while no account is known."""
    if not together.last:
        return None
    patience = max(_AT_LEAST, math.ceil(_FACTOR_OF_ALL * together.usual_gap) if together.is_known else _WEEKEND)
    rest = (microseconds(window_end) - 1) // _HOUR - together.last
    return rest if rest >= patience else 0


def perhaps_silent(accounts: Mapping[str, ActiveHours], window_end: datetime) -> dict[str, ActiveHours]:
    """Narrow accounts of a part of storage down to those that may be silent, and the one that logged last.

    When those of other parts logged last is not known here. For a window that is evaluated again, hours behind others,
    it may be later than assumed; the newest windows tell whom its heartbeat leaves out.
    """
    now = max([microseconds(window_end) // _HOUR, *(hours.last for hours in accounts.values())])
    last = max(accounts, key=lambda account: accounts[account].last, default="")
    return {
        account: hours for account, hours in accounts.items() if account == last or now - hours.last >= hours.patience
    }
