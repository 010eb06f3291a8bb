"""Sums the six buckets of a window, and evaluates every group against the thresholds. Pure."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import get_args

import msgspec

from detectors.evaluation.baseline import Sighting
from detectors.evaluation.policy import EffectiveThresholds, Policy, Suppression
from detectors.evaluation.troubles import Contain, raising
from detectors.evaluation.usual import FACTOR, Peak
from detectors.events import Source
from detectors.rules.catalogue import BY_ID
from detectors.rules.crowds import OTHERS, is_crowd, others_of, room_of
from detectors.rules.rule import Number, Rule, Severity, Trigger
from detectors.rules.tally import ACCOUNT_SEEN, Key, Tally
from detectors.windows import BUCKETS_PER_WINDOW, window_buckets

MAX_LISTED = 50
"""Callers, and ranges of evidence, that one finding lists; keeps a row far below the 64 KB of a column."""


class Range(msgspec.Struct, frozen=True):
    """Raw events of a finding: an Event Hub partition and a range of sequence numbers, both ends included."""

    namespace: str
    hub: str
    partition: str
    first_sequence: int
    last_sequence: int


class GroupResult(msgspec.Struct):
    """The result of a window for one group.

    Attributes:
        rule_id: the rule.
        group: the values of its group fields.
        tally: the sum of the six buckets, with the callers that a finding lists.
        bucket_counts: the six counts, oldest first.
        evidence: by partition, the ranges of raw events; at most `MAX_LISTED`.
        triggers: the thresholds reached; empty if the rule does not fire.
        severity: the rule's severity for this group.
        suppression: what explains all triggers, None if nothing does.
    """

    rule_id: str
    group: tuple[str, ...]
    tally: Tally
    bucket_counts: list[int]
    evidence: list[Range]
    triggers: list[Trigger]
    severity: Severity = "Informational"
    suppression: Suppression | None = None

    @property
    def key(self) -> Key:
        """The rule and group of the result."""
        return Key(self.rule_id, self.group)

    @property
    def episode_key(self) -> Key:
        """The rule and what the episode is about: the group without its minute."""
        return Key(self.rule_id, BY_ID[self.rule_id].episode_group(self.group))


@dataclass(slots=True)
class GroupTotal:
    """The sum of a window's buckets for one group.

    Attributes:
        tally: the sum.
        bucket_counts: the six counts, oldest first.
        evidence: by partition, the lowest and highest sequence number.
    """

    tally: Tally = field(default_factory=Tally)
    bucket_counts: list[int] = field(default_factory=lambda: [0] * BUCKETS_PER_WINDOW)
    evidence: dict[Source, tuple[int, int]] = field(default_factory=dict)

    def add(self, place: int, source: Source, tally: Tally) -> None:
        """Add a tally from the bucket at a place from 0 to 5."""
        self.tally = self.tally.merged(tally) if self.tally.count else tally
        self.bucket_counts[place] += tally.count
        if tally.first_sequence is not None and tally.last_sequence is not None:
            self._note(source, tally.first_sequence, tally.last_sequence)

    def absorb(self, other: "GroupTotal") -> None:
        """Add the sum of another group."""
        self.tally = self.tally.merged(other.tally)
        self.bucket_counts = [one + more for one, more in zip(self.bucket_counts, other.bucket_counts, strict=True)]
        for source, (first, last) in other.evidence.items():
            self._note(source, first, last)

    def _note(self, source: Source, first: int, last: int) -> None:
        known_first, known_last = self.evidence.get(source, (first, last))
        self.evidence[source] = (min(known_first, first), max(known_last, last))


Stored = tuple[datetime, Source, Key, Tally]
"""A stored tally: the bucket's start, the Event Hub partition, rule and group, and the aggregate."""


def sum_window(window_end: datetime, stored: Iterable[Stored]) -> dict[Key, GroupTotal]:
    """Sum up what the buckets of a window hold, in any order, by group; no total is empty."""
    totals: dict[Key, GroupTotal] = {}
    places = {bucket: place for place, bucket in enumerate(window_buckets(window_end))}
    for bucket, source, key, tally in stored:
        if key.rule_id not in BY_ID and key.rule_id != ACCOUNT_SEEN:  # of a release that had more rules
            continue
        if key.rule_id == ACCOUNT_SEEN and key.group[0] == OTHERS:  # of accounts that nobody can name
            continue
        total = totals.get(key)
        if total is None:
            total = totals[key] = GroupTotal()
        total.add(places[bucket], source, tally)
    return totals


