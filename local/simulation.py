"""Plays a stretch of time: traffic into the functions as it arrives, the timer every ten minutes, faults on request."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

from detectors.detector import BUCKETS_TABLE, QUARANTINE_TABLE
from detectors.events import Event
from detectors.reporting.finding import Finding, columns
from detectors.reporting.heartbeat import Heartbeat
from detectors.rules.tally import Group
from detectors.sources.decoding import decode, own_time
from detectors.storage.azure_tables import open_table
from detectors.storage.buckets import BucketStore
from detectors.storage.connection import StorageConnection
from detectors.storage.slices import SLICES
from detectors.storage.tables import Row
from detectors.windows import BUCKET, WINDOW, bucket_start, record_times, window_ends
from local.azurite import Azurite
from local.event_hub import Partition
from local.host import LocalHost, sample_settings
from local.monitor import Monitor
from local.monitor import Row as PostedRow
from local.traffic import Message

DELIVERY_DELAY = timedelta(seconds=3)
TICK_DELAY = timedelta(seconds=45)
"""How long after a bucket's end the timer fires, as in the sample's EVALUATION_SCHEDULE."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong on the way, repeatably.

    Attributes:
        redelivered: the share of batches that begin with events delivered before.
        crash_at: when the host dies with a batch counted and its checkpoint not written.
        silent: timers in this stretch do not fire.
        seed: of the choice of batches.
    """

    redelivered: float = 0.0
    crash_at: datetime | None = None
    silent: tuple[datetime, datetime] | None = None
    seed: int = 1


@dataclass(slots=True)
class Outcome:
    """What came out.

    Attributes:
        findings: rows posted for findings, in order.
        heartbeats: rows posted for health, in order.
        quarantine: flawed records kept.
        counts: records counted, by rule, group and start of the bucket, as stored.
        invocations: calls of the ingest function.
        redelivered: events that were handed over more than once.
    """

    findings: list[PostedRow] = field(default_factory=list)
    heartbeats: list[PostedRow] = field(default_factory=list)
    quarantine: list[Row] = field(default_factory=list)
    counts: Counter[tuple[str, Group, datetime]] = field(default_factory=Counter)
    invocations: int = 0
    redelivered: int = 0


class Simulation:
    """A stretch of time on a machine of its own: storage, endpoint and functions live as long as it does.

    Args:
        messages: what arrives, in order for each partition.
        settings: over those of the sample.
        batch_size: events in one invocation at most.
        faults: what goes wrong.
    """

    def __init__(
        self,
        messages: Iterable[Message],
        *,
        settings: Mapping[str, str] | None = None,
        batch_size: int = 100,
        faults: Faults | None = None,
    ) -> None:
        self.partitions: dict[int, Partition] = {}
        for message in messages:
            partition = self.partitions.setdefault(message.partition, Partition(message.partition))
            partition.append(message.enqueued, message.body)
        self._settings = dict(settings or {})
        self.batch_size = batch_size
        self._faults = faults or Faults()
        self._rng = Random(self._faults.seed)
        self._outcome = Outcome()

    @property
    def windows(self) -> Sequence[datetime]:
        """The window ends from the first arrival until the last one has left the window."""
        arrivals = [event.enqueued for partition in self.partitions.values() for event in partition.events]
        if not arrivals:
            return []
        return list(window_ends(bucket_start(min(arrivals)) + BUCKET, bucket_start(max(arrivals)) + BUCKET + WINDOW))

    def run(self, on_window: Callable[[datetime], None]) -> Outcome:
        """Play it all; `on_window` hears of every window end that has passed."""
        settings = sample_settings() | self._settings
        findings, health = settings["LOGS_INGESTION_STREAM"], settings["LOGS_INGESTION_HEALTH_STREAM"]
        schema = {findings: columns(Finding), health: columns(Heartbeat)}
        with Azurite() as azurite, Monitor(schema) as monitor:
            settings |= {"AzureWebJobsStorage": azurite.connection_string, **monitor.environment()}
            self._live(settings, on_window)
            connection = StorageConnection(connection_string=azurite.connection_string)
            self._outcome.findings, self._outcome.heartbeats = monitor.rows[findings], monitor.rows[health]
            self._outcome.quarantine = list(open_table(connection, QUARANTINE_TABLE).query("0", "3"))
            self._outcome.counts = _counts(BucketStore(open_table(connection, BUCKETS_TABLE)), self.windows)
        return self._outcome

    def _live(self, settings: Mapping[str, str], on_window: Callable[[datetime], None]) -> None:
        windows = list(self.windows)
        while windows:
            with LocalHost(settings, windows[0]) as host:
                crashed = False
                while windows and not crashed:
                    window_end = windows.pop(0)
                    crashed = self._arrive(host, window_end)
                    if crashed:
                        windows.insert(0, window_end)  # the next life goes on where this one ended
                    elif not self._is_silent(window_end):
                        host.tick(window_end + TICK_DELAY)
                    on_window(window_end)

    def _arrive(self, host: LocalHost, until: datetime) -> bool:
        """Hand over what arrived before a time; whether the host died doing so."""
        for partition in self.partitions.values():
            for batch in partition.batches(self.batch_size, until):
                again = self._again(partition)
                host.now = batch[-1].enqueued + DELIVERY_DELAY
                host.ingest(partition.number, [*again, *batch])
                self._outcome.invocations += 1
                self._outcome.redelivered += len(again)
                if self._faults.crash_at and until > self._faults.crash_at:
                    self._faults = replace(self._faults, crash_at=None)
                    self._outcome.redelivered += len(batch)
                    return True  # leaving the loop here leaves the checkpoint where it was
        return False

    def _again(self, partition: Partition) -> Sequence[Event]:
        if self._rng.random() >= self._faults.redelivered:
            return []
        first = max(partition.checkpoint - self._rng.randint(1, self.batch_size), 0)
        return partition.events[first : partition.checkpoint]

    def _is_silent(self, window_end: datetime) -> bool:
        silent = self._faults.silent
        return silent is not None and silent[0] < window_end <= silent[1]


def _counts(store: BucketStore, windows: Sequence[datetime]) -> Counter[tuple[str, Group, datetime]]:
    counts = Counter[tuple[str, Group, datetime]]()
    for bucket in (window_end - BUCKET for window_end in windows):
        for _, key, tally in store.read(bucket, range(SLICES)):
            counts[key.rule_id, key.group, bucket] += tally.count
    return counts


def messages_of(path: Path, partitions: int) -> list[Message]:
    """Messages from a file with one body a line: a message as Azure sends it, or a bare record.

    They arrive when their first record says, in that order, and are dealt out over the partitions. A line without
    a readable time arrives with the one before it.

    Raises:
        OSError: the file cannot be read.
        ValueError: no line says when it arrived.
    """
    bodies = [line for line in path.read_bytes().splitlines() if line.strip()]
    times = [_time(body) for body in bodies]
    known = [time for time in times if time]
    if not known:
        raise ValueError(f"{path}: no line holds a record with a readable time")
    arrivals: list[tuple[datetime, bytes]] = []
    last = known[0]
    for body, time in zip(bodies, times, strict=True):
        last = time or last
        arrivals.append((last, body))
    arrivals.sort(key=lambda arrival: arrival[0])
    return [Message(place % partitions, at, body) for place, (at, body) in enumerate(arrivals)]


def _time(body: bytes) -> datetime | None:
    times = record_times([own_time(record) for record in decode(body).records])
    return next((time for time in times if time is not None), None)
