"""Tables with conditional writes: Azure Table Storage, and a twin in memory that keeps the same contract.

The twin serves backtests and property tests. Limits are the service's, checked here because emulators accept more:
https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model
"""

import json
import re
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count, islice, takewhile
from threading import Lock
from typing import Protocol

from detectors.errors import ConflictError, TooLargeError

Value = str | int | bytes | bool
MAX_PROPERTY_BYTES = 64 * 1024
MAX_ENTITY_BYTES = 1024 * 1024
MAX_PROPERTIES = 252
MAX_KEY_CHARACTERS = 512
MAX_TRANSACTION_ROWS = 100
MAX_TRANSACTION_BYTES = 4 * 1024 * 1024
_ADDRESS_BYTES = 1024
_PROPERTY_BYTES = 48
"""What a row of a transaction takes besides keys, names and values: address and headers; the type of each value."""

_FORBIDDEN_IN_KEYS = re.compile(r"[/\\#?\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Row:
    """An entity: keys, properties, and the version that a read or write of it gave (None if never stored)."""

    partition: str
    key: str
    values: Mapping[str, Value] = field(default_factory=dict)
    etag: str | None = None


def bytes_of(value: Value) -> bytes:
    """Narrow a property that was written as bytes."""
    assert isinstance(value, bytes)
    return value


class Table(Protocol):
    """The table operations that the detector needs. Each raises `StorageError` if it did not succeed."""

    def insert(self, row: Row) -> str:
        """Store a new row and return its etag; `ConflictError` if the row exists."""

    def merge(self, row: Row) -> str:
        """Set properties of the version `row.etag` and return the new etag; `ConflictError` if the row has changed."""

    def write(self, rows: Sequence[Row]) -> None:
        """Insert the rows of a transaction without an etag, merge those with one: all, or `ConflictError`."""

    def upsert(self, rows: Sequence[Row]) -> None:
        """Store or overwrite the rows of a transaction."""

    def query(
        self, first: str, last: str, *, key_prefix: str = "", columns: Sequence[str] | None = None
    ) -> Iterator[Row]:
        """Yield the rows of the partitions `first` to `last`, both included, in key order; all columns by default."""

    def delete(self, partition: str, keys: Sequence[str]) -> None:
        """Delete rows of one partition, at most 100; rows that do not exist are ignored."""


def transactions(groups: Iterable[Sequence[Row]]) -> Iterator[list[Row]]:
    """Put rows of one partition into transactions that the service takes: 100 rows, 4 MiB as they are sent.

    The rows of a group are written at once, unless they are too many for that.
    """
    some, room = list[Row](), MAX_TRANSACTION_BYTES
    for group in chain.from_iterable(map(_torn, groups)):
        size = sum(map(sent_bytes, group))
        if some and (size > room or len(some) + len(group) > MAX_TRANSACTION_ROWS):
            yield some
            some, room = [], MAX_TRANSACTION_BYTES
        some += group
        room -= size
    if some:
        yield some


def _torn(group: Sequence[Row]) -> Sequence[Sequence[Row]]:
    """Return a group as it is, or its rows one by one if they are too many for a transaction."""
    if len(group) == 1:  # as mostly
        return [group]
    fits = len(group) <= MAX_TRANSACTION_ROWS and sum(map(sent_bytes, group)) <= MAX_TRANSACTION_BYTES
    return [group] if fits else [[row] for row in group]


def delete_all(table: Table, partition: str, keys: Sequence[str]) -> None:
    """Delete any number of rows of one partition."""
    for start in range(0, len(keys), MAX_TRANSACTION_ROWS):
        table.delete(partition, keys[start : start + MAX_TRANSACTION_ROWS])


def check_limits(row: Row) -> None:
    """Check a row against the service's limits.

    Raises:
        TooLargeError: a property, the entity or the number of properties exceeds them.
        ValueError: a key holds a forbidden character, or is too long.
    """
    for key in (row.partition, row.key):
        if len(key) > MAX_KEY_CHARACTERS or _FORBIDDEN_IN_KEYS.search(key):
            raise ValueError(f"not a table key: {key[:80]!r}")
    sizes = {name: _size(value) for name, value in row.values.items()}
    largest = max(sizes, key=sizes.__getitem__, default="")
    if sizes and sizes[largest] > MAX_PROPERTY_BYTES:
        raise TooLargeError(f"property {largest} has {sizes[largest]} bytes, the limit is {MAX_PROPERTY_BYTES}")
    total = 4 + 2 * (len(row.partition) + len(row.key)) + sum(12 + 2 * len(name) + sizes[name] for name in sizes)
    if total > MAX_ENTITY_BYTES or len(sizes) > MAX_PROPERTIES:
        raise TooLargeError(f"{len(sizes)} properties with {total} bytes; limits: {MAX_PROPERTIES}, {MAX_ENTITY_BYTES}")


def check_transaction(rows: Sequence[Row]) -> None:
    """Check the rows of a transaction, and it as a whole.

    Raises:
        TooLargeError: as `check_limits` does; or there are too many rows, or bytes.
        ValueError: as `check_limits` does; or the rows are of several partitions, or one comes twice.
    """
    for row in rows:
        check_limits(row)
    if len({row.partition for row in rows}) > 1 or len({row.key for row in rows}) < len(rows):
        raise ValueError(f"not a transaction: {[(row.partition, row.key) for row in rows]}")
    if len(rows) > MAX_TRANSACTION_ROWS or sum(map(sent_bytes, rows)) > MAX_TRANSACTION_BYTES:
        raise TooLargeError(f"{len(rows)} rows do not fit into a transaction")


def sent_bytes(row: Row) -> int:
    """Return at most how many bytes a row takes in a transaction: JSON in ASCII, bytes as Base64, its keys twice."""
    size = _ADDRESS_BYTES + 24 * (len(row.partition) + len(row.key))
    for name, value in row.values.items():
        size += _PROPERTY_BYTES + 2 * len(name)
        size += 4 * len(value) // 3 if isinstance(value, bytes) else len(json.dumps(value))
    return size


def _size(value: Value) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-16-le"))
    return len(value) if isinstance(value, bytes) else 8


class MemoryTable:
    """A table in memory with the conditional writes, key order and limits of the service."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Row] = {}
        self._keys: list[tuple[str, str]] = []  # in order
        self._versions = count(1)
        self._lock = Lock()

    def insert(self, row: Row) -> str:
        """See `Table.insert`."""
        check_limits(row)
        with self._lock:
            if (row.partition, row.key) in self._rows:
                raise ConflictError(f"{row.partition} {row.key} exists")
            return self._store(row, row.values)

    def merge(self, row: Row) -> str:
        """See `Table.merge`."""
        with self._lock:
            known = self._rows.get((row.partition, row.key))
            if known is None or known.etag != row.etag:
                raise ConflictError(f"{row.partition} {row.key} changed")
            values = {**known.values, **row.values}
            check_limits(Row(row.partition, row.key, values))
            return self._store(row, values)

    def write(self, rows: Sequence[Row]) -> None:
        """See `Table.write`."""
        check_transaction(rows)
        with self._lock:
            known = [self._rows.get((row.partition, row.key), Row(row.partition, row.key)) for row in rows]
            if any(row.etag != one.etag for row, one in zip(rows, known, strict=True)):
                raise ConflictError(f"a row of {rows[0].partition} changed")
            written = [{**one.values, **row.values} for row, one in zip(rows, known, strict=True)]
            for row, values in zip(rows, written, strict=True):
                check_limits(Row(row.partition, row.key, values))
            for row, values in zip(rows, written, strict=True):
                self._store(row, values)

    def upsert(self, rows: Sequence[Row]) -> None:
        """See `Table.upsert`."""
        check_transaction(rows)
        with self._lock:
            for row in rows:
                self._store(row, row.values)

    def query(
        self, first: str, last: str, *, key_prefix: str = "", columns: Sequence[str] | None = None
    ) -> Iterator[Row]:
        """See `Table.query`."""
        with self._lock:
            start = bisect_left(self._keys, (first, key_prefix))
            within = takewhile(lambda one: one[0] <= last, islice(self._keys, start, None))
            rows = [self._rows[one] for one in within if one[1].startswith(key_prefix)]
        wanted = None if columns is None else set(columns)
        for row in rows:
            values = {name: value for name, value in row.values.items() if wanted is None or name in wanted}
            yield Row(row.partition, row.key, values, row.etag)

    def delete(self, partition: str, keys: Sequence[str]) -> None:
        """See `Table.delete`."""
        check_transaction([Row(partition, key) for key in keys])
        with self._lock:
            for key in keys:
                if self._rows.pop((partition, key), None):
                    del self._keys[bisect_left(self._keys, (partition, key))]

    def _store(self, row: Row, values: Mapping[str, Value]) -> str:
        etag = f"v{next(self._versions)}"
        if (row.partition, row.key) not in self._rows:
            insort(self._keys, (row.partition, row.key))
        self._rows[row.partition, row.key] = Row(row.partition, row.key, dict(values), etag)
        return etag
