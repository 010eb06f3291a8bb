"""Event Hub events as the detector sees them, free of any SDK."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from detectors.errors import DetectorError


class Source(NamedTuple):
    """One partition of one Event Hub: sequence numbers are comparable only within it. Names are in lower case."""

    namespace: str
    hub: str
    partition: str


class Event(NamedTuple):
    """One message of an Event Hub. `enqueued` is the arrival: when the hub accepted it, aware UTC."""

    sequence: int
    enqueued: datetime
    body: bytes


class FunctionsEvent(Protocol):
    """The part of `azure.functions.EventHubEvent` that the detector uses."""

    @property
    def sequence_number(self) -> int | None:
        """The place in the partition."""

    @property
    def enqueued_time(self) -> datetime | None:
        """When the hub accepted it; some hosts give a naive time, which is UTC."""

    @property
    def metadata(self) -> object:
        """The trigger's metadata for the whole batch. Each access builds it again, so read it once."""

    def get_body(self) -> bytes:
        """Return the message body."""


def from_functions(events: Sequence[FunctionsEvent]) -> tuple[Source, list[Event]]:
    """Convert the events of one invocation, at least one; the host always takes them from one partition.

    Raises:
        DetectorError: the host gave no partition, sequence number or time, without which nothing can be
            counted exactly; the batch must be redelivered.
    """
    metadata = events[0].metadata
    context = metadata.get("PartitionContext") if isinstance(metadata, dict) else None
    if not isinstance(context, dict) or not {"EventHubName", "PartitionId"} <= context.keys():
        raise DetectorError("The Event Hub trigger gave no PartitionContext: use cardinality 'many'.")
    names = [str(context.get(name, "")) for name in ("FullyQualifiedNamespace", "EventHubName", "PartitionId")]
    return Source(*(name.lower() for name in names)), [_event(event) for event in events]


def _event(event: FunctionsEvent) -> Event:
    sequence, enqueued = event.sequence_number, event.enqueued_time
    if sequence is None or enqueued is None:
        raise DetectorError("The Event Hub trigger gave an event without sequence number or enqueued time.")
    aware = enqueued.replace(tzinfo=UTC) if enqueued.tzinfo is None else enqueued.astimezone(UTC)
    return Event(sequence, aware, event.get_body())
