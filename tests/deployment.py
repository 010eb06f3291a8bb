"""The real ingest and the real steps of an evaluation, over tables in memory and a sink that keeps what is posted."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from detectors.errors import PostingError
from detectors.evaluation.baseline import Baseline, MemoryBaseline
from detectors.evaluation.episodes import Episode
from detectors.evaluation.policy import Policy
from detectors.evaluator import Evaluator, ShardResult
from detectors.events import Event
from detectors.ingest import Ingest
from detectors.ingestion.counting import BatchCounter
from detectors.reporting.heartbeat import RunProgress
from detectors.reporting.sinks import JsonRow
from detectors.rules.catalogue import CATALOGUE
from detectors.sources.decoding import EXCERPT_CHARACTERS
from detectors.storage.buckets import BucketStore
from detectors.storage.handover import Handover, Parcel
from detectors.storage.journal import Journal, Plan
from detectors.storage.quarantine import Quarantine
from detectors.storage.tables import MemoryTable, Row
from detectors.windows import bucket_start, key_of, time_of
from tests.builders import PIPELINE, SOURCE, START, list_key, message


@dataclass
class Posted:
    """A sink that keeps rows, and fails when told."""

    rows: list[tuple[str, JsonRow]] = field(default_factory=list)
    fails: int = 0
    meanwhile: Callable[[], object] | None = None

    def post(self, stream: str, rows: Sequence[JsonRow]) -> None:
        """See `Sink.post`."""
        if self.meanwhile:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        self.rows += [(stream, row) for row in rows]
        if self.fails and rows:
            self.fails -= 1
            raise PostingError("the endpoint is away")

    @property
    def beats(self) -> list[JsonRow]:
        return [row for stream, row in self.rows if stream == "health"]

    def newest(self) -> dict[str, JsonRow]:
        """Return what a reader sees: the last row of each finding."""
        return {row["FindingId"]: row for stream, row in self.rows if stream == "findings"}

    def of(self, rule_id: str) -> list[JsonRow]:
        """Return what a reader sees of one rule, in order of windows."""
        rows = [row for row in self.newest().values() if row["RuleId"] == rule_id]
        return sorted(rows, key=lambda row: (row["WindowEnd"], json.dumps(row["Group"])))

    def course(self) -> list[tuple[str, str, int]]:
        """Window, status and count of every finding, in order of windows."""
        rows = sorted(self.newest().values(), key=lambda row: row["WindowEnd"])
        return [(row["WindowEnd"][11:16], row["Status"], row["EventCount"]) for row in rows]


class Deployment:
    """Ingest and evaluation over tables in memory."""

    def __init__(
        self, *, shards: int | None = None, policy: Policy | None = None, baseline: Baseline | None = None
    ) -> None:
        self.buckets, self.journal, self.quarantine, self.posted = MemoryTable(), MemoryTable(), MemoryTable(), Posted()
        quarantine = Quarantine(self.quarantine, excerpt_characters=EXCERPT_CHARACTERS)
        self.ingest = Ingest(BucketStore(self.buckets), quarantine, BatchCounter(CATALOGUE), lambda: START)
        self.shards = shards
        self.policy, self.baseline = policy or Policy(), baseline or MemoryBaseline()
        self.lengthen(timedelta(hours=25))
        self.sequence = 0

    def lengthen(self, retention: timedelta) -> None:
        """Start with another retention, on the same tables."""
        self.evaluator = Evaluator(
            store=BucketStore(self.buckets),
            journal=Journal(self.journal),
            handover=Handover(self.journal),
            quarantine=Quarantine(self.quarantine, excerpt_characters=EXCERPT_CHARACTERS),
            sink=self.posted,
            baseline=self.baseline,
            policy=self.policy,
            streams=("findings", "health"),
            retention=retention,
        )

    def receive(
        self,
        at: datetime,
        count: int,
        name: str = "aoai-prod",
        *,
        caller: str = PIPELINE,
        length: int | None = None,
    ) -> None:
        """Count that many ListKey records that arrive at a time."""
        lengths = {} if length is None else {"responseLength": length}
        self.arrive(at, *[list_key(name, caller=caller, **lengths)] * count)

    def arrive(self, at: datetime, *records: object) -> None:
        """Count one message with these records that arrives at a time."""
        self.bring(at, message(*records))

    def bring(self, at: datetime, body: bytes) -> None:
        """Count one message that arrives at a time."""
        self.sequence += 1
        self.ingest(SOURCE, [Event(self.sequence, at, body)])

    def step(self, until: datetime, after: datetime | None, caught_up: int = 0) -> Plan | None:
        plan = self.plan(until, after)
        if plan is not None:
            progress = RunProgress(caught_up, plan.windows_skipped, reevaluated=plan.etag is not None)
            self.evaluator.conclude(plan, self.parcels(plan), progress, until)
        return plan

    def plan(self, until: datetime, after: datetime | None = None) -> Plan | None:
        """Plan a window, in as many shards as the deployment was told."""
        plan = self.evaluator.plan(until, after)
        return plan if plan is None or self.shards is None else msgspec.structs.replace(plan, shards=self.shards)

    def parcels(self, plan: Plan) -> list[Parcel]:
        """Evaluate the shards of a window."""
        return [self.evaluator.evaluate_shard(plan, shard) for shard in range(plan.shards)]

    @property
    def kept(self) -> Journal:
        """What was evaluated."""
        return Journal(self.journal)

    def open_episodes(self, window_end: datetime) -> list[Episode]:
        """Return the episodes that were open after a window."""
        return self.kept.episodes(key_of(window_end))

    def make_due(self, window_end: datetime) -> None:
        """Have a window evaluated again, as if it had been made from something else."""
        entry = self.kept.window(key_of(window_end))
        assert entry is not None
        self.journal.merge(Row("windows", key_of(window_end), {"Inputs": "something else"}, entry.etag))

    def half_way(self, until: datetime) -> tuple[Plan, list[Parcel]]:
        """Return a run that has evaluated its first window and not concluded it."""
        plan = self.plan(until)
        assert plan is not None
        return plan, self.parcels(plan)

    def evaluated(self, plan: Plan) -> list[ShardResult]:
        """Return what the shards of a window come to."""
        return [Handover(self.journal).receive(plan.window_end, parcel, ShardResult) for parcel in self.parcels(plan)]

    def tick(self, now: datetime) -> list[str]:
        """Run all that is due; the windows it evaluated."""
        until, after, caught_up, windows = bucket_start(now), None, 0, list[str]()
        while plan := self.step(until, after, caught_up):
            after = time_of(plan.window_end)
            caught_up += plan.etag is None
            windows.append(f"{after:%H:%M}")
        self.evaluator.purge(until)
        return windows
