"""Some hours of a detector with whom everything goes wrong, and what should come out of it all the same.

Two hosts share two partitions. Batches are delivered again, cut anew, or by the other host. Requests to storage and
posts fail, or lose their answers. Hosts start anew with nothing in memory; runs overlap, are late or do not come.
Buckets may hold so little that they go on in further rows. In the end the storms are over, and one more run looks for
what is due.

What should come out is told by plain loops over the events, which know nothing of buckets, journals and episodes.

`python -m tests.chaos` plays stories, says how far it is, and shortens a story that ends badly. A seed tells its story
again.
"""

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple
from unittest.mock import patch

from detectors.errors import PostingError, StorageError
from detectors.evaluation.policy import Policy
from detectors.evaluator import Evaluator
from detectors.events import Event, Source
from detectors.ingest import Ingest
from detectors.ingestion.counting import BatchCounter
from detectors.reporting.heartbeat import RunProgress
from detectors.reporting.sinks import JsonRow
from detectors.storage import buckets
from detectors.storage.baseline_table import TableBaseline
from detectors.storage.buckets import BucketStore
from detectors.storage.handover import Handover
from detectors.storage.journal import Journal
from detectors.storage.quarantine import Quarantine
from detectors.storage.slices import SLICES
from detectors.storage.tables import MemoryTable, Row
from detectors.windows import BUCKET, WINDOW, bucket_start, time_of, window_ends
from tests.builders import NAMESPACE, START, canonical_id, list_key, message

RULE = "model_theft"
AT_LEAST = 3
"""Key listings at which the rule fires here."""

ACCOUNTS = ("first", "second", "third")
POLICY = Policy().alone(RULE).with_number(RULE, "count", AT_LEAST)
RETENTION = timedelta(hours=25)
_COUNTER = BatchCounter(POLICY.rules)
_ESCALATES = 2


class Step(NamedTuple):
    """What happens next: a batch comes, a run starts, time goes by, a host starts anew. Numbers say how much of it."""

    what: str
    host: int = 0
    partition: int = 0
    again: int = 0
    size: int = 1
    minutes: int = 0


class Story(NamedTuple):
    """What happens in a schedule.

    Attributes:
        arrivals: by partition, for each event the minute of its arrival, and the accounts whose keys were listed.
        steps: what happens, in order; afterwards everything that is left is delivered and evaluated.
        faults: requests to storage or sink that go wrong, by their number: refused or, if true, only their answer lost.
        overlaps: requests before which another run comes in between.
        slice_bytes: how much a part of a bucket's row holds.
    """

    arrivals: Sequence[Sequence[tuple[int, Sequence[str]]]]
    steps: Sequence[Step]
    faults: dict[int, bool]
    overlaps: Sequence[int] = ()
    slice_bytes: int = buckets.MAX_SLICE_BYTES


def story(seed: int) -> Story:
    """Make up a story; the same seed tells the same one."""
    rng = Random(seed)
    rate = rng.choice([0.0, 0.02, 0.1, 0.25])
    arrivals = [list(_arrivals(rng)) for _ in range(rng.choice([1, 2]))]
    steps = [
        Step(
            rng.choices(("batch", "run", "wait", "restart"), (70, 20, 7, 3))[0],
            rng.randrange(2),
            rng.randrange(len(arrivals)),
            rng.choice([0, 0, 1, 3, 10]),
            rng.randint(1, 6),
            rng.choice([1, 10, 30]),
        )
        for _ in range(rng.randint(10, 120))
    ]
    faults = {number: rng.random() < 0.5 for number in range(2_000) if rng.random() < rate}
    overlaps = [number for number in range(500) if rng.random() < 0.02]
    return Story(arrivals, steps, faults, overlaps, rng.choice([buckets.MAX_SLICE_BYTES, 300, 400]))


