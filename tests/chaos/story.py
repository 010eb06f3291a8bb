"""A story: what arrives, what happens in which order, and what goes wrong at which request.

It is data, so that it can be shortened.

A seed tells its story again. Times are minutes after an act's begin; acts are so far apart that what one left behind is
purged in the next, but for runs that are still under way.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Literal, NamedTuple

from detectors.storage import buckets
from tests.builders import START

ACCOUNTS = ("first", "second", "third")
APART = timedelta(hours=16)
"""From the begin of one act to that of the next."""

type Kind = Literal["listing", "chat", "broken"]
type What = Literal["batch", "tick", "go", "wait", "restart", "away", "back"]
type Mishap = Literal["refused", "lost", "resent", "killed", "killed after", "meanwhile"]

MISHAPS: Sequence[Mishap] = ("refused", "lost", "resent", "killed", "killed after", "meanwhile", "meanwhile")


_MIXTURES: Sequence[Sequence[Kind]] = (("listing",), ("listing", "listing", "chat", "broken"), ("chat",))


class Record(NamedTuple):
    """One record: a listing of keys, a chat completion, or one that names no account."""

    kind: Kind
    account: str


class Arrival(NamedTuple):
    """One event: the minute of its arrival, the seconds by which the hub's clock stepped back, and its records."""

    minute: int
    back: int
    records: Sequence[Record]


class Step(NamedTuple):
    """What happens next.

    Attributes:
        what: a batch comes, a timer fires, a run goes on, time goes by, a host starts anew with nothing in memory, the
            ingestion endpoint goes away or comes back.
        host: to which of two hosts.
        which: the partition, or the run.
        again: events of a batch that came before.
        size: events of a batch that are new; of a run, the activities.
        minutes: how much time goes by, or how wrong the timer's clock is.
        mishaps: requests to storage and sink that go wrong in this step, by their number in it. They are refused; are
            carried out, but the answer is lost; are sent once more by the client, who heard no answer; or are the last
            of the host. `meanwhile`: the next step happens before the request, on the other host.
    """

    what: What
    host: int = 0
    which: int = 0
    again: int = 0
    size: int = 1
    minutes: int = 0
    mishaps: Sequence[tuple[int, Mishap]] = ()


class Act(NamedTuple):
    """What arrives, by partition, and what happens. After it, all that is left is delivered and evaluated."""

    arrivals: Sequence[Sequence[Arrival]]
    steps: Sequence[Step]


class Story(NamedTuple):
    """Acts, and how much a part of a bucket's row holds in them."""

    acts: Sequence[Act]
    slice_bytes: int = buckets.MAX_SLICE_BYTES


class Arrived(NamedTuple):
    """An event as the hub has it."""

    partition: int
    sequence: int
    at: datetime
    records: Sequence[Record]


def story(seed: int) -> Story:
    """Make up a story; the same seed tells the same one."""
    rng = Random(seed)
    partitions = rng.choice([1, 2])
    rate = rng.choice([0.0, 0.1, 0.3, 0.6])
    acts = [_act(rng, partitions, rate) for _ in range(rng.choice([1, 1, 1, 2]))]
    return Story(acts, rng.choice([buckets.MAX_SLICE_BYTES, buckets.MAX_SLICE_BYTES, 400, 450]))


def _act(rng: Random, partitions: int, rate: float) -> Act:
    accounts = ACCOUNTS[: rng.randint(1, len(ACCOUNTS))]
    arrivals = [list(_arrivals(rng, accounts)) for _ in range(partitions)]
    return Act(arrivals, [_step(rng, partitions, rate) for _ in range(rng.randint(10, 100))])


def _arrivals(rng: Random, accounts: Sequence[str]) -> Iterator[Arrival]:
    minute, kinds = 0, rng.choice(_MIXTURES)
    for _ in range(rng.randint(3, 30)):
        minute = min(minute + rng.choice([0, 0, 1, 5, 15, 30]), 200)
        records = [Record(rng.choice(kinds), rng.choice(accounts)) for _ in range(rng.choice([1, 1, 1, 2, 3]))]
        yield Arrival(minute, rng.choice([0, 0, 0, 2]), records)


def _step(rng: Random, partitions: int, rate: float) -> Step:
    what: What = rng.choices(
        ("batch", "go", "tick", "wait", "restart", "away", "back"), (50, 25, 10, 8, 2, 1, 4)
    )[0]  # fmt: skip
    mishaps = [(rng.randint(1, 8), rng.choice(MISHAPS)) for _ in range(2) if rng.random() < rate]
    return Step(
        what,
        rng.randrange(2),
        rng.randrange(partitions) if what == "batch" else rng.randrange(3),
        rng.choice([0, 0, 1, 3, 10]),
        rng.randint(1, 6) if what == "batch" else rng.choice([1, 2, 5, 40]),
        rng.choice([0, 0, 0, -20, 20]) if what == "tick" else rng.choice([1, 10, 30]),
        mishaps if what in {"batch", "go"} else (),
    )


def begin(act: int) -> datetime:
    """Return when an act begins."""
    return START + act * APART


def arrived(told: Story) -> list[Arrived]:
    """Return all events of a story, in the order of each partition."""
    events: list[Arrived] = []
    for partition in range(max((len(act.arrivals) for act in told.acts), default=0)):
        sequence = 0
        for number, act in enumerate(told.acts):
            for one in act.arrivals[partition]:
                at = begin(number) + timedelta(minutes=one.minute) - timedelta(seconds=one.back if one.minute else 0)
                events.append(Arrived(partition, sequence, at, one.records))
                sequence += 1
    return events


def own_minute(at: datetime) -> datetime:
    """Return the minute in which a chat that arrives at a time says that it was: up to a quarter of an hour before."""
    return at.replace(minute=at.minute - at.minute % 15, second=0)


type _Part = tuple[int, str, int, int]
"""A part of a story that can be left out: its act, what it is, and its place."""


def shortened(told: Story, ends_badly: Callable[[Story], bool]) -> Story:
    """Leave out of a story that ends badly what it ends badly without: acts, steps, events, mishaps."""
    kept = list(_parts(told))
    size = len(kept)
    while size:
        for start in reversed(range(0, len(kept), size)):
            fewer = [*kept[:start], *kept[start + size :]]
            if ends_badly(_only(told, fewer)):
                kept = fewer
        size //= 2
    return _only(told, kept)


def _parts(told: Story) -> Iterator[_Part]:
    for number, act in enumerate(told.acts):
        yield number, "act", 0, 0
        yield from ((number, "step", place, 0) for place in range(len(act.steps)))
        for partition, events in enumerate(act.arrivals):
            yield from ((number, "event", partition, place) for place in range(len(events)))
        for place, step in enumerate(act.steps):
            yield from ((number, "mishap", place, which) for which in range(len(step.mishaps)))


def _only(told: Story, parts: Sequence[_Part]) -> Story:
    kept = set(parts)
    acts = []
    for number, act in enumerate(told.acts):
        arrivals = [
            [event for place, event in enumerate(events) if (number, "event", partition, place) in kept]
            for partition, events in enumerate(act.arrivals)
        ]
        steps = [
            step._replace(mishaps=[one for i, one in enumerate(step.mishaps) if (number, "mishap", place, i) in kept])
            for place, step in enumerate(act.steps)
            if (number, "step", place, 0) in kept
        ]
        acts += [Act(arrivals, steps)] if (number, "act", 0, 0) in kept else []
    return told._replace(acts=acts)
