"""The baseline in a table: one row for each rule and entity, in the same slice as the entity's tallies."""

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from detectors.errors import ConflictError
from detectors.evaluation.baseline import SeenMembers, Sighting, learn
from detectors.rules.tally import Key
from detectors.storage.slices import slice_of
from detectors.storage.tables import Row, Table, bytes_of

MAX_CONFLICTS = 5
_pack = msgspec.msgpack.Encoder().encode
_unpack_key = msgspec.msgpack.Decoder(Key).decode
_unpack_seen_members = msgspec.msgpack.Decoder(SeenMembers).decode


class TableBaseline:
    """Remembers members across hosts. Learning is idempotent, so a step may run again."""

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
        for attempt in range(MAX_CONFLICTS + 1):
            rows = {key: row for index in slices for key, row in self._read(index)}
            known = {
                key: _unpack_seen_members(zlib.decompress(bytes_of(row.values["Seen"]))) for key, row in rows.items()
            }
            changed, newcomers = learn(known, seen, window_end)
            try:
                for key, seen_members in changed.items():
                    self._write(key, seen_members, rows.get(key))
            except ConflictError:
                if attempt == MAX_CONFLICTS:
                    raise
                continue
            break
        return newcomers

    def _read(self, index: int) -> Iterable[tuple[Key, Row]]:
        for row in self._table.query(_partition(index), _partition(index)):
            yield _unpack_key(bytes_of(row.values["Key"])), row

    def _write(self, key: Key, seen_members: SeenMembers, known: Row | None) -> None:
        values = {"Key": _pack(key), "Seen": zlib.compress(_pack(seen_members))}
        row_key = f"{key.rule_id}|{hashlib.blake2b(_pack(key), digest_size=16).hexdigest()}"
        row = Row(_partition(slice_of(key.group)), row_key, values, known.etag if known else None)
        if known:
            self._table.merge(row)
        else:
            self._table.insert(row)


def _partition(index: int) -> str:
    return f"{index:02d}"
