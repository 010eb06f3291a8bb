"""The formula of cost: worked by hand, growing with the load, and its constants held against the running code."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from azure.data.tables import TableServiceClient
from hypothesis import given
from hypothesis import strategies as st

from detectors import cost
from detectors.buckets import BucketStore
from detectors.cost import QUANTITIES, Basis, Load
from detectors.counting import BatchCounter
from detectors.detector import BASELINE_TABLE, BUCKETS_TABLE, JOURNAL_TABLE, QUARANTINE_TABLE
from detectors.evaluator import Evaluator
from detectors.events import Event
from detectors.handover import Handover
from detectors.health import Course
from detectors.ingest import Ingest
from detectors.journal import Journal
from detectors.known_members import TableBaseline
from detectors.log_analytics import JsonRow
from detectors.policy import Policy
from detectors.prices import PricesError, bill, read, total
from detectors.quarantine import Quarantine
from detectors.rules import CATALOGUE
from detectors.settings import Settings
from detectors.tables import MemoryTable, Row, Table
from detectors.windows import BUCKET, bucket_start, time_of
from local.azurite import Azurite
from local.faults import FaultyStorage
from local.host import ROOT, LocalHost, sample_settings
from local.worker import Worker
from tests.builders import SOURCE, START, event, list_key

CALLERS = [f"0d1e2f3a-4b5c-4d6e-8f70-8192a3b4c5d{number}" for number in range(3)]
RECORDS = [list_key(caller=caller) for caller in CALLERS] * 10
AMOUNTS = {quantity.name: quantity.of for quantity in QUANTITIES}
PRICES = read()
HOST = json.loads((ROOT / "host.json").read_text())["extensions"]["eventHubs"]


# --- the formula -----------------------------------------------------------------------------------------------------


def test_a_hundred_million_records_a_day_worked_by_hand() -> None:
    """Every quantity of a load in which time and not size cuts the batches."""
    load = Load(100_000_000)
    assert {name: round(of(load), 4) for name, of in AMOUNTS.items()} == {
        "ingress_events": 2_000_000,  # 100 M / 50, each 50 x 800 = 40,000 bytes: one unit of 64 KB
        "throughput_units": 1,  # 80 GB / 86,400 s = 0.93 MB/s, 23 events/s
        "partitions": 4,
        "invocations": 34_560,  # 4 partitions x 86,400 s / 10 s, more than 2 M / 100
        "invocation_milliseconds": 23.6963,  # 2.4 + 57.87 events x (0.118 + 50 x 0.005)
        "executions": 37_584,  # + 144 x (13 + 2 x 4)
        "gb_seconds": 75_168,  # each is billed a second of 2 GB
        "table_operations": 45_072,  # 34,560 + 144 x 4 + 144 x (18 + 28 + 4 + 3 + 16)
        "checkpoint_operations": 69_120,  # 34,560 + 4 x 8,640
        "hub_operations": 144_720,  # 3 x 5 x 8,640 + 144 x 5 x 21
        "log_megabytes": 0.3443,  # 144 x (745 + 4 x 165) + 70 x (1,500 + 4 x 132) bytes
        "telemetry_megabytes": 150.336,  # 37,584 x 4 x 1,000 bytes
    }


@pytest.mark.parametrize(
    ("records", "invocations"),
    [
        (1, 1),  # a message is an invocation at least
        (50, 1),
        (51, 2),
        (50 * 34_560, 34_560),  # a message each 10 s in each partition
        (50 * 34_560 * 2, 34_560),  # now two
        (50 * 34_560 * 100, 34_560),  # now full batches
        (50 * 34_560 * 100 + 1, 34_561),
    ],
)
def test_traffic_decides_whether_time_or_size_cuts_a_batch(records: int, invocations: int) -> None:
    """Small: a message alone. Middling: one batch for each partition and maxWaitTime. Dense: full batches."""
    assert cost.invocations(Load(records, record_bytes=1)) == invocations


@pytest.mark.parametrize(("message_bytes", "billed"), [(1, 1), (65_536, 1), (65_537, 2), (131_072, 2), (1_048_576, 16)])
def test_an_event_is_billed_by_each_begun_64_kilobytes(message_bytes: int, billed: int) -> None:
    """At the sizes where one more begins."""
    assert cost.billed_events(Load(1, record_bytes=message_bytes, records_per_message=1)) == billed


@pytest.mark.parametrize(
    ("load", "units"),
    [
        (Load(1), 1),
        (Load(86_400, record_bytes=1_000_000, records_per_message=1), 1),
        (Load(86_401, record_bytes=1_000_000, records_per_message=1), 2),
        (Load(86_400_000, record_bytes=1, records_per_message=1), 1),
        (Load(86_400_001, record_bytes=1, records_per_message=1), 2),
    ],
)
def test_a_throughput_unit_carries_a_megabyte_or_a_thousand_events_a_second(load: Load, units: int) -> None:
    """Whichever needs more; never none."""
    assert cost.throughput_units(load) == units


def test_each_throughput_unit_needs_a_partition() -> None:
    """Four partitions do not carry 9.3 MB/s, whatever was asked for."""
    assert cost.partitions(Load(10**9, partitions=4)) == cost.throughput_units(Load(10**9)) == 10
    assert cost.partitions(Load(10**9, partitions=32)) == 32


def test_ingestion_keeps_no_more_instances_busy_than_there_are_partitions() -> None:
    """A flood of tiny batches is not billed for more time than there is."""
    load = Load(10**8, record_bytes=1, records_per_message=1, events_per_batch=1, partitions=1)
    ingest = cost.gb_seconds(load) - 144 * 21 * 2
    assert cost.invocations(load) > 86_400 * cost.partitions(load)
    assert ingest == 86_400 * cost.partitions(load) * 2


LOADS = st.builds(
    Load,
    records_per_day=st.integers(1, 10**12),
    record_bytes=st.integers(1, 2_000),
    records_per_message=st.integers(1, 500),
    events_per_batch=st.integers(1, 100),
    partitions=st.integers(1, 100),
    shards=st.integers(1, 16),
    findings_per_day=st.integers(0, 10_000),
    instance_memory_mb=st.sampled_from([512, 2_048, 4_096]),
)


@given(load=LOADS, more=st.integers(0, 10**12))
def test_more_records_never_cost_less(load: Load, more: int) -> None:
    """In any quantity that is billed, and in money."""
    larger = replace(load, records_per_day=load.records_per_day + more)
    billed = [quantity for quantity in QUANTITIES if quantity.meter]
    assert [quantity.name for quantity in billed if quantity.of(larger) < quantity.of(load)] == []
    assert total(bill(larger, PRICES)) >= total(bill(load, PRICES))


@given(load=LOADS)
def test_batches_hold_at_least_one_event_and_no_more_than_host_json_allows(load: Load) -> None:
    """An invocation without an event is none, and the host cuts what is larger."""
    events, invocations = cost.events(load), cost.invocations(load)
    assert 1 <= invocations <= events
    assert events <= invocations * load.events_per_batch
    assert cost.invocation_seconds(load) < cost.MIN_BILLED_SECONDS


@given(load=LOADS)
def test_every_quantity_is_a_number_that_can_be_paid(load: Load) -> None:
    """No quantity is negative, and what has a meter has a price."""
    for quantity, amount, monthly_cost in bill(load, PRICES):
        assert amount >= 0
        assert (monthly_cost is None) == (quantity.meter is None)


def test_names_are_unique_and_each_basis_is_used() -> None:
    """A program picks quantities by name."""
    assert len(AMOUNTS) == len(QUANTITIES)
    assert {quantity.basis for quantity in QUANTITIES} == set(Basis)


# --- the constants, against host.json, the settings and the running code ---------------------------------------------


def test_the_constants_of_the_trigger_are_those_of_host_json() -> None:
    """Time and size of a batch, and a checkpoint after each."""
    assert HOST["maxWaitTime"] == f"00:00:{cost.MAX_WAIT_SECONDS:02d}"
    assert HOST["maxEventBatchSize"] == cost.MAX_EVENTS_PER_BATCH == Load(1).events_per_batch
    assert HOST["batchCheckpointFrequency"] == 1


def test_the_constants_of_the_evaluation_are_the_settings_defaults() -> None:
    """Shards, retention, and an evaluation for each bucket."""
    settings = Settings.from_env(sample_settings())
    assert Load(1).shards == settings.shards
    assert settings.retention // BUCKET + 1 == cost.RETAINED_BUCKETS
    assert timedelta(days=1) // BUCKET == cost.RUNS_A_DAY
    assert settings.evaluation_schedule.split()[1] == "*/10"


def test_an_invocation_takes_what_the_benchmark_says() -> None:
    """200 events with 10,000 records: 34 ms, as in the README."""
    batch = 200 * cost.EVENT_SECONDS + 10_000 * cost.RECORD_SECONDS
    assert cost.INVOCATION_SECONDS + batch == pytest.approx(0.076, rel=0.03)


@dataclass
class CountedTable:
    """A table that counts the requests which `AzureTable` makes: one for each page, row deleted, or write."""

    inner: Table
    requests: int = 0

    def insert(self, row: Row) -> str:
        self.requests += 1
        return self.inner.insert(row)

    def merge(self, row: Row) -> str:
        self.requests += 1
        return self.inner.merge(row)

    def upsert(self, rows: Sequence[Row]) -> None:
        self.requests += 1
        self.inner.upsert(rows)

    def query(
        self, first: str, last: str, *, key_prefix: str = "", columns: Sequence[str] | None = None
    ) -> Iterator[Row]:
        rows = list(self.inner.query(first, last, key_prefix=key_prefix, columns=columns))
        self.requests += max(1, -(-len(rows) // cost.PAGE_ROWS))
        return iter(rows)

    def delete(self, partition: str, keys: Sequence[str]) -> None:
        self.requests += len(keys)
        self.inner.delete(partition, keys)


@dataclass
class Posted:
    """A sink that keeps rows."""

    rows: dict[str, list[JsonRow]] = field(default_factory=lambda: {"findings": [], "health": []})

    def post(self, stream: str, rows: Sequence[JsonRow]) -> None:
        self.rows[stream] += rows


class Deployment:
    """The real steps over counted tables, with a short retention so that the steady state comes soon."""

    retention = timedelta(hours=3)
    buckets = 3 * 6 + 1

    def __init__(self, *, partitions: int, shards: int) -> None:
        self.tables = [CountedTable(MemoryTable()) for _ in range(4)]
        store, journal, quarantine, baseline = self.tables
        self.posted = Posted()
        self._partitions = partitions
        self._sequence = 0
        kept = Quarantine(quarantine, excerpt_characters=100)
        self._ingest = Ingest(BucketStore(store), kept, BatchCounter(CATALOGUE), lambda: START)
        self._evaluator = Evaluator(
            store=BucketStore(store),
            journal=Journal(journal),
            handover=Handover(journal),
            quarantine=kept,
            sink=self.posted,
            baseline=TableBaseline(baseline),
            policy=Policy({**Policy().thresholds, "model_theft": {"count": 30, "response_length": 1_000_000}}),
            streams=("findings", "health"),
            retention=self.retention,
            shards=shards,
        )

    @contextmanager
    def counted(self) -> Iterator[list[int]]:
        """The requests made meanwhile."""
        before, made = self._requests(), list[int]()
        yield made
        made.append(self._requests() - before)

    def receive(self, *after: timedelta) -> None:
        """A batch for each partition, with an event at each of these times after `START`."""
        for partition in range(self._partitions):
            self._sequence += len(after)
            events = [event(self._sequence + place, *RECORDS, after=at) for place, at in enumerate(after)]
            self._ingest(SOURCE._replace(partition=str(partition)), events)

    def tick(self, now: timedelta) -> None:
        """One run: plan, evaluate and conclude until nothing is due, then purge."""
        until, after = bucket_start(START + now), None
        while plan := self._evaluator.plan(until, after):
            shards = [self._evaluator.evaluate_shard(plan, shard) for shard in range(self._evaluator.shards)]
            health = self._evaluator.measure_health(plan)
            self._evaluator.conclude(plan, shards, health, Course(), START + now)
            after = time_of(plan.window_end)
        self._evaluator.purge(START + now)

    def run_a_while(self) -> None:
        """Until as much is purged as comes in."""
        for run in range(6 * 5):
            self.receive(BUCKET * run)
            self.tick(BUCKET * (run + 1))

    def _requests(self) -> int:
        return sum(table.requests for table in self.tables)


@pytest.mark.parametrize(("partitions", "shards"), [(1, 1), (1, 4), (4, 4), (4, 16), (64, 4)])
def test_the_table_operations_of_an_evaluation_are_what_the_formula_says(partitions: int, shards: int) -> None:
    """For itself, each shard, each partition, a slice with key listings, and (64 partitions) each further page."""
    deployment = Deployment(partitions=partitions, shards=shards)
    deployment.run_a_while()
    deployment.receive(BUCKET * 30)
    with deployment.counted() as made:
        deployment.tick(BUCKET * 31)
    assert made == [cost.evaluation_operations(shards, partitions, Deployment.buckets, slices=1)]


def test_a_batch_is_one_write_and_one_more_where_it_spans_two_buckets() -> None:
    """In the steady state nothing is read."""
    deployment = Deployment(partitions=1, shards=4)
    for after, writes in [((timedelta(),), 1), ((timedelta(seconds=9),) * 3, 1), ((BUCKET * 0.99, BUCKET * 1.01), 2)]:
        with deployment.counted() as made:
            deployment.receive(*after)
        assert made == [writes]


@pytest.mark.parametrize("partitions", [1, 4, 16])
def test_rows_are_as_long_as_the_formula_says(partitions: int) -> None:
    """Heartbeats and findings as posted, within a tenth."""
    deployment = Deployment(partitions=partitions, shards=4)
    deployment.run_a_while()
    heartbeat, finding = (json.dumps(deployment.posted.rows[stream][-1]) for stream in ("health", "findings"))
    expected = cost.HEARTBEAT_BYTES + cost.HEARTBEAT_PARTITION_BYTES * partitions
    assert len(heartbeat) == pytest.approx(expected, rel=0.1)
    expected = cost.FINDING_BYTES + cost.FINDING_PARTITION_BYTES * partitions
    assert len(finding) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("shards", [1, 4])
def test_a_run_as_deployed_calls_and_requests_what_the_formula_says(azurite: Azurite, shards: int) -> None:
    """Through the real worker, the SDK's orchestrator and the real client: executions, and requests to storage.

    Nothing is old enough to be purged yet, so the deletes of the steady state are missing: a row of the journal
    and one for each partition.
    """
    with TableServiceClient.from_connection_string(azurite.connection_string) as tables:
        for name in (BUCKETS_TABLE, JOURNAL_TABLE, QUARANTINE_TABLE, BASELINE_TABLE):
            tables.delete_table(name)
    calls: list[str] = []
    invoke = Worker.invoke

    async def counting(worker: Worker, name: str, *arguments: Any, **options: Any) -> object:  # noqa: ANN401
        calls.append(name)
        return await invoke(worker, name, *arguments, **options)

    with FaultyStorage(azurite) as storage:
        settings = {"AzureWebJobsStorage": storage.connection_string, "EVALUATION_SHARDS": str(shards)}
        with LocalHost(settings, START) as host, patch.object(Worker, "invoke", counting):
            for run in range(2):
                arrival = BUCKET * run + timedelta(minutes=1)
                host.ingest(0, [Event(run, START + arrival, event(run, *RECORDS).body)])
                calls.clear()
                storage.clear()
                host.tick(START + BUCKET * (run + 1) + timedelta(seconds=45))
    assert len(calls) == cost.evaluation_executions(Load(1, shards=shards))
    deleted_later = 1 + cost.PARTITION_OPERATIONS
    assert len(storage.requests) == cost.evaluation_operations(shards, 1, slices=1) - deleted_later


# --- prices ----------------------------------------------------------------------------------------------------------


def _price_file(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    """The list prices with something changed."""
    text = (ROOT / "detectors/prices.toml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path / "prices.toml"
    path.write_text(text)
    return path


def test_a_month_worked_by_hand(tmp_path: Path) -> None:
    """A unit is billed by the hour, events by the million, logs by the GB, all for 30 days."""
    path = _price_file(tmp_path, ("price = 0.028", "price = 1"), ("price = 0.03", "price = 2"), ("2.30", "1000"))
    costs = {line.quantity.name: line.monthly_cost for line in bill(Load(100_000_000), read(path))}
    assert costs["ingress_events"] == pytest.approx(60)  # 2 M x 30 / 1 M x 1
    assert costs["throughput_units"] == pytest.approx(1_440)  # 1 x 720 h x 2
    assert costs["telemetry_megabytes"] == pytest.approx(4_510.08)  # 150.336 MB x 30 / 1,000 x 1,000
    assert costs["invocations"] is None


def test_the_list_prices_say_their_date_their_place_and_their_doubts() -> None:
    """Each with a page to check it on; what is unconfirmed says so."""
    prices = PRICES
    assert (prices.currency, prices.region) == ("USD", "East US")
    assert prices.date <= date.today()  # noqa: DTZ011 - a price's date has no zone
    meters = {quantity.meter for quantity in QUANTITIES} - {None}
    listed = {name: getattr(prices, name) for name in prices.__struct_fields__[3:]}
    assert set(listed) == meters
    assert all(price.source.startswith("https://azure.microsoft.com/pricing/") for price in listed.values())
    assert set(prices.unconfirmed) == {name for name, price in listed.items() if not price.confirmed}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("date = 2026-11-23\n", ""), "missing required field `date`"),
        (("[gb_seconds]", "[gigabyte_seconds]"), "unknown field `gigabyte_seconds`"),
        (("price = 0.028", "price = -1"), r"at `\$.ingress_events.price`"),
        (("price = 0.028", "price = inf"), r"at `\$.ingress_events.price`"),
        (("price = 0.028", "price = nan"), r"at `\$.ingress_events.price`"),
        (("price = 0.028", 'price = "cheap"'), r"at `\$.ingress_events.price`"),
        (("per = 1_000_000", "per = 0"), r"at `\$.ingress_events.per`"),
        (("price = 0.028", "price = "), r"at line \d+"),
    ],
)
def test_a_price_file_that_says_something_else_is_refused(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    """With the place, rather than with a wrong bill."""
    with pytest.raises(PricesError, match=message):
        read(_price_file(tmp_path, change))


def test_a_price_file_that_is_not_there_is_said_by_its_name(tmp_path: Path) -> None:
    """And one that is no text."""
    with pytest.raises(PricesError, match=r"nowhere\.toml"):
        read(tmp_path / "nowhere.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(PricesError, match=r"binary\.toml"):
        read(tmp_path / "binary.toml")
