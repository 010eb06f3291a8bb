"""What a bucket costs as it fills: the size of its rows, and one more batch on top."""

from collections.abc import Iterator, Sequence
from itertools import batched, cycle, islice
from random import Random

from benchmarks.corpus import START, event
from benchmarks.report import Cell, Column, Section
from benchmarks.stopwatch import measured
from detectors.events import Event, Source
from detectors.ingest import Ingest
from detectors.ingestion.counting import BatchCounter
from detectors.rules.catalogue import CATALOGUE
from detectors.storage.buckets import BucketStore
from detectors.storage.quarantine import Quarantine
from detectors.storage.tables import MemoryTable
from detectors.windows import key_of
from local.samples import Account, guid, list_key

GROUPS = (10, 100, 1_000, 10_000)
CALLERS = 3
GROUPS_PER_BATCH = 20
ADDS = 50

_SOURCE = Source("local.servicebus.windows.net", "llm-logs", "0")
_GROUPS_PER_SUBSCRIPTION = 10
_TIME = "2026-03-02T07:59:58.1234567Z"
_COLUMNS = (
    Column("groups", "groups in the bucket"),
    Column("segments"),
    Column("bytes", "packed bytes"),
    Column("bytes_per_group", "bytes a group", ",.0f"),
    Column("ms_per_add", "ms an add", ",.2f"),
    Column("ratio", "times the first", ".1f"),
)


def measure() -> Section:
    """Fill buckets with ever more groups, and time what a steady stream of batches then costs."""
    rows = [_row(groups) for groups in GROUPS]
    first = float(rows[0]["ms_per_add"])
    return Section(
        "growth",
        f"A bucket of one partition as it grows, {CALLERS} callers a group, table in memory",
        _COLUMNS,
        [{**row, "ratio": float(row["ms_per_add"]) / first} for row in rows],
        f"mean of {ADDS} batches of {GROUPS_PER_BATCH} known groups (if there are as many), time on the processor;"
        " merging, packing and compressing only",
    )


def _row(groups: int) -> dict[str, Cell]:
    table = MemoryTable()
    ingest = Ingest(
        BucketStore(table), Quarantine(table, excerpt_characters=0), BatchCounter(CATALOGUE), clock=lambda: START
    )
    made = list(messages(groups))
    filling = [event(sequence, records) for sequence, records in enumerate(made)]
    ingest(_SOURCE, filling)
    stored = [row.values.values() for row in table.query(key_of(START), key_of(START))]
    size = sum(len(value) for values in stored for value in values if isinstance(value, bytes))
    spread = made[:: max(1, len(made) // ADDS)]
    seconds = _seconds_per_add(ingest, islice(cycle(spread), ADDS), len(filling))
    return {
        "groups": groups,
        "segments": len(stored),
        "bytes": size,
        "bytes_per_group": size / groups,
        "ms_per_add": seconds * 1_000,
    }


def _seconds_per_add(ingest: Ingest, messages: Iterator[Sequence[str]], sequence: int) -> float:
    """Return the mean time of adding one message; what it takes to open a new segment on the way is part of it."""
    more: list[Event] = [event(sequence + index, records) for index, records in enumerate(messages)]
    with measured({"add": (BucketStore, "add")}) as spent:
        for one in more:
            ingest(_SOURCE, [one])
    return spent["add"].cpu / len(more)


def messages(groups: int, callers: int = CALLERS, length: str | None = None) -> Iterator[tuple[str, ...]]:
    """Yield records that read every group's keys once for each of its callers, by messages."""
    rng = Random(groups)
    subscriptions = [guid(rng) for _ in range(-(-groups // _GROUPS_PER_SUBSCRIPTION))]
    records = []
    for number in range(groups):
        path = f"/subscriptions/{subscriptions[number // _GROUPS_PER_SUBSCRIPTION]}/resourceGroups/rg-{number % 7}"
        name = f"{path}/providers/Microsoft.CognitiveServices/accounts/aoai-{number}"
        account = Account(name, region="eastus", asset="", weight=1)
        records += [list_key(rng, account, caller=guid(rng), time=_TIME, length=length) for _ in range(callers)]
    # In the order of the groups, as consecutive ones share a subscription but no slice.
    yield from batched(records, GROUPS_PER_BATCH * callers, strict=False)
