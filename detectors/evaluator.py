"""The steps of an evaluation: plan a window, evaluate its shards, conclude it.

A window at rest takes five requests to storage: two to plan it, two to evaluate it in one shard, one to record it.
Open episodes take one, findings one, and a window that was evaluated before one for each evaluated window from it on
that has open episodes. Where there is more to read, more shards share it.

Each step may run again at any time, on any host. Planning and evaluating only read. Concluding posts rows, whose ids
do not depend on the time of posting, and then records the window in one conditional write. A crash anywhere leaves
the window unrecorded, so it is due again.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from detectors.errors import ConflictError, StorageError
from detectors.evaluation.baseline import Baseline, Sighting
from detectors.evaluation.episodes import Episode, advance, names_minute, unharmed
from detectors.evaluation.policy import Policy
from detectors.evaluation.silence import ActiveHours, empty_hours, joined, perhaps_silent, silent_accounts
from detectors.evaluation.troubles import Troubles
from detectors.evaluation.usual import Peak, peaks
from detectors.evaluation.window import (
    Crowd,
    GroupResult,
    GroupTotal,
    Stored,
    by_rule,
    crowds,
    evaluate_thresholds,
    in_order,
    sightings,
    sum_window,
)
from detectors.events import Source
from detectors.reporting.finding import as_json, finding
from detectors.reporting.heartbeat import Counted, RunProgress, WindowHealth, count_up, heartbeat, measure_health
from detectors.reporting.sinks import Sink
from detectors.rules.catalogue import BY_ID
from detectors.rules.counters import Counters
from detectors.rules.rule import Number
from detectors.rules.tally import Key
from detectors.storage.buckets import BucketStore, Watermark
from detectors.storage.handover import Handover, Parcel
from detectors.storage.journal import (
    NO_EPISODES,
    EvaluatedWindow,
    Journal,
    Plan,
    is_recorded,
    next_window,
    versions_around,
    windows_around,
)
from detectors.storage.quarantine import RETENTION as QUARANTINE_RETENTION
from detectors.storage.quarantine import Quarantine
from detectors.storage.slices import shards_for, share, slice_of
from detectors.windows import BUCKET, WINDOW, bucket_start, key_of, time_of, window_buckets, window_ends

PURGE_MARGIN = timedelta(hours=1)
"""Rows are kept this much longer than any evaluation reads, so that none reads a half-purged window."""


class Mark(NamedTuple):
    """How far an Event Hub partition is counted."""

    source: Source
    sequence: int
    enqueued: int


class Marks(msgspec.Struct):
    """How far each partition is counted that buckets are kept of."""

    marks: list[Mark]


class ShardResult(msgspec.Struct):
    """The results of one shard of a window's groups.

    Attributes:
        results: of the groups that fire, and of those with an open episode.
        resources_seen: entities with records.
        crowds: groups that are counted together.
        failed: rules that could not be evaluated, and why.
        before: the episodes of its groups that were open before the window.
        hours: of accounts that may be silent, when they logged.
        together: when any account logged.
        counted: what went through; of the first shard alone, which speaks for all.
        shards: how many there are; 0 in a result of a release that split windows otherwise.
    """

    results: list[GroupResult] = msgspec.field(name="verdicts")
    resources_seen: int
    crowds: list[Crowd] = []
    failed: dict[str, str] = {}
    before: list[Episode] = []
    hours: dict[str, ActiveHours] = {}
    together: ActiveHours = ActiveHours()
    counted: Counted = msgspec.field(default_factory=Counted)
    shards: int = 0


class Conclusion(msgspec.Struct):
    """The outcome of a window; `recorded` is false if it is not recorded from what was planned: it may be due again."""

    window_end: str
    findings: int
    recorded: bool


class Evaluator:
    """Evaluates windows. Its state is in the tables alone."""

    def __init__(
        self,
        *,
        store: BucketStore,
        journal: Journal,
        handover: Handover,
        quarantine: Quarantine,
        sink: Sink,
        baseline: Baseline,
        policy: Policy,
        streams: tuple[str, str],
        retention: timedelta,
    ) -> None:
        self._store = store
        self._journal = journal
        self._handover = handover
        self._quarantine = quarantine
        self._sink = sink
        self._baseline = baseline
        self._policy = policy
        self._findings_stream, self._health_stream = streams
        self._retention = retention

    def plan(self, until: datetime, after: datetime | None) -> Plan | None:
        """Plan the next due window after `after`: none later than `until`, unless other runs evaluated later ones."""
        evaluated = self._journal.overview()
        newest = max([until, *evaluated.windows])
        stored = self._store.overview(newest - self._retention, newest)
        reach = self._retention - WINDOW
        plan = next_window(stored.versions, evaluated.windows, newest, reach, after=after, purged=evaluated.purged)
        if plan is None:
            return None
        window_end = time_of(plan.window_end)
        known = stored.watermarks(window_end)
        marks = Marks([Mark(source, mark.sequence, mark.enqueued) for source, mark in known.items()])
        return msgspec.structs.replace(
            plan,
            began=key_of(evaluated.began or window_end),
            shards=shards_for(sum(stored.sizes.get(bucket, 0) for bucket in window_buckets(window_end))),
            marks=self._handover.send(plan.window_end, marks),
            is_last=window_end == newest,
        )

    def evaluate_shard(self, plan: Plan, shard: int) -> Parcel:
        """Evaluate one shard of the groups; its `ShardResult` holds a result for each of its open episodes."""
        window_end, slices = time_of(plan.window_end), share(shard, plan.shards)
        before = [
            episode
            for episode in self._journal.episodes(plan.base_window)
            if episode.rule_id in BY_ID and slice_of(episode.group) in slices
        ]
        parts: list[tuple[Source, Counters]] = []
        totals = sum_window(window_end, self._stored(window_end, slices, parts if shard == 0 else None))
        troubles = Troubles()
        seen, values = _seen(totals, window_end, troubles)
        baseline = self._baseline.of(slices)
        newcomers = baseline.find_newcomers(seen, window_end)
        usual = baseline.find_usual(values, window_end, time_of(plan.began or plan.window_end))
        results = evaluate_thresholds(
            window_end,
            {key: total for key, total in totals.items() if key.rule_id not in troubles.failed},
            self._policy,
            newcomers=newcomers,
            usual=usual,
            watched={episode.key for episode in before if episode.rule_id not in troubles.failed},
            contain=troubles.contain,
        )
        active = baseline.active_hours()
        found = ShardResult(
            results,
            resources_seen=len({key.group[0] for key in totals}),
            crowds=crowds(totals, results),
            failed=troubles.failed,
            before=before,
            hours=perhaps_silent(active, window_end),
            together=joined(active.values()),
            counted=count_up(parts),
            shards=plan.shards,
        )
        return self._handover.send(plan.window_end, found)

    def _stored(
        self, window_end: datetime, slices: Iterable[int], parts: list[tuple[Source, Counters]] | None
    ) -> Iterator[Stored]:
        """Read what a window's buckets hold in some slices, and put the counters with them into `parts` if asked."""
        buckets = window_buckets(window_end)
        for segment in self._store.segments(buckets[0], buckets[-1], slices, counters=parts is not None):
            if parts is not None and segment.counters is not None:
                parts.append((segment.source, segment.counters))
            for key, tally in segment.tallies():
                yield segment.bucket, segment.source, key, tally

    def conclude(self, plan: Plan, parcels: Sequence[Parcel], progress: RunProgress, now: datetime) -> Conclusion:
        """Advance the episodes, post findings and heartbeat, record the window.

        A rule that fails does not hold up the others: its open episodes stay as they are, the heartbeat names it, and
        the next release evaluates the window again. A run that stood still until its window may be purged says nothing.

        Raises:
            PostingError: the window is not recorded and stays due.
            StorageError: likewise; rows may have been posted, and will be posted again.
        """
        window_end = time_of(plan.window_end)
        if window_end < now - self._retention:
            return Conclusion(plan.window_end, 0, recorded=False)
        shards = [self._handover.receive(plan.window_end, parcel, ShardResult) for parcel in parcels]
        if any(shard.shards != len(shards) for shard in shards):
            raise StorageError(f"the window {plan.window_end} was evaluated by two releases: it must be planned again.")
        results = in_order(result for shard in shards for result in shard.results)
        before = [episode for shard in shards for episode in shard.before]
        troubles = Troubles(failed for shard in shards for failed in shard.failed.items())
        is_late = now >= window_end + BUCKET  # the next run may have begun
        current = self._journal.overview().windows if results or plan.etag or is_late else None
        if current is not None and self._is_outdated(plan, current):
            self._journal.reopen(plan)  # an earlier try may have posted, and died before it could say so
            return Conclusion(plan.window_end, 0, recorded=is_recorded(plan, current.get(window_end)))
        known, since = self._known(window_end, current or {})
        begun = {result.episode_key for result in results if result.triggers} - {episode.key for episode in before}
        apart = self._apart(window_end, {key: since[key] for key in begun & since.keys()}, troubles)
        episodes, changes = advance(before, results, window_end, known, troubles.contain, apart=apart)
        rows = []
        for change in changes:
            with troubles.contain(change.result.rule_id):
                rows.append(as_json(finding(change, window_end, now)))
        episodes = unharmed(episodes, changes, before, troubles.failed)
        row = self._journal.row(plan, episodes, failed=bool(troubles.failed))
        beat = heartbeat(
            window_end,
            now,
            self._health(plan, shards),
            progress,
            resources_seen=sum(shard.resources_seen for shard in shards),
            findings=len(rows),
            open_episodes=len(episodes),
            crowds=[crowd for shard in shards for crowd in shard.crowds],
            failed=troubles.failed,
            expired=self._policy.expired(window_end),
            silent=silent_accounts({account: hours for shard in shards for account, hours in shard.hours.items()}),
            empty_hours=empty_hours(joined(shard.together for shard in shards), window_end),
        )
        self._sink.post(self._findings_stream, rows)
        self._sink.post(self._health_stream, [as_json(beat)])
        if current is not None and any(names_minute(change.result.key) for change in changes):
            self._journal.reopen_around(window_end, current)  # their rows of the same minutes may have come before
        try:
            self._journal.record(row)
        except ConflictError:
            self._journal.reopen(plan)  # what was just posted may be older than what the other run posted
            return Conclusion(plan.window_end, len(rows), recorded=False)
        return Conclusion(plan.window_end, len(rows), recorded=True)

    def _is_outdated(self, plan: Plan, current: Mapping[datetime, EvaluatedWindow]) -> bool:
        """Tell whether another run has recorded the window meanwhile, or one around it: what it posted may be newer.

        Nobody asks for a window without findings that is evaluated for the first time, before the next run may begin.
        """
        return plan.around != versions_around(current, time_of(plan.window_end))

    def _health(self, plan: Plan, shards: Sequence[ShardResult]) -> WindowHealth:
        marks = self._handover.receive(plan.window_end, plan.marks, Marks).marks
        return measure_health(
            shards[0].counted, [(mark.source, Watermark(mark.sequence, mark.enqueued)) for mark in marks]
        )

    def _known(
        self, window_end: datetime, evaluated: Mapping[datetime, EvaluatedWindow]
    ) -> tuple[dict[Key, Episode], dict[Key, datetime]]:
        """Collect episodes as earlier evaluations recorded them: ids from this window on, posted minutes of later ones.

        And the first window that each is known of. This window's own rows may be replaced. Rows of later windows may
        not, since those windows may not be due again.
        """
        known: dict[Key, Episode] = {}
        since: dict[Key, datetime] = {}
        for window in reversed([one for one in windows_around(evaluated, window_end) if one >= window_end]):
            for episode in self._journal.episodes(key_of(window)) if evaluated[window].state != NO_EPISODES else ():
                posted = dict(known[episode.key].posted) if episode.key in known else {}
                for minute, row in episode.posted.items() if window != window_end else ():
                    posted[minute] = max(row, posted.get(minute, row), key=lambda one: one.count)
                known[episode.key] = msgspec.structs.replace(episode, posted=posted)
                since[episode.key] = window
        return known, since

    def _apart(self, window_end: datetime, since: Mapping[Key, datetime], troubles: Troubles) -> set[Key]:
        """Find which episodes, known since a later window, a silent window parts from one that begins in this window.

        Those windows may be due as well, so they are evaluated as they are now. There is something to read only if
        late records begin an episode, and the one that is known did not begin in the next window.
        """
        apart: set[Key] = set()
        for between in window_ends(window_end + BUCKET, max(since.values(), default=window_end) - BUCKET):
            asked = {key for key, first in since.items() if between < first and not BY_ID[key.rule_id].first_seen_only}
            slices = {slice_of(key.group) for key in asked - apart}
            rules = {key.rule_id for key in asked}
            totals = sum_window(between, self._stored(between, slices, None)) if slices else {}
            results = evaluate_thresholds(
                between,
                {key: total for key, total in totals.items() if key.rule_id in rules},
                self._policy,
                newcomers={},
                watched=asked,
                contain=troubles.contain,
            )
            apart |= asked - {result.episode_key for result in results if result.triggers}
        return apart

    def purge(self, now: datetime) -> int:
        """Delete what no evaluation can need any more, and return the number of rows."""
        before = bucket_start(now) - self._retention - PURGE_MARGIN
        self._journal.note_purge(before)
        return (
            self._store.purge(before) + self._journal.purge(before) + self._quarantine.purge(now - QUARANTINE_RETENTION)
        )


def _seen(
    totals: Mapping[Key, GroupTotal], window_end: datetime, troubles: Troubles
) -> tuple[list[Sighting], dict[Peak, Number]]:
    """Collect what there is to learn from a window: who appears, and the values that may become usual."""
    seen: list[Sighting] = []
    values: dict[Peak, Number] = {}
    for rule_id, its_totals in by_rule(totals).items():
        with troubles.contain(rule_id):
            seen += sightings(its_totals, window_end)
            values |= peaks((key, total.tally) for key, total in its_totals.items())
    return seen, values
