"""The store of 10-minute buckets: exact counts, one conditional write for each batch of events.

A bucket is a table partition. In it, each Event Hub partition owns a row (a segment) that holds all of its tallies
together with the watermark: the last event counted. Both change in one conditional write, so a redelivered event is
recognised and skipped, whichever host receives it.

Tallies are packed (MessagePack, zlib) into 16 slices by a hash of the group, a property each: a write sends only
the slices that changed, an evaluation can read a share of them, and a property stays far below its 64 KiB. When a
slice would exceed its limit, the segment is sealed for good, and the next segment continues from its watermark. What
one lead may add to segments is bounded, see `detectors.rules.crowds` and `CROWDED_SHARE`.
"""

import zlib
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import reduce

import msgspec

from detectors.errors import StorageError
from detectors.events import Event, Source
from detectors.ingestion.delta import Delta
from detectors.rules.counters import Counters
from detectors.rules.crowds import merge_bounded
from detectors.rules.tally import Key, Tally
from detectors.storage.slices import SLICES, slice_of
from detectors.storage.tables import Row, Table, Value, bytes_of, delete_all
from detectors.windows import key_of, microseconds, time_of

MAX_SLICE_BYTES = 60_000
CROWDED_SHARE = 4
"""A lead that takes more than one part in so many of a slice that is full gets no more groups in later segments. So
one alone cannot fill segment after segment, and rows grow in proportion to those who share them."""

_FOUR_DIGITS = 10_000
_BEHIND_DIGITS = "~"
_CACHED_BUCKETS = 3
_COMPRESSION = 1
_EMPTY_SLICES: tuple[Mapping[Key, Tally], ...] = ({},) * SLICES

_pack = msgspec.msgpack.Encoder().encode
_unpack_tallies = msgspec.msgpack.Decoder(list[tuple[Key, Tally]]).decode
_unpack_counters = msgspec.msgpack.Decoder(Counters).decode


class SegmentFullError(StorageError):
    """The tallies no longer fit into this segment."""


@dataclass(frozen=True, slots=True, order=True)
class Watermark:
    """The last event counted: its sequence number, and the latest arrival so far (microseconds since 1970).

    A host starts at a checkpoint, which never passes an uncounted event, and reads in order. So every event up to the
    watermark is counted, and no event after it is.
    """

    sequence: int
    enqueued: int

    def is_passed_by(self, event: Event) -> bool:
        """Check whether the event comes after the watermark.

        The sequence number decides first, as clocks may step back a little. A later arrival with a lower number comes
        from a hub that was deleted and created again.
        """
        return event.sequence > self.sequence or microseconds(event.enqueued) > self.enqueued

    def moved_to(self, event: Event) -> "Watermark":
        """Move the watermark to an event that passed it. Its sequence decreases if the hub was created again."""
        return Watermark(event.sequence, max(self.enqueued, microseconds(event.enqueued)))


_NOTHING_COUNTED = Watermark(-1, -1)


@dataclass(frozen=True, slots=True)
class Segment:
    """One row of a bucket: the tallies of one Event Hub partition. Immutable."""

    source: Source
    bucket: datetime
    number: int = 0
    etag: str | None = None
    revision: int = 0
    watermark: Watermark = _NOTHING_COUNTED
    counters: Counters = field(default_factory=Counters)
    slices: tuple[Mapping[Key, Tally], ...] = _EMPTY_SLICES
    crowded: frozenset[str] = frozenset()
    sizes: tuple[int, ...] = (0,) * SLICES

    def unseen(self, events: Sequence[Event]) -> list[Event]:
        """Select the events that are not counted yet."""
        watermark, unseen = self.watermark, []
        for event in events:
            if watermark.is_passed_by(event):
                watermark = watermark.moved_to(event)
                unseen.append(event)
        return unseen

    @property
    def row_key(self) -> str:
        """The key: the hub, its partition, and the number of the segment."""
        return f"{_key_prefix(self.source)}{_numbered(self.number)}"

    @property
    def is_empty(self) -> bool:
        """Whether the segment holds no tally."""
        return not any(self.slices)

    def next(self) -> "Segment":
        """Create the empty segment that follows this one once it is sealed."""
        crowded = self.crowded.union(*map(_crowding, self.slices))
        return Segment(self.source, self.bucket, self.number + 1, watermark=self.watermark, crowded=crowded)


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """What was read of one segment.

    Attributes:
        source: the Event Hub partition.
        bucket: the bucket's start.
        counters: None if they were not asked for.
        packed: the slices asked for.
    """

    source: Source
    bucket: datetime
    counters: Counters | None
    packed: Sequence[bytes]

    def tallies(self) -> Iterator[tuple[Key, Tally]]:
        """Unpack the tallies, a slice at a time."""
        for slice_ in self.packed:
            yield from _unpacked(slice_)


