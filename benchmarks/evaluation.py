"""What the evaluation of a window costs, by how many groups it holds: requests to storage, time, and memory.

`python -m benchmarks.evaluation` evaluates two windows from the tables that its environment names, in a process of its
own, and prints a line of JSON about the second: the first one learns which accounts and callers there are.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from time import perf_counter

from benchmarks.contenders import own_peak_bytes
from benchmarks.corpus import START, event
from benchmarks.growth import messages
from benchmarks.report import Cell, Column, Section
from benchmarks.requests import counted
from detectors.configuration.settings import Settings
from detectors.detector import BUCKETS_TABLE, QUARANTINE_TABLE, Detector
from detectors.events import Source
from detectors.ingest import Ingest
from detectors.ingestion.counting import BatchCounter
from detectors.reporting.heartbeat import RunProgress
from detectors.storage.azure_tables import open_table
from detectors.storage.buckets import BucketStore
from detectors.storage.quarantine import Quarantine
from detectors.windows import BUCKET
from local.azurite import Azurite
from local.host import sample_settings

QUIET, FIRING = None, "1000000"
"""Response lengths of records: none, or one that fires."""

_WINDOWS = ((0, 1, QUIET), (1_000, 1, QUIET), (1_000, 1, FIRING), (20_000, 32, QUIET), (100_000, 32, QUIET))
"""How many accounts, in how many partitions, with which records."""

_COLUMNS = (
    Column("accounts", number=",.0f"),
    Column("firing", "of them fire", ",.0f"),
    Column("partitions", number=",.0f"),
    Column("groups", number=",.0f"),
    Column("requests", "requests to storage", ",.0f"),
    Column("seconds", number=",.2f"),
    Column("peak_megabytes", "peak memory, MB", ",.0f"),
)


def measure() -> Section:
    """Fill a bucket, and evaluate windows that hold it, for each kind of window."""
    return Section(
        "evaluation",
        "Evaluate a window of accounts whose keys are listed",
        _COLUMNS,
        [_row(*window) for window in _WINDOWS],
        "all rules on; the second window that holds the bucket, its shards one after another; each account has a caller"
        " of its own; storage is Azurite, which shares the cores",
    )


def _row(accounts: int, partitions: int, length: str | None) -> dict[str, Cell]:
    with Azurite() as azurite:
        environment = {**sample_settings(), "AzureWebJobsStorage": azurite.connection_string}
        groups = _fill(Settings.from_env(environment), list(messages(accounts, callers=1, length=length)), partitions)
        command = [sys.executable, "-m", "benchmarks.evaluation"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)  # noqa: S603
    spent = json.loads(done.stdout)
    return {
        "accounts": accounts,
        "firing": accounts if length == FIRING else 0,
        "partitions": partitions,
        "groups": groups,
        "requests": spent["requests"],
        "seconds": spent["seconds"],
        "peak_megabytes": spent["peak_bytes"] / 1e6,
    }


def _fill(settings: Settings, records: Sequence[Sequence[str]], partitions: int) -> int:
    """Count messages of records in the first bucket, dealt out to partitions; return the groups that they are in."""
    counter = BatchCounter(settings.policy.rules)
    ingest = Ingest(
        BucketStore(open_table(settings.storage, BUCKETS_TABLE)),
        Quarantine(open_table(settings.storage, QUARANTINE_TABLE), excerpt_characters=0),
        counter,
        lambda: START,
    )
    groups = 0
    for partition in range(partitions):
        events = [event(sequence, some) for sequence, some in enumerate(records[partition::partitions])]
        groups += len(counter.count(events, START).tallies)  # no account is in two partitions
        ingest(Source("local.servicebus.windows.net", "llm-logs", str(partition)), events)
    return groups


def main() -> None:
    """Evaluate."""
    logging.disable(logging.WARNING)
    evaluator = Detector(Settings.from_env(os.environ)).evaluator
    for end in (START + BUCKET, START + 2 * BUCKET):
        start = perf_counter()
        with counted() as requests:
            plan = evaluator.plan(end, end - BUCKET)
            assert plan is not None
            parcels = [evaluator.evaluate_shard(plan, shard) for shard in range(plan.shards)]
            evaluator.conclude(plan, parcels, RunProgress(), end)
        seconds = perf_counter() - start
    print(json.dumps({"requests": requests.total(), "seconds": seconds, "peak_bytes": own_peak_bytes()}))


if __name__ == "__main__":
    main()
