"""Counts are exact whatever is delivered again, by whom, and wherever a host dies."""

import json
from collections import Counter as Multiset
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detectors.errors import ConflictError, StorageError
from detectors.events import Event
from detectors.ingest import Ingest
from detectors.ingestion.counting import BatchCounter
from detectors.rules.catalogue import CATALOGUE
from detectors.storage.azure_tables import open_table
from detectors.storage.buckets import BucketStore
from detectors.storage.connection import StorageConnection
from detectors.storage.quarantine import Quarantine
from detectors.storage.slices import SLICES
from detectors.storage.tables import MemoryTable, Table
from detectors.windows import bucket_start
from local.azurite import Azurite
from tests.builders import SOURCE, START, canonical_id, chat, list_key, message, of_another_service
from tests.examples import examples
from tests.intercepted_table import ShakyTable
from tests.oracle import AZURE_RULES, Place, RawRecord, places, properties

NAMES = ("aoai-prod", "aoai-dev", "aoai-lab")


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

chats = st.builds(
    lambda name, time, signature, caller, lengths: {
        **chat(name, objectId=caller, **lengths),
        "time": time,
        "resultSignature": signature,
    },
    st.sampled_from(NAMES),
    st.sampled_from(["2026-11-23T07:59:59.9999999Z", "2026-11-23T08:00:00Z", "2026-11-23T09:00:30.5+01:00", None]),
    st.sampled_from(["200", 200, "429"]),
    st.sampled_from(["", "caller-1", "caller-2"]),
    st.fixed_dictionaries(
        {"responseLength": st.sampled_from([0, 1, 10**6])},
        optional={"requestLength": st.integers(0, 10_000)},
    ),
)
records = st.one_of(
    st.sampled_from(NAMES).map(list_key),
    st.builds(
        lambda name, length: list_key(name, responseLength=length), st.sampled_from(NAMES), st.integers(0, 10**9)
    ),
    st.builds(lambda caller: list_key(caller=f"caller-{caller}"), st.integers(0, 3)),
    chats,
    st.just(of_another_service()),
    st.just({**list_key(), "resourceId": None}),
)


@st.composite
def streams(draw: st.DrawFn) -> list[Event]:
    """Draw one partition's events: rising sequence numbers with gaps, arrivals that rise but for small steps back."""
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


@dataclass
class Sums:
    """What is known of one group in one bucket: records with a length, their sum, and of responses the largest."""

    count: int = 0
    requests: tuple[int, int] = (0, 0)
    responses: tuple[int, int, int] = (0, 0, 0)
    callers: int = 0
    caller_bytes: Multiset[str] = field(default_factory=Multiset)


def _truth(events: Sequence[Event]) -> dict[tuple[datetime, Place], Sums]:
    """Return sums of every rule by bucket and group, by plain loops over the records."""
    sums: dict[tuple[datetime, Place], Sums] = {}
    for event in events:
        bucket = event.enqueued - timedelta(minutes=event.enqueued.minute % 10, seconds=event.enqueued.second)
        for record in json.loads(event.body)["records"]:
            for place in places(record):
                sums.setdefault((bucket, place), Sums()).count += 1
                _add(sums[bucket, place], record, weigh=place[0] == "large_transfer")
    return sums


def _add(sums: Sums, record: RawRecord, *, weigh: bool) -> None:
    fields = properties(record)
    request, response = fields.get("requestLength"), fields.get("responseLength")
    sums.callers += 1
    if request is not None:
        sums.requests = sums.requests[0] + 1, sums.requests[1] + request
    if response is not None:
        records, total, largest = sums.responses
        sums.responses = records + 1, total + response, max(largest, response)
    if weigh and response:
        sums.caller_bytes[fields.get("objectId") or f"ip {record['callerIpAddress']}"] += response


def _stored(store: BucketStore, buckets: Iterable[datetime]) -> dict[tuple[datetime, Place], Sums]:
    """Return the same as it is stored."""
    sums: dict[tuple[datetime, Place], Sums] = {}
    for bucket in buckets:
        for _, key, tally in store.read(bucket, range(SLICES)):
            if key.rule_id not in AZURE_RULES:
                continue
            known = sums.setdefault((bucket, (key.rule_id, key.group)), Sums())
            assert known == Sums(), "one partition has one tally of a group"
            known.count = tally.count
            known.requests = tally.requests.records, tally.requests.total
            known.responses = tally.responses.records, tally.responses.total, tally.responses.largest
            known.callers = sum(tally.callers.values())
            known.caller_bytes = Multiset(tally.caller_bytes)
    return sums


def _check(cluster: Cluster) -> None:
    store = BucketStore(cluster.table)
    buckets = {bucket_start(event.enqueued) for event in cluster.events}
    segments = [one for bucket in buckets for one in store.segments(bucket, bucket, (), counters=True)]
    counters = [one.counters for one in segments if one.counters]
    stored = _stored(store, buckets)
    assert stored == _truth(cluster.events)
    selected, counted = Multiset[str](), Multiset[str]()
    for one in counters:
        selected.update({name: some.records for name, some in one.selected.items() if name in AZURE_RULES})
    for (_, (rule_id, _)), sums in stored.items():
        counted[rule_id] += sums.count
    assert selected == counted
    assert sum(one.messages for one in counters) == len(cluster.events)
    quarantined = sum(sum(one.quarantined.values()) for one in counters)
    assert quarantined == len(list(cluster.quarantine.query("0", "3")))
    assert quarantined == sum(
        record["resourceId"] is None or record["time"] is None
        for event in cluster.events
        for record in json.loads(event.body)["records"]
    )


@examples(200)
@given(events=streams(), plan=st.lists(deliveries, max_size=15))
def test_counts_equal_the_distinct_records_whatever_happens_to_deliveries(
    events: list[Event], plan: list[Delivery]
) -> None:
    """Any cuts, redelivered suffixes, two owners, deaths around a write, stale etags: every record counts once.

    For every rule that selects it, with its minute, lengths and caller.
    """
    cluster = Cluster(MemoryTable(), events)
    for delivery in plan:
        cluster.deliver(delivery)
    cluster.finish()
    _check(cluster)


_tables = iter(range(10**6))


@settings(parent=examples(12), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=streams(), plan=st.lists(deliveries, min_size=3, max_size=12))
def test_counts_are_exact_on_table_storage_too(azurite: Azurite, events: list[Event], plan: list[Delivery]) -> None:
    """The same with the real client and Azurite, whose conditional writes are not ours."""
    connection = StorageConnection(connection_string=azurite.connection_string)
    cluster = Cluster(open_table(connection, f"Exact{next(_tables)}"), events)
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
