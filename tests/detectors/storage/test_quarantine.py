"""Quarantine: a row for each flawed record, at its place, as far as there is room."""

from datetime import timedelta

import pytest
from msgspec import structs

from detectors.ingestion.delta import QuarantinedRecord
from detectors.sources.decoding import EXCERPT_CHARACTERS, RecordFlaw
from detectors.storage.quarantine import MAX_ROWS, Quarantine
from detectors.storage.tables import MemoryTable, Row
from detectors.windows import BUCKET, key_of
from tests.builders import NAMESPACE, SOURCE, START


def _flaws(count: int, excerpt: str = "{what}") -> list[QuarantinedRecord]:
    return [
        QuarantinedRecord(7 + number, RecordFlaw(number, "not_json", "this is not JSON", excerpt))
        for number in range(count)
    ]


def _rows(table: MemoryTable) -> list[Row]:
    return list(table.query("0", "z"))


def test_a_row_says_where_the_record_came_from_and_what_is_wrong_with_it() -> None:
    """With the beginning of what was there, as long as the settings allow."""
    table = MemoryTable()
    Quarantine(table, excerpt_characters=4).keep(SOURCE, START, _flaws(1), already=0)
    (row,) = _rows(table)
    assert row.partition == key_of(START)
    assert row.values == {
        "Namespace": NAMESPACE,
        "Hub": "llm-logs",
        "Partition": "0",
        "Sequence": 7,
        "Index": 0,
        "Reason": "not_json",
        "Detail": "this is not JSON",
        "Excerpt": "{wha",
    }


def test_a_record_that_comes_again_is_the_same_row() -> None:
    """Delivery is at least once."""
    table = MemoryTable()
    for _ in range(2):
        Quarantine(table, excerpt_characters=9).keep(SOURCE, START, _flaws(3), already=0)
    Quarantine(table, excerpt_characters=9).keep(SOURCE._replace(partition="1"), START, _flaws(1), already=0)
    assert len(_rows(table)) == 4


def test_flaws_of_one_place_are_rows_of_their_own() -> None:
    """What one record wraps has the place of that record: several broken lines of a shipper, say. The first stays."""
    flaws = [
        one._replace(flaw=structs.replace(one.flaw, detail=f"line {number}"))
        for one in _flaws(2)
        for number in range(3)
    ]
    table = MemoryTable()
    for _ in range(2):
        Quarantine(table, excerpt_characters=9).keep(SOURCE, START, flaws, already=0)
    assert [(row.values["Sequence"], row.values["Detail"]) for row in _rows(table)] == [
        (sequence, f"line {number}") for sequence in (7, 8) for number in range(3)
    ]


@pytest.mark.parametrize(
    ("already", "kept"), [(0, MAX_ROWS), (MAX_ROWS - 30, 30), (MAX_ROWS - 1, 1), (MAX_ROWS, 0), (MAX_ROWS + 40, 0)]
)
def test_room_is_bounded_for_each_partition_and_bucket(already: int, kept: int) -> None:
    """The first to come are kept; a service that writes nothing but garbage must not fill the account."""
    table = MemoryTable()
    Quarantine(table, excerpt_characters=9).keep(SOURCE, START, _flaws(MAX_ROWS + 20), already=already)
    assert [row.values["Index"] for row in _rows(table)] == list(range(kept))


def test_the_longest_excerpts_fit_into_a_row() -> None:
    """In an alphabet that takes most room."""
    table = MemoryTable()
    keep = Quarantine(table, excerpt_characters=EXCERPT_CHARACTERS)
    keep.keep(SOURCE, START, _flaws(2, "\N{PILE OF POO}" * EXCERPT_CHARACTERS), already=0)
    assert {len(str(row.values["Excerpt"])) for row in _rows(table)} == {EXCERPT_CHARACTERS}


def test_what_arrived_before_a_time_is_purged() -> None:
    """And nothing that arrived then or later."""
    table = MemoryTable()
    quarantine = Quarantine(table, excerpt_characters=9)
    for bucket in range(3):
        quarantine.keep(SOURCE, START + bucket * BUCKET, _flaws(2), already=0)
    assert quarantine.purge(START + BUCKET) == 2
    assert {row.partition for row in _rows(table)} == {key_of(START + BUCKET), key_of(START + 2 * BUCKET)}
    assert quarantine.purge(START + timedelta(days=1)) == 4
