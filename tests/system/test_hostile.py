"""Nobody can blind it: what one caller or account does is bounded, and everybody else's findings stay as they are."""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random
from string import ascii_letters, digits
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.events import Event
from detectors.ingest import Ingest
from detectors.ingestion.counting import BatchCounter
from detectors.reporting.heartbeat import MAX_CROWDS
from detectors.reporting.sinks import JsonRow
from detectors.rules.catalogue import CATALOGUE
from detectors.rules.crowds import MAX_GROUPS, OTHERS
from detectors.rules.tally import Key
from detectors.storage import journal
from detectors.storage.buckets import BucketStore
from detectors.storage.quarantine import Quarantine
from detectors.storage.slices import SLICES
from detectors.storage.tables import MemoryTable
from detectors.windows import BUCKET, window_ends
from tests.builders import SOURCE, START, USER_ARN, canonical_id, chat, list_key, message, refused
from tests.deployment import Deployment
from tests.examples import examples

type Record = dict[str, Any]

NAME = f"{ascii_letters}{digits}-._:/"
MALLORY = "arn:aws:iam::111122223333:user/mallory"
ABOUT_EVERYTHING = {
    *("Messages", "Records", "RecordsSelected", "SelectedWithLength", "SelectedByRule", "ResourcesSeen", "Findings"),
    *("OpenEpisodes", "Partitions", "Accounts", "TruncatedGroups", "OtherTruncatedGroups"),
}
"""Columns of a heartbeat that count what everybody does."""

HOURS = 3


def _names(many: int, characters: int) -> list[str]:
    chance = Random(1)
    return ["".join(chance.choices(NAME, k=characters)) for _ in range(many)]


def _made_up_models() -> list[Record]:
    return [refused("AccessDeniedException", MALLORY, modelId=name) for name in _names(700, 2_048) for _ in range(4)]


def _many_callers() -> list[Record]:
    """Each with as many as fire."""
    record = {**chat("attacked"), "resultSignature": "401"}
    callers = ({**record, "properties": {"objectId": f"caller-{number:05d}"}} for number in range(5_000))
    return [caller for caller in callers for _ in range(50)]


def _many_users() -> list[Record]:
    users = (f"arn:aws:iam::444455556666:user/{number:05d}" for number in range(1_000))
    return [refused("AccessDeniedException", user) for user in users for _ in range(4)]


def _many_sessions() -> list[Record]:
    """Of one role, as whoever takes it on calls them; with models that he makes up."""
    role = "arn:aws:sts::111122223333:assumed-role/app"
    names = zip(_names(3_000, 60), _names(3_000, 900), strict=True)
    return [refused("AccessDeniedException", f"{role}/{who}", modelId=model) for who, model in names]


ATTACKS = {
    "models": (_made_up_models, MALLORY),
    "callers": (_many_callers, canonical_id("attacked")),
    "users": (_many_users, ""),
    "sessions": (_many_sessions, "arn:aws:sts::111122223333:assumed-role/app"),
}


def _victims() -> list[tuple[timedelta, Sequence[Record]]]:
    """Tell what happens to others, before, in and after the attack, in the slices of storage of everybody."""
    happens: list[tuple[timedelta, Sequence[Record]]] = []
    for number in range(20):
        name = f"victim-{number}"
        happens.append((timedelta(minutes=1 + 7 * number), [list_key(name, caller=f"eve-{number}")] * 150))
        refusals = [{**chat(name), "resultSignature": "401", "properties": {"objectId": f"eve-{number}"}}] * 60
        happens.append((timedelta(minutes=2 + 5 * number), refusals))
    happens.append((timedelta(minutes=9), [refused("AccessDeniedException", USER_ARN)] * 9))
    return happens


def _run(attack: Sequence[Record]) -> Deployment:
    """Three hours of what happens to others, and an attack in the first ten minutes."""
    arrivals = [(after, place * 100_000, records) for place, (after, records) in enumerate(_victims())]
    for place, first in enumerate(range(0, len(attack), 250)):
        arrivals.append((timedelta(minutes=3), 1 + place, attack[first : first + 250]))
    deployment = Deployment()
    events = sorted(
        (
            Event(10_000_000 * int(after / BUCKET) + number, START + after, message(*records))
            for after, number, records in arrivals
        ),
        key=lambda event: event.sequence,
    )
    for end in window_ends(START + BUCKET, START + timedelta(hours=HOURS)):
        for event in events:
            if end - BUCKET <= event.enqueued < end:
                deployment.ingest(SOURCE, [event])
        deployment.tick(end)
    return deployment


