"""Stories in which everything goes wrong end well, and planted mistakes make some of them end badly."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest

from detectors import evaluator
from detectors.evaluation import episodes
from detectors.storage.journal import Plan, next_window
from detectors.storage.tables import MemoryTable, Row
from tests.chaos import Story, ending, shortened, story

STORIES = 40


@pytest.mark.parametrize("seed", range(STORIES))
def test_whatever_goes_wrong_counts_findings_and_episodes_are_right(seed: int) -> None:
    """`make chaos` plays ten thousand."""
    assert ending(story(seed)) == []


def _merged_anyway(table: MemoryTable, row: Row) -> str:
    known = next(iter(table.query(row.partition, row.partition, key_prefix=row.key)))
    return table.upsert([replace(row, values={**known.values, **row.values})]) or ""  # type: ignore[func-returns-value]


def _never_again(versions: dict[datetime, str], *args: Any, **more: Any) -> Plan | None:  # noqa: ANN401 - as they come
    return next_window(dict.fromkeys(versions, ""), *args, **more)


MISTAKES = {
    "conditional writes": (MemoryTable, "merge", _merged_anyway),
    "windows that changed are due": (evaluator, "next_window", _never_again),
    "buckets are kept": (evaluator, "PURGE_MARGIN", timedelta(hours=-24)),
    "what escalates": (episodes, "ESCALATION_FACTOR", 3),
}


def _first_bad() -> Story | None:
    return next((told for told in map(story, range(200)) if ending(told)), None)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_found(mistake: str) -> None:
    """Soon: by one of the first stories."""
    with patch.object(*MISTAKES[mistake]):
        assert _first_bad(), f"{mistake}: no story ends badly"


def test_a_story_that_ends_badly_is_told_without_what_does_not_matter() -> None:
    """It ends badly still, and well without the mistake."""
    with patch.object(*MISTAKES["what escalates"]):
        told = _first_bad()
        assert told
        short = shortened(told)
        assert ending(short)
    assert (len(short.steps), len(short.faults), len(short.overlaps)) <= (len(told.steps), 0, 0)
    assert ending(short) == []
