"""One way to count ListKey records by resource and ten minutes over files of exported logs, as a process of its own.

`python -m benchmarks.contenders NAME FOLDER` prints a line of JSON: records counted by resource, and peak memory.
Each uses all cores, and imports no other. DuckDB and Polars get the query only: no malformed lines, episodes, callers,
lengths or evidence.
"""

import json
import resource
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from multiprocessing import active_children
from pathlib import Path

type Readings = dict[str, int]

PROCESSES = 2
_KILOBYTE = 1024


def ours(folder: str) -> Readings:
    """Run the backtest of `llm-detector replay`, with the rule's default numbers."""
    from detectors.backtest.exports import find  # noqa: PLC0415 - in no other's process
    from detectors.backtest.replay import BacktestRequest, replay  # noqa: PLC0415 - likewise
    from detectors.evaluation.policy import Policy  # noqa: PLC0415 - likewise

    outcome = replay(find([folder]), BacktestRequest(Policy().alone("model_theft")), processes=PROCESSES)
    for process in active_children():  # only of those that have ended the system tells how much memory they took
        process.join()
    assert not outcome.quality.problems
    # Every record is in six windows; each file begins a new hour.
    return {
        line.resource: sum(int(value) for end, value in line.points if end % 3600 == 0)
        for line in outcome.timelines
        if line.measure == "count"
    }


def duck(folder: str) -> Readings:
    """DuckDB's JSON reader with the columns given."""
    import duckdb  # noqa: PLC0415 - likewise

    rows = duckdb.execute(
        f"""
        SELECT lower(resourceId), substr(time, 1, 15), count(*)
        FROM read_json('{folder}/*.json', format = 'newline_delimited', columns = {{
            time: 'VARCHAR', category: 'VARCHAR', operationName: 'VARCHAR', resourceId: 'VARCHAR'
        }})
        WHERE category = 'Audit' AND operationName = 'ListKey' GROUP BY ALL
        """  # noqa: S608 - a folder that the benchmark made
    ).fetchall()
    return _by_resource((str(name), int(count)) for name, _, count in rows)


def bears(folder: str) -> Readings:
    """Polars' NDJSON scanner with the columns given."""
    import polars as pl  # noqa: PLC0415 - likewise

    text = pl.String
    rows = (
        pl.scan_ndjson(
            f"{folder}/*.json",
            schema={"time": text, "category": text, "operationName": text, "resourceId": text},
            ignore_errors=True,
        )
        .filter(pl.col("category") == "Audit", pl.col("operationName") == "ListKey")
        .group_by(pl.col("resourceId").str.to_lowercase(), pl.col("time").str.slice(0, 15))
        .len()
        .collect()
        .rows()
    )
    return _by_resource((str(name), int(count)) for name, _, count in rows)


def _by_resource(counts: Iterable[tuple[str, int]]) -> Readings:
    found: Counter[str] = Counter()
    for name, count in counts:
        found[name] += count
    return dict(found)


CONTENDERS: dict[str, Callable[[str], Readings]] = {"ours": ours, "duckdb": duck, "polars": bears}


def main() -> None:
    """Run one."""
    name, folder = sys.argv[1:]
    found = CONTENDERS[name](folder)
    workers = PROCESSES * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(json.dumps({"found": found, "peak_bytes": own_peak_bytes() + workers * _KILOBYTE}))


def own_peak_bytes() -> int:
    """Tell the most memory held. The kernel's ru_maxrss begins with what the process had that started this one."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * _KILOBYTE


if __name__ == "__main__":
    main()
