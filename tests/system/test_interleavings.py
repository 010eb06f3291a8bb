"""Two hosts, every order of their requests within bounds, every fault at each: counts stay exact, no window is lost.

This is the real code. Each guard that makes it so is taken out in turn, and then some schedule shows what it is for.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache

import pytest

from detectors.errors import ConflictError, PostingError, StorageError
from detectors.evaluation.baseline import MemoryBaseline
from detectors.evaluation.policy import Policy
from detectors.evaluator import Evaluator
from detectors.events import Event, Source
from detectors.ingest import Ingest
from detectors.ingestion.counting import BatchCounter
from detectors.reporting.heartbeat import RunProgress
from detectors.reporting.sinks import JsonRow
from detectors.rules.catalogue import BY_ID
from detectors.storage.buckets import BucketStore
from detectors.storage.handover import Handover
from detectors.storage.journal import Journal
from detectors.storage.quarantine import Quarantine
from detectors.storage.tables import MemoryTable, Row, Table
from detectors.windows import BUCKET, bucket_start, time_of
from tests.builders import SOURCE, START, event, list_key
from tests.interleavings import Host, Schedule, TurnSink, TurnTable, explore, run

THEFT = BY_ID["model_theft"]
COUNTER = BatchCounter([THEFT])
ATTEMPTS = 4
"""How often a host tries again: the trigger without end, an orchestration until its retries are used up."""

END = START + BUCKET


def _counts(buckets: Table, events: Sequence[Event]) -> bool:
    """Count a batch as an invocation does, and again when it fails; tell whether it succeeded."""
    ingest = Ingest(BucketStore(buckets), Quarantine(MemoryTable(), excerpt_characters=0), COUNTER, lambda: START)
    return any(_succeeds(ingest, events) for _ in range(ATTEMPTS))


def _succeeds(ingest: Ingest, events: Sequence[Event]) -> bool:
    try:
        ingest(SOURCE, events)
    except StorageError:
        return False
    return True


def _keys_listed(buckets: MemoryTable) -> int:
    return sum(tally.count for _, key, tally in BucketStore(buckets).read(START, range(16)) if key.rule_id == THEFT.id)


EVENTS = [event(1, list_key()), event(2, list_key(), list_key()), event(3, *[list_key()] * 4)]
"""Their numbers of records tell from a sum which of them were counted, and how often."""


def _counting(schedule: Schedule) -> None:
    """Two hosts get the same partition, each in batches of its own; the next owner gets what none of them finished."""
    buckets, checkpoint = MemoryTable(), 0

    def host(*sizes: int) -> Callable[[Host], object]:
        def work(host: Host) -> None:
            nonlocal checkpoint
            table, done = TurnTable(buckets, host), 0
            ingest = Ingest(BucketStore(table), Quarantine(MemoryTable(), excerpt_characters=0), COUNTER, lambda: START)
            for size in sizes:
                if not any(_succeeds(ingest, EVENTS[done : done + size]) for _ in range(ATTEMPTS)):
                    return
                done += size
                checkpoint = max(checkpoint, done)

        return work

    run(schedule, [host(2, 1), host(1, 1, 1)], switches=3, faults=2)
    if checkpoint < len(EVENTS):
        _counts(buckets, EVENTS[checkpoint:])
    assert _keys_listed(buckets) == 7


@pytest.mark.real
def test_counts_are_exact_in_every_order_of_two_owners() -> None:
    """Whatever request fails, is lost or is the last of its host."""
    assert explore(_counting) > 400


def _overwritten(table: MemoryTable, row: Row) -> str:
    known = next(table.query(row.partition, row.partition, key_prefix=row.key), None)
    return MemoryTable.write(table, [replace(row, etag=known.etag if known else None)]) or "v"  # type: ignore[func-returns-value]


def _counted_anew(ingest: Ingest, source: Source, bucket: datetime, events: Sequence[Event]) -> None:
    segment = ingest._store.newest(source, bucket)  # noqa: SLF001 - takes a guard out of the real code
    for _ in range(ATTEMPTS):
        try:
            ingest._add(segment, events)  # noqa: SLF001 - likewise
        except ConflictError:
            segment = ingest._store.reload(source, bucket)  # noqa: SLF001 - likewise
        else:
            return


COUNTING_GUARDS: dict[str, tuple[type, str, object]] = {
    "conditional writes": (MemoryTable, "merge", _overwritten),
    "the watermark": (Ingest, "_count", _counted_anew),
}


@pytest.mark.parametrize("guard", COUNTING_GUARDS)
def test_without_a_guard_of_counting_some_order_counts_wrongly(guard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it is for is not covered by the others."""
    monkeypatch.setattr(*COUNTING_GUARDS[guard])
    with pytest.raises(AssertionError):
        explore(_counting)


@cache
def _listings(sequence: int, count: int, at: datetime) -> Event:
    """Make an event of key listings; the same one for each schedule."""
    return event(sequence, *[list_key()] * count, after=at - START)


