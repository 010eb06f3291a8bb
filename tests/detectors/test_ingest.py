"""Batches that threads bring at once, other hosts fight over, or no segment holds."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import NAMESPACE_OID, uuid5

import pytest

from detectors.errors import ConflictError, StorageError
from detectors.events import Event, Source
from detectors.ingest import MAX_CONFLICTS, Ingest
from detectors.ingestion.counting import BatchCounter
from detectors.rules.catalogue import BY_ID
from detectors.storage import buckets
from detectors.storage.buckets import BucketStore
from detectors.storage.quarantine import Quarantine
from detectors.storage.slices import SLICES
from detectors.storage.tables import MemoryTable, Row, Table
from detectors.windows import BUCKET
from tests.builders import NAMESPACE, SOURCE, START, event, list_key
from tests.intercepted_table import ShakyTable
from tests.meeting import Meeting

MODEL_THEFT = BY_ID["model_theft"]


class WatchedTable(MemoryTable):
    """A table that counts what it is asked for, and calls something within each write."""

    def __init__(self, within_write: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.asked = Counter[str]()
        self._within_write = within_write

    def insert(self, row: Row) -> str:
        """See `Table.insert`."""
        self.asked["writes"] += 1
        self._within_write()
        return super().insert(row)

    def merge(self, row: Row) -> str:
        """See `Table.merge`."""
        self.asked["writes"] += 1
        self._within_write()
        return super().merge(row)

    def query(
        self, first: str, last: str, *, key_prefix: str = "", columns: Sequence[str] | None = None
    ) -> Iterator[Row]:
        """See `Table.query`."""
        self.asked["reads"] += 1
        return super().query(first, last, key_prefix=key_prefix, columns=columns)


def _ingest(table: Table) -> Ingest:
    quarantine = Quarantine(MemoryTable(), excerpt_characters=0)
    return Ingest(BucketStore(table), quarantine, BatchCounter([MODEL_THEFT]), lambda: START)


def _listings(table: Table) -> int:
    store = BucketStore(table)
    found = (store.read(START + BUCKET * number, range(SLICES)) for number in range(5))
    return sum(tally.count for tallies in found for _, key, tally in tallies if key.rule_id == MODEL_THEFT.id)


def _at_once(ingest: Ingest, *batches: tuple[Source, list[Event]]) -> None:
    with ThreadPoolExecutor(len(batches)) as threads:
        for done in [threads.submit(ingest, *batch) for batch in batches]:
            done.result()


def test_invocations_for_one_partition_take_turns() -> None:
    """Two that write at once would fight over the same row: the one that comes second finds all of it counted."""
    meeting = Meeting(0.3)
    table = WatchedTable(meeting)
    _at_once(_ingest(table), (SOURCE, [event(1, list_key())]), (SOURCE, [event(1, list_key())]))
    assert not meeting.happened
    assert table.asked == {"writes": 1}
    assert _listings(table) == 1


def test_invocations_for_different_partitions_do_not_wait_for_one_another() -> None:
    """Each of them writes while the other one does."""
    meeting = Meeting(60)
    table = WatchedTable(meeting)
    _at_once(_ingest(table), *((Source(NAMESPACE, "llm-logs", name), [event(1, list_key())]) for name in "01"))
    assert meeting.happened
    assert _listings(table) == 2


def test_the_last_buckets_are_written_without_reading_them_again() -> None:
    """Clocks step back at the edge of a bucket, and events come late: the buckets written last are in memory."""
    table = WatchedTable()
    ingest = _ingest(table)
    for sequence, number in enumerate((0, 1, 0, 1, 2, 0, 3, 0)):
        ingest(SOURCE, [event(sequence, list_key(), after=BUCKET * number + timedelta(seconds=sequence))])
    assert table.asked == {"writes": 8}
    assert _listings(table) == 8


@pytest.mark.parametrize(("conflicts", "ends_well"), [(MAX_CONFLICTS, True), (MAX_CONFLICTS + 1, False)])
def test_a_fight_over_a_row_ends(conflicts: int, *, ends_well: bool) -> None:
    """The trigger then brings the batch again, and nothing is lost."""

    def refused() -> None:
        raise ConflictError("precondition failed")

    table = ShakyTable(MemoryTable(), before_write=[refused] * conflicts)
    if ends_well:
        _ingest(table)(SOURCE, [event(1, list_key())])
    else:
        with pytest.raises(StorageError, match="other writers keep changing 08:00"):
            _ingest(table)(SOURCE, [event(1, list_key())])
    assert _listings(table) == int(ends_well)


def test_a_full_segment_does_not_make_what_follows_go_in_small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next segment is empty, so the whole rest is tried at once."""
    monkeypatch.setattr(buckets, "MAX_SLICE_BYTES", 600)
    table = WatchedTable()
    _ingest(table)(
        SOURCE, [event(number, list_key(f"aoai-{uuid5(NAMESPACE_OID, str(number))}")) for number in range(150)]
    )
    assert _listings(table) == 150
    assert len(list(table.query("0", "3"))) > 1
    assert table.asked["writes"] < 50  # in eight segments
