"""The baseline in a table: one row for each rule and entity, in the same slice as the entity's tallies."""

import hashlib
import zlib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from detectors.errors import ConflictError
from detectors.evaluation.baseline import SeenMembers, Sighting, learn
from detectors.evaluation.silence import ActiveHours
from detectors.evaluation.usual import DailyPeaks, Peak, learn_peaks
from detectors.rules.rule import Number
from detectors.rules.tally import ACCOUNT_SEEN, Key
from detectors.storage.slices import SLICES, slice_of
from detectors.storage.tables import Row, Table, bytes_of

MAX_CONFLICTS = 5
"""Lost writes after which a step gives up."""
_pack = msgspec.msgpack.Encoder().encode


class TableBaseline:
    """Remembers members and peaks across hosts. Learning is idempotent, so a step may run again."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def find_newcomers(self, sightings: Iterable[Sighting], window_end: datetime) -> Mapping[Key, int]:
        """See `Baseline.find_newcomers`.

        Raises:
            ConflictError: other runs keep writing the same rows; the step must run again.
            StorageError: likewise.
        """
        seen = list(sightings)
        slices = {slice_of(sighting.group) for sighting in seen}
        return self._learn(_MEMBERS, slices, lambda known: learn(known, seen, window_end))

    def find_usual(self, seen: Mapping[Peak, Number], window_end: datetime) -> Mapping[Peak, Number]:
        """See `Baseline.find_usual`. Raises as `find_newcomers` does."""
        slices = {slice_of(peak.entity) for peak in seen}
        return self._learn(_PEAKS, slices, lambda known: learn_peaks(known, seen, window_end))

    def _learn[K: (Key, Peak), V, F](
        self, kind: "_Kind[K, V]", slices: Iterable[int], apply: Callable[[Mapping[K, V]], tuple[dict[K, V], F]]
    ) -> F:
        """Read what is known, apply what was seen, and write what changes; again if another run was faster."""
        for _ in range(MAX_CONFLICTS + 1):
            rows = {key: row for index in slices for key, row in self._read(kind, index)}
            known = {key: _unpacked(kind, row) for key, row in rows.items()}
            changed, found = apply(known)
            try:
                for key, value in changed.items():
                    self._write(kind, key, value, rows.get(key))
            except ConflictError:
                continue
            return found
        raise ConflictError(f"other runs keep changing the {kind.prefix or 'members'} of the baseline.")

    def active_hours(self) -> Mapping[str, ActiveHours]:
        """See `Baseline.active_hours`."""
        rows = self._table.query(_partition(0), _partition(SLICES - 1), key_prefix=f"{ACCOUNT_SEEN}|")
        members = ((row, _MEMBERS.unpack_key(bytes_of(row.values["Key"]))) for row in rows)
        return {key.group[0]: _unpacked(_MEMBERS, row).hours for row, key in members}

    def _read[K: (Key, Peak), V](self, kind: "_Kind[K, V]", index: int) -> Iterable[tuple[K, Row]]:
        for row in self._table.query(_partition(index), _partition(index), key_prefix=kind.prefix):
            if kind.prefix or not row.key.startswith(_PEAKS.prefix):
                yield kind.unpack_key(bytes_of(row.values["Key"])), row

    def _write[K: (Key, Peak), V](self, kind: "_Kind[K, V]", key: K, value: V, known: Row | None) -> None:
        entity = key.group if isinstance(key, Key) else key.entity
        values = {"Key": _pack(key), "Seen": zlib.compress(_pack(value))}
        row_key = f"{kind.prefix}{key.rule_id}|{hashlib.blake2b(_pack(key), digest_size=16).hexdigest()}"
        row = Row(_partition(slice_of(entity)), row_key, values, known.etag if known else None)
        if known:
            self._table.merge(row)
        else:
            self._table.insert(row)


class _Kind[K, V](NamedTuple):
    """One kind of memory: how its rows begin, and what is in them."""

    prefix: str
    unpack_key: Callable[[bytes], K]
    unpack: Callable[[bytes], V]


def _unpacked[V](kind: _Kind[Any, V], row: Row) -> V:
    return kind.unpack(zlib.decompress(bytes_of(row.values["Seen"])))


_MEMBERS = _Kind("", msgspec.msgpack.Decoder(Key).decode, msgspec.msgpack.Decoder(SeenMembers).decode)
_PEAKS = _Kind("usual|", msgspec.msgpack.Decoder(Peak).decode, msgspec.msgpack.Decoder(DailyPeaks).decode)


def _partition(index: int) -> str:
    return f"{index:02d}"
