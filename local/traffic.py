"""A made-up day of an Event Hub that receives Azure OpenAI diagnostic logs, and the truth about it.

The same scenario always gives the same bytes. Three accounts are attacked (`local.samples.Attack`); the rest is
ordinary load, on which no rule may fire. What was generated is counted here, apart from the detector's code, so
that its findings can be held against it.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from random import Random

from local.samples import (
    ODD_LENGTHS,
    Account,
    Attack,
    Kind,
    Shape,
    fleet,
    guid,
    list_key,
    malformed,
    shapes,
)

type Bucket = tuple[str, datetime]
"""A canonical resource id and the start of a 10-minute bucket of arrival."""

_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS
_SHORTEST_LAG_MS, _LONGEST_LAG_MS = 3_000, 4 * _MINUTE_MS
_TICKS_A_SECOND = 10_000_000
_UNIX_EPOCH_TICKS = 621_355_968_000_000_000  # .NET counts from year 1
_LONGEST_REQUEST = 12_000
_SHORTEST_DAY, _FEWEST_RECORDS = timedelta(hours=4), 3_000
_ENVELOPES = ('{"records":[%s]}', '{"records":[%s]}\n', "[%s]"), (97, 1, 2)


@dataclass(frozen=True, slots=True)
class Message:
    """What Event Hubs delivers: the partition, the arrival (aware UTC) and the body."""

    partition: int
    enqueued: datetime
    body: bytes


@dataclass(frozen=True, slots=True)
class Scenario:
    """What day to make.

    `records` counts those in sound messages; the `malformed` messages, of all kinds in turn, come on top. A few
    hundred of them a day keep the unattacked accounts far below every threshold.
    """

    start: datetime = datetime(2026, 3, 2, tzinfo=UTC)
    duration: timedelta = timedelta(hours=24)
    records: int = 300_000
    partitions: int = 4
    seed: int = 1
    malformed: int = 44

    def __post_init__(self) -> None:
        if self.start.utcoffset() != timedelta(0):
            raise ValueError(f"start must be aware UTC, not {self.start!r}")
        if self.duration < _SHORTEST_DAY or self.records < _FEWEST_RECORDS:
            raise ValueError(f"the attacks need {_SHORTEST_DAY} hours and {_FEWEST_RECORDS} records at least")
        if self.partitions < 1 or self.malformed < 0:
            raise ValueError("partitions must be positive and malformed not negative")


@dataclass(slots=True)
class Damage:
    """The messages of one malformed kind, and the key readings in them that are whole and name their resource."""

    messages: int = 0
    certain: Counter[Bucket] = field(default_factory=Counter)


@dataclass(slots=True)
class Truth:
    """What was generated.

    `messages` counts all; `records`, `list_keys` and `max_response_length` (by canonical resource id) are about
    sound messages; `malformed` has the others.
    """

    attacked: dict[Attack, str]
    messages: int = 0
    records: int = 0
    list_keys: Counter[Bucket] = field(default_factory=Counter)
    max_response_length: dict[str, int] = field(default_factory=dict)
    malformed: dict[Kind, Damage] = field(default_factory=dict)

    def expected(self, repaired: Iterable[Kind] = Kind) -> Counter[Bucket]:
        """Key readings by bucket, including the certain ones of the malformed kinds that a detector repairs."""
        total = self.list_keys.copy()
        wanted = frozenset(repaired)
        for kind, damage in self.malformed.items():
            if kind in wanted:
                total.update(damage.certain)
        return total


@dataclass(frozen=True, slots=True)
class _Campaign:
    begin: float  # as a share of the day
    minutes: int
    readings: int
    callers: int
    length: int | None = None


_CAMPAIGNS = {
    Attack.HARVEST: _Campaign(begin=0.15, minutes=25, readings=420, callers=1),
    Attack.SLOW: _Campaign(begin=0.40, minutes=120, readings=360, callers=2),
    Attack.EXFILTRATION: _Campaign(begin=0.80, minutes=3, readings=5, callers=1, length=3_400_000),
}


@dataclass(frozen=True, slots=True)
class _Reading:
    at_ms: int  # since the start of the day, as every time in milliseconds here
    account: Account
    caller: str
    length: int | None


@dataclass(frozen=True, slots=True)
class _Draft:
    enqueued_ms: int
    requests: int
    readings: tuple[_Reading, ...] = ()
    kind: Kind | None = None


class Traffic:
    """The messages of a scenario in the order of their arrival; every iteration makes them anew."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self._truth: Truth | None = None

    @property
    def truth(self) -> Truth:
        """What the last complete iteration generated; RuntimeError before there was one."""
        if self._truth is None:
            raise RuntimeError("the truth is known when all messages have been generated")
        return self._truth

    def __iter__(self) -> Iterator[Message]:
        day = _Day(self.scenario)
        for draft in day.plan():
            yield day.message(draft)
        self._truth = day.truth


