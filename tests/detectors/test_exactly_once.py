"""Counts are exact whatever is delivered again, by whom, and wherever a host dies."""

import json
from collections import Counter as Multiset
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detectors.buckets import SLICES, BucketStore
from detectors.counting import BatchCounter
from detectors.errors import ConflictError, StorageError
from detectors.events import Event
from detectors.ingest import Ingest
from detectors.quarantine import Quarantine
from detectors.rules import CATALOGUE
from detectors.table_storage import StorageConnection
from detectors.tables import MemoryTable, Row, Table
from detectors.windows import bucket_start
from local.azurite import Azurite
from tests.builders import SOURCE, START, canonical_id, chat, list_key, message

NAMES = ("aoai-prod", "aoai-dev", "aoai-lab")


@dataclass
class ShakyTable:
    """A table whose next writes go wrong as told, then right again."""

    inner: Table
    before_write: list[Callable[[], None]] = field(default_factory=list)
    after_write: list[Callable[[], None]] = field(default_factory=list)

    def insert(self, row: Row) -> str:
        """See `Table.insert`."""
        return self._shaken(lambda: self.inner.insert(row))

    def merge(self, row: Row) -> str:
        """See `Table.merge`."""
        return self._shaken(lambda: self.inner.merge(row))

    def upsert(self, rows: Sequence[Row]) -> None:
        """See `Table.upsert`."""
        self.inner.upsert(rows)

    def query(
        self, first: str, last: str, *, key_prefix: str = "", columns: Sequence[str] | None = None
    ) -> Iterator[Row]:
        """See `Table.query`."""
        return self.inner.query(first, last, key_prefix=key_prefix, columns=columns)

    def delete(self, partition: str, keys: Sequence[str]) -> None:
        """See `Table.delete`."""
        self.inner.delete(partition, keys)

    def _shaken(self, write: Callable[[], str]) -> str:
        if self.before_write:
            self.before_write.pop()()
        etag = write()
        if self.after_write:
            self.after_write.pop()()
        return etag


def _lost() -> None:
    raise StorageError("connection reset")


def _refused() -> None:
    raise ConflictError("precondition failed")


@dataclass(frozen=True)
class Delivery:
    """One batch: who gets it, how many events are brought again, how many are new, and what goes wrong."""

    host: int
    again: int
    new: int
    fault: str


deliveries = st.builds(
    Delivery,
    host=st.integers(0, 1),
    again=st.integers(0, 12),
    new=st.integers(0, 9),
    fault=st.sampled_from(["none", "none", "before", "after", "dies before", "dies after", "conflict", "other host"]),
)

records = st.one_of(
    st.sampled_from(NAMES).map(list_key),
    st.builds(
        lambda name, length: list_key(name, responseLength=length), st.sampled_from(NAMES), st.integers(0, 10**9)
    ),
    st.builds(lambda caller: list_key(caller=f"caller-{caller}"), st.integers(0, 3)),
    st.just(chat()),
    st.just({**list_key(), "resourceId": None}),
)


@st.composite
def streams(draw: st.DrawFn) -> list[Event]:
    """The events of one partition: rising sequence numbers with gaps, arrivals that rise but for small steps back."""
    events: list[Event] = []
    sequence, arrival = draw(st.integers(0, 2**40)), START
    for _ in range(draw(st.integers(1, 25))):
        body = message(*draw(st.lists(records, max_size=4)))
        events.append(Event(sequence, arrival, body))
        sequence += draw(st.integers(1, 3))
        arrival += timedelta(seconds=draw(st.sampled_from([-1, 0, 0, 5, 200, 700])))
    return events


