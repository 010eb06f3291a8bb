"""A made-up day of an Event Hub that receives the logs of Azure OpenAI and AWS Bedrock, and the truth about it.

The same scenario always gives the same bytes. On top of ordinary load, on which no rule may fire, there are attacks
and what looks like them (`local.attacks`), and what goes on every day (`local.routine`).
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from local.attacks import Stage, attacks
from local.ground_truth import Truth
from local.record_writer import PlannedRecord, RecordWriter, key_listing
from local.routine import listers, listing, routine
from local.samples import ODD_LENGTHS, Kind, fleet, guid, list_key, malformed, shapes

MINUTE_MS = 60_000
_HOUR_MS = 60 * MINUTE_MS
_SHORTEST_LAG_MS, _LONGEST_LAG_MS = 3_000, 4 * MINUTE_MS
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

    It begins an hour before midnight and has 25 hours: who lists keys in the last of them is new if nobody did so
    in the 24 before. `records` counts those in sound messages; the `malformed` messages, of all kinds in turn, come
    on top. A few hundred of them a day keep the unattacked accounts below every threshold.
    """

    start: datetime = datetime(2026, 3, 1, 23, tzinfo=UTC)
    duration: timedelta = timedelta(hours=25)
    records: int = 60_000
    partitions: int = 4
    seed: int = 1
    malformed: int = 44

    def __post_init__(self) -> None:
        if self.start.utcoffset() != timedelta(0) or self.start.second or self.start.microsecond:
            raise ValueError(f"start must be aware UTC on a whole minute, not {self.start!r}")
        if self.duration < _SHORTEST_DAY or self.records < _FEWEST_RECORDS:
            raise ValueError(f"the attacks need {_SHORTEST_DAY} hours and {_FEWEST_RECORDS} records at least")
        if self.partitions < 1 or self.malformed < 0:
            raise ValueError("partitions must be positive and malformed not negative")


@dataclass(frozen=True, slots=True)
class _Draft:
    enqueued_ms: int
    requests: int
    acts: tuple[PlannedRecord, ...] = ()
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
        self.rng = rng = Random(scenario.seed)
        accounts = fleet(rng)
        self.duration_ms = scenario.duration // timedelta(milliseconds=1)
        self.writer = RecordWriter(rng, int(scenario.start.timestamp()))
        self.stage = Stage(rng, self.writer, accounts, scenario.start, scenario.duration)
        self.shapes = shapes(rng, accounts)
        self.pipelines = [guid(rng) for _ in range(6)]
        self.truth = Truth()

    def plan(self) -> list[_Draft]:
        """Every message in the order of arrival, with the acts in it; only the number of its requests."""
        acts = sorted(self._acts(), key=lambda act: act.at_ms)
        flushes = _flushes(act for act in acts if not act.alone)
        drafts = [_Draft(act.at_ms + self._lag_ms(), 0, (act,)) for act in acts if act.alone]
        budget = self.scenario.records - len(acts)
        if budget < len(acts) // 2:
            raise ValueError(f"{len(acts)} records of attacks and look-alikes need a day of {2 * len(acts)} at least")
        most = min(50, budget // (2 * len(flushes)))
        for flush in flushes:
            requests = self.rng.choices((self.rng.randint(0, most), 0), (9, 1))[0]
            drafts.append(_Draft(flush[-1].at_ms + self._lag_ms(), requests, flush))
            budget -= requests
        while budget:
            requests = min(budget, self.rng.choices((self.rng.randint(30, 70), 1), (98, 2))[0])
            drafts.append(_Draft(self._busy_moment_ms(), requests))
            budget -= requests
        drafts += self._damaged_drafts()
        return sorted(drafts, key=lambda draft: draft.enqueued_ms)

    def message(self, draft: _Draft) -> Message:
        """Write a message and count what is in it."""
        enqueued = self.scenario.start + timedelta(milliseconds=draft.enqueued_ms)
        bucket = enqueued.replace(minute=enqueued.minute // 10 * 10, second=0, microsecond=0)
        chosen = self.rng.choices(self.shapes, k=draft.requests)
        written = [self.writer.ordinary(shape, draft.enqueued_ms - self._lag_ms()) for shape in chosen]
        written += [(act.text, act.fact) for act in draft.acts]
        self.rng.shuffle(written)
        self.truth.messages += 1
        texts = [text for text, _ in written]
        if draft.kind is not Kind.NOT_JSON:  # of which nothing can be read
            for _, fact in written:
                if fact is not None:
                    self.truth.note(fact, bucket)
        body = self._damaged(draft.kind, texts, bucket) if draft.kind else self._sound(texts)
        return Message(self.rng.randrange(self.scenario.partitions), enqueued, body)

    def _acts(self) -> Iterator[PlannedRecord]:
        """Everything that was planned: attacks, look-alikes, and what goes on every day."""
        yield from attacks(self.stage, self.truth)
        yield from routine(self.stage, self.pipelines)

    def _damaged_drafts(self) -> Iterator[_Draft]:
        for index in range(self.scenario.malformed):
            kind = list(Kind)[index % len(Kind)]
            at_ms = self.rng.randrange(self.duration_ms - _LONGEST_LAG_MS)
            two = listing(self.stage, self.pipelines, at_ms), listing(self.stage, self.pipelines, at_ms)
            yield _Draft(at_ms + self._lag_ms(), 4, two, kind)

    def _sound(self, records: list[str]) -> bytes:
        self.truth.records += len(records)
        envelope = self.rng.choices(*_ENVELOPES)[0]
        return (records[0] if len(records) == 1 else envelope % ",".join(records)).encode()

    def _damaged(self, kind: Kind, records: list[str], bucket: datetime) -> bytes:
        """Damage a message with an odd key reading in it, of the account whose readings have lengths at all."""
        self.truth.malformed[kind] += 1
        account = next(one for one in self.stage.accounts if one.tells_lengths)
        caller = listers(self.stage, self.pipelines, account)[0]
        if kind in ODD_LENGTHS:  # it is still one reading, without a length
            self.truth.note(key_listing(account, int(bucket.timestamp()), caller), bucket)
        odd = list_key(
            self.rng,
            account,
            caller=caller,
            time=f"{bucket:%Y-%m-%dT%H:%M:%S}.0000000Z",
            length=ODD_LENGTHS.get(kind),
            resource="null" if kind is Kind.NULL_RESOURCE else None,
        )
        return malformed(kind, records, odd)

    def _lag_ms(self) -> int:
        """From a record's own time to its arrival: mostly seconds, for a few up to four minutes."""
        return _SHORTEST_LAG_MS + int(self.rng.random() ** 4 * (_LONGEST_LAG_MS - _SHORTEST_LAG_MS))

    def _busy_moment_ms(self) -> int:
        """Return a moment drawn from the load curve, lowest at 02:00 and four times that at 14:00."""
        while True:
            at_ms = self.rng.randrange(self.duration_ms)
            hour = self.scenario.start.hour + at_ms / _HOUR_MS
            if self.rng.random() < 0.25 + 0.75 * math.sin(math.pi * (hour - 2) / 24) ** 2:
                return at_ms


def _flushes(acts: Iterable[PlannedRecord]) -> list[tuple[PlannedRecord, ...]]:
    """Cut the acts into what a sender holds back before it sends: half a minute's."""
    flushes: list[list[PlannedRecord]] = []
    for act in acts:
        if flushes and act.at_ms - flushes[-1][0].at_ms < MINUTE_MS // 2:
            flushes[-1].append(act)
        else:
            flushes.append([act])
    return [tuple(flush) for flush in flushes]
