"""Made-up days, read back with the json module alone."""

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from local.expected_findings import Expectation, expectation
from local.ground_truth import Truth
from local.traffic import Message, Scenario, Traffic

type Record = dict[str, Any]

# A record of an account that is whole, wherever it stands: its text has at most one level of braces inside.
WHOLE = re.compile(rb'\{"(?:AssetIdentity|Tenant)":[^{}]*(?:\{[^{}]*\}[^{}]*)?\}')


@cache
def day(scenario: Scenario) -> tuple[Sequence[Message], Truth]:
    """Return the messages of a scenario and the truth about them; made once."""
    traffic = Traffic(scenario)
    return tuple(traffic), traffic.truth


@cache
def expected_of(scenario: Scenario) -> Expectation:
    """Return what the detector is expected to find in it; worked out once."""
    return expectation(day(scenario)[1])


def unpack(body: bytes) -> list[Any]:
    """Give the records of a well-formed message, whatever its envelope."""
    document = json.loads(body)
    if isinstance(document, dict):
        document = document.get("records", [document])
    assert isinstance(document, list)
    return document


def records(messages: Sequence[Message]) -> Iterator[tuple[Message, Record]]:
    """Give each record of sound messages with the message it came in."""
    for message in messages:
        for record in unpack(message.body):
            yield message, record


def is_reading(record: Record) -> bool:
    """Tell a ListKey audit record."""
    return (record.get("category"), record.get("operationName")) == ("Audit", "ListKey")


def is_chat(record: Record) -> bool:
    """Tell a chat completion."""
    return bool(record.get("operationName") == "ChatCompletions_Create")


def properties(record: Record) -> Record:
    """Give the properties of a record, which may be JSON in a string."""
    value = record.get("properties")
    decoded = json.loads(value) if isinstance(value, str) else value
    return decoded if isinstance(decoded, dict) else {}


def bucket_of(message: Message) -> datetime:
    """Give the 10-minute bucket in which a message arrived."""
    return datetime.fromtimestamp(int(message.enqueued.timestamp()) // 600 * 600, UTC)
