"""Replays exports to find what the detector would have posted: the production code, in memory.

Buckets stay until no window needs them. While there are few, none is dropped, and inputs may come in any order. Beyond
`MAX_HELD` tallies, windows that ended a day before the newest bucket are evaluated and their buckets dropped, so memory
stays flat however much is read; records that come later than that are counted as `too_late`.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from detectors.backtest.deduplication import SeenEvents
from detectors.backtest.exports import InputChunk
from detectors.backtest.history import History
from detectors.backtest.outcome import Outcome, Quality, Trial
from detectors.backtest.partial_counts import BucketRange, PartialCounts
from detectors.backtest.policy_replay import PolicyReplay
from detectors.backtest.quality import QualityMeter
from detectors.backtest.workers import CountedChunk, count_chunks
from detectors.evaluation.baseline import MemoryBaseline
from detectors.evaluation.policy import Policy
from detectors.evaluation.usual import peaks
from detectors.evaluation.window import Stored, sightings, sum_window
from detectors.events import Source
from detectors.reporting.finding import Finding, finding
from detectors.rules.counters import Counters
from detectors.rules.crowds import merge_bounded
from detectors.rules.rule import Severity
from detectors.rules.tally import ACCOUNT_SEEN, Key, Tally
from detectors.windows import BUCKET, WINDOW, bucket_start, from_microseconds, microseconds, window_buckets

MAX_HELD = 400_000
"""Tallies kept before old buckets are dropped; each takes about a kilobyte."""

REACH = timedelta(days=1)
"""Inputs may always come this far behind the newest bucket, whatever their size."""

Sweep = tuple[str, str, tuple[int, ...]]
"""A rule id, a threshold's name, and the values to try, ascending."""


@dataclass(frozen=True, slots=True)
class BacktestRequest:
    """What to replay.

    Attributes:
        policy: the rules to evaluate, with their thresholds and suppression rules.
        sweeps: thresholds with several values to try, one at a time.
        since: only windows that end after this; they include records up to an hour before.
        until: only windows that end by then. Windows after the last record are evaluated up to then, so that episodes
            close.
    """

    policy: Policy
    sweeps: tuple[Sweep, ...] = ()
    since: datetime | None = None
    until: datetime | None = None

    @property
    def span(self) -> BucketRange:
        """The buckets of the requested windows."""
        first = microseconds(bucket_start(self.since) + BUCKET - WINDOW) if self.since else -(2**63)
        return BucketRange(first, microseconds(bucket_start(self.until)) if self.until else 2**63)

    def in_force(self) -> dict[str, dict[str, int]]:
        """Return the numbers for resources without their own, by rule id and threshold name."""
        return {
            rule.id: {name: number.value for name, number in self.policy.resolve(rule.id, "").thresholds.items()}
            for rule in self.policy.rules
        }

    def severities(self) -> dict[str, Severity]:
        """Return the severities for resources without their own, by rule id."""
        return {rule.id: self.policy.resolve(rule.id, "").severity.value for rule in self.policy.rules}


@dataclass(slots=True)
class Hooks:
    """Callbacks of a replay.

    Attributes:
        on_finding: called with each row, in order.
        on_read: called with the size in bytes of each chunk that was read.
    """

    on_finding: Callable[[Finding], None] = lambda _: None
    on_read: Callable[[int], None] = lambda _: None


def replay(
    chunks: Sequence[InputChunk], request: BacktestRequest, *, processes: int = 1, hooks: Hooks | None = None
) -> Outcome:
    """Count the chunks in order, and evaluate every window that their records touch.

    The outcome does not depend on the number of processes. An interrupt (Ctrl-C) ends the reading, and what was
    read until then is evaluated.

    Raises:
        InputError: a worker process died, or a reader is not installed.
    """
    hooks = hooks or Hooks()
    run, meter = _Replay(request, hooks.on_finding), QualityMeter(chunks)
    interrupted = False
    try:
        for counted in count_chunks(chunks, request.policy.rules, request.span, processes):
            meter.add(counted.chunk, counted.task.size, run.add(counted))
            hooks.on_read(counted.task.size)
    except KeyboardInterrupt:
        interrupted = True
    run.finish(meter.last_time)
    return run.outcome(meter.quality(interrupted=interrupted), interrupted=interrupted)


