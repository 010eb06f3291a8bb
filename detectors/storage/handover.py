"""Hands results from one step of an evaluation to the next: in the message if small, else through a table.

The Durable extension holds each message as JSON in memory several times over: 30 MB of results took 1.5 GB of memory.
So results are packed, and a message carries only the name of a large one. Every attempt at a step uses a new name, so
a step that runs twice, or two runs of one window, never mix. The journal's purge deletes them.
"""

import zlib
from uuid import uuid4

import msgspec

from detectors.errors import StorageError
from detectors.storage.tables import Row, Table, bytes_of

MAX_INLINE_BYTES = 30_000
"""The largest result in a message: sixteen shards of this size stay below a megabyte, also as Base64 and twice over."""

_PROPERTY_BYTES = 60_000
_ROW_PROPERTIES = 16
_ROW_BYTES = _PROPERTY_BYTES * _ROW_PROPERTIES

_pack = msgspec.msgpack.Encoder().encode


class Parcel(msgspec.Struct, omit_defaults=True):
    """A packed result, or the name under which it is stored."""

    content: bytes = b""
    name: str = ""


class Handover:
    """Sends and receives parcels. Large ones go to the journal's table, in rows below a megabyte."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def send(self, window_key: str, result: msgspec.Struct) -> Parcel:
        """Pack the result of a step for a window."""
        packed = zlib.compress(_pack(result))
        if len(packed) <= MAX_INLINE_BYTES:
            return Parcel(packed)
        name = uuid4().hex
        for number, start in enumerate(range(0, len(packed), _ROW_BYTES)):
            ends = range(start, min(start + _ROW_BYTES, len(packed)), _PROPERTY_BYTES)
            parts = {f"Part{place:02d}": packed[end : end + _PROPERTY_BYTES] for place, end in enumerate(ends)}
            self._table.insert(Row(window_key, f"{name}-{number:04d}", parts))
        return Parcel(name=name)

    def receive[T](self, window_key: str, parcel: Parcel, kind: type[T]) -> T:
        """Unpack a parcel.

        Raises:
            StorageError: it has been purged, which happens only after any run has ended.
        """
        packed = parcel.content or b"".join(self._parts(window_key, parcel.name))
        if not packed:
            raise StorageError(f"the result {parcel.name} of the window {window_key} is gone.")
        return msgspec.msgpack.decode(zlib.decompress(packed), type=kind)

    def _parts(self, window_key: str, name: str) -> list[bytes]:
        rows = self._table.query(window_key, window_key, key_prefix=name)
        return [bytes_of(value) for row in rows for _, value in sorted(row.values.items())]
