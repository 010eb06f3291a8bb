"""How cost grows with the records of a day: what is billed, in the units in which it is billed. Pure; no prices.

A quantity rests on one of three things, and says on which. `COMPUTED` follows from the load, from host.json and
from limits that Azure documents. `MEASURED` uses a constant that a test holds against the running code. `ESTIMATE`
is what Azure's own parts do beside this code, counted from their documentation; nobody measured it here.

What is open is taken at its dearest, but for two things that only the operator knows: how full dense traffic fills a
batch (`events_per_batch`), and how far peaks are above the day's mean. Not modelled: quarantine rows, redeliveries,
windows evaluated again, stored GB (megabytes here), traffic out of the region, and what Azure Monitor charges for
exporting a log category: nothing for Audit, RequestResponse and Trace,
https://learn.microsoft.com/azure/azure-monitor/reference/supported-logs/microsoft-cognitiveservices-accounts-logs
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import ceil

DAY_SECONDS = 86_400
MONTH_DAYS = 30
RUNS_A_DAY = 144
"""Evaluations: EVALUATION_SCHEDULE's default, every 10 minutes."""

MAX_WAIT_SECONDS = 10
"""host.json `maxWaitTime`: a batch below `minEventBatchSize` goes out after that, so small traffic sets the pace."""

MAX_EVENTS_PER_BATCH = 100
"""host.json `maxEventBatchSize`."""

MAX_EVENT_BYTES = 1_048_576
UNIT_BYTES = 1_000_000
UNIT_EVENTS = 1_000
BILLED_EVENT_BYTES = 65_536
MAX_STANDARD_UNITS = 40
"""An event holds at most 1 MB; a throughput unit takes 1 MB/s or 1,000 events/s; an event is billed by each 64 KB.

https://learn.microsoft.com/azure/event-hubs/event-hubs-faq, a partition's share of 1 MB/s:
https://learn.microsoft.com/azure/event-hubs/event-hubs-scalability
"""

INVOCATION_SECONDS = 0.0024
EVENT_SECONDS = 0.000118
RECORD_SECONDS = 0.000_005
"""One `ingest` on one core: the least-squares line through `make bench`'s invocation at 1 to 200 events with 1 to 100
records each. 200 events with 10,000 records take 76 ms of it, with all rules on and nine records in ten
requests, each of which two or three rules read."""

MIN_BILLED_SECONDS = 1.0
"""Flex Consumption bills no execution for less: https://learn.microsoft.com/azure/azure-functions/flex-consumption-plan
(beyond it by 100 ms, where no batch of this app comes)."""

BASE_OPERATIONS = 18
SHARD_OPERATIONS = 7
PARTITION_OPERATIONS = 1
RANGE_QUERIES = 3
"""Table operations of one evaluation in the steady state: for itself, for each shard, for each Event Hub partition
(one row of the oldest bucket is purged), and queries over every bucket row that is kept, which come in pages."""

PAGE_ROWS = 1_000
"""Rows in one answer: https://learn.microsoft.com/rest/api/storageservices/query-timeout-and-pagination"""

SLICES = 16
"""As `detectors.buckets.SLICES`, which loads more than this needs."""

RETAINED_BUCKETS = 25 * 6 + 1
"""BUCKET_RETENTION_HOURS's default, and the bucket that is being filled."""

BASE_EXECUTIONS = 13
SHARD_EXECUTIONS = 2
"""Functions that one evaluation calls: timer, orchestrator (every replay is billed as one:
https://learn.microsoft.com/azure/azure-functions/durable/durable-functions-billing) and activities."""

HEARTBEAT_BYTES = 745
HEARTBEAT_PARTITION_BYTES = 165
FINDING_BYTES = 1_500
FINDING_PARTITION_BYTES = 132
"""Rows as JSON: itself, and its part for each Event Hub partition. Log Analytics bills about a quarter less than
JSON: https://learn.microsoft.com/azure/azure-monitor/logs/cost-logs"""

HUB_QUEUES = 5
HUB_POLL_SECONDS = 10
HUB_OPERATIONS_PER_EXECUTION = 5
"""The task hub has four control queues and a work-item queue. The scale controller polls each every 10 seconds, the
app at most as often, and as many leases are renewed as often:
https://learn.microsoft.com/azure/azure-functions/durable/durable-functions-azure-storage-provider
On top of that a run's messages are put, got and deleted, and its history and status are read and written. An idle app
of 2019 was billed 190,000 operations a day: https://github.com/Azure/azure-functions-durable-extension/issues/607
"""

