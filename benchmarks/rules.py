"""What each further rule costs on the hot path: the same messages, counted for more and more rules."""

from collections.abc import Sequence
from time import thread_time

from benchmarks.corpus import START, Corpus
from benchmarks.report import Column, Section
from detectors.ingestion.counting import BatchCounter
from detectors.rules.catalogue import BY_ID, CATALOGUE
from detectors.rules.rule import Rule

ROUNDS = 3

_COLUMNS = (
    Column("rules", "rules that are on"),
    Column("selections", "records they select", ",.0f"),
    Column("records_per_second", "records/s a core", ",.0f"),
    Column("ratio", "of one rule", ".2f"),
)

_SETS: dict[str, Sequence[Rule]] = {
    "model theft": [BY_ID["model_theft"]],
    "and denial of service": [BY_ID["model_theft"], BY_ID["denial_of_service"]],
    "and insecure output": [BY_ID[name] for name in ("model_theft", "denial_of_service", "insecure_output")],
    "all": CATALOGUE,
}
_ONE = "model theft"


def measure(corpus: Corpus) -> Section:
    """Count the corpus for each set in turns, and keep the best time."""
    best = dict.fromkeys(_SETS, float("inf"))
    selections = dict.fromkeys(_SETS, 0)
    for _ in range(ROUNDS):
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
                "ratio": best[_ONE] / seconds,
            }
            for name, seconds in best.items()
        ],
        f"best of {ROUNDS} rounds, time on the processor; a record that two rules select is two selections",
    )
