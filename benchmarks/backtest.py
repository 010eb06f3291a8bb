"""How fast a backtest reads exported logs, beside DuckDB and Polars with the same query over the same files."""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple

from benchmarks.contenders import CONTENDERS
from benchmarks.exports import write_day
from benchmarks.report import Column, Section

ROUNDS = 2

_LABELS = {"ours": "ours: detectors replay", "duckdb": "DuckDB, read_json", "polars": "Polars, scan_ndjson"}
_COLUMNS = (
    Column("contender", "count by resource and ten minutes"),
    Column("seconds", "seconds", ".1f"),
    Column("records_per_second", "records/s", ",.0f"),
    Column("peak_megabytes", "peak memory, MB", ",.0f"),
    Column("ratio", "times ours", ".2f"),
)


class _Run(NamedTuple):
    seconds: float
    peak_bytes: int


def measure(records: int) -> Section:
    """Write files, let every contender read them in turns, and keep its best time.

    Raises:
        AssertionError: one found other ListKey records than there are.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        readings = write_day(folder, records)
        size = sum(file.stat().st_size for file in folder.iterdir())
        runs = {name: min(_run(name, folder, readings) for _ in range(ROUNDS)) for name in CONTENDERS}
    ours = runs["ours"].seconds
    return Section(
        "backtest",
        f"Backtest {records:,} records, {size / 1e9:.1f} GB of NDJSON in 24 files",
        _COLUMNS,
        [
            {
                "contender": _LABELS[name],
                "seconds": run.seconds,
                "records_per_second": records / run.seconds,
                "peak_megabytes": run.peak_bytes / 1e6,
                "ratio": run.seconds / ours,
            }
            for name, run in runs.items()
        ],
        f"best of {ROUNDS} whole processes, all cores; all find the same {sum(readings.values()):,} ListKey records",
    )


def _run(name: str, folder: Path, readings: dict[str, int]) -> _Run:
    start = perf_counter()
    done = subprocess.run(  # noqa: S603 - this interpreter, with names of our own
        [sys.executable, "-m", "benchmarks.contenders", name, str(folder)], check=True, capture_output=True, text=True
    )
    seconds = perf_counter() - start
    answer = json.loads(done.stdout)
    assert answer["found"] == readings, f"{name} miscounts"
    return _Run(seconds, answer["peak_bytes"])
