"""The baseline in a table: one row for each rule and entity, in the same slice as the entity's tallies."""

import hashlib
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from detectors.errors import ConflictError
from detectors.evaluation.baseline import SeenMembers, Sighting, learn
from detectors.evaluation.silence import ActiveHours
from detectors.evaluation.usual import DailyPeaks, Peak, day_of, learn_peaks
from detectors.rules.rule import Number
from detectors.rules.tally import ACCOUNT_SEEN, Key
from detectors.storage.slices import SLICES, slice_of
from detectors.storage.tables import MAX_TRANSACTION_ROWS, Row, Table, bytes_of, transactions

MAX_CONFLICTS = 5
"""Lost writes after which a step gives up."""
_pack = msgspec.msgpack.Encoder().encode


class TableBaseline:
    """Remembers members and peaks across hosts. Learning is idempotent, so a step may run again."""

    def __init__(self, table: Table, slices: range = range(SLICES), *, keeps: bool = False) -> None:
        self._table = table
        self._slices = slices
        self._keeps = keeps
        self._kept: dict[tuple[str, str], Row] | None = None

    def of(self, slices: range) -> "TableBaseline":
        """See `Baseline.of`. What it reads it keeps: for one step, not for longer."""
        return TableBaseline(self._table, slices, keeps=True)

    def find_newcomers(self, sightings: Iterable[Sighting], window_end: datetime) -> Mapping[Key, int]:
        """See `Baseline.find_newcomers`.

        Raises:
            ConflictError: other runs keep writing the same rows; the step must run again.
            StorageError: likewise.
        """
        seen = list(sightings)
        return self._learn(_MEMBERS, lambda known: learn(known, seen, window_end)) if seen else {}

    def find_usual(self, seen: Mapping[Peak, Number], window_end: datetime, began: datetime) -> Mapping[Peak, Number]:
        """See `Baseline.find_usual`. Raises as `find_newcomers` does."""
        if not seen:
            return {}
        usual = self._learn(_PEAKS, lambda known: learn_peaks(known, seen, window_end, began))
        if window_end.minute == 0:  # looking through all of it once an hour is enough
            self._forget(day_of(window_end))
        return usual

    def _learn[K: (Key, Peak), V, F](
        self, kind: "_Kind[K, V]", apply: Callable[[Mapping[K, V]], tuple[dict[K, V], F]]
    ) -> F:
        """Read what is known, apply what was seen, and write what changes; again if another run was faster."""
        for _ in range(MAX_CONFLICTS + 1):
            rows = {kind.unpack_key(bytes_of(row.values["Key"])): row for row in self._rows() if kind.holds(row.key)}
            changed, found = apply({key: _unpacked(kind, row) for key, row in rows.items()})
            try:
                self._write([_row(kind, key, value, rows.get(key)) for key, value in changed.items()])
            except ConflictError:
                self._kept = None
                continue
            return found
        raise ConflictError(f"other runs keep changing the {kind.prefix or 'members'} of the baseline.")

    def _forget(self, day: int) -> None:
        """Delete peaks that are too old to say anything, among the rows that were read; a hundred at a time."""
        over: dict[str, list[str]] = {}
        for row in self._rows():
            if row.key.startswith(_PEAKS.prefix) and _unpacked(_PEAKS, row).is_over(day):
                over.setdefault(row.partition, []).append(row.key)
        for partition, keys in over.items():
            self._table.delete(partition, keys[:MAX_TRANSACTION_ROWS])

    def active_hours(self) -> Mapping[str, ActiveHours]:
        """See `Baseline.active_hours`."""
        prefix = f"{ACCOUNT_SEEN}|"
        rows = [row for row in self._rows(prefix) if row.key.startswith(prefix)]
        members = ((row, _MEMBERS.unpack_key(bytes_of(row.values["Key"]))) for row in rows)
        return {key.group[0]: _unpacked(_MEMBERS, row).hours for row, key in members}

    def _rows(self, key_prefix: str = "") -> Collection[Row]:
        """Read the rows of the slices, in one request; all that is kept for a step, and else what is asked for."""
        if self._kept is not None:
            return self._kept.values()
        first, last = _partition(self._slices[0]), _partition(self._slices[-1])
        rows = self._table.query(first, last, key_prefix="" if self._keeps else key_prefix)
        read = {(row.partition, row.key): row for row in rows}
        self._kept = read if self._keeps else None
        return read.values()

    def _write(self, rows: Sequence[Row]) -> None:
        """Write the rows of each slice in transactions; one that fails leaves those before it, which is harmless."""
        by_slice: dict[str, list[Row]] = {}
        for row in rows:
            by_slice.setdefault(row.partition, []).append(row)
        for its_rows in by_slice.values():
            for some in transactions(its_rows):
                self._table.write(some)
        if self._kept is not None:
            self._kept |= {(row.partition, row.key): row for row in rows}  # no etag: a step writes a row once


def _row[K: (Key, Peak), V](kind: "_Kind[K, V]", key: K, value: V, known: Row | None) -> Row:
    entity = key.group if isinstance(key, Key) else key.entity
    values = {"Key": _pack(key), "Seen": zlib.compress(_pack(value))}
    row_key = f"{kind.prefix}{key.rule_id}|{hashlib.blake2b(_pack(key), digest_size=16).hexdigest()}"
    return Row(_partition(slice_of(entity)), row_key, values, known.etag if known else None)


class _Kind[K, V](NamedTuple):
    """One kind of memory: how its rows begin, and what is in them."""

    prefix: str
    unpack_key: Callable[[bytes], K]
    unpack: Callable[[bytes], V]

    def holds(self, row_key: str) -> bool:
        """Tell whether a row is of this kind."""
        return row_key.startswith(_PEAKS.prefix) == bool(self.prefix)


def _unpacked[V](kind: _Kind[Any, V], row: Row) -> V:
    return kind.unpack(zlib.decompress(bytes_of(row.values["Seen"])))


_MEMBERS = _Kind("", msgspec.msgpack.Decoder(Key).decode, msgspec.msgpack.Decoder(SeenMembers).decode)
_PEAKS = _Kind("usual|", msgspec.msgpack.Decoder(Peak).decode, msgspec.msgpack.Decoder(DailyPeaks).decode)


def _partition(index: int) -> str:
    return f"{index:02d}"
