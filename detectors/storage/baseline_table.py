"""The baseline in a table: what is known of entities, many to a row, in the same slice as their tallies.

A row for each entity would cost a request for each thousand of them in each window. A row holds entities of one kind of
memory and one rule, and is split in halves as it grows. Which entity is in which row, reading tells.

Whoever can write logs can make up entities. So there is room for `MAX_ENTITIES` in a slice; while it is full, others
stay unknown. Peaks of two weeks ago make room, and so does what was seen within one day alone, 100 days ago.
"""

import logging
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

import msgspec

from detectors.errors import ConflictError
from detectors.evaluation.baseline import SeenMembers, Sighting, learn
from detectors.evaluation.silence import ActiveHours
from detectors.evaluation.usual import DailyPeaks, Peak, day_of, learn_peaks
from detectors.rules.rule import Number
from detectors.rules.tally import ACCOUNT_SEEN, Key
from detectors.storage.slices import SLICES, slice_of
from detectors.storage.tables import Row, Table, bytes_of, transactions

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
            memory = _Memory(kind, self._rows())
            known = memory.known()
            changed, found = apply(known)
            memory.forget([key for key, value in known.items() if is_over and is_over(value)])
            memory.learn(changed)
            try:
                self._write(list(memory.rows()))
            except ConflictError:
                self._kept = None
                continue
            return found
        raise ConflictError(f"other runs keep changing the {kind.prefix or 'members'} of the baseline.")

    def active_hours(self) -> Mapping[str, ActiveHours]:
        """See `Baseline.active_hours`."""
        prefix = f"{ACCOUNT_SEEN}|"
        memory = _Memory(MEMBERS, [row for row in self._rows(prefix) if row.key.startswith(prefix)])
        return {key.group[0]: seen.hours for key, seen in memory.known().items()}

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


_ENTITIES = "Entities"
_LIST_OF_A_PAIR = b"\x91\x92"
"""How MessagePack begins a list of one list of two."""


class _Kind[K, V](NamedTuple):
    """One kind of memory: how its rows begin, and what is in them."""

    prefix: str
    decode: Callable[[bytes], list[tuple[K, V]]]

    def holds(self, row_key: str) -> bool:
        """Tell whether a row is of this kind."""
        return row_key.startswith(PEAKS.prefix) == bool(self.prefix)

    def unpack(self, row: Row) -> list[tuple[K, V]]:
        """Return the entities of a row: one alone, if an earlier release wrote it and it did not change since."""
        if _ENTITIES in row.values:
            return self.decode(zlib.decompress(bytes_of(row.values[_ENTITIES])))
        key, seen = (bytes_of(row.values[name]) for name in ("Key", "Seen"))
        return self.decode(_LIST_OF_A_PAIR + key + zlib.decompress(seen))


MEMBERS = _Kind("", msgspec.msgpack.Decoder(list[tuple[Key, SeenMembers]]).decode)
PEAKS = _Kind("usual|", msgspec.msgpack.Decoder(list[tuple[Peak, DailyPeaks]]).decode)


def _looks_for_old(window_end: datetime) -> bool:
    """Tell whether to look through all of it: once an hour is enough."""
    return window_end.minute == 0


@dataclass(slots=True)
class _Held[K, V]:
    """The entities of a row, of a slice and one heading: a kind of memory and a rule."""

    slice_and_heading: tuple[str, str]
    key: str
    etag: str | None
    entities: dict[K, V]
    is_changed: bool = False


class _Memory[K: (Key, Peak), V]:
    """What is known of one kind, by the rows that hold it."""

    def __init__(self, kind: "_Kind[K, V]", rows: Iterable[Row]) -> None:
        self._prefix = kind.prefix
        self._held: dict[tuple[str, str], list[_Held[K, V]]] = {}
        self._row_of: dict[K, _Held[K, V]] = {}
        self._count: Counter[tuple[str, str]] = Counter()
        for row in rows:
            if kind.holds(row.key):
                entities = dict(kind.unpack(row))
                held = self._add((row.partition, row.key.rpartition("|")[0]), row.key, row.etag, entities)
                self._row_of |= dict.fromkeys(entities, held)
                self._count[held.slice_and_heading] += len(entities)

    def known(self) -> dict[K, V]:
        """Return what is known of each entity."""
        return {key: value for held in self._all() for key, value in held.entities.items()}

    def learn(self, changed: Mapping[K, V]) -> None:
        """Put what changes where it was, and what is new into the last row of its slice and heading, if it has room."""
        full: Counter[str] = Counter()
        for key, value in changed.items():
            held = self._row_of.get(key) or self._last(key)
            if key not in held.entities and self._count[held.slice_and_heading] >= MAX_ENTITIES:
                full[key.rule_id] += 1
                continue
            self._count[held.slice_and_heading] += key not in held.entities
            held.entities[key] = value
            held.is_changed = True
        for rule_id, count in full.items():
            _LOG.warning("%s: the baseline is full, so %d accounts or callers stay unknown.", rule_id, count)

    def forget(self, over: Iterable[K]) -> None:
        """Leave out entities. Their rows stay, perhaps without any."""
        for key in over:
            held = self._row_of.pop(key)
            del held.entities[key]
            self._count[held.slice_and_heading] -= 1
            held.is_changed = True

    def rows(self) -> Iterator[Row]:
        """Pack what changed: one row each, and further ones for what has grown too large for it."""
        for held in [one for one in self._all() if one.is_changed]:
            partition, _ = held.slice_and_heading
            packed, *more = _halved(list(held.entities.items()))
            yield Row(partition, held.key, {_ENTITIES: packed}, held.etag)
            for part in more:
                new = self._add(held.slice_and_heading)
                yield Row(partition, new.key, {_ENTITIES: part})

    def _all(self) -> Iterator[_Held[K, V]]:
        for rows in self._held.values():
            yield from rows

    def _last(self, key: K) -> _Held[K, V]:
        entity = key.group if isinstance(key, Key) else key.entity
        place = _partition(slice_of(entity)), f"{self._prefix}{key.rule_id}"
        return self._held[place][-1] if place in self._held else self._add(place)

    def _add(
        self, place: tuple[str, str], key: str = "", etag: str | None = None, entities: dict[K, V] | None = None
    ) -> _Held[K, V]:
        rows = self._held.setdefault(place, [])
        held = _Held(place, key or f"{place[1]}|{len(rows):04d}", etag, entities or {})
        rows.append(held)
        return held


def _halved(entities: Sequence[tuple[Any, Any]]) -> list[bytes]:
    """Pack entities into as many parts as rows need to hold them."""
    packed, half = zlib.compress(_pack(entities)), len(entities) // 2
    if len(packed) <= ROW_BYTES or not half:
        return [packed]
    return _halved(entities[:half]) + _halved(entities[half:])


def _partition(index: int) -> str:
    return f"{index:02d}"
