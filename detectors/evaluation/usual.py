"""What is usual for an entity: peaks of a measure, day by day for two weeks. Bounded, and robust against single days.

Ten calls a minute are nothing for one application and an attack on another. For thresholds that say so in the rule's
file, a finding counts in full only from `FACTOR` times the usual on. The usual is the median of the daily peaks of the
days before: an attack of less than half of the days does not raise it, a slow rise over weeks does. A job that runs
once a week reaches its height on one day of seven, so what the same day of the week reached twice is usual as well.

An entity that is new says nothing about itself. For most rules it is Informational until it is known. Where refusals
are counted, a stranger matters more than whoever was always there: a threshold may say that the unknown is unusual,
which holds once the detector has learned for `LEARNING_DAYS`.

The peaks of a day depend on that day's windows alone, so evaluating a window again gives the same result.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from statistics import median
from typing import NamedTuple

import msgspec

from detectors.rules.catalogue import BY_ID
from detectors.rules.rule import Number, measure
from detectors.rules.tally import Key, Tally
from detectors.windows import microseconds

DAYS = 14
"""Days whose peaks are kept."""

LEARNING_DAYS = 7
"""Days with records from which on the usual is known, and days after which an entity that appears is a stranger."""

MAX_ENTITIES = 200
"""Entities remembered of one rule and lead, such as the callers of an account or the models of a user. Of more, those
that come later stay unknown: who makes up names takes room from those of the same lead alone. For a user's models that
is himself; callers of one account share its room."""

FACTOR = 3
"""How many times the usual is unusual."""

_GROWTH = 1.05
"""A stored peak may lag by this factor, so that a slow climb within a day does not cost a write in every window."""

_WEEK = 7

_DAY_MICROSECONDS = 24 * 60 * 60 * 1_000_000


class Peak(NamedTuple):
    """Names what peaks are kept of: a threshold of a rule, for one entity."""

    rule_id: str
    threshold: str
    entity: tuple[str, ...]


class DailyPeaks(msgspec.Struct, array_like=True):
    """The stored peaks of one threshold and entity, by day (whole days since 1970)."""

    days: dict[int, Number] = {}

    def usual(self, day: int) -> Number | None:
        """Return what the days before a day say: their median peak, or what both a week and two weeks ago reached.

        None while too few are known. Of a day of the week that was seen once, that once counts.
        """
        before = {known: peak for known, peak in self.days.items() if day - DAYS <= known < day}
        weekly = [before[known] for known in (day - _WEEK, day - 2 * _WEEK) if known in before]
        if len(before) < LEARNING_DAYS:
            return min(weekly) if len(weekly) > 1 else None
        return max([median(before.values()), *([min(weekly)] if weekly else [])])

    def is_over(self, day: int) -> bool:
        """Tell whether all of its days are too old to say anything about a day, or a later one."""
        return max(self.days, default=day) < day - DAYS

    def with_peak(self, day: int, value: Number) -> "DailyPeaks":
        """Add a window's value; return `self` if it changes nothing worth a write."""
        known = self.days.get(day)
        if known is not None and value <= known * _GROWTH:
            return self
        newest = max([day, *self.days])
        return DailyPeaks({one: peak for one, peak in self.days.items() if one >= newest - DAYS} | {day: value})


def day_of(window_end: datetime) -> int:
    """Return the day to which a window belongs: that of its last moment."""
    return (microseconds(window_end) - 1) // _DAY_MICROSECONDS


def peaks(tallies: Iterable[tuple[Key, Tally]]) -> dict[Peak, Number]:
    """Find the largest value of each threshold that goes by the usual, for each entity of a window."""
    found: dict[Peak, Number] = {}
    for key, tally in tallies:
        rule = BY_ID.get(key.rule_id)
        for threshold in rule.thresholds if rule else ():
            if rule and threshold.usual and (value := measure(tally, threshold.measure)) is not None:
                peak = Peak(key.rule_id, threshold.name, rule.episode_group(key.group))
                found[peak] = max(value, found.get(peak, value))
    return found


def learn_peaks(
    known: Mapping[Peak, DailyPeaks], seen: Mapping[Peak, Number], window_end: datetime, began: datetime
) -> tuple[dict[Peak, DailyPeaks], dict[Peak, Number]]:
    """Apply the peaks of a window: return what changes, and what is usual for each of them, where that is known.

    For a stranger whose threshold calls the unknown unusual, 0 is usual: it appeared when the detector, whose first
    window is `began`, had learned.
    """
    day, first_day = day_of(window_end), day_of(began)
    changed: dict[Peak, DailyPeaks] = {}
    usual: dict[Peak, Number] = {}
    room = _Room(known, day)
    for peak, value in sorted(seen.items(), key=lambda one: (-one[1], one[0])):
        before = known.get(peak) or DailyPeaks()
        if (found := before.usual(day)) is not None:
            usual[peak] = found
        elif _unknown_is_unusual(peak) and min([day, *before.days]) - first_day >= LEARNING_DAYS:
            usual[peak] = 0
        after = before.with_peak(day, value)
        if after is not before and (peak in known or room.takes(peak)):
            changed[peak] = after
    return changed, usual


class _Room:
    """The room of each rule and lead, counted when somebody new asks for it."""

    def __init__(self, known: Mapping[Peak, DailyPeaks], day: int) -> None:
        self._known, self._day = known, day
        self._held: Counter[tuple[str, str, str]] | None = None

    def takes(self, peak: Peak) -> bool:
        """Take a new entity in, unless its lead has as many as are remembered."""
        if self._held is None:
            self._held = Counter(_lead(one) for one, days in self._known.items() if not days.is_over(self._day))
        self._held[_lead(peak)] += 1
        return self._held[_lead(peak)] <= MAX_ENTITIES


def _lead(peak: Peak) -> tuple[str, str, str]:
    return peak.rule_id, peak.threshold, peak.entity[0]


def _unknown_is_unusual(peak: Peak) -> bool:
    return any(one.unknown_is_unusual for one in BY_ID[peak.rule_id].thresholds if one.name == peak.threshold)
