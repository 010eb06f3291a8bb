"""The steps of an evaluation: plan a window, evaluate its shards, conclude it.

Each step may run again at any time, on any host. Planning and evaluating only read. Concluding posts rows, whose ids
do not depend on the time of posting, and then records the window in one conditional write. A crash anywhere leaves
the window unrecorded, so it is due again.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from detectors.errors import ConflictError
from detectors.evaluation.baseline import Baseline, Sighting
from detectors.evaluation.episodes import Episode, advance, unharmed
from detectors.evaluation.policy import Policy
from detectors.evaluation.silence import empty_hours, silent_accounts
from detectors.evaluation.troubles import Troubles
from detectors.evaluation.usual import Peak, peaks
from detectors.evaluation.window import (
    Crowd,
    GroupResult,
    GroupTotal,
    by_rule,
    crowds,
    evaluate_thresholds,
    in_order,
    sightings,
    sum_window,
)
from detectors.reporting.finding import as_json, finding
from detectors.reporting.heartbeat import RunProgress, WindowHealth, heartbeat, measure_health
from detectors.reporting.sinks import Sink
from detectors.rules.catalogue import BY_ID
from detectors.rules.rule import Number
from detectors.rules.tally import Key
from detectors.storage.buckets import BucketStore
from detectors.storage.handover import Handover, Parcel
from detectors.storage.journal import Journal, Plan, next_window
from detectors.storage.quarantine import RETENTION as QUARANTINE_RETENTION
from detectors.storage.quarantine import Quarantine
from detectors.storage.slices import SLICES, shares, slice_of
from detectors.windows import BUCKET, WINDOW, bucket_start, time_of

PURGE_MARGIN = timedelta(hours=1)
"""Rows are kept this much longer than any evaluation reads, so that none reads a half-purged window."""


class ShardResult(msgspec.Struct):
    """The results of one shard of a window's groups.

    Attributes:
        results: of the groups that fire, and of those with an open episode.
        resources_seen: entities with records.
        crowds: groups that are counted together.
        failed: rules that could not be evaluated, and why.
    """

    results: list[GroupResult] = msgspec.field(name="verdicts")
    resources_seen: int
    crowds: list[Crowd] = []
    failed: dict[str, str] = {}


class Conclusion(msgspec.Struct):
    """The outcome of a window; `recorded` is false if another run was faster."""

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
        shards: int,
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
        self._shares = shares(SLICES, shards)

    @property
    def shards(self) -> int:
        """The number of parallel shards of a window."""
        return len(self._shares)

    def plan(self, until: datetime, after: datetime | None) -> Plan | None:
        """Plan the next due window after `after`: none later than `until`, unless other runs evaluated later ones."""
        evaluated = self._journal.windows()
        newest = max([until, *evaluated])
        versions = self._store.versions(newest - self._retention, newest)
        reach = self._retention - WINDOW
        return next_window(versions, evaluated, newest, reach, after=after, purged=self._journal.purged())

    def evaluate_shard(self, plan: Plan, shard: int) -> Parcel:
        """Evaluate one shard of the groups; its `ShardResult` holds a result for each of its open episodes."""
        window_end, slices = time_of(plan.window_end), self._shares[shard]
        watched = {
            episode.key
            for episode in self._journal.episodes(plan.base_window)
            if episode.rule_id in BY_ID and slice_of(episode.group) in slices
        }
        totals = sum_window(window_end, lambda bucket: self._store.read(bucket, slices))
        troubles = Troubles()
        seen, values = _seen(totals, window_end, troubles)
        newcomers = self._baseline.find_newcomers(seen, window_end)
        usual = self._baseline.find_usual(values, window_end)
        known = {key: total for key, total in totals.items() if key.rule_id not in troubles.failed}
        results = evaluate_thresholds(
            window_end,
            known,
            self._policy,
            newcomers=newcomers,
            usual=usual,
            watched={key for key in watched if key.rule_id not in troubles.failed},
            contain=troubles.contain,
        )
        resources = len({key.group[0] for key in totals})
        found = ShardResult(results, resources, crowds(totals, results), troubles.failed)
        return self._handover.send(plan.window_end, found)

    def measure_health(self, plan: Plan) -> WindowHealth:
        """Measure what was counted in the window, and how far each partition is counted."""
        window_end = time_of(plan.window_end)
        watermarks = self._store.watermarks(window_end - self._retention, window_end - BUCKET)
        return measure_health(window_end, self._store.read_counters, watermarks)

    def conclude(
        self, plan: Plan, parcels: Sequence[Parcel], health: WindowHealth, progress: RunProgress, now: datetime
    ) -> Conclusion:
        """Advance the episodes, post findings and heartbeat, record the window.

        A rule that fails does not hold up the others: its open episodes stay as they are, the heartbeat names it, and
        the next release evaluates the window again.

        Raises:
            PostingError: the window is not recorded and stays due.
            StorageError: likewise; rows may have been posted, and will be posted again.
        """
        current = self._journal.window(plan.window_end)
        if (current.etag if current else None) != plan.etag:
            return Conclusion(plan.window_end, 0, recorded=False)
        window_end = time_of(plan.window_end)
        shards = [self._handover.receive(plan.window_end, parcel, ShardResult) for parcel in parcels]
        results = in_order(result for shard in shards for result in shard.results)
        before = self._journal.episodes(plan.base_window)
        troubles = Troubles(failed for shard in shards for failed in shard.failed.items())
        episodes, changes = advance(before, results, window_end, self._known(plan), troubles.contain)
        rows = []
        for change in changes:
            with troubles.contain(change.result.rule_id):
                rows.append(as_json(finding(change, window_end, now)))
        episodes = unharmed(episodes, changes, before, troubles.failed)
        row = self._journal.row(plan, episodes, failed=bool(troubles.failed))
        active = self._baseline.active_hours()
        beat = heartbeat(
            window_end,
            now,
            health,
            progress,
            resources_seen=sum(shard.resources_seen for shard in shards),
            findings=len(rows),
            open_episodes=len(episodes),
            crowds=[crowd for shard in shards for crowd in shard.crowds],
            failed=troubles.failed,
            expired=self._policy.expired(window_end),
            silent=silent_accounts(active),
            empty_hours=empty_hours(active, window_end),
        )
        self._sink.post(self._findings_stream, rows)
        self._sink.post(self._health_stream, [as_json(beat)])
        try:
            self._journal.record(row)
        except ConflictError:
            self._journal.reopen(plan)  # what was just posted may be older than what the other run posted
            return Conclusion(plan.window_end, len(rows), recorded=False)
        return Conclusion(plan.window_end, len(rows), recorded=True)

    def _known(self, plan: Plan) -> dict[Key, Episode]:
        """Collect episodes as earlier evaluations recorded them: ids from this window on, posted minutes of later ones.

        This window's own rows may be replaced. Rows of later windows may not, since those windows may not be due again.
        """
        known: dict[Key, Episode] = {}
        for window in plan.later:  # the last one first
            for episode in self._journal.episodes(window):
                posted = dict(known[episode.key].posted) if episode.key in known else {}
                for minute, row in episode.posted.items() if window != plan.window_end else ():
                    posted[minute] = max(row, posted.get(minute, row), key=lambda one: one.count)
                known[episode.key] = msgspec.structs.replace(episode, posted=posted)
        return known

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