def sightings(totals: Mapping[Key, GroupTotal], window_end: datetime) -> Iterator[Sighting]:
    """Yield the members that appear in a window, with their first bucket, for rules that look at newcomers.

    And the accounts that appear: since when an account is known matters to these rules.
    """
    starts = window_buckets(window_end)
    for key, total in totals.items():
        if key.rule_id == ACCOUNT_SEEN or BY_ID[key.rule_id].first_seen_only:
            first = next(place for place, count in enumerate(total.bucket_counts) if count)
            yield Sighting(key.rule_id, key.group, starts[first])


def by_rule(totals: Mapping[Key, GroupTotal]) -> dict[str, dict[Key, GroupTotal]]:
    """Sort the totals of a window by rule."""
    sorted_out: defaultdict[str, dict[Key, GroupTotal]] = defaultdict(dict)
    for key, total in totals.items():
        sorted_out[key.rule_id][key] = total
    return sorted_out


def evaluate_thresholds(
    window_end: datetime,
    totals: Mapping[Key, GroupTotal],
    policy: Policy,
    *,
    newcomers: Mapping[Key, int],
    usual: Mapping[Peak, Number] | None = None,
    watched: Collection[Key] = (),
    contain: Contain = raising,
) -> list[GroupResult]:
    """Evaluate every group of a window; return the results that fire and those of watched groups, highest count first.

    Of a rule and a lead, no more groups fire than there is room for, see `detectors.rules.crowds`: the others that
    would are one group. So what one lead does opens a bounded number of episodes.

    Args:
        window_end: names the window.
        totals: the sums of its buckets.
        policy: the thresholds in force.
        newcomers: for rules that look at newcomers, the newcomers, and the days on which others were seen before.
        usual: for thresholds that go by it, the usual peak of each entity; while it is not known, nothing is.
        watched: groups that get a result even if nothing fires, because their episodes are open.
        contain: confines an exception to the rule that raised it; then that rule has no result.
    """
    every = by_rule({key: GroupTotal() for key in watched if key not in totals} | dict(totals))
    every.pop(ACCOUNT_SEEN, None)
    results: list[GroupResult] = []
    for rule_id, its_totals in every.items():
        with contain(rule_id):
            verdicts = _Verdicts(BY_ID[rule_id], policy, newcomers, usual or {}, frozenset(watched))
            results += verdicts.results(its_totals, window_end)
    return in_order(results)


@dataclass(slots=True)
class _Verdict:
    """What the thresholds say of one group."""

    total: GroupTotal
    triggers: tuple[Trigger, ...]
    severity: Severity


_SEVERITIES: tuple[Severity, ...] = get_args(Severity)