def _of_others(deployment: Deployment, lead: str) -> list[str]:
    """Return the posted rows as text, without those of whoever attacks, and what counts everybody's doings."""
    kept = []
    for stream, row in deployment.posted.rows:
        if stream == "health":
            row = {name: value for name, value in row.items() if name not in ABOUT_EVERYTHING}  # noqa: PLW2901 - less of it
        elif _lead(row) == lead or (not lead and ":444455556666:" in _lead(row)):
            continue
        kept.append(json.dumps(row))
    return kept


def _lead(row: JsonRow) -> str:
    return str(next(iter(row["Group"].values())))


@pytest.fixture(scope="module")
def undisturbed() -> Deployment:
    """Provide the same hours without an attack."""
    return _run([])


@pytest.mark.parametrize("kind", ATTACKS)
def test_rows_of_others_are_the_same_byte_for_byte(undisturbed: Deployment, kind: str) -> None:
    """All their findings, and a heartbeat for each window."""
    attack, lead = ATTACKS[kind]
    attacked = _run(attack())
    assert len(attacked.posted.beats) == HOURS * 6
    assert len(attacked.posted.newest()) > len(undisturbed.posted.newest()) > 200
    assert _of_others(attacked, lead) == _of_others(undisturbed, lead)


def test_what_finds_no_room_fires_together_and_says_so() -> None:
    """Nobody hides behind names that he makes up."""
    attacked = _run(_made_up_models())
    rows = [row for row in attacked.posted.of("bedrock_denied_models") if _lead(row) == MALLORY]
    first = [row for row in rows if row["WindowEnd"] == rows[0]["WindowEnd"]]
    assert len(first) == MAX_GROUPS + 1
    (others,) = (row for row in first if row["Group"]["ModelId"] == OTHERS)
    assert others["Group"] == {"UserArn": MALLORY, "ModelId": OTHERS, "AccountId": OTHERS}
    assert (others["EventCount"], others["CallersTruncated"]) == (4 * (700 - MAX_GROUPS), True)
    crowd = {"RuleId": "bedrock_denied_models", "Of": MALLORY, "Records": others["EventCount"]}
    told = [crowd in beat["TruncatedGroups"] for beat in attacked.posted.beats]
    assert told == [True] * 6 + [False] * (HOURS * 6 - 6)


@pytest.mark.parametrize("kind", ["models", "callers", "sessions"])
def test_one_lead_fills_few_rows(undisturbed: Deployment, kind: str) -> None:
    """A segment more than without it, or two: however much it does, and none of it is lost."""
    attack, lead = ATTACKS[kind]
    records = attack()
    attacked = _run(records)
    assert len(list(attacked.buckets.query("0", "3"))) <= len(list(undisturbed.buckets.query("0", "3"))) + 2
    counted: Counter[str] = Counter()
    for _, key, tally in BucketStore(attacked.buckets).read(START, range(SLICES)):
        if key.group[0] == lead:
            counted[key.rule_id] += tally.count
    assert counted[
        next(rule_id for rule_id in ("bedrock_denied_models", "refused_access") if rule_id in counted)
    ] == len(records)


@pytest.mark.usefixtures("undisturbed")
def test_a_lead_with_room_in_every_partition_still_opens_few_episodes() -> None:
    """Of each partition and ten minutes other groups are kept; of those that fire, the largest are told apart."""
    deployment = Deployment()
    for partition in range(8):
        records = [
            refused("AccessDeniedException", MALLORY, modelId=f"model-{partition}-{number:02d}")
            for number in range(MAX_GROUPS + 10)
            for _ in range(4 + (number == partition))
        ]
        deployment.ingest(SOURCE._replace(partition=str(partition)), [Event(1, START, message(*records))])
    for tick in range(1, 9):
        deployment.tick(START + tick * BUCKET)
    rows = deployment.posted.of("bedrock_denied_models")
    first = [row for row in rows if row["Status"] == "New"]
    assert len(first) == MAX_GROUPS + 1
    assert sum(row["EventCount"] for row in first) == 8 * ((MAX_GROUPS + 10) * 4 + 1)
    told = {row["Group"]["ModelId"] for row in first}
    assert {f"model-{partition}-{partition:02d}" for partition in range(8)} < told
    assert Counter(row["Status"] for row in rows) == {
        "New": MAX_GROUPS + 1,
        "Ongoing": 5 * (MAX_GROUPS + 1),
        "Closed": MAX_GROUPS + 1,
    }