TELEMETRY_ITEMS = 4
TELEMETRY_ITEM_BYTES = 1_000
"""Application Insights, if the app has it: a request and three traces for each execution at level Information, before
sampling (which caps them at 20 a second for each host)."""


class Basis(StrEnum):
    """What a quantity rests on."""

    COMPUTED = "computed"
    MEASURED = "measured"
    ESTIMATE = "estimate"


@dataclass(frozen=True, slots=True)
class Load:
    """What goes in.

    Attributes:
        records_per_day: log records, of all accounts.
        record_bytes: of one record, as JSON.
        records_per_message: how many Azure Monitor puts into one Event Hub event.
        events_per_batch: how many events an invocation gets when traffic is dense: both batch sizes of host.json.
        partitions: of the Event Hub.
        shards: EVALUATION_SHARDS.
        findings_per_day: rows posted; a burst that fires once makes seven.
        instance_memory_mb: of a Flex Consumption instance.
    """

    records_per_day: int
    record_bytes: int = 800
    records_per_message: int = 50
    events_per_batch: int = MAX_EVENTS_PER_BATCH
    partitions: int = 4
    shards: int = 4
    findings_per_day: int = 70
    instance_memory_mb: int = 2_048

    @property
    def message_bytes(self) -> int:
        """Bytes of one Event Hub event."""
        return self.record_bytes * self.records_per_message


@dataclass(frozen=True, slots=True)
class Quantity:
    """One thing that Azure bills, or that a bill follows from.

    Attributes:
        name: for programs.
        label: for people, with the unit.
        basis: what it rests on.
        of: the amount: a day's, or for units the number of them.
        meter: the price that it is billed by; None if it is not billed itself.
        monthly: billed units in a month of 30 days for each one of the amount.
    """

    name: str
    label: str
    basis: Basis
    of: Callable[[Load], float]
    meter: str | None = None
    monthly: float = MONTH_DAYS


def events(load: Load) -> int:
    """Event Hub events a day."""
    return ceil(load.records_per_day / load.records_per_message)


def billed_events(load: Load) -> int:
    """Ingress events a day as billed: one for each begun 64 KB of an event."""
    return events(load) * ceil(load.message_bytes / BILLED_EVENT_BYTES)


def throughput_units(load: Load) -> int:
    """Throughput units that carry the day's mean; a peak of three times the mean needs three times as many."""
    by_bytes = events(load) * load.message_bytes / DAY_SECONDS / UNIT_BYTES
    return max(1, ceil(by_bytes), ceil(events(load) / DAY_SECONDS / UNIT_EVENTS))


def partitions(load: Load) -> int:
    """Partitions: as many as given, and at least one for each throughput unit, since each carries 1 MB/s."""
    return max(load.partitions, throughput_units(load))


def invocations(load: Load) -> int:
    """Invocations of `ingest` a day: by full batches, or one for each partition and `maxWaitTime` if that is more."""
    by_time = partitions(load) * DAY_SECONDS // MAX_WAIT_SECONDS
    return max(ceil(events(load) / load.events_per_batch), min(events(load), by_time))


def invocation_seconds(load: Load) -> float:
    """How long an invocation takes, with the mean batch."""
    batch = events(load) / invocations(load)
    return INVOCATION_SECONDS + batch * (EVENT_SECONDS + load.records_per_message * RECORD_SECONDS)


def invocation_milliseconds(load: Load) -> float:
    """The same, to look at: far below the second that is billed."""
    return invocation_seconds(load) * 1_000


def evaluation_executions(load: Load) -> int:
    """Executions of one evaluation."""
    return BASE_EXECUTIONS + SHARD_EXECUTIONS * load.shards


def executions(load: Load) -> int:
    """Function executions a day: ingestion and evaluations."""
    return invocations(load) + RUNS_A_DAY * evaluation_executions(load)


def gb_seconds(load: Load) -> float:
    """Memory of instances while they execute, GB-seconds a day.

    At most: executions that overlap on one instance are billed once. An instance reads at least one partition, so
    ingestion cannot keep more instances busy than there are partitions.
    """
    ingest = invocations(load) * max(MIN_BILLED_SECONDS, invocation_seconds(load))
    evaluation = RUNS_A_DAY * evaluation_executions(load) * MIN_BILLED_SECONDS
    return (min(ingest, partitions(load) * DAY_SECONDS) + evaluation) * load.instance_memory_mb / 1_024


