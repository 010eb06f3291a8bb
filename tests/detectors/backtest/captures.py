"""Writes Event Hubs Capture files as Azure does: same schema, same layout of folders."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import fastavro

from detectors.events import Event, Source

Codec = Literal["null", "deflate", "snappy"]
MAP = {"type": "map", "values": ["long", "double", "string", "bytes", "null"]}
FIELDS: list[dict[str, object]] = [
    {"name": "SequenceNumber", "type": "long"},
    {"name": "Offset", "type": "string"},
    {"name": "EnqueuedTimeUtc", "type": "string"},
    {"name": "SystemProperties", "type": MAP},
    {"name": "Properties", "type": MAP},
    {"name": "Body", "type": ["null", "bytes"]},
]
SCHEMA = {"type": "record", "name": "EventData", "namespace": "Microsoft.ServiceBus.Messaging", "fields": FIELDS}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def capture_path(folder: Path, source: Source, start: datetime) -> Path:
    """Where Capture puts the file of a window that starts then; the namespace by its short name."""
    namespace = source.namespace.partition(".")[0]
    return folder / namespace / source.hub / source.partition / f"{start:%Y/%m/%d/%H/%M/%S}.avro"


def write_capture(folder: Path, source: Source, events: Iterable[Event], codec: Codec = "snappy") -> Path:
    """One file below `folder`, named by the time of its first event."""
    events = list(events)
    path = capture_path(folder, source, events[0].enqueued)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_records(path, (record(event) for event in events), codec)
    return path


def write_records(path: Path, records: Iterable[Mapping[str, object]], codec: Codec = "snappy") -> None:
    """Any records of the schema, in blocks of 8 kB or one record."""
    with path.open("wb") as file:
        fastavro.writer(file, SCHEMA, list(records), codec=codec, sync_interval=8000)


def record(event: Event, *, is_fine: bool = True) -> dict[str, object]:
    """Return an event as Capture has it; only with `is_fine` its time has milliseconds."""
    milliseconds = (event.enqueued - _EPOCH) // _MILLISECOND
    properties = {"x-opt-sequence-number": event.sequence, "x-opt-enqueued-time": milliseconds}
    return {
        "SequenceNumber": event.sequence,
        "Offset": str(event.sequence * 1024),
        "EnqueuedTimeUtc": american(event.enqueued),
        "SystemProperties": properties if is_fine else {},
        "Properties": {},
        "Body": event.body or None,
    }


def american(time: datetime) -> str:
    """As Capture writes a time: `2/13/2017 6:04:28 PM`, to the second."""
    hour = (time.hour + 11) % 12 + 1
    return f"{time.month}/{time.day}/{time.year} {hour}:{time:%M:%S} {'AM' if time.hour < 12 else 'PM'}"
