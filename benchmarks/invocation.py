"""One invocation of `ingest`, from the host's message to the row in storage, and where its time goes."""

import asyncio
import os
from collections import Counter as Multiset
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter, process_time
from unittest.mock import patch

from azure.functions.eventhub import EventHubTriggerConverter

from benchmarks.corpus import Corpus
from benchmarks.report import Cell, Column, Section
from benchmarks.requests import counted
from benchmarks.stopwatch import Spent, measured
from detectors.detector import Detector
from detectors.events import Event
from detectors.ingestion.counting import BatchCounter
from detectors.storage.azure_tables import AzureTable
from detectors.storage.buckets import BucketStore
from local.azurite import Azurite
from local.event_hub import trigger_input
from local.faults import READS
from local.host import ROOT, sample_settings
from local.protos import TypedData
from local.worker import Worker

_WHOLE = "the whole invocation"
INVOCATIONS = 40
WARM_UP = 3

_METHODS = {
    "convert": (EventHubTriggerConverter, "decode"),
    "ours": (Detector, "ingest"),
    "count": (BatchCounter, "count"),
    "add": (BucketStore, "add"),
    "write": (AzureTable, "merge"),
}
_COLUMNS = (
    Column("part"),
    Column("ms", number=",.2f"),
    Column("ratio", "share", ".1%"),
    Column("cpu_ms", "ms of own CPU", ",.2f"),
)
_STEADY_COLUMNS = (
    Column("writes", "writes to storage", ".2f"),
    Column("reads", "reads", ".2f"),
    Column("records_per_second", "records/s a core", ",.0f"),
)


@dataclass(frozen=True, slots=True)
class Invocation:
    """What one invocation took: as a whole, and by method."""

    total: Spent
    spent: Mapping[str, Spent]


def measure(corpus: Corpus) -> list[Section]:
    """Run the app as deployed, with Azurite as its storage, and bring it the corpus again and again as new events."""
    with Azurite() as azurite:
        settings = {**sample_settings(), "AzureWebJobsStorage": azurite.connection_string}
        # Nothing else of the environment: a proxy or another account in it would lead off this machine.
        with patch.dict(os.environ, settings, clear=True):
            invocations, requests = asyncio.run(_run(corpus))
    fastest = min(invocations, key=lambda invocation: invocation.total.wall)
    reads = sum(count for method, count in requests.items() if method in READS)
    steady: dict[str, Cell] = {
        "writes": (requests.total() - reads) / INVOCATIONS,
        "reads": reads / INVOCATIONS,
        "records_per_second": corpus.records / fastest.total.cpu,
    }
    return [
        Section(
            "invocation",
            f"One invocation of ingest: {len(corpus.events):,} events, {corpus.records:,} records",
            _COLUMNS,
            [_row(part, share, fastest.total) for part, share in _parts(fastest).items()],
            f"the fastest of {INVOCATIONS} in one bucket; storage is Azurite, which shares the cores",
        ),
        Section("steady_state", "An invocation in the steady state", _STEADY_COLUMNS, [steady]),
    ]


def event_seconds(measured_sections: Sequence[Section], corpus: Corpus) -> float:
    """Return the seconds on one core that an event of a full batch takes, of which the host has its share."""
    (whole,) = (row for row in measured_sections[0].rows if row["part"] == _WHOLE)
    return float(whole["cpu_ms"]) / 1_000 / len(corpus.events)


async def _run(corpus: Corpus) -> tuple[list[Invocation], Multiset[str]]:
    """Return the invocations, and their requests to storage by HTTP method."""
    worker = Worker(ROOT)
    await worker.start()
    try:
        for number in range(WARM_UP):
            await worker.invoke("ingest", *_batch(corpus.events, number))
        with counted() as requests:
            numbers = range(WARM_UP, WARM_UP + INVOCATIONS)
            return [await _invoke(worker, *_batch(corpus.events, number)) for number in numbers], requests
    finally:
        await worker.stop()


async def _invoke(worker: Worker, inputs: dict[str, TypedData], metadata: dict[str, TypedData]) -> Invocation:
    with measured(_METHODS) as spent:
        wall, cpu = perf_counter(), process_time()
        await worker.invoke("ingest", inputs, metadata)
        return Invocation(Spent(perf_counter() - wall, process_time() - cpu), spent)


def _parts(invocation: Invocation) -> dict[str, Spent]:
    """Return what adds up to the whole."""
    total, spent = invocation.total, invocation.spent
    return {
        "host: convert the batch": spent["convert"],
        "host: the rest of the worker": total - spent["convert"] - spent["ours"],
        "ours: decode and tally": spent["count"],
        "ours: merge and pack": spent["add"] - spent["write"],
        "ours: events, bucket, watermark": spent["ours"] - spent["count"] - spent["add"],
        "the storage call": spent["write"],
        _WHOLE: total,
    }


def _row(part: str, spent: Spent, total: Spent) -> dict[str, Cell]:
    return {
        "part": part,
        "ms": spent.wall * 1_000,
        "ratio": spent.wall / total.wall,
        "cpu_ms": spent.cpu * 1_000,
    }


def _batch(events: Sequence[Event], number: int) -> tuple[dict[str, TypedData], dict[str, TypedData]]:
    """Return the events as the host sends them, with sequence numbers that come after the batch before."""
    later = [event._replace(sequence=number * len(events) + event.sequence) for event in events]
    data, metadata = trigger_input("llm-logs", "$Default", 0, later)
    return {"events": data}, metadata
