"""How fast message bodies become counts: our engine beside its own limit and the standard library.

`python -m benchmarks.decoding NAME RECORDS` lets one contender read the corpus in a process of its own, and prints a
line of JSON: its best time in seconds on the processor, and the ListKey records that it found by resource.
"""

import collections
import json
import subprocess
import sys
from collections.abc import Callable
from time import thread_time

import msgspec

from benchmarks.corpus import START, Corpus
from benchmarks.corpus import corpus as corpus_of
from benchmarks.report import Column, Section
from detectors.ingestion.counting import BatchCounter
from detectors.rules.catalogue import BY_ID

MODEL_THEFT = BY_ID["model_theft"]

type Readings = dict[str, int]
"""ListKey records by canonical resource id."""

TURNS, ROUNDS = 2, 3

_COLUMNS = (
    Column("contender", "decode and tally"),
    Column("records_per_second", "records/s a core", ",.0f"),
    Column("gigabytes_per_second", "GB/s", ".2f"),
    Column("ratio", "of the limit", ".1%"),
)


def measure(corpus: Corpus) -> Section:
    """Let every contender read the same corpus, in turns, each in a process of its own, and keep its best time.

    Raises:
        AssertionError: one found other key readings than there are.
    """
    best = dict.fromkeys(_CONTENDERS, float("inf"))
    for _ in range(TURNS):
        for name in _CONTENDERS:
            best[name] = min(best[name], _turn(name, corpus))
    limit = best[_LIMIT]
    return Section(
        "decode",
        f"Decode and tally {corpus.records:,} records in {len(corpus.events):,} messages",
        _COLUMNS,
        [
            {
                "contender": name,
                "records_per_second": corpus.records / seconds,
                "gigabytes_per_second": corpus.bytes / seconds / 1e9,
                "ratio": limit / seconds,
            }
            for name, seconds in best.items()
        ],
        f"best of {TURNS} processes with {ROUNDS} rounds each, time on the processor;"
        f" {corpus.bytes / corpus.records:.0f} bytes a record; all find the same {sum(corpus.readings.values()):,}"
        f" ListKey records; the limit is {_LIMIT}",
    )


def _turn(name: str, corpus: Corpus) -> float:
    command = [sys.executable, "-m", "benchmarks.decoding", name, str(corpus.records)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - names of our own
    answer = json.loads(done.stdout)
    assert answer["found"] == corpus.readings, f"{name} miscounts"
    return float(answer["seconds"])


def _ours(corpus: Corpus) -> Readings:
    counter = BatchCounter([MODEL_THEFT])
    found: collections.Counter[str] = collections.Counter()
    for batch in corpus.batches():
        for key, tally in counter.count(batch, START).tallies.items():
            if key.rule_id == MODEL_THEFT.id:
                found[key.group[0]] += tally.count
    return dict(found)


class _Read(msgspec.Struct, rename="camel", gc=False):
    """What model theft reads of a record; the properties only of those that it selects."""

    category: str | None = None
    operation_name: str | None = None
    resource_id: str | None = None
    time: str | None = None
    properties: msgspec.Raw = msgspec.Raw(b"null")


class _Envelope(msgspec.Struct, gc=False):
    records: list[_Read]


def _bare_msgspec(corpus: Corpus) -> Readings:
    decode = msgspec.json.Decoder(_Envelope).decode
    found: collections.Counter[str] = collections.Counter()
    for event in corpus.events:
        for record in decode(event.body).records:
            if record.operation_name == "ListKey" and record.category == "Audit":
                found[(record.resource_id or "").lower()] += 1
    return dict(found)


def _standard_library(corpus: Corpus) -> Readings:
    found: collections.Counter[str] = collections.Counter()
    for event in corpus.events:
        for record in json.loads(event.body)["records"]:
            if record["operationName"] == "ListKey" and record["category"] == "Audit":
                found[record["resourceId"].lower()] += 1
    return dict(found)


_LIMIT = "bare msgspec, only what the rule reads"
_CONTENDERS: dict[str, Callable[[Corpus], Readings]] = {
    "ours": _ours,
    _LIMIT: _bare_msgspec,
    "standard library json, dicts": _standard_library,
}


def main() -> None:
    """Let one contender read the corpus."""
    name, records = sys.argv[1:]
    corpus, best = corpus_of(int(records)), float("inf")
    for _ in range(ROUNDS):
        start = thread_time()
        found = _CONTENDERS[name](corpus)
        best = min(best, thread_time() - start)
    print(json.dumps({"seconds": best, "found": found}))


if __name__ == "__main__":
    main()
