"""Many resources and many callers: what is stored and held stays bounded, counts stay exact, and cuts are marked."""

import json
import random
from collections import Counter
from collections.abc import Iterator

import pytest

from detectors import orchestration
from detectors.evaluation.window import MAX_LISTED
from detectors.events import Event, Source
from detectors.ingest import Ingest
from detectors.ingestion.counting import BatchCounter
from detectors.rules.catalogue import CATALOGUE
from detectors.rules.counters import MAX_ACCOUNTS
from detectors.rules.crowds import MAX_GROUPS, OTHERS
from detectors.rules.tally import MAX_CALLERS, Key, Tally
from detectors.storage.buckets import BucketStore
from detectors.storage.handover import MAX_INLINE_BYTES
from detectors.storage.quarantine import Quarantine
from detectors.storage.slices import SLICES
from detectors.storage.tables import MAX_ENTITY_BYTES, MemoryTable, check_limits
from detectors.windows import BUCKET, key_of
from tests.builders import SOURCE, START, canonical_id, chat, list_key, message
from tests.deployment import Deployment

RESOURCES, CALLERS = 4, 1_000
MAX_MESSAGE_BYTES = 4_000_000
NAMES = [f"aoai-{number}" for number in range(RESOURCES)]


def _events() -> Iterator[Event]:
    """Everybody lists the keys of everything once, and gets an answer; later callers get more bytes."""
    for number in range(CALLERS):
        caller = f"00000000-0000-4000-8000-{number:012d}"
        records = [list_key(name, caller=caller) for name in NAMES]
        records += [chat(name, objectId=caller, responseLength=1_000 + number) for name in NAMES]
        yield Event(number, START, message(*records))


@pytest.fixture(scope="module")
def table() -> MemoryTable:
    """Provide a bucket that got all of it, in batches of a hundred events."""
    table, events = MemoryTable(), list(_events())
    ingest = Ingest(BucketStore(table), Quarantine(table, excerpt_characters=0), BatchCounter(CATALOGUE), lambda: START)
    for first in range(0, CALLERS, 100):
        ingest(SOURCE, events[first : first + 100])
    return table


def _tallies(table: MemoryTable) -> dict[Key, Tally]:
    found: dict[Key, Tally] = {}
    for _, key, tally in BucketStore(table).read(START, range(SLICES)):
        found[key] = found[key].merged(tally) if key in found else tally
    return found


def test_counts_stay_exact_and_callers_bounded(table: MemoryTable) -> None:
    """Who found no room is counted as one of the others."""
    tallies = _tallies(table)
    for name in NAMES:
        tally = tallies[Key("model_theft", (canonical_id(name),))]
        assert tally.count == CALLERS
        assert len(tally.callers) == MAX_CALLERS
        assert tally.other_callers == CALLERS - MAX_CALLERS


def test_the_heaviest_callers_are_kept_with_their_bytes(table: MemoryTable) -> None:
    """Nobody hides a large transfer behind a crowd that came before."""
    for name in NAMES:
        tally = _tallies(table)[Key("large_transfer", (canonical_id(name),))]
        assert max(tally.caller_bytes.values()) == tally.responses.largest == 1_000 + CALLERS - 1
        assert len(tally.caller_bytes) == MAX_CALLERS
        assert sum(tally.caller_bytes.values()) + tally.other_bytes == tally.responses.total


def test_newcomers_beyond_the_room_are_told_together(table: MemoryTable) -> None:
    """The first ones one by one, and the others under a name that says so."""
    counts: Counter[str] = Counter()
    for key, tally in _tallies(table).items():
        if key.rule_id == "new_key_lister" and key.group[0] == canonical_id(NAMES[0]):
            counts[key.group[1]] += tally.count
    assert len(counts) == MAX_GROUPS + 1
    assert counts.pop(OTHERS) == CALLERS - MAX_GROUPS
    assert set(counts.values()) == {1}


def test_every_row_fits_into_the_service(table: MemoryTable) -> None:
    """Rows are far below the limit of an entity, and few."""
    rows = list(table.query(key_of(START), key_of(START)))
    sizes = [sum(len(value) for value in row.values.values() if isinstance(value, bytes)) for row in rows]
    for row in rows:
        check_limits(row)
    assert len(rows) == 1
    assert sizes[0] < MAX_ENTITY_BYTES / 10


LETTERS = {byte: 0x100 + byte for byte in range(256)}
"""Each takes two bytes in storage, and six in the JSON of a message."""


def _name(number: int, characters: int) -> str:
    """Return the name of an account whose id has that many characters."""
    return f"{number:03d}{'ü' * characters}"[: characters - len(canonical_id(""))]


@pytest.mark.parametrize("characters", [260, 400])
def test_accounts_with_the_longest_names_are_counted(characters: int) -> None:
    """Whatever alphabet they use, their list fits into a property: else a partition would stand still for good."""
    deployment = Deployment()
    records = [list_key(_name(number, characters)) for number in range(MAX_ACCOUNTS)]
    deployment.ingest(SOURCE, [Event(1, START, message(*records))])


def _outbreak() -> Iterator[Event]:
    """Accounts with long names, whose keys are listed by more callers than a finding lists.

    The callers are random, so that their names do not pack well.
    """
    chance = random.Random(1)
    for number in range(300):
        callers = [chance.randbytes(128).decode("latin-1").translate(LETTERS) for _ in range(3 * MAX_LISTED)]
        yield Event(number, START, message(*[list_key(_name(number, 260), caller=caller) for caller in callers]))


@pytest.mark.real
def test_the_messages_of_the_heaviest_window_are_small() -> None:
    """However much fires: they pass through the memory of the host, which holds each several times over."""
    deployment = Deployment()
    for event in _outbreak():
        deployment.ingest(SOURCE, [event])
    for partition in range(1_024):
        source = Source(f"{'n' * 50}.servicebus.windows.net", "h" * 256, str(partition))
        deployment.ingest(source, [Event(1, START, message(chat()))])
    until = START + BUCKET
    planned = orchestration.plan_window(deployment.evaluator, {"run": {"until": key_of(until)}})
    assert planned is not None
    work = {"plan": {**planned, "shards": SLICES}}
    shards = [orchestration.evaluate_shard(deployment.evaluator, {**work, "shard": shard}) for shard in range(SLICES)]
    conclusion = {**work, "shards": shards, "windows_caught_up": 0}
    inline = SLICES * 1.4 * MAX_INLINE_BYTES  # had each shard come to what just fits into a message
    assert len(json.dumps(conclusion)) + inline < MAX_MESSAGE_BYTES
    orchestration.conclude_window(deployment.evaluator, conclusion, until)
    rows = deployment.posted.of("model_theft")
    assert {(row["EventCount"], len(row["Callers"]), row["CallersTruncated"]) for row in rows} == {(150, 50, True)}
    assert len(rows) == 300


def test_a_verdict_carries_no_more_than_a_finding_lists() -> None:
    """A window adds up the callers and partitions of all that was stored."""
    deployment = Deployment(shards=1)
    for partition in range(60):
        records = [list_key(caller=f"{partition}-{number}") for number in range(3)]
        deployment.ingest(SOURCE._replace(partition=str(partition)), [Event(1, START, message(*records))])
    plan = deployment.evaluator.plan(START + BUCKET, None)
    assert plan is not None
    ((one,),) = (result.results for result in deployment.evaluated(plan))
    assert (one.tally.count, one.tally.other_callers) == (180, 130)
    assert (len(one.tally.callers), len(one.evidence)) == (MAX_LISTED, MAX_LISTED)
