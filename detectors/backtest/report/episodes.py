"""Episodes with their numbers on the page."""

from collections.abc import Sequence

from detectors.backtest.outcome import EpisodeSummary, Outcome
from detectors.rules.rule import Severity

MAX_ROWS = 500
"""The most rows of the table: a threshold set far too low must not make a page that no browser opens."""

RANKS: dict[Severity, int] = {"Informational": 0, "Low": 1, "Medium": 2, "High": 3}

Numbered = Sequence[tuple[int, EpisodeSummary]]


def numbered(outcome: Outcome) -> Numbered:
    """Assign numbers to episodes, from 1 in the order of time; keep the most severe of too many."""
    every = list(enumerate(outcome.episodes, start=1))
    every.sort(key=lambda item: (-RANKS[item[1].severity], -item[1].windows))
    return sorted(every[:MAX_ROWS], key=lambda item: item[0])


def why_none(outcome: Outcome) -> str:
    """Explain why there are no episodes."""
    if not outcome.quality.records:
        return "no record was read."
    if not any(selected.records for selected in outcome.quality.selected.values()):
        return "no rule selected a record."
    return "nothing reached a threshold."