class _Day:
    """One run: the accounts, what is still random, and what was counted so far."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.rng = Random(scenario.seed)
        self.accounts = fleet(self.rng)
        self.exfiltrated = next(one for one in self.accounts if one.attack is Attack.EXFILTRATION)
        self.shapes = shapes(self.rng, self.accounts)
        self.pipelines = [guid(self.rng) for _ in range(3)]
        self.duration_ms = scenario.duration // timedelta(milliseconds=1)
        self.start_second = int(scenario.start.timestamp())
        self.truth = Truth({one.attack: one.canonical_id for one in self.accounts if one.attack})

    def plan(self) -> list[_Draft]:
        """Every message in the order of arrival, with its key readings; only the number of its requests."""
        flushes = _flushes(self._readings())
        budget = self.scenario.records - sum(map(len, flushes))
        most = min(50, budget // (2 * len(flushes)))
        drafts = []
        for flush in flushes:
            requests = self.rng.choices((self.rng.randint(0, most), 0), (9, 1))[0]
            drafts.append(_Draft(flush[-1].at_ms + self._lag_ms(), requests, flush))
            budget -= requests
        while budget:
            requests = min(budget, self.rng.choices((self.rng.randint(30, 70), 1), (98, 2))[0])
            drafts.append(_Draft(self._busy_moment_ms(), requests))
            budget -= requests
        for index in range(self.scenario.malformed):
            kind = list(Kind)[index % len(Kind)]
            at_ms = self.rng.randrange(self.duration_ms - _LONGEST_LAG_MS)
            readings = () if kind is Kind.NOT_JSON else (self._benign(at_ms), self._benign(at_ms))
            drafts.append(_Draft(at_ms + self._lag_ms(), 4, readings, kind))
        return sorted(drafts, key=lambda draft: draft.enqueued_ms)

    def message(self, draft: _Draft) -> Message:
        """Write a message and count what is in it."""
        enqueued = self.scenario.start + timedelta(milliseconds=draft.enqueued_ms)
        bucket = enqueued.replace(minute=enqueued.minute // 10 * 10, second=0, microsecond=0)
        chosen = self.rng.choices(self.shapes, k=draft.requests)
        records = [self._request(shape, draft.enqueued_ms) for shape in chosen]
        records += [self._list_key(reading) for reading in draft.readings]
        self.rng.shuffle(records)
        self.truth.messages += 1
        if draft.kind:
            body = self._damaged(draft.kind, records, draft.readings, bucket)
        else:
            body = self._sound(records, draft.readings, bucket)
        return Message(self.rng.randrange(self.scenario.partitions), enqueued, body)

    def _sound(self, records: list[str], readings: tuple[_Reading, ...], bucket: datetime) -> bytes:
        self.truth.records += len(records)
        longest = self.truth.max_response_length
        for reading in readings:
            resource = reading.account.canonical_id
            self.truth.list_keys[resource, bucket] += 1
            if reading.length is not None:
                longest[resource] = max(reading.length, longest.get(resource, 0))
        envelope = self.rng.choices(*_ENVELOPES)[0]
        return (records[0] if len(records) == 1 else envelope % ",".join(records)).encode()

    def _damaged(self, kind: Kind, records: list[str], readings: tuple[_Reading, ...], bucket: datetime) -> bytes:
        damage = self.truth.malformed.setdefault(kind, Damage())
        damage.messages += 1
        damage.certain.update((reading.account.canonical_id, bucket) for reading in readings)
        # A length of an odd type is still one reading; the account is the one whose readings have lengths at all.
        if kind in ODD_LENGTHS:
            damage.certain[self.exfiltrated.canonical_id, bucket] += 1
        odd = list_key(
            self.rng,
            self.exfiltrated,
            caller=self.pipelines[0],
            time=f"{bucket:%Y-%m-%dT%H:%M:%S}.0000000Z",
            length=ODD_LENGTHS.get(kind),
            resource="null" if kind is Kind.NULL_RESOURCE else None,
        )
        return malformed(kind, records, odd)

    def _request(self, shape: Shape, enqueued_ms: int) -> str:
        rng = self.rng
        ticks = (enqueued_ms - self._lag_ms()) * 10_000 - rng.randrange(10_000)
        second, tick = divmod(self.start_second * _TICKS_A_SECOND + ticks, _TICKS_A_SECOND)
        request_ticks = _UNIX_EPOCH_TICKS + second * _TICKS_A_SECOND + tick
        duration = 5 + int(rng.expovariate(1 / shape.duration))
        return shape.text % {
            "guid": guid(rng),
            "duration": duration,
            "request_ticks": request_ticks,
            "request": min(1 + int(rng.expovariate(1 / shape.request)), _LONGEST_REQUEST),
            "response_ticks": request_ticks + duration * 10_000,
            "response": 40 + int(rng.expovariate(1 / shape.response)),
            "second": _second(second),
            "tick": tick,
            "milli": tick // 10_000,
        }

    def _list_key(self, reading: _Reading) -> str:
        length = None if reading.length is None else str(reading.length)
        time = _second(self.start_second + reading.at_ms // 1_000) + ".0000000Z"
        return list_key(self.rng, reading.account, caller=reading.caller, time=time, length=length)

    def _lag_ms(self) -> int:
        """From a record's own time to its arrival: mostly seconds, for a few up to four minutes."""
        return _SHORTEST_LAG_MS + int(self.rng.random() ** 4 * (_LONGEST_LAG_MS - _SHORTEST_LAG_MS))

    def _busy_moment_ms(self) -> int:
        """A moment drawn from the load curve, lowest at 02:00 and four times that at 14:00."""
        while True:
            at_ms = self.rng.randrange(self.duration_ms)
            hour = self.scenario.start.hour + at_ms / _HOUR_MS
            if self.rng.random() < 0.25 + 0.75 * math.sin(math.pi * (hour - 2) / 24) ** 2:
                return at_ms

    def _benign(self, at_ms: int) -> _Reading:
        """A deployment pipeline reads an account's keys; one account's readings are logged with a length."""
        account = self.rng.choice(self.accounts)
        length = self.rng.randint(300, 900) if account is self.exfiltrated else None
        return _Reading(at_ms, account, self.rng.choice(self.pipelines), length)

    def _readings(self) -> list[_Reading]:
        """Every key reading of the sound messages: four benign ones an hour, and the campaigns."""
        last_ms = self.duration_ms - _LONGEST_LAG_MS
        readings = [self._benign(self.rng.randrange(last_ms)) for _ in range(4 * self.duration_ms // _HOUR_MS)]
        for account in self.accounts:
            if account.attack:
                readings += self._campaign(account, _CAMPAIGNS[account.attack])
        return sorted(readings, key=lambda reading: reading.at_ms)

    def _campaign(self, account: Account, campaign: _Campaign) -> Iterator[_Reading]:
        callers = [guid(self.rng) for _ in range(campaign.callers)]
        step_ms = campaign.minutes * _MINUTE_MS / campaign.readings
        for index in range(campaign.readings):
            at_ms = int(campaign.begin * self.duration_ms + (index + self.rng.random()) * step_ms)
            length = campaign.length and campaign.length - index * 400_000
            yield _Reading(at_ms, account, self.rng.choice(callers), length)


def _flushes(readings: list[_Reading]) -> list[tuple[_Reading, ...]]:
    """Cut the readings into what a sender holds back before it sends: half a minute's."""
    flushes: list[list[_Reading]] = []
    for reading in readings:
        if flushes and reading.at_ms - flushes[-1][0].at_ms < _MINUTE_MS // 2:
            flushes[-1].append(reading)
        else:
            flushes.append([reading])
    return [tuple(flush) for flush in flushes]


@lru_cache(maxsize=4096)
def _second(unix_second: int) -> str:
    return datetime.fromtimestamp(unix_second, UTC).isoformat()[:19]
