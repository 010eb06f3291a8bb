"""The baseline in a table: what is known of entities, many to a row, in the same slice as their tallies.

A row for each entity would cost a request for each thousand of them in each window. A row holds entities of one kind of
memory and one rule, and is split in halves when it grows too large. Which entity is in which row, reading tells.

Whoever can write logs can make up entities. So there is room for `MAX_ENTITIES` in a slice; while it is full, others
stay unknown. Peaks of two weeks ago make room, and so does what was seen within one day alone, 100 days ago.

Earlier versions kept a row for each entity. Such rows are read, and move when they change; and an earlier version that
is published again reads of a row with many entities only that it is about nobody.
"""

import logging
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import msgspec

from detectors.errors import ConflictError
from detectors.evaluation.baseline import SeenMembers, Sighting, learn
from detectors.evaluation.silence import ActiveHours
from detectors.evaluation.usual import DailyPeaks, Peak, day_of, learn_peaks
from detectors.rules.rule import Number
from detectors.rules.tally import ACCOUNT_SEEN, Key
from detectors.storage.slices import SLICES, slice_of
from detectors.storage.tables import Row, Table, bytes_of, delete_all, transactions

MAX_CONFLICTS = 5
"""Lost writes after which a step gives up."""

MAX_ENTITIES = 10_000
"""Entities remembered in a slice, of one kind of memory and one rule: 160,000 accounts of a rule."""

ROW_BYTES = 32_000
"""Packed entities of a row. It is written as a whole when one of them changes."""

_LOG = logging.getLogger(__name__)
_pack = msgspec.msgpack.Encoder().encode


class TableBaseline:
    """Remembers members and peaks across hosts. Learning is idempotent, so a step may run again."""

    def __init__(self, table: Table, slices: range = range(SLICES), *, keeps: bool = False) -> None:
        self._table = table
        self._slices = slices
        self._keeps = keeps
        self._kept: dict[_Place, Row] | None = None

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
        if not seen:
            return {}
        is_over = partial(SeenMembers.is_over, at=window_end) if _looks_for_old(window_end) else None
        return self._learn(MEMBERS, lambda known: learn(known, seen, window_end), is_over)

    def find_usual(self, seen: Mapping[Peak, Number], window_end: datetime, began: datetime) -> Mapping[Peak, Number]:
        """See `Baseline.find_usual`. Raises as `find_newcomers` does."""
        if not seen:
            return {}
        is_over = partial(DailyPeaks.is_over, day=day_of(window_end)) if _looks_for_old(window_end) else None
        return self._learn(PEAKS, lambda known: learn_peaks(known, seen, window_end, began), is_over)

    def _learn[K: (Key, Peak), V, F](
        self,
        kind: "_Kind[K, V]",
        apply: Callable[[Mapping[K, V]], tuple[dict[K, V], F]],
        is_over: Callable[[V], bool] | None,
    ) -> F:
        """Read what is known, forget what is over, apply what was seen, and write what changes.

        Again if another run was faster.
        """
        for _ in range(MAX_CONFLICTS + 1):
            memory = _Memory(kind, self._rows().values())
            known = memory.known()
            changed, found = apply(known)
            memory.forget([key for key, value in known.items() if is_over and is_over(value)])
            memory.learn(changed)
            try:
                self._write(memory)
            except ConflictError:
                self._kept = None
                continue
            return found
        raise ConflictError(f"other runs keep changing the {kind.prefix or 'members'} of the baseline.")

    def active_hours(self) -> Mapping[str, ActiveHours]:
        """See `Baseline.active_hours`."""
        known = _Memory(MEMBERS, self._rows().values()).known()
        return {key.group[0]: seen.hours for key, seen in known.items() if key.rule_id == ACCOUNT_SEEN}

    def _rows(self) -> "Mapping[_Place, Row]":
        """Read the rows of the slices."""
        if self._kept is not None:
            return self._kept
        rows = self._table.query(_partition(self._slices[0]), _partition(self._slices[-1]))
        read = {(row.partition, row.key): row for row in rows}
        self._kept = read if self._keeps else None
        return read

    def _write(self, memory: "_Memory[Any, Any]") -> None:
        """Write what changed, slice by slice. What fails leaves what was written before it, and that is harmless.

        A row and what moves out of it are written at once, and the rows of earlier versions go last.
        """
        by_slice: dict[str, list[list[Row]]] = {}
        for rows in memory.changed_rows():
            by_slice.setdefault(rows[0].partition, []).append(rows)
        for groups in by_slice.values():
            for some in transactions(groups):
                self._table.write(some)
        moved: dict[str, list[str]] = {}
        for partition, key in memory.moved_rows():
            moved.setdefault(partition, []).append(key)
        for partition, keys in moved.items():
            delete_all(self._table, partition, keys)
        if self._kept is not None:  # without etags: a step writes a row once
            self._kept |= {(row.partition, row.key): row for groups in by_slice.values() for row in chain(*groups)}


_Place = tuple[str, str]
"""A row's partition and key; or a slice's partition, and how the keys of rows of one kind and rule begin."""

_ENTITIES = "Entities"
_MANY = "many|"
"""How the keys of rows with many entities begin."""

_NOBODY = {"Key": _pack(Key("(nobody)", ("",))), "Seen": zlib.compress(_pack(SeenMembers(0)))}