def test_a_journal_of_many_episodes_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand users of whom each fires; in rows of a kilobyte."""
    monkeypatch.setattr(journal, "_CHUNK_BYTES", 64)
    deployment = Deployment()
    deployment.arrive(START, *_many_users())
    for tick in range(1, 9):
        deployment.tick(START + tick * BUCKET)
    assert [beat["OpenEpisodes"] for beat in deployment.posted.beats] == [1_000] * 6 + [0] * 2
    statuses = Counter(row["Status"] for row in deployment.posted.of("bedrock_denied_models"))
    assert statuses == {"New": 1_000, "Ongoing": 5_000, "Closed": 1_000}


def test_accounts_that_outgrow_the_heartbeat_are_counted() -> None:
    """Which are listed depends on nothing but their records."""
    deployment = Deployment()
    for number in range(MAX_CROWDS + 7):
        callers = range(MAX_GROUPS + 1 + number)
        record = {**chat(f"aoai-{number}"), "resultSignature": "401"}
        records = [{**record, "properties": {"objectId": f"caller-{caller}"}} for caller in callers]
        deployment.arrive(START, *records)
    deployment.tick(START + BUCKET)
    (beat,) = deployment.posted.beats
    listed = beat["TruncatedGroups"]
    assert (len(listed), beat["OtherTruncatedGroups"]) == (MAX_CROWDS, 7)
    assert [one["Records"] for one in listed] == sorted((one["Records"] for one in listed), reverse=True)


calls = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, MAX_GROUPS + 12)), min_size=1, max_size=40)


@examples(60)
@given(
    messages=st.lists(calls, min_size=1, max_size=12),
    crowd=st.integers(MAX_GROUPS - 6, MAX_GROUPS + 3),
    cuts=st.lists(st.tuples(st.integers(1, 6), st.integers(0, 4)), min_size=20, max_size=20),
)
def test_which_groups_are_told_apart_does_not_depend_on_how_batches_are_cut(
    messages: list[list[tuple[str, int]]], crowd: int, cuts: list[tuple[int, int]]
) -> None:
    """Nor on what is delivered again; and the sum of a lead is exact."""
    every = [[("a", number) for number in range(crowd)], *messages]
    bodies = [message(*(_refused(who, model) for who, model in one)) for one in every]
    events = [Event(place, START, body) for place, body in enumerate(bodies)]
    one_by_one, cut = MemoryTable(), MemoryTable()
    for event in events:
        _ingest(one_by_one)(SOURCE, [event])
    done = 0
    for size, again in cuts:
        _ingest(cut)(SOURCE, events[max(done - again, 0) : done + size])
        done = min(done + size, len(events))
    assert done == len(events) or len(events) > len(cuts)
    found, expected = _stored(cut), _stored(one_by_one)
    assert found == expected
    sums = Counter(who for one in every for who, _ in one)
    for who, count in sums.items():
        counts = [number for key, number in found.items() if key.group[0] == who and key.rule_id == DENIED]
        assert sum(counts) == count
        assert len(counts) <= MAX_GROUPS + 1


DENIED = "bedrock_denied_models"


def _refused(who: str, model: int) -> Record:
    return refused("AccessDeniedException", f"arn:aws:iam::1:user/{who}", modelId=f"model-{model}")


def _ingest(table: MemoryTable) -> Ingest:
    return Ingest(BucketStore(table), Quarantine(MemoryTable(), excerpt_characters=9), BatchCounter(CATALOGUE), _now)


def _now() -> datetime:
    return START


def _stored(table: MemoryTable) -> dict[Key, int]:
    found = BucketStore(table).read(START, range(SLICES))
    return {key._replace(group=(key.group[0][-1], *key.group[1:])): tally.count for _, key, tally in found}