@dataclass(frozen=True, slots=True)
class _Verdicts:
    """Evaluates one rule; the attributes are as for `evaluate_thresholds`."""

    rule: Rule
    policy: Policy
    newcomers: Mapping[Key, int]
    usual: Mapping[Peak, Number]
    watched: Collection[Key]

    def results(self, totals: Mapping[Key, GroupTotal], window_end: datetime) -> list[GroupResult]:
        """Evaluate the groups of the rule."""
        verdicts = {}
        for key, total in totals.items():
            if self.rule.first_seen_only and key not in self.newcomers and key not in self.watched:
                continue  # as mostly
            verdict = self._verdict(key, total, self.newcomers.get(key))
            if verdict.triggers or key in self.watched:
                verdicts[key] = verdict
        if len(verdicts) > room_of(self.rule.id):
            self._crowd(verdicts, totals)
        return [self._result(key, verdict, window_end) for key, verdict in verdicts.items()]

    def _verdict(self, key: Key, total: GroupTotal, days_watched: int | None) -> _Verdict:
        effective = self.policy.effective(key)
        triggers: tuple[Trigger, ...] = ()
        if effective is not None and (not self.rule.first_seen_only or days_watched is not None):
            triggers = self.rule.triggers(total.tally, effective.thresholds, days_watched)
            triggers = tuple(_with_usual(self.rule, key, trigger, self.usual) for trigger in triggers)
        return _Verdict(total, triggers, self._severity(effective, triggers))

    def _severity(self, effective: EffectiveThresholds | None, triggers: Iterable[Trigger]) -> Severity:
        rule = self.rule
        if rule.goes_by_usual and not self.policy.is_as_upstream(rule.id) and not any(map(_is_unusual, triggers)):
            return "Informational"
        return effective.severity if effective else rule.severity

    def _crowd(self, verdicts: dict[Key, _Verdict], totals: Mapping[Key, GroupTotal]) -> None:
        """Make one group of those that fire and find no room: those without an open episode first, small ones first."""
        firing: defaultdict[str, list[Key]] = defaultdict(list)
        for key, verdict in verdicts.items():
            if verdict.triggers and len(key.group) > 1 and not is_crowd(key.group):
                firing[key.group[0]].append(key)
        for keys in firing.values():
            ranked = sorted(keys, key=lambda key: (key not in self.watched, -verdicts[key].total.tally.count, key))
            if further := ranked[room_of(self.rule.id) :]:
                crowd = Key(self.rule.id, others_of(further[0].group))
                verdicts[crowd] = self._together(crowd, totals.get(crowd), further, verdicts)
                for key in further:
                    if key in self.watched:
                        verdicts[key] = _Verdict(GroupTotal(), (), verdicts[key].severity)
                    else:
                        del verdicts[key]

    def _together(
        self, crowd: Key, known: GroupTotal | None, further: Iterable[Key], verdicts: Mapping[Key, _Verdict]
    ) -> _Verdict:
        """Evaluate groups as one, with what was counted together before."""
        total, days = GroupTotal(), [self.newcomers[crowd]] if crowd in self.newcomers else []
        if known:
            total.absorb(known)
        severities: list[Severity] = []
        for key in further:
            total.absorb(verdicts[key].total)
            days += [self.newcomers[key]] if key in self.newcomers else []
            severities.append(verdicts[key].severity)
        verdict = self._verdict(crowd, total, max(days, default=None))
        return replace(verdict, severity=max([verdict.severity, *severities], key=_SEVERITIES.index))

    def _result(self, key: Key, verdict: _Verdict, window_end: datetime) -> GroupResult:
        total, triggers = verdict.total, verdict.triggers
        suppression = self.policy.suppression(key, total.tally, triggers, window_end) if triggers else None
        return _result(key, total, triggers, verdict.severity, suppression)


def _with_usual(rule: Rule, key: Key, trigger: Trigger, usual: Mapping[Peak, Number]) -> Trigger:
    return replace(trigger, usual=usual.get(Peak(rule.id, trigger.threshold, rule.episode_group(key.group))))


def _is_unusual(trigger: Trigger) -> bool:
    return trigger.usual is not None and trigger.value >= FACTOR * trigger.usual


class Crowd(msgspec.Struct, frozen=True):
    """Groups of a rule and lead that are counted together in a window, and how many records they have."""

    rule_id: str
    lead: str
    records: int


def crowds(totals: Mapping[Key, GroupTotal], results: Iterable[GroupResult]) -> list[Crowd]:
    """List what is counted together in a window: as it was stored, or since too many groups fire."""
    found = {key: total.tally.count for key, total in totals.items() if is_crowd(key.group)}
    found |= {result.key: result.tally.count for result in results if result.triggers and is_crowd(result.group)}
    return [Crowd(key.rule_id, key.group[0], count) for key, count in found.items()]


def in_order(results: Iterable[GroupResult]) -> list[GroupResult]:
    """Sort results by count, highest first, then by group, so that the order is always the same."""
    return sorted(results, key=lambda result: (-result.tally.count, result.rule_id, result.group))


def _result(
    key: Key, total: GroupTotal, triggers: Iterable[Trigger], severity: Severity, suppression: Suppression | None
) -> GroupResult:
    places = sorted(total.evidence.items())[:MAX_LISTED]
    return GroupResult(
        key.rule_id,
        key.group,
        total.tally.shortened(MAX_LISTED),
        total.bucket_counts,
        [Range(*source, first, last) for source, (first, last) in places],
        list(triggers),
        severity,
        suppression,
    )