class _World:
    """The tables and what was posted."""

    def __init__(self) -> None:
        self.buckets, self.journal = MemoryTable(), MemoryTable()
        self.posted: list[tuple[str, JsonRow]] = []
        self.receive(self.buckets, 1, 120, START)

    def receive(self, buckets: Table, sequence: int, count: int, at: datetime) -> None:
        """Count key listings that arrive at a time."""
        _counts(buckets, [_listings(sequence, count, at)])

    def evaluator(self, host: Host | None) -> Evaluator:
        """Return an evaluator as a host runs it; without one, as a later run does, undisturbed."""
        store = BucketStore(TurnTable(self.buckets, host) if host else self.buckets)
        journal = TurnTable(self.journal, host) if host else self.journal
        return Evaluator(
            store=store,
            journal=Journal(journal),
            handover=Handover(journal),
            quarantine=Quarantine(MemoryTable(), excerpt_characters=0),
            sink=TurnSink(self.posted, host) if host else _Sink(self.posted),
            baseline=MemoryBaseline(),
            policy=Policy({THEFT.id: {threshold.name: threshold.at_least for threshold in THEFT.thresholds}}),
            streams=("findings", "health"),
            retention=timedelta(hours=2),
        )

    def tick(self, until: datetime, host: Host | None = None, *, purges: bool = False) -> None:
        """Evaluate what is due as an orchestration does, and again when a step fails."""
        evaluator, after = self.evaluator(host), None
        for _ in range(ATTEMPTS):
            try:
                while plan := evaluator.plan(until, after):
                    parcels = [evaluator.evaluate_shard(plan, shard) for shard in range(plan.shards)]
                    if not evaluator.conclude(plan, parcels, RunProgress(0, 0, reevaluated=False), until).recorded:
                        return
                    after = time_of(plan.window_end)
                if purges:
                    evaluator.purge(until)
            except (StorageError, PostingError):
                continue
            return

    def newest(self) -> list[tuple[str, str, int]]:
        """Return what a reader sees: the last row of each finding."""
        rows = {row["FindingId"]: row for stream, row in self.posted if stream == "findings"}
        return sorted((row["WindowEnd"], row["Status"], row["EventCount"]) for row in rows.values())


class _Sink:
    def __init__(self, rows: list[tuple[str, JsonRow]]) -> None:
        self._rows = rows

    def post(self, stream: str, rows: Sequence[JsonRow]) -> None:
        self._rows += [(stream, row) for row in rows]


def _undisturbed(late: int) -> list[tuple[str, str, int]]:
    world = _World()
    world.receive(world.buckets, 2, late, START)
    world.tick(END)
    return world.newest()


LATE = 130
EXPECTED = _undisturbed(LATE)


def _evaluating(schedule: Schedule) -> None:
    """Two runs evaluate a window while late records come into its bucket; then one more looks for what is due."""
    world = _World()

    def late_records_and_a_run(host: Host) -> None:
        world.receive(TurnTable(world.buckets, host), 2, LATE, START)
        world.tick(END, host)

    run(schedule, [lambda host: world.tick(END, host), late_records_and_a_run], switches=2, faults=0)
    world.receive(world.buckets, 2, LATE, START)
    world.tick(END)
    assert world.newest() == EXPECTED
    assert world.evaluator(None).plan(END, None) is None


def _failing(schedule: Schedule) -> None:
    """One run after the other, and one request of all goes wrong."""
    world = _World()
    works: list[Callable[[Host], object]] = [
        lambda host: world.tick(END, host),
        lambda host: world.receive(TurnTable(world.buckets, host), 2, LATE, START),
    ]
    run(schedule, works, switches=1, faults=1)
    world.receive(world.buckets, 2, LATE, START)
    world.tick(END)
    assert world.newest() == EXPECTED
    assert world.evaluator(None).plan(END, None) is None


@pytest.mark.parametrize("check", [_evaluating, _failing])
def test_no_window_is_lost_and_the_last_row_is_true_in_every_order_of_two_runs(
    check: Callable[[Schedule], None],
) -> None:
    """As if everything had been there from the beginning and one run had evaluated it."""
    assert EXPECTED == [("2026-11-23T08:10:00Z", "New", 120 + LATE)]
    assert explore(check) > 100


def _purging(schedule: Schedule) -> None:
    """Evaluate a window late, while another run, of hours later, purges what that window is made of."""
    world = _World()
    world.tick(END)
    before = world.newest()
    world.receive(world.buckets, 2, LATE, START + timedelta(hours=3))
    later = bucket_start(START + timedelta(hours=3, minutes=10))

    def makes_it_due_and_runs(host: Host) -> None:
        world.receive(TurnTable(world.buckets, host), 3, 1, START)
        world.tick(END, host)

    works = [makes_it_due_and_runs, lambda host: world.tick(later, host, purges=True)]
    run(schedule, works, switches=2, faults=0)
    world.tick(later, purges=True)
    first = next(row for row in world.newest() if row[0] == before[0][0])
    assert first in {before[0], (before[0][0], "New", 121)}


@pytest.mark.real
def test_a_purge_beside_a_run_takes_nothing_out_of_its_window() -> None:
    """The window stays as it was, or has all of its records."""
    assert explore(_purging) > 100


def _recorded_anyway(journal: Journal, row: Row) -> None:
    journal._table.upsert([row])  # noqa: SLF001 - takes a guard out of the real code


EVALUATING_GUARDS: dict[str, tuple[type, str, object, Callable[[Schedule], None]]] = {
    "reopening a window": (Journal, "reopen", lambda *_: None, _evaluating),
    "conditional records": (Journal, "record", _recorded_anyway, _evaluating),
}


@pytest.mark.parametrize("guard", EVALUATING_GUARDS)
def test_without_a_guard_of_evaluation_some_order_is_told_wrongly(guard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it is for is not covered by the others."""
    owner, name, without, check = EVALUATING_GUARDS[guard]
    monkeypatch.setattr(owner, name, without)
    with pytest.raises(AssertionError):
        explore(check)
