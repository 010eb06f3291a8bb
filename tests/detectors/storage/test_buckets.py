"""The bucket store: what a segment holds, how it moves on when full, and what a write costs."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import NAMESPACE_OID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.errors import ConflictError, StorageError
from detectors.events import Event, Source
from detectors.ingest import Ingest
from detectors.ingestion.counting import BatchCounter
from detectors.rules.catalogue import BY_ID, CATALOGUE
from detectors.rules.counters import Counters
from detectors.rules.crowds import MAX_GROUPS, OTHERS
from detectors.storage import buckets
from detectors.storage.buckets import MAX_SLICE_BYTES, BucketStore, Watermark
from detectors.storage.quarantine import MAX_ROWS, Quarantine
from detectors.storage.slices import SLICES, slice_of
from detectors.storage.tables import MAX_PROPERTY_BYTES, MemoryTable, Row, bytes_of
from detectors.windows import BUCKET
from tests.builders import (
    NAMESPACE,
    SOURCE,
    START,
    canonical_id,
    chat,
    event,
    list_key,
    message,
    of_another_service,
    resource_id,
)

NEW_KEY_LISTER = BY_ID["new_key_lister"]

MODEL_THEFT = BY_ID["model_theft"]


class CountingTable(MemoryTable):
    """A table in memory that counts calls."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = self.writes = 0

    def insert(self, row: Row) -> str:
        """See `Table.insert`."""
        self.writes += 1
        return super().insert(row)

    def merge(self, row: Row) -> str:
        """See `Table.merge`."""
        self.writes += 1
        return super().merge(row)

    def query(
        self, first: str, last: str, *, key_prefix: str = "", columns: Sequence[str] | None = None
    ) -> Iterator[Row]:
        """See `Table.query`."""
        self.reads += 1
        return super().query(first, last, key_prefix=key_prefix, columns=columns)


def _ingest(table: MemoryTable, quarantine: MemoryTable | None = None) -> Ingest:
    keep = Quarantine(quarantine if quarantine is not None else MemoryTable(), excerpt_characters=50)
    return Ingest(BucketStore(table), keep, BatchCounter(CATALOGUE), lambda: START + timedelta(seconds=30))


def _totals(table: MemoryTable, bucket: datetime = START) -> dict[str, int]:
    """Key listings of a bucket by resource, told the same by both rules that look at them."""
    totals: dict[str, dict[str, int]] = {rule.id: {} for rule in (MODEL_THEFT, NEW_KEY_LISTER)}
    for _, key, tally in BucketStore(table).read(bucket, range(SLICES)):
        if key.rule_id in totals:
            by_resource = totals[key.rule_id]
            by_resource[key.group[0]] = by_resource.get(key.group[0], 0) + tally.count
    assert totals[MODEL_THEFT.id] == totals[NEW_KEY_LISTER.id]
    return totals[MODEL_THEFT.id]


def _counters(table: MemoryTable) -> Counters:
    (segment,) = BucketStore(table).segments(START, START, (), counters=True)
    assert segment.counters is not None
    return segment.counters


def _crowd(first: int, last: int) -> list[dict[str, object]]:
    """Return records of many resources and callers, whose names do not compress."""
    return [list_key(f"aoai-{_guid(number)}", caller=_guid(-number)) for number in range(first, last)]


def _guid(number: int) -> str:
    return str(uuid5(NAMESPACE_OID, str(number)))


def test_the_steady_state_is_one_write_and_no_read_for_each_invocation() -> None:
    """The first invocation of a bucket too: an insert tells whether the row is there."""
    table = CountingTable()
    ingest = _ingest(table)
    for number in range(5):
        ingest(SOURCE, [event(number, list_key(), chat())])
    assert (table.writes, table.reads) == (5, 0)


def test_a_new_host_in_the_middle_of_a_bucket_reads_once() -> None:
    """Its insert is refused, it reads what is there, and goes on."""
    table = CountingTable()
    _ingest(table)(SOURCE, [event(1, list_key())])
    newcomer = _ingest(table)
    newcomer(SOURCE, [event(1, list_key()), event(2, list_key())])
    newcomer(SOURCE, [event(3, list_key())])
    assert table.reads == 1
    assert _totals(table) == {canonical_id(): 3}


