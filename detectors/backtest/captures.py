"""Reads the events of an Event Hubs Capture file.

Source of the schema: "Exploring captured Avro files in Azure Event Hubs". Beyond that schema, values of the two maps
may be null.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Any, cast

from detectors.backtest.codecs import Content
from detectors.errors import DetectorError, UnreadableError
from detectors.events import Event

if TYPE_CHECKING:
    import fastavro

MAGIC = b"Obj\x01"
FIELDS = ("SequenceNumber", "EnqueuedTimeUtc", "Body")
ENQUEUED = "x-opt-enqueued-time"
BATCH = 1000
MAX_READ = 1 << 28
"""Bytes of a packed block. A file that claims more is damaged, as a hub accepts only far smaller messages."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MISSING = "Reading Avro needs {}: pip install '.[backtest]'"
_AMERICAN = re.compile(r"(\d\d?/\d\d?/\d{4} \d\d?:\d\d:\d\d [AP]M)(?: \+00:00)?", re.ASCII)


class _Bounded:
    """Content as fastavro reads it; a damaged length cannot make it allocate memory."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self.tell = content.tell

    def read(self, count: int) -> bytes:
        if not 0 <= count <= MAX_READ:
            raise UnreadableError("damaged", f"The Avro data is damaged: a part of {count} bytes.")
        return self._content.read(count)


def read_events(content: Content) -> Iterator[list[Event]]:
    """Yield the events in the order of the file: a list for each block, of at most `BATCH` events.

    Raises:
        UnreadableError: the rest cannot be read. Everything before it has been yielded.
        DetectorError: a package is missing.
    """
    batch: list[Event] = []
    try:
        for block in _blocks(content):
            for record in block:
                batch.append(_event(cast("Mapping[str, Any]", record)))
                if len(batch) == BATCH:
                    yield batch
                    batch = []
            if batch:
                yield batch
                batch = []
    except Exception as error:
        if batch:
            yield batch
        raise _as_unreadable(error, content) from error


def _blocks(content: Content) -> "Iterator[fastavro._read.Block]":
    try:
        import fastavro  # noqa: PLC0415  # only a backtest of captures needs it
    except ImportError as error:
        raise DetectorError(_MISSING.format("fastavro")) from error
    blocks = fastavro.block_reader(cast("IO[bytes]", _Bounded(content)))
    schema = blocks.writer_schema
    fields = schema.get("fields", ()) if isinstance(schema, dict) else ()
    names = [str(field["name"]) for field in fields]
    if not set(FIELDS) <= set(names):
        found = ", ".join(names[:10]) or "none"
        raise UnreadableError(
            "not_a_capture", f"Avro, but not of Event Hubs Capture: fields {found}; wanted {', '.join(FIELDS)}."
        )
    return blocks


def _as_unreadable(error: Exception, content: Content) -> Exception:
    """Translate an error of fastavro, which raises almost anything for hostile bytes."""
    if isinstance(error, DetectorError):
        return error
    if content.is_short:
        return UnreadableError("truncated", "The Avro data ends in its middle: copy the file again.")
    if "need to install" in str(error):
        return DetectorError(_MISSING.format("cramjam"))
    said = ascii(str(error))[1:-1] or type(error).__name__  # it may repeat what stands in the file
    if "Unrecognized codec" in said:
        return UnreadableError("unknown_form", f"Avro in a codec that cannot be read: {said}.")
    return UnreadableError("damaged", f"The Avro data is damaged: {said}.")


def _event(record: Mapping[str, Any]) -> Event:
    """Convert a record to an event. Raises `UnreadableError` if a field has a type that Capture does not write."""
    sequence, body = record["SequenceNumber"], record["Body"]
    if body is None:
        body = b""
    if not isinstance(sequence, int) or not isinstance(body, bytes):
        raise UnreadableError("not_a_capture", f"Event {sequence}: a number and bytes are wanted.")
    return Event(sequence, _enqueued(record), body)


def _enqueued(record: Mapping[str, Any]) -> datetime:
    """Read the enqueued time: to the millisecond if the system properties carry it, else to the second."""
    properties = record.get("SystemProperties")
    finer = properties.get(ENQUEUED) if isinstance(properties, dict) else None
    if isinstance(finer, dict):  # Avro's own JSON names the branch of a union
        finer = finer.get("long")
    try:
        if isinstance(finer, int):
            return _EPOCH + timedelta(milliseconds=finer)
        return parse_utc(str(record["EnqueuedTimeUtc"]))
    except (ValueError, OverflowError) as error:
        detail = f"Event {record['SequenceNumber']}: cannot read the time it was enqueued: {error}."
        raise UnreadableError("not_a_capture", detail) from error


@lru_cache(maxsize=4096)
def parse_utc(text: str) -> datetime:
    """Parse `2/13/2017 6:04:28 PM` or ISO 8601 to aware UTC.

    Raises:
        ValueError: it is neither.
    """
    american = _AMERICAN.fullmatch(text)
    if american:
        return datetime.strptime(american[1], "%m/%d/%Y %I:%M:%S %p").replace(tzinfo=UTC)
    time = datetime.fromisoformat(text)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
