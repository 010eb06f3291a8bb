"""Many resources and many callers: what is stored and held stays bounded, counts stay exact, and cuts are marked."""

from collections import Counter
from collections.abc import Iterator

import pytest

from detectors.buckets import MAX_MEMBERS, OTHERS, SLICES, BucketStore
from detectors.counting import BatchCounter, Key
from detectors.events import Event
from detectors.ingest import Ingest
from detectors.quarantine import Quarantine
from detectors.rules import CATALOGUE
from detectors.tables import MAX_ENTITY_BYTES, MemoryTable, check_limits
from detectors.tally import MAX_CALLERS, Tally
from detectors.windows import key_of
from tests.builders import SOURCE, START, canonical_id, chat, list_key, message

RESOURCES, CALLERS = 4, 1_000
NAMES = [f"aoai-{number}" for number in range(RESOURCES)]


def _events() -> Iterator[Event]:
    """Everybody lists the keys of everything once, and gets an answer; later callers get more bytes."""
    for number in range(CALLERS):
        caller = f"00000000-0000-4000-8000-{number:012d}"
        records = [list_key(name, caller=caller) for name in NAMES]
        records += [chat(name, objectId=caller, responseLength=1_000 + number) for name in NAMES]
        yield Event(number, START, message(*records))


@pytest.fixture(scope="module")
def table() -> MemoryTable:
    """A bucket that got all of it, in batches of a hundred events."""
    table, events = MemoryTable(), list(_events())
    ingest = Ingest(BucketStore(table), Quarantine(table, excerpt_characters=0), BatchCounter(CATALOGUE), lambda: START)
    for first in range(0, CALLERS, 100):
        ingest(SOURCE, events[first : first + 100])
    return table


def _tallies(table: MemoryTable) -> dict[Key, Tally]:
    found: dict[Key, Tally] = {}
    for _, key, tally in BucketStore(table).read(START, range(SLICES)):
        found[key] = found[key].merged(tally) if key in found else tally
    return found


def test_counts_stay_exact_and_callers_bounded(table: MemoryTable) -> None:
    """Who found no room is counted as one of the others."""
    tallies = _tallies(table)
    for name in NAMES:
        tally = tallies[Key("model_theft", (canonical_id(name),))]
        assert tally.count == CALLERS
        assert len(tally.callers) == MAX_CALLERS
        assert tally.other_callers == CALLERS - MAX_CALLERS


def test_the_heaviest_callers_are_kept_with_their_bytes(table: MemoryTable) -> None:
    """Nobody hides a large transfer behind a crowd that came before."""
    for name in NAMES:
        tally = _tallies(table)[Key("large_transfer", (canonical_id(name),))]
        assert max(tally.caller_bytes.values()) == tally.responses.largest == 1_000 + CALLERS - 1
        assert len(tally.caller_bytes) == MAX_CALLERS
        assert sum(tally.caller_bytes.values()) + tally.other_bytes == tally.responses.total


def test_newcomers_beyond_the_room_are_told_together(table: MemoryTable) -> None:
    """The first ones one by one, and the others under a name that says so."""
    counts: Counter[str] = Counter()
    for key, tally in _tallies(table).items():
        if key.rule_id == "new_key_lister" and key.group[0] == canonical_id(NAMES[0]):
            counts[key.group[1]] += tally.count
    assert len(counts) == MAX_MEMBERS + 1
    assert counts.pop(OTHERS) == CALLERS - MAX_MEMBERS
    assert set(counts.values()) == {1}


def test_every_row_fits_into_the_service(table: MemoryTable) -> None:
    """Rows are far below the limit of an entity, and few."""
    rows = list(table.query(key_of(START), key_of(START)))
    sizes = [sum(len(value) for value in row.values.values() if isinstance(value, bytes)) for row in rows]
    for row in rows:
        check_limits(row)
    assert len(rows) == 1
    assert sizes[0] < MAX_ENTITY_BYTES / 10
