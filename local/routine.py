"""What goes on every day: pipelines list keys, and so does a job that may."""

from collections.abc import Iterator, Sequence

from detectors.examples.events import happenings
from detectors.rules.catalogue import BY_ID
from detectors.rules.rule import Example, ExampleEvent
from local.attacks import MINUTE, Stage
from local.expected_findings import TUNING
from local.record_writer import PlannedRecord
from local.samples import SOURCE, Account

_HOUR_MS, _TWENTY_MINUTES_MS = 3_600_000, 1_200_000
_LONGEST_LAG_MS = 240_000
_TEAMS = 3


def routine(stage: Stage, pipelines: Sequence[str]) -> Iterator[PlannedRecord]:
    """All of it."""
    yield from _roll_call(stage, pipelines)
    yield from _rotation(stage)
    for _ in range(4 * stage.duration_ms // _HOUR_MS):
        yield listing(stage, pipelines, stage.rng.randrange(stage.duration_ms - _LONGEST_LAG_MS))


def listing(stage: Stage, pipelines: Sequence[str], at_ms: int) -> PlannedRecord:
    """Return a pipeline lists an account's keys."""
    account = stage.rng.choice(stage.accounts)
    return _listing(stage, at_ms, account, stage.rng.choice(listers(stage, pipelines, account)))


def listers(stage: Stage, pipelines: Sequence[str], account: Account) -> Sequence[str]:
    """Return whose pipelines list an account's keys: a team has some of the accounts, so that nobody lists many."""
    return pipelines[stage.accounts.index(account) % _TEAMS :: _TEAMS]


def _listing(stage: Stage, at_ms: int, account: Account, pipeline: str) -> PlannedRecord:
    length = stage.rng.randint(300, 900) if account.tells_lengths else None
    return stage.writer.listing(at_ms, account, pipeline, length)


def _roll_call(stage: Stage, pipelines: Sequence[str]) -> Iterator[PlannedRecord]:
    """In the first minutes each pipeline lists the keys of each of its accounts: whoever comes a day later is new."""
    for account in stage.accounts:
        for pipeline in listers(stage, pipelines, account):
            yield _listing(stage, stage.rng.randrange(_TWENTY_MINUTES_MS), account, pipeline)


def _rotation(stage: Stage) -> Iterator[PlannedRecord]:
    """Yield the job that local/tuning.toml excuses, often enough to fire."""
    (excused,) = TUNING["exceptions"]
    account = next(one for one in stage.accounts if one.canonical_id.endswith(excused["resource"].removeprefix("*")))
    fields = {"resource": account.canonical_id, "caller": excused["callers"][0]}
    event = ExampleEvent(SOURCE, fields, times=150, over_minutes=20)
    start = stage.start + stage.duration * 0.55 // MINUTE * MINUTE
    for one in happenings(BY_ID[excused["rule"]], Example(excused["reason"], (event,), fires=True), start):
        yield stage.writer.happened(one)
