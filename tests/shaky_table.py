"""A table that fails when told."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from detectors.storage.tables import Row, Table


@dataclass
class ShakyTable:
    """A table whose next writes go wrong as told, then right again."""

    inner: Table
    before_write: list[Callable[[], object]] = field(default_factory=list)
    after_write: list[Callable[[], object]] = field(default_factory=list)

    def insert(self, row: Row) -> str:
        """See `Table.insert`."""
        return self._shaken(lambda: self.inner.insert(row))

    def merge(self, row: Row) -> str:
        """See `Table.merge`."""
        return self._shaken(lambda: self.inner.merge(row))

    def write(self, rows: Sequence[Row]) -> None:
        """See `Table.write`."""
        self._shaken(lambda: self.inner.write(rows))

    def upsert(self, rows: Sequence[Row]) -> None:
        """See `Table.upsert`."""
        self.inner.upsert(rows)

    def query(
        self, first: str, last: str, *, key_prefix: str = "", columns: Sequence[str] | None = None
    ) -> Iterator[Row]:
        """See `Table.query`."""
        return self.inner.query(first, last, key_prefix=key_prefix, columns=columns)

    def delete(self, partition: str, keys: Sequence[str]) -> None:
        """See `Table.delete`."""
        self.inner.delete(partition, keys)

    def _shaken[T](self, write: Callable[[], T]) -> T:
        if self.before_write:
            self.before_write.pop()()
        written = write()
        if self.after_write:
            self.after_write.pop()()
        return written
