"""A soak: many records through the worker, with Azurite as its storage, and the memory that it holds meanwhile.

`python -m benchmarks.soak` prints a line for each tenth of the records, as it goes. Batches come from a pool, each time
with new sequence numbers and a later time, so buckets come and go as in a day of logs.
"""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Iterator
from datetime import timedelta
from itertools import cycle
from pathlib import Path
from time import perf_counter
from unittest.mock import patch

from benchmarks.corpus import MESSAGES_PER_BATCH, RECORDS_PER_MESSAGE, corpus
from detectors.events import Event
from local.azurite import Azurite
from local.event_hub import trigger_input
from local.host import ROOT, sample_settings
from local.protos import TypedData
from local.worker import Worker

_POOL = 200_000
_LINES = 10
_STEP = timedelta(seconds=20)
"""From batch to batch: 10 million records are eleven hours of logs."""


def main() -> int:
    """Soak, and fail if the second half of the records left more memory behind than a tenth of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--records", type=int, default=10_000_000, metavar="N")
    records = parser.parse_args().records
    logging.disable(logging.WARNING)
    with Azurite() as azurite:
        settings = {**sample_settings(), "AzureWebJobsStorage": azurite.connection_string}
        with patch.dict(os.environ, settings, clear=True):
            memory = asyncio.run(_soak(records))
    middle, end = memory[len(memory) // 2], memory[-1]
    print(f"Memory at half of the records {middle:.0f} MiB, at the end {end:.0f} MiB: {end / middle:.2f} of it.")
    return int(end > 1.1 * middle)


async def _soak(records: int) -> list[float]:
    """Bring the worker the records; print how it goes, and return the memory held after each tenth."""
    worker, memory = Worker(ROOT), list[float]()
    batches = -(-records // (MESSAGES_PER_BATCH * RECORDS_PER_MESSAGE))
    await worker.start()
    try:
        began = perf_counter()
        for number, batch in zip(range(1, batches + 1), _batches(), strict=False):
            await worker.invoke("ingest", *_input(batch))
            if number * _LINES // batches > (number - 1) * _LINES // batches:
                done = number * MESSAGES_PER_BATCH * RECORDS_PER_MESSAGE
                memory.append(_resident())
                pace = done / (perf_counter() - began)
                print(f"{done:>12,} records  {pace:>9,.0f} records/s  {memory[-1]:>6.0f} MiB", flush=True)
    finally:
        await worker.stop()
    return memory


def _batches() -> Iterator[list[Event]]:
    """Yield batches without end: events of the pool, each time with new numbers and a later time."""
    sequence, pool = 0, list(corpus(_POOL).batches())
    for number, batch in enumerate(cycle(pool)):
        yield [
            one._replace(sequence=sequence + place, enqueued=one.enqueued + number * _STEP)
            for place, one in enumerate(batch)
        ]
        sequence += len(batch)


def _input(batch: list[Event]) -> tuple[dict[str, TypedData], dict[str, TypedData]]:
    data, metadata = trigger_input("llm-logs", "$Default", 0, batch)
    return {"events": data}, metadata


def _resident() -> float:
    """Return the memory of this process, which is that of the worker, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    sys.exit(main())