def test_a_batch_that_was_counted_before_writes_nothing() -> None:
    """A redelivery costs no write once the watermark is known."""
    table = CountingTable()
    ingest = _ingest(table)
    ingest(SOURCE, [event(1, list_key())])
    ingest(SOURCE, [event(1, list_key())])
    assert table.writes == 1


def test_partitions_do_not_share_rows() -> None:
    """Partition 1 and 10 have watermarks of their own, and their counts add up."""
    table = MemoryTable()
    ingest = _ingest(table)
    for partition in ("1", "10", "1"):
        ingest(Source(NAMESPACE, "llm-logs", partition), [event(5, list_key())])
    assert _totals(table) == {canonical_id(): 2}


def test_a_batch_over_a_bucket_edge_counts_on_both_sides() -> None:
    """The last microsecond belongs to the bucket, the next one does not."""
    table = MemoryTable()
    edge = timedelta(minutes=10)
    _ingest(table)(
        SOURCE,
        [event(1, list_key(), after=edge - timedelta(microseconds=1)), event(2, list_key(), list_key(), after=edge)],
    )
    assert [_totals(table, START + shift) for shift in (0 * edge, edge)] == [{canonical_id(): 1}, {canonical_id(): 2}]


def test_a_segment_that_is_full_is_sealed_and_the_next_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resources without number in one bucket stay exact, within the limits, over redeliveries and a new host."""
    monkeypatch.setattr(buckets, "MAX_SLICE_BYTES", 2_000)
    table = MemoryTable()
    events = [event(number, *_crowd(number * 70, number * 70 + 70)) for number in range(30)]
    ingest = _ingest(table)
    for first in range(0, 30, 10):
        ingest(SOURCE, events[first : first + 10])
    _ingest(table)(SOURCE, events[15:])
    rows = list(table.query("0", "3"))
    assert len(rows) > 1
    assert [bool(row.values.get("Sealed")) for row in rows] == [True] * (len(rows) - 1) + [False]
    slices = [bytes_of(value) for row in rows for name, value in row.values.items() if name.startswith("Tallies")]
    assert max(map(len, slices)) <= 2_000
    assert _totals(table) == {str(record["resourceId"]).lower(): 1 for record in _crowd(0, 2_100)}


def test_a_host_that_died_between_sealing_and_going_on_loses_nothing() -> None:
    """The next host finds a sealed segment without successor and makes it."""
    table = MemoryTable()
    store = BucketStore(table)
    segment = store.add(
        store.newest(SOURCE, START), BatchCounter(CATALOGUE).count([event(1, list_key())], START), [event(1)]
    )
    store.seal(segment)
    _ingest(table)(SOURCE, [event(1, list_key()), event(2, list_key())])
    assert _totals(table) == {canonical_id(): 2}


def test_a_sealed_segment_refuses_an_owner_that_has_not_noticed() -> None:
    """Its etag is stale, so it reads again and goes on in the next segment."""
    table = MemoryTable()
    slow, fast = _ingest(table), BucketStore(table)
    slow(SOURCE, [event(1, list_key())])
    fast.seal(fast.reload(SOURCE, START))
    slow(SOURCE, [event(1, list_key()), event(2, list_key())])
    assert _totals(table) == {canonical_id(): 2}
    assert len(list(table.query("0", "3"))) == 2


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments that a hundred resources outgrow; in production it takes thousands with long and random names."""
    monkeypatch.setattr(buckets, "MAX_SLICE_BYTES", 300)


@pytest.mark.usefixtures("small_segments")
def test_one_message_with_more_groups_than_a_segment_holds_is_counted_in_fewer() -> None:
    """Nothing of it is lost, nor refused; what comes before and after it is told apart as ever."""
    table, quarantine = MemoryTable(), MemoryTable()
    ingest = _ingest(table, quarantine)
    ingest(SOURCE, [event(1, list_key()), event(2, *_crowd(0, 100)), event(3, list_key())])
    assert _totals(table) == {canonical_id(): 2, OTHERS: 100}
    assert list(quarantine.query("0", "3")) == []


@pytest.mark.usefixtures("small_segments")
def test_such_a_message_does_not_block_a_host_that_has_not_seen_the_bucket() -> None:
    """Its empty picture of the bucket is refused, and it has to look again rather than try for ever."""
    table = MemoryTable()
    _ingest(table)(SOURCE, [event(1, list_key())])
    _ingest(table)(SOURCE, [event(2, *_crowd(0, 100)), event(3, list_key())])
    assert _totals(table) == {canonical_id(): 2, OTHERS: 100}


