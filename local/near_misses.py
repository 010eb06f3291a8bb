"""What is no attack and nearly looks like one: one account and one user who come within one of every limit."""

from collections.abc import Iterator, Sequence
from random import Random

from local.attacks import EMBEDDINGS, MINUTE_MS, Stage
from local.bedrock import CLAUDE, LLAMA, TITAN, session
from local.ground_truth import CHAT, DENIED, INVALID
from local.record_writer import PlannedRecord
from local.samples import WITHOUT_LOAD, Account, Attack, Call, guid

TESTER = session("app-prod", "load-test")
_COLLEAGUES = [session("app-prod", name) for name in ("web", "worker", "batch")]


def is_without_load(account: Account) -> bool:
    """Whether it is the account about which everything is planned."""
    return account.canonical_id.endswith(f"/{WITHOUT_LOAD}")


def look_alikes(stage: Stage, pipelines: Sequence[str]) -> Iterator[PlannedRecord]:
    """All of them, with the pipelines that everybody knows."""
    account = next(filter(is_without_load, stage.accounts))
    yield from _roll_call(stage, pipelines)
    yield from _listings(stage, account, pipelines)
    yield from _chats(stage, account)
    yield from _bedrock(stage)


def _roll_call(stage: Stage, pipelines: Sequence[str]) -> Iterator[PlannedRecord]:
    """In the first minutes each pipeline reads the keys of each account: whoever comes a day later is new."""
    for account in stage.accounts:
        for pipeline in pipelines:
            yield benign_listing(stage, stage.rng.randrange(20 * MINUTE_MS), account, pipeline)


def benign_listing(stage: Stage, at_ms: int, account: Account, pipeline: str) -> PlannedRecord:
    """Return a deployment pipeline reads an account's keys; one account's readings are logged with a length."""
    length = stage.rng.randint(300, 900) if account.attack is Attack.EXFILTRATION else None
    return stage.scribe.listing(at_ms, account, pipeline, length)


def _listings(stage: Stage, account: Account, pipelines: Sequence[str]) -> Iterator[PlannedRecord]:
    """99 within half an hour, one of them with 999,999 bytes; and just before the newcomer somebody who is none."""
    for index, at in enumerate(stage.spread(0.45, 30, 99)):
        yield stage.scribe.listing(at, account, pipelines[index % 3], 999_999 if index == 0 else None)
    known = stage.duration_ms - 35 * MINUTE_MS
    yield stage.scribe.listing(known, stage.attacked(Attack.NEWCOMER), pipelines[0])


def _chats(stage: Stage, account: Account) -> Iterator[PlannedRecord]:
    """9 long prompts in a minute, 12 that are a byte too short, 9 empty answers, a byte less than a large one."""
    rng, write = stage.rng, stage.scribe.call
    chat = Call(account, CHAT, "200", guid(rng), "")
    for at in _within_a_minute(stage, 0.20, 9):
        yield write(at, chat, request=11_000, response=rng.randint(200, 2_000))
    lengths = [4_999] + 11 * [5_000]
    for at, length in zip(_within_a_minute(stage, 0.30, 12), lengths, strict=True):
        yield write(at, chat, request=length, response=rng.randint(200, 2_000))
    throttled = Call(account, CHAT, "429", chat.caller, "")
    for status, count in ((chat, 9), (throttled, 5)):
        for at in stage.spread(0.62, 40, count):
            yield write(at, status, request=300, response=0)
    yield write(stage.moment(0.72), Call(account, EMBEDDINGS, "200", chat.caller, ""), request=40_000, response=999_999)


def _bedrock(stage: Stage) -> Iterator[PlannedRecord]:
    """3 denials for each of two models, 3 invalid requests in each of two minutes, one policy that blocks."""
    refused, answered = stage.scribe.refused, stage.scribe.answered
    for model in (TITAN, LLAMA):
        yield from (refused(at, TESTER, model, DENIED) for at in stage.spread(0.46, 20, 3))
    for share in (0.52, 0.53):
        yield from (refused(at, TESTER, CLAUDE, INVALID) for at in _within_a_minute(stage, share, 3))
    policies = {"topicPolicy": "BLOCKED", "sensitiveInformationPolicy": "ANONYMIZED", "wordPolicy": "NONE"}
    for share in (0.32, 0.33):
        yield answered(stage.moment(share), TESTER, CLAUDE, policies)
    for at in stage.spread(0.02, stage.duration_ms * 0.9 / MINUTE_MS, 40):
        yield answered(at, stage.rng.choice(_COLLEAGUES), CLAUDE)


def _within_a_minute(stage: Stage, share: float, count: int) -> list[int]:
    """As many moments of one minute, none of them close to its ends."""
    return [stage.moment(share) + at for at in sorted(_seconds(stage.rng, count))]


def _seconds(rng: Random, count: int) -> list[int]:
    return [1_000 * second + 500 for second in rng.sample(range(2, 58), count)]