def _arrivals(rng: Random) -> Iterator[tuple[int, Sequence[str]]]:
    minute = 0
    for _ in range(rng.randint(3, 40)):
        minute += rng.choice([0, 0, 1, 5, 15, 40])
        yield minute, [rng.choice(ACCOUNTS) for _ in range(rng.choice([1, 1, 1, 2, 3]))]


@dataclass
class Weather:
    """What goes wrong: requests are numbered over all tables and the sink."""

    faults: dict[int, bool]
    overlaps: Sequence[int]
    requests: int = 0
    depth: int = 0
    is_over: bool = False
    meanwhile: Any = None

    def carry_out(self, request: Any, refusal: type[Exception]) -> Any:  # noqa: ANN401 - whatever a table answers
        """Carry a request out, unless it is its turn to fail."""
        if self.is_over:
            return request()
        self.requests += 1
        number = self.requests
        if number in self.overlaps and not self.depth:
            self.depth += 1
            self.meanwhile()
            self.depth -= 1
        if self.faults.get(number) is False:
            raise refusal("refused")
        answer = request()
        if self.faults.get(number):
            raise refusal("the answer is lost")
        return answer


class StormyTable:
    """A table in the weather."""

    def __init__(self, inner: MemoryTable, weather: Weather) -> None:
        self._inner, self._weather = inner, weather

    def insert(self, row: Row) -> str:
        """See `Table.insert`."""
        return str(self._weather.carry_out(lambda: self._inner.insert(row), StorageError))

    def merge(self, row: Row) -> str:
        """See `Table.merge`."""
        return str(self._weather.carry_out(lambda: self._inner.merge(row), StorageError))

    def write(self, rows: Sequence[Row]) -> None:
        """See `Table.write`."""
        self._weather.carry_out(lambda: self._inner.write(rows), StorageError)

    def upsert(self, rows: Sequence[Row]) -> None:
        """See `Table.upsert`."""
        self._weather.carry_out(lambda: self._inner.upsert(rows), StorageError)

    def query(
        self, first: str, last: str, *, key_prefix: str = "", columns: Sequence[str] | None = None
    ) -> Iterator[Row]:
        """See `Table.query`."""
        yield from self._weather.carry_out(
            lambda: list(self._inner.query(first, last, key_prefix=key_prefix, columns=columns)), StorageError
        )

    def delete(self, partition: str, keys: Sequence[str]) -> None:
        """See `Table.delete`."""
        self._weather.carry_out(lambda: self._inner.delete(partition, keys), StorageError)


