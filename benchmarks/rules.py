"""What each further rule costs on the hot path, beside a loop that decodes what all of them read and counts nothing."""

from collections.abc import Sequence
from time import thread_time
from typing import Any

import msgspec

from benchmarks.corpus import START, Corpus
from benchmarks.report import Column, Section
from detectors.ingestion.counting import BatchCounter
from detectors.rules.catalogue import BY_ID, CATALOGUE
from detectors.rules.rule import Rule
from detectors.sources import azure_openai
from detectors.sources.catalogue import SOURCES
from detectors.sources.decoding import record_type

ROUNDS = 3
_LIMIT = "none: bare msgspec, only what all rules read"

_COLUMNS = (
    Column("rules", "rules that are on"),
    Column("selections", "records they select", ",.0f"),
    Column("records_per_second", "records/s a core", ",.0f"),
    Column("ratio", "of the limit", ".1%"),
)

_SETS: dict[str, Sequence[Rule]] = {
    "model theft": [BY_ID["model_theft"]],
    "and denial of service": [BY_ID["model_theft"], BY_ID["denial_of_service"]],
    "and insecure output": [BY_ID[name] for name in ("model_theft", "denial_of_service", "insecure_output")],
    "all": CATALOGUE,
}


def _decode_alone(corpus: Corpus) -> float:
    """Decode what the rules read, and the properties of each request once; return the seconds on the processor."""
    fields = frozenset(one.name for source in SOURCES for one in msgspec.structs.fields(source.record))
    envelope: Any = msgspec.defstruct("Envelope", [("records", list[record_type(fields)])], gc=False)  # type: ignore[misc]
    decode = msgspec.json.Decoder(envelope).decode
    decode_properties = msgspec.json.Decoder(azure_openai.Properties).decode
    start = thread_time()
    for event in corpus.events:
        for record in decode(event.body).records:
            if record.category == "RequestResponse" and isinstance(record.properties, str):
                decode_properties(record.properties)
    return thread_time() - start


def measure(corpus: Corpus) -> Section:
    """Count the corpus for each set in turns, and keep the best time."""
    best = dict.fromkeys([_LIMIT, *_SETS], float("inf"))
    selections = dict.fromkeys([_LIMIT, *_SETS], 0)
    for _ in range(ROUNDS):
        best[_LIMIT] = min(best[_LIMIT], _decode_alone(corpus))
        for name, rules in _SETS.items():
            counter, selected, start = BatchCounter(rules), 0, thread_time()
            for batch in corpus.batches():
                delta = counter.count(batch, START)
                selected += sum(each.records for each in delta.counters.selected.values())
            best[name] = min(best[name], thread_time() - start)
            selections[name] = selected
    return Section(
        "rules",
        f"Decode and tally {corpus.records:,} records for more and more rules",
        _COLUMNS,
        [
            {
                "rules": name,
                "selections": selections[name],
                "records_per_second": corpus.records / seconds,
                "ratio": best[_LIMIT] / seconds,
            }
            for name, seconds in best.items()
        ],
        f"best of {ROUNDS} rounds, time on the processor; a record that two rules select is two selections",
    )