def test_segments_beyond_four_digits_sort_behind_the_others() -> None:
    """The newest one is found, and counting goes on there."""
    table = MemoryTable()
    segment = BucketStore(table).newest(SOURCE, START)
    keys = [replace(segment, number=number).row_key for number in (0, 9, 9_999, 10_000, 10_001, 123_456)]
    assert keys == sorted(keys)
    store, delta = BucketStore(table), BatchCounter(CATALOGUE).count([event(1, list_key())], START)
    for number in (0, 9_999):
        store.seal(store.add(replace(segment, number=number), delta, [event(1)]))
    for number in (2, 3):
        _ingest(table)(SOURCE, [event(number, list_key())])
    assert _totals(table) == {canonical_id(): 4}
    assert [row.key.rpartition("|")[2] for row in table.query("0", "3")] == ["0000", "9999", "~000000010000"]


def test_purging_keeps_the_bucket_that_begins_at_the_time() -> None:
    """Older ones go, with the rows of every partition."""
    table = MemoryTable()
    ingest = _ingest(table)
    for partition in ("0", "1"):
        for number in range(3):
            ingest(Source(NAMESPACE, "llm-logs", partition), [event(number, list_key(), after=BUCKET * number)])
    assert BucketStore(table).purge(START + 2 * BUCKET) == 4
    assert [_totals(table, START + BUCKET * number) for number in range(3)] == [{}, {}, {canonical_id(): 2}]


def test_an_event_that_stands_twice_in_a_batch_counts_once() -> None:
    """The watermark moves within the batch too."""
    table = MemoryTable()
    _ingest(table)(SOURCE, [event(1, list_key()), event(1, list_key()), event(2, list_key())])
    assert _totals(table) == {canonical_id(): 2}


def test_quarantine_is_bounded_idempotent_and_counted_beyond_its_room() -> None:
    """Rows stop at the room, counts do not, and a redelivery to a new host adds neither."""
    table, quarantine = MemoryTable(), MemoryTable()
    events = [event(number, *[{**list_key(), "resourceId": None}] * 30) for number in range(10)]
    _ingest(table, quarantine)(SOURCE, events[:5])
    _ingest(table, quarantine)(SOURCE, events)
    rows = list(quarantine.query("0", "3"))
    assert len(rows) == MAX_ROWS
    assert (rows[0].values["Partition"], rows[0].values["Sequence"], rows[0].values["Index"]) == ("0", 0, 0)
    assert _counters(table).quarantined == {"no_resource": 300}


def test_an_excerpt_is_cut_to_what_the_settings_allow() -> None:
    """A flawed record shows its beginning only."""
    quarantine = MemoryTable()
    _ingest(MemoryTable(), quarantine)(SOURCE, [Event(1, START, b"x" * 10_000)])
    assert [row.values["Excerpt"] for row in quarantine.query("0", "3")] == ["x" * 50]


def test_the_slice_of_a_group_is_fixed_for_ever() -> None:
    """Stored data depends on it: these values must never change."""
    assert [slice_of((canonical_id(name),)) for name in ("aoai-prod", "aoai-dev", "aoai-lab")] == [15, 5, 4]


def test_slices_fit_into_an_entity_by_construction() -> None:
    """Sixteen full slices and the counters stay below 1 MiB, one below 64 KiB."""
    assert SLICES * MAX_SLICE_BYTES + MAX_PROPERTY_BYTES < 1024 * 1024
    assert MAX_SLICE_BYTES < MAX_PROPERTY_BYTES


def test_a_watermark_lets_a_small_step_back_of_the_clock_pass() -> None:
    """A higher sequence number is new although the hub's clock went back; the latest arrival is kept."""
    watermark = Watermark(10, 5_000_000)
    back = Event(11, START.replace(year=1970, month=1, day=1, hour=0) + timedelta(seconds=4), b"")
    assert watermark.is_passed_by(back)
    moved = watermark.moved_to(back)
    assert (moved.sequence, moved.enqueued) == (11, 5_000_000)
    assert not moved.is_passed_by(back)