class _Replay:
    """The buckets held, and the windows evaluated so far."""

    def __init__(self, request: BacktestRequest, on_finding: Callable[[Finding], None]) -> None:
        self._request = request
        self._on_finding = on_finding
        self._buckets: dict[datetime, dict[Source, dict[Key, Tally]]] = {}
        self._held = 0
        self._seen = SeenEvents()
        self._policy_replay = PolicyReplay(request.policy)
        self._baseline = MemoryBaseline()
        self._trials = [
            (
                rule_id,
                threshold,
                value,
                PolicyReplay(request.policy.alone(rule_id).with_number(rule_id, threshold, value)),
            )
            for rule_id, threshold, values in request.sweeps
            for value in values
        ]
        self._history = History(request.policy)
        self._windows = 0
        self._began: datetime | None = None
        self._evaluated: datetime | None = None
        self._next = bucket_start(request.since) + BUCKET if request.since else None

    def add(self, counted: CountedChunk) -> PartialCounts:
        """Add the counts of a chunk, without the events that other chunks already brought."""
        counts = counted.again(self._seen) if self._seen.overlaps(counted.counts.seen) else counted.counts
        self._seen.absorb(counts.seen)
        for at in sorted(counts.tallies):
            self._merge(from_microseconds(at), counts.tallies[at], counts.counters)
        if self._held > MAX_HELD:
            self._evaluate_until(max(self._buckets) - REACH)
        return counts

    def finish(self, last_time: int | None) -> None:
        """Evaluate the remaining windows, up to the last one that a record touches."""
        if self._request.until:
            self._evaluate_until(bucket_start(self._request.until))
        elif last_time is not None:
            self._evaluate_until(max([bucket_start(from_microseconds(last_time)), *self._buckets]) + WINDOW)

    def outcome(self, quality: Quality, *, interrupted: bool) -> Outcome:
        """Build the outcome."""
        request, in_force = self._request, self._request.in_force()
        return Outcome(
            quality=quality,
            rules=list(in_force),
            thresholds=in_force,
            severities=request.severities(),
            windows=self._windows,
            findings=self._policy_replay.findings,
            episodes=self._policy_replay.episodes,
            trials=[
                Trial(
                    rule_id=rule_id,
                    threshold=threshold,
                    value=value,
                    in_force=value == in_force[rule_id][threshold],
                    overrules=request.policy.is_split(rule_id, threshold),
                    findings=trial.findings,
                    episodes=len(trial.episodes),
                    resources=len(trial.resources),
                )
                for rule_id, threshold, value, trial in self._trials
            ],
            timelines=self._history.timelines(),
            timelines_left_out=self._history.timelines_left_out,
            interrupted=interrupted,
        )

    def _merge(self, bucket: datetime, added: Mapping[tuple[Source, Key], Tally], counters: Counters) -> None:
        if self._evaluated is not None and bucket < self._evaluated:  # its first window was evaluated already
            lost = sum(tally.count for (_, key), tally in added.items() if key.rule_id != ACCOUNT_SEEN)
            counters.quarantined["too_late"] = counters.quarantined.get("too_late", 0) + lost
            return
        held = self._buckets.setdefault(bucket, {})
        by_source: defaultdict[Source, list[tuple[Key, Tally]]] = defaultdict(list)
        for (source, key), tally in added.items():
            by_source[source].append((key, tally))
        for source, tallies in by_source.items():
            known = held.setdefault(source, {})
            self._held -= len(known)
            merge_bounded(known, tallies)
            self._held += len(known)

    def _evaluate_until(self, until: datetime) -> None:
        """Evaluate the windows that end by a time, and drop the buckets that no later window needs."""
        order = deque(sorted(self._buckets))
        while (window_end := self._coming(order)) is not None and window_end <= until:
            self._evaluate(window_end)
            self._evaluated, self._next = window_end, window_end + BUCKET
            while order and order[0] < self._next - WINDOW:
                self._held -= sum(map(len, self._buckets.pop(order.popleft()).values()))

    def _coming(self, order: Sequence[datetime]) -> datetime | None:
        """Find the next window to evaluate: any while an episode is open, else the first with a bucket."""
        if self._next and (self._policy_replay.is_watching or any(trial.is_watching for *_, trial in self._trials)):
            return self._next
        if not order:
            return None
        first = order[0] + BUCKET
        return max(first, self._next) if self._next else first

    def _evaluate(self, window_end: datetime) -> None:
        """Evaluate one window by every policy."""
        totals = sum_window(window_end, self._read(window_end))
        self._history.add(window_end, totals)
        self._windows += bool(totals) or self._policy_replay.is_watching
        newcomers = self._baseline.find_newcomers(sightings(totals, window_end), window_end)
        self._began = self._began or window_end
        values = peaks((key, total.tally) for key, total in totals.items())
        usual = self._baseline.find_usual(values, window_end, self._began)
        for change in self._policy_replay.evaluate(window_end, totals, newcomers, usual):
            self._on_finding(finding(change, window_end, window_end))
        for *_, trial in self._trials:
            trial.evaluate(window_end, totals, newcomers, usual)

    def _read(self, window_end: datetime) -> Iterator[Stored]:
        for bucket in window_buckets(window_end):
            for source, tallies in self._buckets.get(bucket, {}).items():
                for key, tally in tallies.items():
                    yield bucket, source, key, tally
