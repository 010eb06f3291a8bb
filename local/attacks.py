"""What is done to accounts and models during the day: one clear episode for each rule, and one that is known."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from local.bedrock import CLAUDE, TITAN, session
from local.ground_truth import CHAT, DENIED, INVALID
from local.record_writer import PlannedRecord, Scribe
from local.samples import Account, Attack, Call, guid

MINUTE_MS = 60_000
EMBEDDINGS = "Embeddings_Create"
ROTATION_JOB = "5a0c7e1d-2f34-4b69-9d1e-6c8b0a7f4e23"
"""The object id of the job that local/tuning.toml excuses."""

USERS = {
    Attack.DENIED: session("ci-runner", "build-4711"),
    Attack.INVALID: session("data-lab", "notebook-12"),
    Attack.GUARDED: session("support-chat", "visitor"),
}
_BATCH_BYTES = 26_000_000
"""2,048 embeddings of 1,536 numbers each, as JSON."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What attacks are made with.

    Attributes:
        rng: everything random.
        scribe: writes the records.
        accounts: all of them.
        duration_ms: of the day.
    """

    rng: Random
    scribe: Scribe
    accounts: Sequence[Account]
    duration_ms: int

    def moment(self, share: float) -> int:
        """Return the beginning of the minute that is this share of the day away from its start; milliseconds."""
        return int(share * self.duration_ms) // MINUTE_MS * MINUTE_MS

    def spread(self, share: float, minutes: float, count: int) -> Iterator[int]:
        """As many moments, evenly and with some jitter, over a stretch that begins at a share of the day."""
        first, step_ms = self.moment(share), minutes * MINUTE_MS / count
        for index in range(count):
            yield first + int((index + self.rng.random()) * step_ms)

    def attacked(self, attack: Attack) -> Account:
        """Return the account that this befalls."""
        return next(account for account in self.accounts if account.attack is attack)


def attacks(stage: Stage) -> Iterator[PlannedRecord]:
    """All of them."""
    yield from _key_listings(stage)
    yield from _newcomer(stage)
    yield from _flood(stage)
    yield from _empty_answers(stage)
    yield from _transfers(stage)
    yield from _bedrock(stage)


def _key_listings(stage: Stage) -> Iterator[PlannedRecord]:
    """One account in a hurry, one slowly by two callers, one with large answers; and one by a job that may."""
    harvest, slow, exfiltration, rotation = map(
        stage.attacked, (Attack.HARVEST, Attack.SLOW, Attack.EXFILTRATION, Attack.ROTATION)
    )
    thief, pair, taker = guid(stage.rng), (guid(stage.rng), guid(stage.rng)), guid(stage.rng)
    listing = stage.scribe.listing
    yield from (listing(at, harvest, thief) for at in stage.spread(0.15, 25, 420))
    yield from (listing(at, slow, stage.rng.choice(pair)) for at in stage.spread(0.40, 120, 360))
    yield from (listing(at, rotation, ROTATION_JOB) for at in stage.spread(0.55, 20, 150))
    for index, at in enumerate(stage.spread(0.80, 3, 5)):
        yield listing(at, exfiltration, taker, 3_400_000 - index * 400_000)


def _newcomer(stage: Stage) -> Iterator[PlannedRecord]:
    """In the last hour of the day, when everybody else has been known for as long as there are logs."""
    account = stage.attacked(Attack.NEWCOMER)
    yield stage.scribe.listing(stage.duration_ms - 30 * MINUTE_MS, account, guid(stage.rng))


def _flood(stage: Stage) -> Iterator[PlannedRecord]:
    """Five minutes of long prompts."""
    call = Call(stage.attacked(Attack.FLOOD), CHAT, "200", guid(stage.rng), "")
    for at in stage.spread(0.35, 5, 200):
        request, response = stage.rng.randint(12_000, 30_000), stage.rng.randint(200, 2_000)
        yield stage.scribe.call(at, call, request=request, response=response)


def _empty_answers(stage: Stage) -> Iterator[PlannedRecord]:
    """Sixteen answers of nothing, to a caller with a key."""
    call = Call(stage.attacked(Attack.EMPTY), CHAT, "200", "", "198.51.100.***")
    for at in stage.spread(0.60, 40, 16):
        yield stage.scribe.call(at, call, request=stage.rng.randint(80, 900), response=0)


def _transfers(stage: Stage) -> Iterator[PlannedRecord]:
    """One large answer; and forty of everyday size that come to more than a gigabyte for one caller."""
    download = Call(stage.attacked(Attack.DOWNLOAD), EMBEDDINGS, "200", guid(stage.rng), "")
    yield stage.scribe.call(stage.moment(0.70), download, request=40_000, response=1_800_000)
    bulk = Call(stage.attacked(Attack.BULK), EMBEDDINGS, "200", guid(stage.rng), "")
    for at in stage.spread(0.25, 30, 40):
        response = _BATCH_BYTES + stage.rng.randrange(200_000)
        yield stage.scribe.call(at, bulk, request=stage.rng.randint(300_000, 900_000), response=response)


def _bedrock(stage: Stage) -> Iterator[PlannedRecord]:
    """Three users of AWS Bedrock, one for each rule."""
    denied, invalid, guarded = (USERS[attack] for attack in (Attack.DENIED, Attack.INVALID, Attack.GUARDED))
    for at in stage.spread(0.45, 25, 6):
        yield stage.scribe.refused(at, denied, TITAN, DENIED)
    for at in stage.spread(0.50, 1, 8):
        yield stage.scribe.refused(at, invalid, CLAUDE, INVALID)
    for share, policies in ((0.30, ("topicPolicy", "contentPolicy")), (0.31, ("wordPolicy", "topicPolicy"))):
        blocked = dict.fromkeys(policies, "BLOCKED")
        yield stage.scribe.answered(stage.moment(share), guarded, CLAUDE, blocked)
