"""What a broken message costs beside a sound one: nobody may slow the detector down by sending nonsense."""

import json
from collections.abc import Sequence
from random import Random
from time import thread_time

from benchmarks.corpus import START, Corpus
from benchmarks.report import Column, Section
from detectors.events import Event
from detectors.ingestion.counting import BatchCounter
from detectors.rules.catalogue import CATALOGUE
from local.samples import ODD_LENGTHS, Kind, fleet, guid, list_key, malformed

MESSAGES = 100
ROUNDS = 2

_COLUMNS = (
    Column("kind", "message"),
    Column("microseconds", "µs a message", ",.0f"),
    Column("ratio", "times a sound one", ".1f"),
)


def measure(corpus: Corpus) -> Section:
    """Break the first messages of a corpus in every way that local traffic knows, and count each."""
    sound = corpus.events[:MESSAGES]
    seconds = {"sound": _seconds(sound)} | {kind.value: _seconds(_broken(sound, kind)) for kind in Kind}
    return Section(
        "breakage",
        "Decode and tally of broken messages",
        _COLUMNS,
        [
            {"kind": kind, "microseconds": taken / len(sound) * 1e6, "ratio": taken / seconds["sound"]}
            for kind, taken in seconds.items()
        ],
        f"best of {ROUNDS} rounds over {len(sound)} messages, time on the processor",
    )


def _seconds(events: Sequence[Event]) -> float:
    counter = BatchCounter(CATALOGUE)
    best = float("inf")
    for _ in range(ROUNDS):
        start = thread_time()
        counter.count(events, START)
        best = min(best, thread_time() - start)
    return best


def _broken(events: Sequence[Event], kind: Kind) -> list[Event]:
    """Return the events with one breakage in each of their messages."""
    rng = Random(1)
    account = fleet(rng)[0]
    resource = "null" if kind is Kind.NULL_RESOURCE else None
    length = ODD_LENGTHS.get(kind)
    odd = list_key(rng, account, caller=guid(rng), time="2026-03-02T07:59:58Z", length=length, resource=resource)
    return [event._replace(body=malformed(kind, _records(event.body), odd)) for event in events]


def _records(body: bytes) -> list[str]:
    return [json.dumps(record, separators=(",", ":")) for record in json.loads(body)["records"]]