@dataclass
class Cluster:
    """Two hosts of one deployment.

    Attributes:
        buckets: the table of counts.
        rows: findings, in the order in which they were posted.
    """

    weather: Weather
    buckets: MemoryTable = field(default_factory=MemoryTable)
    rows: list[JsonRow] = field(default_factory=list)
    now: datetime = START

    def __post_init__(self) -> None:
        self._journal, self._baseline = MemoryTable(), MemoryTable()
        self._quarantine = Quarantine(MemoryTable(), excerpt_characters=0)
        self._ingests = [self._new_ingest(), self._new_ingest()]
        self.weather.meanwhile = self.run

    def post(self, stream: str, rows: Sequence[JsonRow]) -> None:
        """See `Sink.post`."""
        findings = rows if stream == "findings" else ()
        self.weather.carry_out(lambda: self.rows.extend(findings), PostingError)

    def deliver(self, host: int, source: Source, events: Sequence[Event]) -> bool:
        """Bring a host a batch; tell whether it was taken."""
        self.now = max(self.now, events[-1].enqueued)
        try:
            self._ingests[host](source, events)
        except StorageError:
            return False
        return True

    def restart(self, host: int) -> None:
        """Start a host anew, with nothing in memory."""
        self._ingests[host] = self._new_ingest()

    def run(self) -> None:
        """Evaluate what is due, as an orchestration does: a step that fails is tried once more, then the run ends."""
        until, after = bucket_start(self.now), None
        evaluator = self._evaluator()
        with suppress(StorageError, PostingError):
            while plan := evaluator.plan(until, after):
                parcels = [evaluator.evaluate_shard(plan, shard) for shard in range(plan.shards)]
                progress = RunProgress(0, 0, reevaluated=plan.etag is not None)
                try:
                    evaluator.conclude(plan, parcels, progress, self.now)
                except (StorageError, PostingError):
                    evaluator.conclude(plan, parcels, progress, self.now)
                after = time_of(plan.window_end)
            evaluator.purge(self.now)

    def is_settled(self) -> bool:
        """Tell whether nothing is due."""
        return self._evaluator().plan(bucket_start(self.now), None) is None

    def counts(self) -> Counter[tuple[datetime, str]]:
        """Return what is counted, by bucket and account."""
        found: Counter[tuple[datetime, str]] = Counter()
        store = BucketStore(self.buckets)
        for bucket in (bucket_start(START) + number * BUCKET for number in range(12 * 24)):
            for _, key, tally in store.read(bucket, range(SLICES)):
                if key.rule_id == RULE:
                    found[bucket, key.group[0]] += tally.count
        return found

    def _new_ingest(self) -> Ingest:
        store = BucketStore(StormyTable(self.buckets, self.weather))
        return Ingest(store, self._quarantine, _COUNTER, lambda: self.now)

    def _evaluator(self) -> Evaluator:
        journal = StormyTable(self._journal, self.weather)
        return Evaluator(
            store=BucketStore(StormyTable(self.buckets, self.weather)),
            journal=Journal(journal),
            handover=Handover(journal),
            quarantine=self._quarantine,
            sink=self,
            baseline=TableBaseline(StormyTable(self._baseline, self.weather)),
            policy=POLICY,
            streams=("findings", "health"),
            retention=RETENTION,
        )


def play(told: Story) -> Cluster:
    """Play a story to its end."""
    with patch.object(buckets, "MAX_SLICE_BYTES", told.slice_bytes):
        return _play(told)


def _play(told: Story) -> Cluster:
    cluster = Cluster(Weather(told.faults, told.overlaps))
    partitions = [_events(arrivals) for arrivals in told.arrivals]
    checkpoints = [0] * len(partitions)

    def deliver(host: int, number: int, again: int, size: int) -> None:
        start, end = max(0, checkpoints[number] - again), checkpoints[number] + size
        events = partitions[number][start:end]
        if events and cluster.deliver(host, _source(number), events):
            checkpoints[number] = max(checkpoints[number], min(end, len(partitions[number])))

    for step in told.steps:
        match step.what:
            case "batch":
                deliver(step.host, step.partition, step.again, step.size)
            case "run":
                cluster.run()
            case "wait":
                cluster.now += timedelta(minutes=step.minutes)
            case _:
                cluster.restart(step.host)
    cluster.weather.is_over = True
    for number, events in enumerate(partitions):
        deliver(0, number, 0, len(events))
    cluster.now += 2 * WINDOW
    cluster.run()
    return cluster


def _events(arrivals: Sequence[tuple[int, Sequence[str]]]) -> list[Event]:
    return [
        Event(sequence, START + timedelta(minutes=minute), message(*[list_key(name) for name in names]))
        for sequence, (minute, names) in enumerate(arrivals)
    ]


def _source(number: int) -> Source:
    return Source(NAMESPACE, "llm-logs", str(number))


def expected_counts(told: Story) -> Counter[tuple[datetime, str]]:
    """Return what should be counted: every record once, in the bucket of its arrival."""
    found: Counter[tuple[datetime, str]] = Counter()
    for arrivals in told.arrivals:
        for minute, names in arrivals:
            found.update((START + timedelta(minutes=minute - minute % 10), canonical_id(name)) for name in names)
    return found