class StubbornTable(MemoryTable):
    """A table whose rows are always somebody else's."""

    def insert(self, row: Row) -> str:
        """See `Table.insert`."""
        raise ConflictError(row.key)


def test_endless_conflicts_raise_so_that_the_batch_comes_again() -> None:
    """Nothing is dropped, and nothing spins for ever."""
    with pytest.raises(StorageError, match="other writers"):
        _ingest(StubbornTable())(SOURCE, [event(1, list_key())])


def test_an_unselected_record_is_counted_as_seen_and_nothing_else() -> None:
    """Other operations and other services share the hub."""
    table = MemoryTable()
    other = [of_another_service(), {"category": "AzureFirewall", "properties": []}, {**list_key(), "category": "audit"}]
    _ingest(table)(SOURCE, [event(1, *other), Event(2, START, message({"operationName": 5}))])
    counters = _counters(table)
    assert (counters.messages, counters.records, counters.selected) == (2, 4, {})
    assert counters.quarantined == {"unreadable_field": 1}
    assert counters.lag_ms == 30_000
    assert BucketStore(table).overview(START, START).watermarks(START + BUCKET)[SOURCE].sequence == 2
    assert list(BucketStore(table).read(START, range(SLICES))) == []


def test_a_record_with_an_unreadable_length_counts_and_is_quarantined() -> None:
    """It says that a key was listed, if not how large the answer was."""
    table, quarantine = MemoryTable(), MemoryTable()
    _ingest(table, quarantine)(SOURCE, [event(1, list_key(responseLength="huge"), list_key(responseLength=5))])
    assert _totals(table) == {resource_id().lower(): 2}
    assert [row.values["Detail"] for row in quarantine.query("0", "3")] == [
        "responseLength: a value of another kind than this field has"
    ]
    counters = _counters(table)
    assert (counters.selected["model_theft"].records, counters.selected["model_theft"].with_length) == (2, 1)


def _listers(table: MemoryTable, bucket: datetime = START) -> dict[str, dict[str, int]]:
    """Key listings by resource and by whoever is told apart."""
    listers: dict[str, dict[str, int]] = {}
    for _, key, tally in BucketStore(table).read(bucket, range(SLICES)):
        if key.rule_id == NEW_KEY_LISTER.id:
            listers.setdefault(key.group[0], {})[key.group[1]] = tally.count
    return listers


@given(
    calls=st.lists(st.tuples(st.integers(0, MAX_GROUPS + 8), st.sampled_from(["a", "b"])), min_size=1, max_size=30),
    crowd=st.integers(MAX_GROUPS - 3, MAX_GROUPS + 3),
    size=st.integers(1, 40),
)
def test_newcomers_are_told_apart_as_far_as_there_is_room_however_batches_are_cut(
    calls: list[tuple[int, str]], crowd: int, size: int
) -> None:
    """First come, first kept, for each resource; the others are one crowd, and nobody's listing is lost."""
    every = [*((number, "a") for number in range(crowd)), *calls]
    table = MemoryTable()
    ingest = _ingest(table)
    for first in range(0, len(every), size):
        batch = enumerate(every[first : first + size], first)
        ingest(SOURCE, [event(place, list_key(name, caller=f"caller-{number}")) for place, (number, name) in batch])
    expected: dict[str, dict[str, int]] = {}
    for number, name in every:
        kept = expected.setdefault(canonical_id(name), {})
        caller = f"caller-{number}"
        if caller not in kept and len(kept.keys() - {OTHERS}) >= MAX_GROUPS:
            caller = OTHERS
        kept[caller] = kept.get(caller, 0) + 1
    assert _listers(table) == expected


def test_a_bucket_has_room_of_its_own_for_newcomers() -> None:
    """What one bucket could not tell apart, the next one may."""
    table = MemoryTable()
    crowd = [list_key(caller=_guid(number)) for number in range(MAX_GROUPS + 1)]
    later = [event(2, *crowd[-1:], after=timedelta(minutes=10))]
    _ingest(table)(SOURCE, [event(1, *crowd), *later])
    (first,) = _listers(table).values()
    assert (len(first), first[OTHERS]) == (MAX_GROUPS + 1, 1)
    assert _listers(table, START + timedelta(minutes=10)) == {canonical_id(): {_guid(MAX_GROUPS): 1}}
