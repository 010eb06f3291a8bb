"""Messages to measure with, the same ones in every run, and how many key readings are in them.

Their records come from the generator of local traffic: requests, other services' logs, and one ListKey record in
a thousand. Each can be read by every contender; broken ones are `benchmarks.breakage`'s.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from random import Random

import msgspec

from detectors.events import Event
from detectors.sources.decoding import Record
from local.samples import Account, fleet, guid, list_key, shapes

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
RECORDS_PER_MESSAGE = 50
MESSAGES_PER_BATCH = 200

_POOL = 20_000
_READINGS = _POOL // 1_000
MINUTE = "2026-03-02T07:59"
"""When all records happen."""

_SECOND = f"{MINUTE}:58"


@dataclass(frozen=True)
class Corpus:
    """Events of one partition and one bucket.

    Attributes:
        events: in the order of their sequence numbers, a millisecond apart.
        readings: how many ListKey records they hold, by canonical resource id.
    """

    events: Sequence[Event]
    readings: dict[str, int]

    @property
    def records(self) -> int:
        """How many records the events hold."""
        return len(self.events) * RECORDS_PER_MESSAGE

    @cached_property
    def bytes(self) -> int:
        """How long the bodies are together."""
        return sum(len(event.body) for event in self.events)

    def batches(self) -> Iterator[Sequence[Event]]:
        """Yield the events as the trigger delivers them: at most host.json's `maxEventBatchSize` at once."""
        for first in range(0, len(self.events), MESSAGES_PER_BATCH):
            yield self.events[first : first + MESSAGES_PER_BATCH]


def corpus(records: int, seed: int = 1) -> Corpus:
    """Make a corpus of that many records, rounded up to whole messages."""
    rng = Random(seed)
    pool, readings = records_and_readings(rng)
    found: Counter[str] = Counter()
    events = []
    for sequence in range(-(-records // RECORDS_PER_MESSAGE)):
        chosen = rng.choices(pool, k=RECORDS_PER_MESSAGE)
        found.update(readings[record] for record in chosen if record in readings)
        events.append(event(sequence, chosen))
    return Corpus(events, dict(found))


def records_and_readings(rng: Random) -> tuple[list[str], dict[str, str]]:
    """Return records to choose from, and the ListKey records among them with the canonical id of their resource."""
    accounts = fleet(rng)
    readings = dict(_reading(rng, rng.choice(accounts)) for _ in range(_READINGS))
    return [*_others(rng, accounts), *readings], readings


def event(sequence: int, records: Sequence[str]) -> Event:
    """Return an event with these records of JSON, in the bucket that all of them share."""
    arrival = START + timedelta(milliseconds=sequence)
    return Event(sequence, arrival, ('{"records":[' + ",".join(records) + "]}").encode())


def _reading(rng: Random, account: Account) -> tuple[str, str]:
    """Return a ListKey record and the canonical id of its resource."""
    text = list_key(rng, account, caller=guid(rng), time=f"{_SECOND}.0000000Z", length=None)
    return text, account.canonical_id


def _others(rng: Random, accounts: tuple[Account, ...]) -> list[str]:
    """Return records that no rule selects."""
    known = [shape for shape in shapes(rng, accounts) if _readable(shape.text % _values(rng))]
    return [shape.text % _values(rng) for shape in rng.choices(known, k=_POOL - _READINGS)]


def _values(rng: Random) -> dict[str, object]:
    """Return what the templates leave open."""
    return {
        "guid": guid(rng),
        "duration": rng.randint(5, 4_000),
        "request_ticks": rng.randint(639_080_000_000_000_000, 639_081_000_000_000_000),
        "request": rng.randint(1, 4_000),
        "response_ticks": rng.randint(639_080_000_000_000_000, 639_081_000_000_000_000),
        "response": rng.randint(40, 9_000),
        "second": _SECOND,
        "tick": rng.randrange(10_000_000),
        "milli": rng.randrange(1_000),
    }


def _readable(record: str) -> bool:
    try:
        msgspec.json.decode(record, type=Record)
    except msgspec.DecodeError:
        return False
    return True