class _Kind[K, V](NamedTuple):
    """One kind of memory: how the keys of its rows go on, and what is in them."""

    prefix: str
    decode: Callable[[bytes], list[tuple[K, V]]]
    decode_key: Callable[[bytes], K]
    decode_value: Callable[[bytes], V]

    def holds(self, row_key: str) -> bool:
        """Tell whether a row is of this kind."""
        return row_key.removeprefix(_MANY).startswith(PEAKS.prefix) == bool(self.prefix)

    def unpack(self, row: Row) -> dict[K, V]:
        """Return the entities of a row; one alone, if an earlier version wrote it."""
        if _ENTITIES in row.values:
            return dict(self.decode(zlib.decompress(bytes_of(row.values[_ENTITIES]))))
        key, value = (bytes_of(row.values[name]) for name in ("Key", "Seen"))
        return {self.decode_key(key): self.decode_value(zlib.decompress(value))}


_decoder = msgspec.msgpack.Decoder
MEMBERS = _Kind("", _decoder(list[tuple[Key, SeenMembers]]).decode, _decoder(Key).decode, _decoder(SeenMembers).decode)
PEAKS = _Kind(
    "usual|", _decoder(list[tuple[Peak, DailyPeaks]]).decode, _decoder(Peak).decode, _decoder(DailyPeaks).decode
)


def _looks_for_old(window_end: datetime) -> bool:
    """Tell whether to look through all of it: once an hour is enough."""
    return window_end.minute == 0


@dataclass(slots=True)
class _Many[K, V]:
    """A row with many entities."""

    heading: _Place
    key: str
    etag: str | None
    entities: dict[K, V]
    is_changed: bool = False


class _Memory[K: (Key, Peak), V]:
    """What is known of one kind, and the rows that hold it."""

    def __init__(self, kind: _Kind[K, V], rows: Iterable[Row]) -> None:
        self._prefix = f"{_MANY}{kind.prefix}"
        self._rows: dict[_Place, list[_Many[K, V]]] = {}
        self._row_of: dict[K, _Many[K, V]] = {}
        self._single: dict[K, tuple[_Place, V]] = {}
        self._forgotten: set[K] = set()
        for row in filter(lambda one: kind.holds(one.key), rows):
            entities = kind.unpack(row)
            if row.key.startswith(_MANY):
                many = self._add((row.partition, row.key.rpartition("|")[0]), row.key, row.etag, entities)
                self._row_of |= dict.fromkeys(entities, many)
            else:
                self._single |= {key: ((row.partition, row.key), value) for key, value in entities.items()}

    def known(self) -> dict[K, V]:
        """Return what is known of each entity."""
        single = {key: value for key, (_, value) in self._single.items()}
        return single | {key: row.entities[key] for key, row in self._row_of.items()}

    def forget(self, over: Sequence[K]) -> None:
        """Leave out entities. The row of many stays, perhaps without any."""
        self._forgotten.update(over)
        for key in over:
            if row := self._row_of.pop(key, None):
                del row.entities[key]
                row.is_changed = True

    def learn(self, changed: Mapping[K, V]) -> None:
        """Put what changes where it was, and what is new where there is most room in its slice, if there is any."""
        counts = {heading: sum(len(row.entities) for row in rows) for heading, rows in self._rows.items()}
        full: Counter[str] = Counter()
        for key, value in changed.items():
            row = self._row_of.get(key)
            if row is None:
                heading = self._heading(key)
                counts[heading] = counts.get(heading, 0) + 1
                if counts[heading] > MAX_ENTITIES:
                    full[key.rule_id] += 1
                    continue
                rows = self._rows.get(heading) or [self._add(heading)]
                row = self._row_of[key] = min(rows, key=lambda one: len(one.entities))
            row.entities[key] = value
            row.is_changed = True
        for rule_id, count in full.items():
            _LOG.warning("%s: the baseline is full, so %d accounts or callers stay unknown.", rule_id, count)

    def changed_rows(self) -> Iterator[list[Row]]:
        """Pack the rows that changed, each with further ones for what has no room in it any more."""
        for row in [one for rows in self._rows.values() for one in rows if one.is_changed]:
            partition, _ = row.heading
            first, *more = _halved(list(row.entities.items()))
            written = [Row(partition, row.key, {_ENTITIES: first, **_NOBODY}, row.etag)]
            written += [Row(partition, self._add(row.heading).key, {_ENTITIES: part, **_NOBODY}) for part in more]
            yield written

    def moved_rows(self) -> Iterator[_Place]:
        """Name rows of an earlier version whose entity is in another row now, or forgotten."""
        for key, (place, _) in self._single.items():
            if key in self._row_of or key in self._forgotten:
                yield place

    def _heading(self, key: K) -> _Place:
        entity = key.group if isinstance(key, Key) else key.entity
        return _partition(slice_of(entity)), f"{self._prefix}{key.rule_id}"

    def _add(
        self, heading: _Place, key: str = "", etag: str | None = None, entities: dict[K, V] | None = None
    ) -> _Many[K, V]:
        rows = self._rows.setdefault(heading, [])
        row = _Many(heading, key or f"{heading[1]}|{len(rows):04d}", etag, entities or {})
        rows.append(row)
        return row


def _halved(entities: Sequence[tuple[Any, Any]]) -> list[bytes]:
    """Pack entities into as many parts as rows need to hold them."""
    packed, half = zlib.compress(_pack(entities)), len(entities) // 2
    if len(packed) <= ROW_BYTES or not half:
        return [packed]
    return _halved(entities[:half]) + _halved(entities[half:])


def _partition(index: int) -> str:
    return f"{index:02d}"
