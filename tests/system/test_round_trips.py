"""How many requests to storage a window costs, and that shards see all, whatever their number."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest

from detectors import evaluator
from detectors.errors import StorageError
from detectors.evaluation.policy import Policy
from detectors.evaluator import Evaluator
from detectors.events import Event
from detectors.ingest import Ingest
from detectors.ingestion.counting import BatchCounter
from detectors.reporting.heartbeat import RunProgress
from detectors.rules.catalogue import CATALOGUE
from detectors.storage.baseline_table import TableBaseline
from detectors.storage.buckets import BucketStore
from detectors.storage.handover import Handover
from detectors.storage.journal import Journal
from detectors.storage.quarantine import Quarantine
from detectors.storage.slices import SLICES
from detectors.storage.tables import MemoryTable
from detectors.windows import BUCKET
from tests.builders import SOURCE, START, chat, list_key, message
from tests.deployment import Deployment, Posted
from tests.intercepted_table import InterceptedTable, Operation

_PAGE_ROWS = 1_000
"""Rows that the service gives in one answer at most.

https://learn.microsoft.com/rest/api/storageservices/query-timeout-and-pagination
"""

AT_REST = 5
"""Two to plan a window, two to evaluate it, one to record it."""


class CountingTable(InterceptedTable):
    """A table that counts requests, as Table Storage would get them."""

    def __init__(self) -> None:
        super().__init__(MemoryTable())
        self.requests = Counter[Operation]()

    def request[T](self, operation: Operation, carry_out: Callable[[], T]) -> T:
        """Count a request, or one for each page of a query."""
        found = carry_out()
        self.requests[operation] += max(-(-len(found) // _PAGE_ROWS), 1) if isinstance(found, list) else 1
        return found


class Counted:
    """A deployment with the baseline in storage, whose requests are counted."""

    def __init__(self) -> None:
        self.tables = [CountingTable() for _ in range(4)]
        buckets, journal, quarantine, baseline = self.tables
        self.store, self.posted = BucketStore(buckets), Posted()
        kept = Quarantine(quarantine, excerpt_characters=9)
        self.ingest = Ingest(self.store, kept, BatchCounter(CATALOGUE), lambda: START)
        self.evaluator = Evaluator(
            store=BucketStore(buckets),
            journal=Journal(journal),
            handover=Handover(journal),
            quarantine=kept,
            sink=self.posted,
            baseline=TableBaseline(baseline),
            policy=Policy(),
            streams=("findings", "health"),
            retention=timedelta(hours=25),
        )

    def windows(self, records: Sequence[object], many: int) -> list[int]:
        """Count and evaluate the same records in each ten minutes; return the requests of each window."""
        spent = []
        for place in range(many):
            at = START + place * BUCKET
            for first in range(0, len(records), 1_000):
                event = Event(place * 1_000 + first // 1_000, at, message(*records[first : first + 1_000]))
                self.ingest(SOURCE, [event])
            self._spent()
            plan = self.evaluator.plan(at + BUCKET, at)
            assert plan is not None
            parcels = [self.evaluator.evaluate_shard(plan, shard) for shard in range(plan.shards)]
            self.evaluator.conclude(plan, parcels, RunProgress(), at + BUCKET)
            spent.append(self._spent())
        return spent

    def _spent(self) -> int:
        spent = sum(table.requests.total() for table in self.tables)
        for table in self.tables:
            table.requests.clear()
        return spent


@pytest.mark.parametrize("accounts", [0, 1, 1_000])
def test_a_window_at_rest_takes_five_requests(accounts: int) -> None:
    """However many accounts log; the first window writes what is learnt of them, in transactions for each slice."""
    first, *others = Counted().windows([list_key(f"aoai-{one}", caller=f"{one}") for one in range(accounts)], 4)
    assert others == [AT_REST] * 3
    assert first <= AT_REST + SLICES


def test_open_episodes_take_one_request_and_findings_another() -> None:
    """However many."""
    spent = Counted().windows([list_key(f"aoai-{number}") for number in range(300) for _ in range(100)], 4)
    assert spent[1:] == [AT_REST + 2] * 3


def test_many_new_accounts_are_learnt_in_transactions() -> None:
    """A request for each slice, not for each account; and they are read in no more than the buckets are."""
    records = [list_key(f"aoai-{number}", caller=f"{number}") for number in range(5_000)]
    first, second = Counted().windows(records, 2)
    assert first <= AT_REST + SLICES
    assert second == AT_REST


def test_purging_a_day_takes_a_request_for_a_hundred_rows() -> None:
    """And four to look."""
    counted = Counted()
    counted.windows([list_key()], 6)
    for partition in range(250):
        counted.ingest(SOURCE._replace(partition=str(partition)), [Event(1, START, message(list_key()))])
    counted._spent()  # noqa: SLF001 - our own
    assert counted.evaluator.purge(START + timedelta(hours=30)) == 250 + 5 + 5
    assert counted._spent() == 4 + 3 + 5 + 1  # noqa: SLF001 - likewise


@pytest.mark.parametrize("shards", [2, 5, SLICES])
def test_findings_and_heartbeats_do_not_depend_on_the_number_of_shards(
    monkeypatch: pytest.MonkeyPatch, shards: int
) -> None:
    """Which is chosen by what there is to read."""
    alone, many = Deployment(), Deployment()
    for deployment in (alone, many):
        monkeypatch.setattr(evaluator, "shards_for", lambda _, most=1 if deployment is alone else shards: most)
        for tick in range(1, 10):
            for number in range(20 if tick < 4 else 0):
                deployment.receive(START + (tick - 1) * BUCKET, 40, f"aoai-{number}", caller=f"caller-{number}")
                deployment.arrive(START + (tick - 1) * BUCKET, *[chat(f"aoai-{number}", requestLength=9_000)] * 12)
            deployment.tick(START + tick * BUCKET)
    assert many.posted.rows == alone.posted.rows
    assert len(alone.posted.newest()) > 100


def test_shards_of_another_release_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the groups must not be taken for all of them; the window stays due."""
    deployment = Deployment()
    deployment.receive(START, 150)
    monkeypatch.setattr(evaluator, "shards_for", lambda _: 4)
    plan, parcels = deployment.half_way(START + BUCKET)
    with pytest.raises(StorageError, match="two releases"):
        deployment.evaluator.conclude(plan, parcels[:1], RunProgress(), START + BUCKET)
    assert deployment.posted.rows == []
    assert deployment.tick(START + BUCKET) == ["08:10"]