class Cluster:
    """Two hosts that share the tables, and the checkpoint of one partition."""

    def __init__(self, table: Table, events: Sequence[Event]) -> None:
        self.table, self.events = table, events
        self.quarantine = MemoryTable()
        self.shaky = [ShakyTable(table), ShakyTable(table)]
        self.hosts = [self._host(0), self._host(1)]
        self.checkpoint = 0  # every event before it is counted; a host may start anywhere up to it

    def _host(self, number: int) -> Ingest:
        quarantine = Quarantine(self.quarantine, excerpt_characters=100)
        return Ingest(BucketStore(self.shaky[number]), quarantine, BatchCounter(CATALOGUE), lambda: START)

    def deliver(self, delivery: Delivery) -> None:
        first = max(self.checkpoint - delivery.again, 0)
        last = min(self.checkpoint + delivery.new, len(self.events))
        self._break(delivery)
        try:
            self.hosts[delivery.host](SOURCE, self.events[first:last])
        except StorageError:
            if delivery.fault.startswith("dies"):
                self.hosts[delivery.host] = self._host(delivery.host)
        else:
            self.checkpoint = max(self.checkpoint, last)
        self.shaky[delivery.host].before_write.clear()
        self.shaky[delivery.host].after_write.clear()

    def _break(self, delivery: Delivery) -> None:
        shaky = self.shaky[delivery.host]
        if delivery.fault in {"before", "dies before"}:
            shaky.before_write.append(_lost)
        elif delivery.fault in {"after", "dies after"}:
            shaky.after_write.append(_lost)
        elif delivery.fault == "conflict":
            shaky.before_write.append(_refused)
        elif delivery.fault == "other host":
            other = Delivery(1 - delivery.host, delivery.again + 2, delivery.new // 2, "none")
            shaky.before_write.append(lambda: self.deliver(other))

    def finish(self) -> None:
        while self.checkpoint < len(self.events):
            self.deliver(Delivery(0, again=3, new=10, fault="none"))


def _truth(events: Sequence[Event]) -> tuple[Multiset[tuple[datetime, str]], dict[tuple[datetime, str], int]]:
    """Counts and largest lengths by bucket and resource, by plain loops over the records."""
    counts: Multiset[tuple[datetime, str]] = Multiset()
    largest: dict[tuple[datetime, str], int] = {}
    for event in events:
        for record in json.loads(event.body)["records"]:
            if record["operationName"] == "ListKey" and record["resourceId"]:
                place = bucket_start(event.enqueued), record["resourceId"].lower()
                counts[place] += 1
                length = record["properties"].get("responseLength")
                if length is not None:
                    largest[place] = max(largest.get(place, 0), length)
    return counts, largest


def _check(cluster: Cluster) -> None:
    store = BucketStore(cluster.table)
    counts: Multiset[tuple[datetime, str]] = Multiset()
    largest: dict[tuple[datetime, str], int] = {}
    messages = quarantined = callers = 0
    for bucket in {bucket_start(event.enqueued) for event in cluster.events}:
        for _, key, tally in store.read(bucket, range(SLICES)):
            counts[bucket, key.group[0]] += tally.count
            callers += sum(tally.callers.values())
            if tally.responses.records:
                largest[bucket, key.group[0]] = max(largest.get((bucket, key.group[0]), 0), tally.responses.largest)
        for _, counters in store.read_counters(bucket):
            messages += counters.messages
            quarantined += sum(counters.quarantined.values())
    assert (counts, largest) == _truth(cluster.events)
    assert callers == counts.total()
    assert messages == len(cluster.events)
    assert quarantined == len(list(cluster.quarantine.query("0", "3")))
    assert quarantined == sum(
        record["resourceId"] is None for event in cluster.events for record in json.loads(event.body)["records"]
    )


@settings(max_examples=400, deadline=None)
@given(events=streams(), plan=st.lists(deliveries, max_size=15))
def test_counts_equal_the_distinct_records_whatever_happens_to_deliveries(
    events: list[Event], plan: list[Delivery]
) -> None:
    """Any cuts, redelivered suffixes, two owners, deaths around a write, stale etags: every record counts once."""
    cluster = Cluster(MemoryTable(), events)
    for delivery in plan:
        cluster.deliver(delivery)
    cluster.finish()
    _check(cluster)


_tables = iter(range(10**6))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=streams(), plan=st.lists(deliveries, min_size=3, max_size=12))
def test_counts_are_exact_on_table_storage_too(azurite: Azurite, events: list[Event], plan: list[Delivery]) -> None:
    """The same with the real client and Azurite, whose conditional writes are not ours."""
    connection = StorageConnection(connection_string=azurite.connection_string)
    cluster = Cluster(connection.open(f"Exact{next(_tables)}"), events)
    for delivery in plan:
        cluster.deliver(delivery)
    cluster.finish()
    _check(cluster)


def test_a_hub_that_was_made_again_starts_at_zero_and_is_counted() -> None:
    """Lower sequence numbers that arrive later come from a new hub of the same name."""
    old = [Event(9_000 + n, START + timedelta(seconds=n), message(list_key())) for n in range(5)]
    new = [Event(n, START + timedelta(seconds=60 + n), message(list_key())) for n in range(5)]
    cluster = Cluster(MemoryTable(), [*old, *new])
    cluster.deliver(Delivery(0, 0, 5, "none"))
    cluster.deliver(Delivery(0, 0, 3, "after"))
    cluster.deliver(Delivery(1, 0, 3, "none"))
    cluster.finish()
    _check(cluster)
    assert canonical_id() in {key.group[0] for _, key, _ in BucketStore(cluster.table).read(START, range(SLICES))}
