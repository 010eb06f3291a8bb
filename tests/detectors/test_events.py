"""Events as the Functions host hands them over: one partition, with all that counting needs, or none of it counts."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone

import pytest

from detectors.errors import DetectorError
from detectors.events import Event, Source, from_functions
from tests.builders import START

CONTEXT = {"FullyQualifiedNamespace": "NS.servicebus.windows.net", "EventHubName": "LLM-Logs", "PartitionId": "3"}


@dataclass
class Handed:
    """An event of the host."""

    sequence_number: int | None = 7
    enqueued_time: datetime | None = START
    metadata: object = field(default_factory=lambda: {"PartitionContext": CONTEXT})

    def get_body(self) -> bytes:
        return b"{}"


def test_names_of_a_partition_are_in_lower_case() -> None:
    """Hosts spell them as whoever set them up did, and rows of one partition must not have two keys."""
    source, events = from_functions([Handed(), Handed(sequence_number=8)])
    assert source == Source("ns.servicebus.windows.net", "llm-logs", "3")
    assert events == [Event(7, START, b"{}"), Event(8, START, b"{}")]


@pytest.mark.parametrize(
    "told", [START.replace(tzinfo=None), START.astimezone(timezone(timedelta(hours=2))), START], ids=str
)
def test_arrivals_are_in_utc(told: datetime) -> None:
    """A time without a zone is meant to be."""
    _, (event,) = from_functions([Handed(enqueued_time=told)])
    assert (event.enqueued, event.enqueued.tzinfo) == (START, UTC)


@pytest.mark.parametrize(
    "metadata", [None, {}, {"PartitionContext": None}, {"PartitionContext": {"PartitionId": "3"}}, "text"]
)
def test_a_batch_of_no_known_partition_is_refused(metadata: object) -> None:
    """It has to come again: what was counted could not be told from what was not."""
    with pytest.raises(DetectorError, match="cardinality 'many'"):
        from_functions([Handed(metadata=metadata)])


@pytest.mark.parametrize("incomplete", [Handed(sequence_number=None), Handed(enqueued_time=None)])
def test_an_event_without_its_place_or_arrival_is_refused(incomplete: Handed) -> None:
    """Behind sound ones too."""
    with pytest.raises(DetectorError, match="sequence number or enqueued time"):
        from_functions([Handed(), incomplete])


def test_a_sequence_number_of_0_is_one() -> None:
    """The first event of a partition has it."""
    _, (event,) = from_functions([Handed(sequence_number=0)])
    assert event.sequence == 0