def evaluation_operations(
    shards: int, partition_count: int, buckets: int = RETAINED_BUCKETS, slices: int = SLICES
) -> int:
    """Table operations of one evaluation, as `AzureTable` makes them: each page of a query, each row deleted.

    Args:
        shards: parallel parts of the evaluation.
        partition_count: of the Event Hub.
        buckets: kept.
        slices: in which somebody listed keys within the hour, each read for who is known; taken at its dearest.
    """
    pages = ceil(buckets * partition_count / PAGE_ROWS)
    fixed = BASE_OPERATIONS + SHARD_OPERATIONS * shards + PARTITION_OPERATIONS * partition_count
    return fixed + RANGE_QUERIES * pages + slices


def table_operations(load: Load) -> int:
    """Table operations a day: a write for each invocation, one more where a batch spans two buckets, evaluations."""
    spanning = min(invocations(load), RUNS_A_DAY * partitions(load))
    return invocations(load) + spanning + RUNS_A_DAY * evaluation_operations(load.shards, partitions(load))


def checkpoint_operations(load: Load) -> int:
    """Blob operations of the trigger a day: a checkpoint for each invocation, and each partition's ownership renewed.

    Both set a blob's metadata, which bills as "other":
    https://learn.microsoft.com/azure/storage/blobs/map-rest-apis-transaction-categories
    """
    return invocations(load) + partitions(load) * DAY_SECONDS // MAX_WAIT_SECONDS


def hub_operations(load: Load) -> int:
    """Storage operations of the durable task hub a day: its clockwork, and what the evaluations make of it."""
    idle = 3 * HUB_QUEUES * DAY_SECONDS // HUB_POLL_SECONDS
    return idle + RUNS_A_DAY * HUB_OPERATIONS_PER_EXECUTION * evaluation_executions(load)


def log_megabytes(load: Load) -> float:
    """Heartbeats and findings posted to Log Analytics, MB (10^6 bytes) a day."""
    heartbeat = HEARTBEAT_BYTES + HEARTBEAT_PARTITION_BYTES * partitions(load)
    finding = FINDING_BYTES + FINDING_PARTITION_BYTES * min(partitions(load), 50)
    return (RUNS_A_DAY * heartbeat + load.findings_per_day * finding) / 1e6


def telemetry_megabytes(load: Load) -> float:
    """Application Insights' telemetry of the executions, MB a day."""
    return executions(load) * TELEMETRY_ITEMS * TELEMETRY_ITEM_BYTES / 1e6


QUANTITIES = (
    Quantity("ingress_events", "Event Hub events, by 64 KB", Basis.COMPUTED, billed_events, "ingress_events"),
    Quantity(
        "throughput_units", "Throughput units", Basis.COMPUTED, throughput_units, "throughput_units", 24 * MONTH_DAYS
    ),
    Quantity("partitions", "Event Hub partitions", Basis.COMPUTED, partitions),
    Quantity("invocations", "Invocations of ingest", Basis.COMPUTED, invocations),
    Quantity("invocation_milliseconds", "Milliseconds of an invocation", Basis.MEASURED, invocation_milliseconds),
    Quantity("executions", "Function executions", Basis.MEASURED, executions, "executions"),
    Quantity("gb_seconds", "GB-seconds", Basis.COMPUTED, gb_seconds, "gb_seconds"),
    Quantity("table_operations", "Table operations", Basis.MEASURED, table_operations, "table_operations"),
    Quantity(
        "checkpoint_operations", "Checkpoints and ownership", Basis.ESTIMATE, checkpoint_operations, "blob_operations"
    ),
    Quantity("hub_operations", "Task hub operations", Basis.ESTIMATE, hub_operations, "queue_operations"),
    Quantity("log_megabytes", "Log Analytics, MB", Basis.MEASURED, log_megabytes, "log_gigabytes", MONTH_DAYS / 1e3),
    Quantity(
        "telemetry_megabytes",
        "Application Insights, MB",
        Basis.ESTIMATE,
        telemetry_megabytes,
        "log_gigabytes",
        MONTH_DAYS / 1e3,
    ),
)
"""What the command prints, in order."""
