"""An Event Hub as its trigger sees it: partitions of numbered events, batches cut from them, and checkpoints.

The input and the trigger metadata have the shape in which the Event Hubs extension hands a batch of cardinality
`many` to the worker.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from detectors.events import Event
from local.protos import TypedData, collection_bytes, collection_sint64, collection_string

BYTES_APART = 512
"""How far apart the made-up offsets of two events are."""


@dataclass
class Partition:
    """One partition: its events in order, and how far the consumer group has come."""

    number: int
    events: list[Event] = field(default_factory=list)
    checkpoint: int = 0

    def append(self, enqueued: datetime, body: bytes) -> None:
        """Take in an event."""
        self.events.append(Event(len(self.events), enqueued, body))

    def batches(self, size: int, until: datetime) -> Iterator[list[Event]]:
        """Cut what arrived before a time and lies behind the checkpoint; each batch taken moves the checkpoint."""
        while waiting := self._waiting(size, until):
            yield waiting
            self.checkpoint += len(waiting)

    def _waiting(self, size: int, until: datetime) -> list[Event]:
        waiting = self.events[self.checkpoint : self.checkpoint + size]
        return [event for event in waiting if event.enqueued < until]


def trigger_input(
    hub: str, consumer_group: str, partition: int, events: Sequence[Event]
) -> tuple[TypedData, dict[str, TypedData]]:
    """Return the input of a batch, and its trigger metadata."""
    # A .NET DateTime of unspecified kind is written without an offset; the times are UTC all the same.
    enqueued = [event.enqueued.strftime("%Y-%m-%dT%H:%M:%S.%f") for event in events]
    offsets = [str(event.sequence * BYTES_APART) for event in events]
    context = {
        "IsCheckpointingAfterInvocation": True,
        "FullyQualifiedNamespace": "local.servicebus.windows.net",
        "EventHubName": hub,
        "ConsumerGroup": consumer_group,
        "PartitionId": str(partition),
    }
    system_properties = [
        {
            "x-opt-sequence-number": event.sequence,
            "x-opt-offset": offset,
            "x-opt-enqueued-time": f"{at}+00:00",
            "SequenceNumber": event.sequence,
            "Offset": int(offset),
            "OffsetString": offset,
            "PartitionKey": None,
            "EnqueuedTimeUtc": at,
        }
        for event, offset, at in zip(events, offsets, enqueued, strict=True)
    ]
    metadata = {
        "PartitionContext": TypedData(json=json.dumps(context)),
        "SequenceNumberArray": collection_sint64(event.sequence for event in events),
        "OffsetArray": collection_string(offsets),
        "PartitionKeyArray": collection_string([]),  # the host leaves empty entries out
        "EnqueuedTimeUtcArray": TypedData(json=json.dumps(enqueued)),
        "PropertiesArray": TypedData(json=json.dumps([{} for _ in events])),
        "SystemPropertiesArray": TypedData(json=json.dumps(system_properties)),
    }
    return collection_bytes(event.body for event in events), metadata
