"""The detector, assembled from its settings.

Clients are created on first use: the app scales out often, and a host that only ingests never posts.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cached_property
from threading import RLock

from detectors.configuration.settings import Settings
from detectors.evaluator import Evaluator
from detectors.events import FunctionsEvent, from_functions
from detectors.ingest import Ingest
from detectors.ingestion.counting import BatchCounter
from detectors.reporting.sinks import LogAnalyticsSink, LogSink, Sink
from detectors.storage.azure_tables import open_table
from detectors.storage.baseline_table import TableBaseline
from detectors.storage.buckets import BucketStore
from detectors.storage.handover import Handover
from detectors.storage.journal import Journal
from detectors.storage.quarantine import Quarantine

BUCKETS_TABLE = "LlmBuckets"
JOURNAL_TABLE = "LlmEvaluations"
QUARANTINE_TABLE = "LlmQuarantine"
BASELINE_TABLE = "LlmBaseline"


def utc_now() -> datetime:
    """Read the system clock."""
    return datetime.now(UTC)


class Detector:
    """The entry points of the functions. One for each process; safe for several threads.

    Attributes:
        clock: returns the current time, aware UTC.
    """

    def __init__(self, settings: Settings, clock: Callable[[], datetime] = utc_now) -> None:
        self.clock = clock
        self._settings = settings
        self._making = RLock()  # a first use may come from several threads at once
        self._log_sink = None if settings.ingestion_endpoint else LogSink()

    def ingest(self, events: Sequence[FunctionsEvent]) -> None:
        """Count one batch of the Event Hub trigger. Raises `StorageError` if the batch must be redelivered.

        A host that drops events without a body may pass an empty batch, which is accepted: there is nothing to count
        (https://github.com/Azure/azure-functions-dotnet-worker/issues/270).
        """
        if not events:
            return
        with self._making:
            ingest = self._ingest
        ingest(*from_functions(events))

    def now(self) -> datetime:
        """Read the clock."""
        return self.clock()

    @property
    def evaluator(self) -> Evaluator:
        """The steps of an evaluation."""
        with self._making:
            return self._evaluator

    @cached_property
    def _ingest(self) -> Ingest:
        return Ingest(self._store, self._quarantine, BatchCounter(self._settings.policy.rules), self.now)

    @cached_property
    def _evaluator(self) -> Evaluator:
        evaluations = open_table(self._settings.storage, JOURNAL_TABLE)
        return Evaluator(
            store=self._store,
            journal=Journal(evaluations),
            handover=Handover(evaluations),
            quarantine=self._quarantine,
            sink=self._sink(),
            baseline=TableBaseline(open_table(self._settings.storage, BASELINE_TABLE)),
            policy=self._settings.policy,
            streams=(self._settings.findings_stream, self._settings.health_stream),
            retention=self._settings.retention,
        )

    @cached_property
    def _store(self) -> BucketStore:
        return BucketStore(open_table(self._settings.storage, BUCKETS_TABLE))

    @cached_property
    def _quarantine(self) -> Quarantine:
        return Quarantine(
            open_table(self._settings.storage, QUARANTINE_TABLE),
            excerpt_characters=self._settings.quarantine_characters,
        )

    def _sink(self) -> Sink:
        endpoint, rule_id = self._settings.ingestion_endpoint, self._settings.ingestion_rule_id
        if endpoint and rule_id:
            return LogAnalyticsSink(endpoint, rule_id)
        assert self._log_sink is not None
        return self._log_sink