def complaints(told: Story, cluster: Cluster) -> Iterator[str]:
    """Yield what is wrong with what came out: of counts, of each window and account, of episodes."""
    counts = expected_counts(told)
    if cluster.counts() != counts:
        yield f"counts: {sorted((counts - cluster.counts()).items())} missing, {cluster.counts() - counts} too many"
    if not cluster.is_settled():
        yield "a window is still due"
    newest = {row["FindingId"]: row for row in cluster.rows}
    by_account: defaultdict[str, dict[str, JsonRow]] = defaultdict(dict)
    for row in newest.values():
        by_account[row["ResourceId"]][row["WindowEnd"]] = row
    ends = list(window_ends(START, bucket_start(cluster.now)))
    for account in map(canonical_id, ACCOUNTS):
        yield from _wrong(account, counts, by_account[account], ends)


def _wrong(
    account: str, counts: Counter[tuple[datetime, str]], rows: dict[str, JsonRow], ends: Sequence[datetime]
) -> Iterator[str]:
    """Yield what is wrong with an account's findings, window by window."""
    open_id, peak, used = "", 0, set[str]()
    for end in ends:
        row = rows.pop(f"{end:%Y-%m-%dT%H:%M:%SZ}", None)
        count = sum(counts[end - back * BUCKET, account] for back in range(1, 7))
        said = (row["Status"], row["EventCount"], row["EpisodeId"]) if row else ("", 0, "")
        if count < AT_LEAST:
            should = ("Closed", count, open_id) if open_id else ("", 0, "")
            open_id = ""
        else:
            status = "New" if not open_id else "Escalated" if count >= _ESCALATES * peak else "Ongoing"
            open_id = open_id or said[2]
            if status == "New" and open_id in used:
                yield f"{end:%H:%M} {account}: an episode has the id of another"
            peak = count if status != "Ongoing" else peak
            used.add(open_id)
            should = (status, count, open_id)
        if said != should:
            yield f"{end:%H:%M} {account}: {said} instead of {should}"
    if rows:
        yield f"{account}: findings of windows that are none: {sorted(rows)}"


def ending(told: Story) -> list[str]:
    """Play a story; return what is wrong in the end, or the exception that ended it."""
    try:
        return list(complaints(told, play(told)))
    except Exception as error:  # noqa: BLE001 - a story that raises is one that ends badly
        return [repr(error)]


def shortened(told: Story) -> Story:
    """Leave out of a story that ends badly what it ends badly without."""
    for name in ("steps", "faults", "overlaps"):
        size = len(getattr(told, name))
        while size:
            for start in reversed(range(0, len(getattr(told, name)), size)):
                shorter = told._replace(**{name: _without(getattr(told, name), start, size)})
                told = shorter if ending(shorter) else told
            size //= 2
    return told


def _without(parts: Any, start: int, size: int) -> Any:  # noqa: ANN401 - a list, or a dictionary
    kept = [*list(parts)[:start], *list(parts)[start + size :]]
    return {name: parts[name] for name in kept} if isinstance(parts, dict) else kept


def main() -> int:
    """Play stories; the exit code is 1 if one ends badly."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--stories", type=int, default=10_000, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the first story")
    parser.add_argument("--processes", type=int, default=2, metavar="N")
    options = parser.parse_args()
    seeds, bad, counted = range(options.seed, options.seed + options.stories), list[int](), Counter[str]()
    with ProcessPoolExecutor(options.processes) as pool:
        for number, (seed, wrong, faults) in enumerate(pool.map(_told, seeds, chunksize=20), 1):
            counted["faults"] += faults
            bad += [seed] if wrong else []
            if number % (max(options.stories // 20, 1)) == 0 or number == options.stories:
                print(f"{number:>7,} stories, {counted['faults']:,} faults, {len(bad)} ended badly", flush=True)  # noqa: T201
    for seed in bad[:3]:
        told = shortened(story(seed))
        print(f"seed {seed}: {ending(told)}\n{told}")  # noqa: T201
    return int(bool(bad))


def _told(seed: int) -> tuple[int, list[str], int]:
    told = story(seed)
    return seed, ending(told), len(told.faults)


if __name__ == "__main__":
    sys.exit(main())
