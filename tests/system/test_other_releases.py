"""Rows of a release with more rules, or with fewer, do not stop an evaluation."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from detectors.evaluation.policy import Policy
from detectors.ingest import Ingest
from detectors.ingestion.counting import BatchCounter
from detectors.rules.catalogue import BY_ID, CATALOGUE
from detectors.rules.rule import Rule
from detectors.storage.buckets import BucketStore
from detectors.storage.quarantine import Quarantine
from detectors.storage.slices import SLICES
from detectors.storage.tables import MemoryTable, Row, bytes_of
from detectors.windows import BUCKET
from tests.builders import SOURCE, START, canonical_id, chat, event, list_key
from tests.deployment import Deployment

NEW_KEY_LISTER = BY_ID["new_key_lister"]

MODEL_THEFT = BY_ID["model_theft"]

DENIAL_OF_SERVICE = BY_ID["denial_of_service"]

LATER = [
    replace(MODEL_THEFT, id="rule_of_tomorrow"),
    replace(DENIAL_OF_SERVICE, id="minutes_of_tomorrow"),
    replace(NEW_KEY_LISTER, id="newcomers_of_tomorrow"),
]
RECORDS = [*[list_key()] * 120, *[chat(requestLength=9_000)] * 12]


@contextmanager
def _release_of_tomorrow() -> Iterator[tuple[Rule, ...]]:
    """Be a release with more rules; they are gone afterwards."""
    with pytest.MonkeyPatch.context() as patched:
        for rule in LATER:
            patched.setitem(BY_ID, rule.id, rule)
        yield tuple(BY_ID.values())


def _ingest(deployment: Deployment, rules: tuple[Rule, ...]) -> Ingest:
    quarantine = Quarantine(MemoryTable(), excerpt_characters=9)
    return Ingest(BucketStore(deployment.buckets), quarantine, BatchCounter(rules), lambda: START)


def test_tallies_of_rules_that_nobody_knows_are_left_alone() -> None:
    """They stay in the bucket, and the known rules fire as ever."""
    deployment = Deployment()
    with _release_of_tomorrow() as rules:
        _ingest(deployment, rules)(SOURCE, [event(0, *RECORDS)])
    stored = {key.rule_id for _, key, _ in BucketStore(deployment.buckets).read(START, range(SLICES))}
    assert {rule.id for rule in LATER} < stored
    for tick in (1, 2):
        deployment.tick(START + timedelta(minutes=10 * tick))
    assert {row["RuleId"] for row in deployment.posted.newest().values()} == {"model_theft", "denial_of_service"}
    assert deployment.posted.beats[-1]["SelectedByRule"][-1]["RuleId"] == "rule_of_tomorrow"


def test_open_episodes_of_rules_that_nobody_knows_end_silently() -> None:
    """After a step back to an older release; the episodes of known rules go on."""
    deployment = Deployment()
    with _release_of_tomorrow() as rules:
        numbers = Policy().thresholds
        deployment.policy = Policy({**numbers, **{rule.id: numbers[_like(rule)] for rule in LATER}})
        deployment.lengthen(timedelta(hours=25))
        deployment.ingest = _ingest(deployment, rules)
        deployment.arrive(START, *RECORDS)
        deployment.tick(START + timedelta(minutes=10))
    opened = {episode.rule_id for episode in deployment.open_episodes(START + timedelta(minutes=10))}
    assert opened == {"model_theft", "denial_of_service", "rule_of_tomorrow", "minutes_of_tomorrow"}
    deployment.policy = Policy()
    deployment.lengthen(timedelta(hours=25))
    for tick in range(2, 8):
        deployment.tick(START + timedelta(minutes=10 * tick))
    rows = deployment.posted.of("model_theft")
    assert [row["Status"] for row in rows] == ["New"] + ["Ongoing"] * 5 + ["Closed"]
    assert "Closed" not in {row["Status"] for row in deployment.posted.of("rule_of_tomorrow")}
    assert deployment.open_episodes(START + timedelta(minutes=70)) == []


def _like(rule: Rule) -> str:
    """Return the rule of the catalogue that a later one was made from."""
    return next(known.id for known in CATALOGUE if known.select == rule.select)


def test_an_episode_of_a_rule_that_was_turned_off_is_closed() -> None:
    """Its tallies may still be there; nobody is alerted by them, and nobody waits for its end."""
    deployment = Deployment()
    deployment.arrive(START, *RECORDS)
    deployment.tick(START + timedelta(minutes=10))
    deployment.policy = Policy({"insecure_output": {"count": 10}})
    deployment.lengthen(timedelta(hours=25))
    deployment.tick(START + timedelta(minutes=20))
    for rule_id in ("model_theft", "denial_of_service"):
        rows = deployment.posted.of(rule_id)
        assert [(row["Status"], row["ResourceId"]) for row in rows] == [
            ("New", canonical_id()),
            ("Closed", canonical_id()),
        ]
    assert deployment.open_episodes(START + timedelta(minutes=20)) == []


def _without(table: MemoryTable, column: str) -> None:
    """Make rows those of a release that had no such column."""
    for row in list(table.query("0", "z")):
        if column in row.values:
            values = {name: value for name, value in row.values.items() if name != column}
            table.delete(row.partition, [row.key])
            table.insert(Row(row.partition, row.key, values))


def test_rows_of_a_release_that_told_no_sizes_are_read() -> None:
    """Buckets without their bytes, windows without the number of further rows: evaluated alike, in one shard."""
    before, now = Deployment(), Deployment()
    for deployment in (before, now):
        deployment.arrive(START, *RECORDS)
        deployment.tick(START + BUCKET)
    _without(before.buckets, "Bytes")
    _without(before.journal, "Spilled")
    for deployment in (before, now):
        deployment.tick(START + 2 * BUCKET)
    assert before.open_episodes(START + 2 * BUCKET) == now.open_episodes(START + 2 * BUCKET)
    assert before.posted.newest() == now.posted.newest()


def test_a_segment_without_its_size_goes_on() -> None:
    """The next batch counts into it, and tells its size."""
    deployment = Deployment()
    deployment.arrive(START, *RECORDS)
    _without(deployment.buckets, "Bytes")
    BucketStore(deployment.buckets).reload(SOURCE, START)
    deployment.ingest = _ingest(deployment, CATALOGUE)
    deployment.arrive(START, *RECORDS)
    (row,) = deployment.buckets.query("0", "z")
    packed = [bytes_of(value) for name, value in row.values.items() if name.startswith("Tallies")]
    assert row.values["Bytes"] == sum(map(len, packed))
