"""Two hosts of one deployment in bad weather: the real ingest, orchestration and evaluation over tables in memory."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from detectors.errors import PostingError, StorageError
from detectors.evaluation.policy import Policy
from detectors.evaluator import Evaluator
from detectors.events import Event, Source
from detectors.ingest import Ingest
from detectors.ingestion.counting import BatchCounter
from detectors.reporting.sinks import JsonRow
from detectors.storage.baseline_table import TableBaseline
from detectors.storage.buckets import BucketStore
from detectors.storage.handover import Handover
from detectors.storage.journal import Journal
from detectors.storage.quarantine import Quarantine
from detectors.storage.slices import SLICES
from detectors.storage.tables import MemoryTable, Table
from detectors.windows import WINDOW, bucket_start
from tests.builders import NAMESPACE, chat, list_key, message
from tests.chaos.runs import Run
from tests.chaos.story import Arrived, Step, Story, arrived, begin, own_minute
from tests.chaos.weather import KilledError, StormyTable, Weather

LISTINGS, CHATS = "model_theft", "denial_of_service"
AT_LEAST = 3
"""Listings, or chats in one minute, at which a rule fires here."""

POLICY = Policy(
    {LISTINGS: {"count": AT_LEAST, "response_length": 10**9}, CHATS: {"count": AT_LEAST, "request_length": 0}}
)
RETENTION = timedelta(hours=7)
ACT = timedelta(hours=5)
"""Time goes by up to here; what is later is no longer within reach of the evaluation."""

PLACE = ("Partition", "Sequence", "Index")
_COUNTER = BatchCounter(POLICY.rules)


class Cluster:
    """Two hosts, the tables, the endpoint and the hub.

    Attributes:
        rows: posted rows by stream, in their order.
    """

    def __init__(self, told: Story) -> None:
        self.now = begin(0)
        self.rows: list[tuple[str, JsonRow]] = []
        self.tables = self._open_tables()
        self.weather = Weather(self._take_next)
        self.runs: list[Run] = []
        self._is_away = False
        events = arrived(told)
        self._partitions = [
            [_event(one) for one in events if one.partition == number]
            for number in range(max((len(act.arrivals) for act in told.acts), default=0))
        ]
        self._checkpoints = [0] * len(self._partitions)
        self._ingests, self._evaluators = [self._ingest()] * 2, [self._evaluator()] * 2
        for host in (0, 1):
            self._restart(host)
        self._steps: Iterator[Step] = iter(())
        self._act = 0
        self._host: int | None = None  # the one that is in the middle of a request

    def play(self, number: int, steps: Sequence[Step]) -> None:
        """Play an act; afterwards everything that is left is delivered and evaluated."""
        self.now, self._act, self._steps = max(self.now, begin(number)), number, iter(steps)
        for step in self._steps:
            self._take(step)
        self.settle()

    def settle(self) -> None:
        """End the storms, deliver what is left, and evaluate until everything is silent."""
        self._leave(is_away=False)
        self.weather.mishaps = ()
        for partition in range(len(self._partitions)):
            self._deliver(Step("batch", which=partition, size=10**6))
        self._finish(Run(self.now))  # before the oldest window is out of reach
        self.now += 2 * WINDOW
        self._finish(Run(self.now))

    def finish(self) -> None:
        """Let runs that are under way go on to their end, and evaluate once more."""
        for run in self.runs:
            self._finish(run)
        self.settle()

    def close(self) -> None:
        """End what it runs on; nothing here."""

    def is_settled(self) -> bool:
        """Tell whether nothing is due."""
        return self._evaluators[0].plan(bucket_start(self.now), None) is None

    def counts(self, since: datetime) -> Counter[tuple[str, datetime, str]]:
        """Return what is counted from a time on, by rule, bucket and account."""
        found: Counter[tuple[str, datetime, str]] = Counter()
        for segment in BucketStore(self.tables["buckets"]).segments(since, self.now, range(SLICES)):
            for key, tally in segment.tallies():
                if key.rule_id in {LISTINGS, CHATS}:
                    found[key.rule_id, segment.bucket, key.group[0]] += tally.count
        return found

    def quarantined(self) -> set[tuple[int, int, int]]:
        """Return the places of records that were kept in quarantine: partition, sequence number, index."""
        rows = list(self.tables["quarantine"].query("0", "3"))
        partition, sequence, index = ([int(str(row.values[name])) for row in rows] for name in PLACE)
        return set(zip(partition, sequence, index, strict=True))

    def post(self, stream: str, rows: Sequence[JsonRow]) -> None:
        """See `Sink.post`."""
        if self._is_away:
            raise PostingError("the endpoint is away")
        self.weather.carry_out(lambda: self.rows.extend((stream, row) for row in rows), PostingError)

    def _take_next(self) -> None:
        """Take the next step before a request of this one, on the other host; runs may be the same one."""
        step, weather = next(self._steps, None), self.weather
        if step is None or self._host is None:
            return
        outer, kept, done = self._host, weather.mishaps, weather.requests
        self._take(step._replace(host=1 - outer, mishaps=[one for one in step.mishaps if one[1] != "meanwhile"]))
        self._host, weather.mishaps, weather.requests = outer, kept, done

    def _take(self, step: Step) -> None:
        self._host, self.weather.mishaps, self.weather.requests = step.host, step.mishaps, 0
        self.now += timedelta(milliseconds=1)
        try:
            match step.what:
                case "batch":
                    self._deliver(step)
                case "tick":
                    self._tick(self.now + timedelta(minutes=step.minutes))
                case "go":
                    self._go(step)
                case "wait":
                    self.now = max(self.now, min(self.now + timedelta(minutes=step.minutes), begin(self._act) + ACT))
                case "restart":
                    self._restart(step.host)
                case _:
                    self._leave(is_away=step.what == "away")
        except KilledError:
            self._restart(step.host)

    def _deliver(self, step: Step) -> None:
        """Bring a host a batch: it begins at the checkpoint or before, which moves if the function takes it."""
        number, checkpoint = step.which, self._checkpoints[step.which]
        known = [one for one in self._partitions[number] if one.enqueued < begin(self._act) + ACT]
        events = known[max(0, checkpoint - step.again) : checkpoint + step.size]
        if not events:
            return
        self.now = max(self.now, events[-1].enqueued)
        try:
            self._count(step.host, Source(NAMESPACE, "llm-logs", str(number)), events)
        except StorageError:
            return
        self._checkpoints[number] = max(self._checkpoints[number], events[-1].sequence + 1)

    def _leave(self, *, is_away: bool) -> None:
        self._is_away = is_away

    def _open_tables(self) -> dict[str, Table]:
        return {name: MemoryTable() for name in ("buckets", "journal", "baseline", "quarantine")}

    def _count(self, host: int, source: Source, events: Sequence[Event]) -> None:
        self._ingests[host](source, events)

    def _tick(self, clock: datetime) -> None:
        """Start the run of a timer, unless it is under way."""
        run = Run(clock)
        if run.until not in {one.until for one in self.runs}:
            self.runs.append(run)

    def _go(self, step: Step) -> None:
        if not self.runs:
            return
        run = self.runs[step.which % len(self.runs)]
        for _ in range(step.size):
            if not run.is_over:
                run.go_on(self._evaluators[step.host], self.now)
                self.now += timedelta(milliseconds=1)
        self.runs = [one for one in self.runs if not one.is_over]

    def _finish(self, run: Run) -> None:
        while not run.is_over:
            run.go_on(self._evaluators[0], self.now)
            self.now += timedelta(milliseconds=1)

    def _restart(self, host: int) -> None:
        self._ingests[host], self._evaluators[host] = self._ingest(), self._evaluator()

    def _table(self, name: str) -> StormyTable:
        return StormyTable(self.tables[name], self.weather)

    def _quarantine(self) -> Quarantine:
        return Quarantine(self._table("quarantine"), excerpt_characters=0)

    def _ingest(self) -> Ingest:
        return Ingest(BucketStore(self._table("buckets")), self._quarantine(), _COUNTER, lambda: self.now)

    def _evaluator(self) -> Evaluator:
        return Evaluator(
            store=BucketStore(self._table("buckets")),
            journal=Journal(self._table("journal")),
            handover=Handover(self._table("journal")),
            quarantine=self._quarantine(),
            sink=self,
            baseline=TableBaseline(self._table("baseline")),
            policy=POLICY,
            streams=("findings", "health"),
            retention=RETENTION,
        )


def _event(one: Arrived) -> Event:
    return Event(one.sequence, one.at, message(*(_record(one, place) for place in range(len(one.records)))))


def _record(one: Arrived, place: int) -> dict[str, Any]:
    """Make a record. Each has a caller of its own, so that small slices are soon full."""
    record, caller = one.records[place], str(uuid5(NAMESPACE_OID, f"{one.partition} {one.sequence} {place}"))
    match record.kind:
        case "listing":
            return list_key(record.account, caller=caller)
        case "chat":
            told = chat(record.account, requestLength=10, objectId=caller)
            return {**told, "time": f"{own_minute(one.at):%Y-%m-%dT%H:%M:%SZ}"}
        case _:
            return {**list_key(), "resourceId": None}
