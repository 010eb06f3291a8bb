"""Plays an example through what runs in Azure: counting, buckets and evaluation, over tables in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import batched, groupby

import msgspec

from detectors.evaluation.baseline import MemoryBaseline
from detectors.evaluation.policy import Policy
from detectors.evaluator import Evaluator
from detectors.events import Event, Source
from detectors.examples.events import Happening, happenings
from detectors.ingest import Ingest
from detectors.ingestion.counting import BatchCounter
from detectors.reporting.heartbeat import RunProgress
from detectors.reporting.sinks import JsonRow
from detectors.rules.catalogue import CATALOGUE
from detectors.rules.rule import Example, Rule
from detectors.storage.buckets import BucketStore
from detectors.storage.handover import Handover
from detectors.storage.journal import Journal
from detectors.storage.quarantine import Quarantine
from detectors.storage.tables import MemoryTable
from detectors.windows import BUCKET, WINDOW, bucket_start, time_of, window_ends

START = datetime(2026, 11, 23, 8, tzinfo=UTC)
"""When examples start."""

_FINDINGS, _HEALTH = "findings", "health"
_RETENTION = 2 * WINDOW
"""Windows are evaluated for an hour behind a record: in later ones it is no longer."""

_HUB = Source("example", "example", "0")
_MESSAGE_RECORDS = 500


@dataclass(frozen=True, slots=True)
class Played:
    """What came of an example.

    Attributes:
        example: which.
        rows: the findings that fire, as they would have been posted.
        quarantined: reasons for which records were not counted, or not in full.
    """

    example: Example
    rows: Sequence[JsonRow]
    quarantined: Sequence[str]

    @property
    def fires(self) -> bool:
        """Whether the rule fired."""
        return bool(self.rows)

    @property
    def holds(self) -> bool:
        """Whether the rule did what the example says."""
        return self.fires == self.example.fires


def play(rule: Rule, example: Example) -> Played:
    """Play an example of a rule of the catalogue, with its own numbers and every other rule off."""
    pipeline, end = _Pipeline(rule), START
    records = sorted(happenings(rule, example, START), key=lambda one: one.at)
    for bucket, together in groupby(records, key=lambda one: bucket_start(one.at)):
        pipeline.count(list(together))
        end = bucket + BUCKET
        pipeline.evaluate(end)
    for later in window_ends(end, end + WINDOW):
        pipeline.evaluate(later)
    return Played(example, pipeline.firing, sorted(pipeline.quarantined))


class _Pipeline:
    """What runs in Azure, for one rule; it is its own sink."""

    def __init__(self, rule: Rule) -> None:
        store, journal = BucketStore(MemoryTable()), MemoryTable()
        quarantine = Quarantine(MemoryTable(), excerpt_characters=0)
        self.firing: list[JsonRow] = []
        self.quarantined: set[str] = set()
        self._sequence = 0
        others = [one for one in CATALOGUE if one.id != rule.id]  # what they count tells since when an account is known
        self._ingest = Ingest(store, quarantine, BatchCounter([rule, *others]), lambda: START)
        self._evaluator = Evaluator(
            store=store,
            journal=Journal(journal),
            handover=Handover(journal),
            quarantine=quarantine,
            sink=self,
            baseline=MemoryBaseline(),
            policy=Policy({rule.id: {threshold.name: threshold.at_least for threshold in rule.thresholds}}),
            streams=(_FINDINGS, _HEALTH),
            retention=_RETENTION,
        )

    def post(self, stream: str, rows: Sequence[JsonRow]) -> None:
        """See `Sink.post`."""
        if stream == _FINDINGS:
            self.firing += [row for row in rows if row["Triggers"]]
        else:
            self.quarantined |= {one["Reason"] for row in rows for one in row["QuarantinedByReason"]}

    def count(self, together: Sequence[Happening]) -> None:
        """Count the records of a bucket, some in each message."""
        for some in batched(together, _MESSAGE_RECORDS, strict=False):
            self._sequence += 1
            body = msgspec.json.encode({"records": [one.record for one in some]})
            self._ingest(_HUB, [Event(self._sequence, some[0].at, body)])

    def evaluate(self, end: datetime) -> None:
        """Evaluate every window that is due by a time."""
        after = None
        while plan := self._evaluator.plan(end, after):
            parcels = [self._evaluator.evaluate_shard(plan, shard) for shard in range(plan.shards)]
            course = RunProgress(0, plan.windows_skipped, reevaluated=plan.etag is not None)
            self._evaluator.conclude(plan, parcels, course, end)
            after = time_of(plan.window_end)