@dataclass(frozen=True, slots=True)
class Overview:
    """What buckets hold, but for the counts.

    Attributes:
        versions: of each stored bucket a text that changes whenever the bucket does.
        sizes: bytes of packed tallies by bucket.
        marks: of each segment the bucket, the Event Hub partition and the watermark; oldest first.
    """

    versions: Mapping[datetime, str]
    sizes: Mapping[datetime, int]
    marks: Sequence[tuple[datetime, Source, Watermark]]

    def watermarks(self, before: datetime) -> dict[Source, Watermark]:
        """Return the watermark of each Event Hub partition with data in the buckets that start before a time."""
        return {source: watermark for bucket, source, watermark in self.marks if bucket < before}  # the newest wins


class BucketStore:
    """Segments in a table. The last written ones stay in memory, so that a steady stream needs no reads."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._newest: dict[Source, OrderedDict[datetime, Segment]] = {}

    def newest(self, source: Source, bucket: datetime) -> Segment:
        """Return the segment to add to, as last seen; a new one if none was seen, which a write then verifies."""
        known = self._newest.get(source)
        return (known.get(bucket) if known else None) or Segment(source, bucket)

    def reload(self, source: Source, bucket: datetime) -> Segment:
        """Read the segment to add to."""
        partition = key_of(bucket)
        rows = list(self._table.query(partition, partition, key_prefix=_key_prefix(source)))
        segment = Segment(source, bucket)
        for row in rows:
            segment = replace(_segment(source, bucket, row), crowded=segment.crowded)
            segment = segment.next() if row.values.get("Sealed") else segment
        return self._remember(segment)

    def add(self, segment: Segment, delta: Delta, events: Sequence[Event]) -> Segment:
        """Store what unseen `events` add to a segment, if nobody else changed it.

        Raises:
            ConflictError: another writer changed it; `reload` it and select the unseen events again.
            SegmentFullError: the delta does not fit; add fewer events, or `seal` the segment.
        """
        changed = _merged_slices(segment, delta.tallies)
        packed = {index: _packed(tallies) for index, tallies in changed.items()}
        grown = replace(
            segment,
            revision=segment.revision + 1,
            watermark=reduce(Watermark.moved_to, events, segment.watermark),
            counters=segment.counters.merged(delta.counters),
            slices=tuple(changed.get(index, known) for index, known in enumerate(segment.slices)),
            sizes=tuple(len(packed[index]) if index in packed else size for index, size in enumerate(segment.sizes)),
        )
        values = _values(grown) | {_column(index): slice_ for index, slice_ in packed.items()}
        return self._write(grown, values)

    def seal(self, segment: Segment) -> Segment:
        """Close a segment for good and return the next one. Raises `ConflictError` as `add` does."""
        self._write(segment, {"Sealed": True})
        return self._remember(segment.next())

    def segments(
        self, first: datetime, last: datetime, slices: Iterable[int], *, counters: bool = False
    ) -> Iterator[StoredSegment]:
        """Read some slices of the buckets between two starts, both included, in order of time; one request for all.

        One slice holds a group, perhaps in several segments.
        """
        columns = [_column(index) for index in slices]
        wanted = [*columns, "Counters"] if counters else columns
        for row in self._table.query(key_of(first), key_of(last), columns=wanted):
            yield StoredSegment(
                _source(row.key),
                time_of(row.partition),
                _unpack_counters(bytes_of(row.values["Counters"])) if counters else None,
                [bytes_of(row.values[column]) for column in columns if column in row.values],
            )

    def read(self, bucket: datetime, slices: Iterable[int]) -> Iterator[tuple[Source, Key, Tally]]:
        """Read the tallies in some slices of a bucket."""
        for segment in self.segments(bucket, bucket, slices):
            for key, tally in segment.tallies():
                yield segment.source, key, tally

    def overview(self, first: datetime, last: datetime) -> Overview:
        """Read what the buckets between two starts hold, but for the counts; one request for all."""
        versions: dict[datetime, list[str]] = {}
        sizes: Counter[datetime] = Counter()
        marks: list[tuple[datetime, Source, Watermark]] = []
        for row in self._table.query(
            key_of(first), key_of(last), columns=["Revision", "Sequence", "Enqueued", "Bytes"]
        ):
            bucket, size = time_of(row.partition), row.values.get("Bytes", 0)  # no size: of an earlier release
            assert isinstance(size, int)
            versions.setdefault(bucket, []).append(f"{row.key}:{row.values['Revision']!s}")
            sizes[bucket] += size
            marks.append((bucket, _source(row.key), _watermark(row)))
        return Overview({bucket: " ".join(rows) for bucket, rows in versions.items()}, sizes, marks)

    def purge(self, before: datetime) -> int:
        """Delete the buckets that start before a time, and return the number of rows."""
        return purge(self._table, key_of(before))

    def _write(self, segment: Segment, values: Mapping[str, Value]) -> Segment:
        row = Row(key_of(segment.bucket), segment.row_key, values, segment.etag)
        etag = self._table.insert(row) if segment.etag is None else self._table.merge(row)
        return self._remember(replace(segment, etag=etag))

    def _remember(self, segment: Segment) -> Segment:
        buckets = self._newest.setdefault(segment.source, OrderedDict())
        buckets[segment.bucket] = segment
        buckets.move_to_end(segment.bucket)
        while len(buckets) > _CACHED_BUCKETS:
            buckets.popitem(last=False)
        return segment


def purge(table: Table, before_key: str) -> int:
    """Delete the rows of every partition whose key sorts before `before_key`, and return their number."""
    old: dict[str, list[str]] = {}
    for row in table.query("0", before_key, columns=[]):
        if row.partition < before_key:
            old.setdefault(row.partition, []).append(row.key)
    for partition, keys in old.items():
        delete_all(table, partition, keys)
    return sum(map(len, old.values()))


def _merged_slices(segment: Segment, added: Mapping[Key, Tally]) -> dict[int, Mapping[Key, Tally]]:
    by_slice: dict[int, list[tuple[Key, Tally]]] = {}
    for key, tally in added.items():
        by_slice.setdefault(slice_of(key.group), []).append((key, tally))
    changed: dict[int, Mapping[Key, Tally]] = {}
    for index, tallies in by_slice.items():
        slice_ = dict(segment.slices[index])
        merge_bounded(slice_, tallies, segment.crowded)
        changed[index] = slice_
    return changed


def _values(segment: Segment) -> dict[str, Value]:
    return {
        "Revision": segment.revision,
        "Sequence": segment.watermark.sequence,
        "Enqueued": segment.watermark.enqueued,
        "Counters": _pack(segment.counters),
        "Bytes": sum(segment.sizes),
    }


def _packed(tallies: Mapping[Key, Tally]) -> bytes:
    packed = zlib.compress(_pack(list(tallies.items())), _COMPRESSION)
    if len(packed) > MAX_SLICE_BYTES:
        raise SegmentFullError(f"a slice of {len(packed)} bytes, the limit is {MAX_SLICE_BYTES}")
    return packed


def _unpacked(value: Value) -> list[tuple[Key, Tally]]:
    return _unpack_tallies(zlib.decompress(bytes_of(value)))


def _segment(source: Source, bucket: datetime, row: Row) -> Segment:
    packed = [row.values.get(_column(index)) for index in range(SLICES)]
    slices = tuple({} if slice_ is None else dict(_unpacked(slice_)) for slice_ in packed)
    sizes = tuple(0 if slice_ is None else len(bytes_of(slice_)) for slice_ in packed)
    number, revision = int(row.key.rpartition("|")[2].removeprefix(_BEHIND_DIGITS)), row.values["Revision"]
    assert isinstance(revision, int)
    counters = _unpack_counters(bytes_of(row.values["Counters"]))
    return Segment(source, bucket, number, row.etag, revision, _watermark(row), counters, slices, sizes=sizes)


def _watermark(row: Row) -> Watermark:
    sequence, enqueued = row.values["Sequence"], row.values["Enqueued"]
    assert isinstance(sequence, int)
    assert isinstance(enqueued, int)
    return Watermark(sequence, enqueued)


def _numbered(number: int) -> str:
    """Format a segment's number so that it sorts: in four digits, as it always was, and behind them in more."""
    return f"{number:04d}" if number < _FOUR_DIGITS else f"{_BEHIND_DIGITS}{number:012d}"


def _crowding(tallies: Mapping[Key, Tally]) -> set[str]:
    """Find the leads that take more than their share of a slice, if it is as good as full."""
    sizes: Counter[str] = Counter()
    for key, tally in tallies.items():
        sizes[key.group[0]] += len(_pack((key, tally)))
    total = sizes.total()
    return {lead for lead, size in sizes.items() if total > MAX_SLICE_BYTES // 2 and size * CROWDED_SHARE > total}


def _column(index: int) -> str:
    return f"Tallies{index:02d}"


def _key_prefix(source: Source) -> str:
    return "|".join((*source, ""))


def _source(row_key: str) -> Source:
    return Source(*row_key.split("|")[:-1])
