"""A table whose every request passes one place, where it can be counted, held up, refused or lost."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from detectors.storage.tables import Row, Table

type Operation = Literal["insert", "merge", "write", "upsert", "query", "delete"]

CONDITIONAL = frozenset[Operation]({"insert", "merge", "write"})
"""Operations that change rows of a known version alone."""


class InterceptedTable(ABC):
    """A table in front of another one."""

    def __init__(self, inner: Table) -> None:
        self._inner = inner

    @abstractmethod
    def request[T](self, operation: Operation, carry_out: Callable[[], T]) -> T:
        """Carry a request out, or not."""

    def insert(self, row: Row) -> str:
        """See `Table.insert`."""
        return self.request("insert", lambda: self._inner.insert(row))

    def merge(self, row: Row) -> str:
        """See `Table.merge`."""
        return self.request("merge", lambda: self._inner.merge(row))

    def write(self, rows: Sequence[Row]) -> None:
        """See `Table.write`."""
        self.request("write", lambda: self._inner.write(rows))

    def upsert(self, rows: Sequence[Row]) -> None:
        """See `Table.upsert`."""
        self.request("upsert", lambda: self._inner.upsert(rows))

    def query(
        self, first: str, last: str, *, key_prefix: str = "", columns: Sequence[str] | None = None
    ) -> Iterator[Row]:
        """See `Table.query`. It is read whole, by one request."""
        yield from self.request(
            "query", lambda: list(self._inner.query(first, last, key_prefix=key_prefix, columns=columns))
        )

    def delete(self, partition: str, keys: Sequence[str]) -> None:
        """See `Table.delete`."""
        self.request("delete", lambda: self._inner.delete(partition, keys))


@dataclass
class ShakyTable(InterceptedTable):
    """A table whose next conditional writes go wrong as told, then right again."""

    inner: Table
    before_write: list[Callable[[], object]] = field(default_factory=list)
    after_write: list[Callable[[], object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.inner)

    def request[T](self, operation: Operation, carry_out: Callable[[], T]) -> T:
        """Do what is told before and after a write."""
        if operation not in CONDITIONAL:
            return carry_out()
        if self.before_write:
            self.before_write.pop()()
        written = carry_out()
        if self.after_write:
            self.after_write.pop()()
        return written
