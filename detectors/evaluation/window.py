"""Sums the six buckets of a window, and evaluates every group against the thresholds. Pure."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import msgspec

from detectors.evaluation.baseline import Sighting
from detectors.evaluation.policy import Policy, Suppression
from detectors.evaluation.usual import FACTOR, Peak
from detectors.events import Source
from detectors.rules.catalogue import BY_ID
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
        self.tally = self.tally.merged(tally)
        self.bucket_counts[place] += tally.count
        if tally.first_sequence is not None and tally.last_sequence is not None:
            first, last = self.evidence.get(source, (tally.first_sequence, tally.last_sequence))
            self.evidence[source] = (min(first, tally.first_sequence), max(last, tally.last_sequence))


def sum_window(
    window_end: datetime, read: Callable[[datetime], Iterable[tuple[Source, Key, Tally]]]
) -> dict[Key, GroupTotal]:
    """Sum up the buckets of a window by group; no total is empty."""
    totals: dict[Key, GroupTotal] = {}
    for place, bucket in enumerate(window_buckets(window_end)):
        for source, key, tally in read(bucket):
            if key.rule_id not in BY_ID and key.rule_id != ACCOUNT_SEEN:  # of a release that had more rules
                continue
            total = totals.get(key)
            if total is None:
                total = totals[key] = GroupTotal()
            total.add(place, source, tally)
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


def evaluate_thresholds(
    window_end: datetime,
    totals: Mapping[Key, GroupTotal],
    policy: Policy,
    *,
    newcomers: Mapping[Key, int],
    usual: Mapping[Peak, Number] | None = None,
    watched: Collection[Key] = (),
) -> list[GroupResult]:
    """Evaluate every group of a window; return the results that fire and those of watched groups, highest count first.

    Args:
        window_end: names the window.
        totals: the sums of its buckets.
        policy: the thresholds in force.
        newcomers: for rules that look at newcomers, the newcomers, and the days on which others were seen before.
        usual: for thresholds that go by it, the usual peak of each entity; while it is not known, nothing is.
        watched: groups that get a result even if nothing fires, because their episodes are open.
    """
    silent = [(key, GroupTotal()) for key in watched if key not in totals]
    results = []
    for key, total in (*totals.items(), *silent):
        if key.rule_id == ACCOUNT_SEEN:
            continue
        rule, effective = BY_ID[key.rule_id], policy.effective(key)
        triggers: tuple[Trigger, ...] = ()
        if effective is not None and (not rule.first_seen_only or key in newcomers):
            triggers = rule.triggers(total.tally, effective.thresholds, newcomers.get(key))
            triggers = tuple(_with_usual(rule, key, trigger, usual or {}) for trigger in triggers)
        if triggers or key in watched:
            suppression = policy.suppression(key, total.tally, triggers, window_end) if triggers else None
            severity = effective.severity if effective else rule.severity
            if rule.goes_by_usual and not policy.is_as_upstream(rule.id) and not any(map(_is_unusual, triggers)):
                severity = "Informational"
            results.append(_result(key, total, triggers, severity, suppression))
    return in_order(results)


def _with_usual(rule: Rule, key: Key, trigger: Trigger, usual: Mapping[Peak, Number]) -> Trigger:
    return replace(trigger, usual=usual.get(Peak(rule.id, trigger.threshold, rule.episode_group(key.group))))


def _is_unusual(trigger: Trigger) -> bool:
    return trigger.usual is not None and trigger.value >= FACTOR * trigger.usual


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
