"""The twins of the detections, executed on raw logs, against what the detector says of the same logs."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import NamedTuple

import pytest

from detectors.rules.catalogue import BY_ID, CATALOGUE
from local.traffic import Scenario, Traffic
from tests.builders import PIPELINE, START, chat, list_key, message
from tests.infra.kql import FINDINGS, RAW, Deployment, Row, Workspace
from tests.infra.raw_logs import hunt, raw, records

DAY = datetime(2026, 3, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LATER = timedelta(minutes=10)
PEOPLE = [f"{number}e2f3a4b-4b5c-4d6e-8f70-8192a3b4c5d6" for number in range(4)]
Arrived = tuple[datetime, Row]
"""When a record arrived, and the record."""


class Twin(NamedTuple):
    """A hunting query, and what it has to agree on.

    Attributes:
        query: the name of its file.
        numbers: its numbers, and the detector's names for them.
        of_finding: what a row of the detector says.
        columns: what a row of the query says, in the same order.
    """

    query: str
    numbers: dict[str, str]
    of_finding: Callable[[Row], tuple[object, ...]]
    columns: tuple[str, ...]


def window_of(row: Row) -> tuple[datetime, str, int]:
    """Window, account and count of a finding."""
    return datetime.fromisoformat(row["WindowEnd"]), row["ResourceId"], row["EventCount"]


def minute_of(row: Row) -> tuple[object, ...]:
    """Minute, account, count and average of a finding."""
    minute = datetime.fromisoformat(row["Group"]["Minute"])
    return minute, row["ResourceId"], row["EventCount"], row["AvgRequestLength"]


def transfer_of(row: Row) -> tuple[object, ...]:
    """Return a finding with its bytes, and with who received most of them."""
    first = row["Callers"][0]
    caller = first["ObjectId"] or first["IpAddress"]
    return *window_of(row), row["MaxResponseLength"], row["TotalResponseLength"], caller, first["Bytes"]


def newcomer_of(row: Row) -> tuple[object, ...]:
    """Return the first window of a newcomer, and for how long others were watched."""
    end, resource, _ = window_of(row)
    return end, resource, row["Group"]["Caller"], row["Triggers"][1]["Value"]


OF_WINDOW = ("WindowEnd", "ResourceId", "EventCount")
TWINS = {
    "model_theft": Twin(
        "model-theft-in-raw-logs",
        {"Count": "count", "ResponseLength": "response_length"},
        lambda row: (*window_of(row), row["MaxResponseLength"]),
        (*OF_WINDOW, "MaxResponseLength"),
    ),
    "denial_of_service": Twin(
        "denial-of-service-in-raw-logs",
        {"Count": "count", "RequestLength": "request_length"},
        minute_of,
        ("Minute", "ResourceId", "EventCount", "AvgRequestLength"),
    ),
    "insecure_output": Twin("insecure-output-in-raw-logs", {"Count": "count"}, window_of, OF_WINDOW),
    "large_transfer": Twin(
        "large-transfer-in-raw-logs",
        {"ResponseLength": "response_length", "CallerBytes": "caller_bytes"},
        transfer_of,
        (*OF_WINDOW, "MaxResponseLength", "TotalResponseLength", "TopCaller", "TopCallerBytes"),
    ),
    "new_key_lister": Twin(
        "first-time-key-listers",
        {"Learning": "learning_days"},
        newcomer_of,
        ("WindowEnd", "ResourceId", "ObjectId", "DaysWatched"),
    ),
}
each_twin = pytest.mark.parametrize("rule_id", TWINS)


def detect(arrived: Sequence[Arrived]) -> list[Row]:
    """Return the newest row of each finding that the real pipeline makes of records, with a tick every ten minutes."""
    deployment, waiting = Deployment(Workspace()), sorted(arrived, key=lambda one: one[0])
    while waiting:
        end = waiting[0][0].replace(minute=waiting[0][0].minute // 10 * 10, second=0, microsecond=0) + LATER
        due = [one for one in waiting if one[0] < end]
        del waiting[: len(due)]
        for moment in dict.fromkeys(moment for moment, _ in due):
            deployment.receive(moment, message(*[record for at, record in due if at == moment]))
        deployment.tick(end + timedelta(seconds=45))
    for late in range(1, 8):
        deployment.tick(end + late * LATER + timedelta(seconds=45))
    return list({row["FindingId"]: dict(row) for row in deployment.posting.rows(FINDINGS)}.values())


def said_by_detector(rule_id: str, findings: Iterable[Row]) -> set[tuple[object, ...]]:
    """Return what fired; of newcomers, who cannot be new twice, the first row."""
    fired = (row for row in findings if row["RuleId"] == rule_id and row["Triggers"])
    newest = (row for row in fired if row["Status"] == "New" or not BY_ID[rule_id].first_seen_only)
    return {TWINS[rule_id].of_finding(row) for row in newest}


def said_by_twin(rule_id: str, workspace: Workspace, now: datetime) -> set[tuple[object, ...]]:
    """Return the same of every row of the twin."""
    twin = TWINS[rule_id]
    return {tuple(row[name] for name in twin.columns) for row in workspace.query(hunt(twin.query), now)}


def twin_of(
    rule_id: str, arrived: Iterable[Arrived], now: datetime, *, flattened: bool = False
) -> set[tuple[object, ...]]:
    """Return what a twin says of records that the workspace got when the detector did."""
    workspace = Workspace()
    workspace.add(RAW, [raw(record, moment, flattened=flattened) for moment, record in arrived])
    return said_by_twin(rule_id, workspace, now)


def burst(rng: Random, time: datetime) -> list[Row]:
    """Return some records of one minute and kind, near the numbers at which rules fire."""
    name, caller = rng.choice(["one", "two", "young"]), rng.choice([*PEOPLE, ""])
    moment = {
        "time": f"{time:%Y-%m-%dT%H:%M}:{rng.randrange(60):02}.1234567Z",
        "callerIpAddress": rng.choice(["81.2.*", "9.9.*"]),
    }
    length = rng.choice([None, 700, 999_999, 1_000_000, 1_400_000])
    if rng.random() < 0.3:
        fields = {} if length is None else {"responseLength": length}
        return [list_key(name, caller=caller, **fields) | moment] * rng.choice([1, 40, 99, 100])
    sizes: dict[str, object] = {
        "objectId": caller,
        "requestLength": rng.choice([None, 4_999, 5_000, rng.randrange(9_000)]),
        "responseLength": rng.choice([None, 0, 0, length, rng.randrange(2_000_000)]),
    }
    told = {key: size for key, size in sizes.items() if size is not None}
    status = {"resultSignature": rng.choice(["200", "200", "429"])}
    other = {"operationName": "Embeddings_Create"} if rng.random() < 0.1 else {}
    return [chat(name) | moment | status | other | {"properties": json.dumps(told)}] * rng.randrange(4, 13)


@pytest.fixture(scope="module")
def morning() -> list[Arrived]:
    """Three hours of bursts, some of which arrive in part or late; two accounts were watched for two weeks."""
    rng = Random(7)
    arrived = [(DAY - timedelta(days=15), list_key(name, caller=PIPELINE)) for name in ("one", "two")]
    arrived += [(DAY - timedelta(days=13), list_key("young", caller=PIPELINE))]
    arrived = [(moment, record | {"time": moment.isoformat()}) for moment, record in arrived]
    for _ in range(150):
        time = DAY + rng.randrange(180) * MINUTE
        late = [rng.choice([1, 2, 9, 12, 55]) * MINUTE for _ in range(2)]
        arrived += [(time + rng.choice(late), record) for record in burst(rng, time)]
    return arrived


@pytest.fixture(scope="module")
def findings(morning: list[Arrived]) -> list[Row]:
    """Provide what the detector says of it."""
    return detect(morning)


@each_twin
@pytest.mark.parametrize("flattened", [False, True], ids=["properties as text", "properties as columns"])
def test_a_twin_says_what_the_detector_says(
    morning: list[Arrived], findings: list[Row], rule_id: str, *, flattened: bool
) -> None:
    """Every row and number of it, if the logs come to both at the same moment."""
    said = twin_of(rule_id, morning, DAY + timedelta(hours=8), flattened=flattened)
    assert said == said_by_detector(rule_id, findings)
    assert len(said) > 5


@pytest.fixture(scope="module")
def attacked_day() -> list[Arrived]:
    """Six hours of ordinary load of many kinds, with attacks."""
    sent = Traffic(Scenario(start=DAY, duration=timedelta(hours=6), records=4_000, malformed=0))
    return [(one.enqueued, record) for one in sent for record in records([one.body])]


@pytest.fixture(scope="module")
def detected(attacked_day: list[Arrived]) -> list[Row]:
    """Provide what the detector says of it."""
    return detect(attacked_day)


@each_twin
def test_a_twin_finds_the_attacks_of_a_day(attacked_day: list[Arrived], detected: list[Row], rule_id: str) -> None:
    """All of them and nothing else."""
    in_workspace = [one for one in attacked_day if one[1].get("category") in {"Audit", "RequestResponse"}]
    said = twin_of(rule_id, in_workspace, DAY + timedelta(hours=8))
    assert said == said_by_detector(rule_id, detected)
    assert bool(said) is not BY_ID[rule_id].first_seen_only  # a day is too short to know newcomers


@pytest.mark.parametrize("rule_id", ["model_theft", "insecure_output", "large_transfer"])
def test_a_twin_of_hours_counts_by_its_own_arrivals(morning: list[Arrived], findings: list[Row], rule_id: str) -> None:
    """Logs that reach the workspace ten minutes after the Event Hub are seen one window later, and the same."""
    later = [(moment + LATER, record) for moment, record in morning]
    said = twin_of(rule_id, later, DAY + timedelta(hours=8))
    assert said == {(end + LATER, *rest) for end, *rest in said_by_detector(rule_id, findings)}  # type: ignore[operator]


@each_twin
def test_a_twin_has_the_numbers_of_the_detector(rule_id: str) -> None:
    """They are typed twice, in two languages, and compared here."""
    numbers = dict(re.findall(r"let (\w+) = (\d+)d?;", hunt(TWINS[rule_id].query)))
    at_least = {threshold.name: str(threshold.at_least) for threshold in BY_ID[rule_id].thresholds}
    at_least |= {"count": numbers.get("Count", "")} if BY_ID[rule_id].first_seen_only else {}  # one is enough
    assert {name: numbers[name] for name in TWINS[rule_id].numbers} == {
        name: at_least[threshold] for name, threshold in TWINS[rule_id].numbers.items()
    }


def test_every_detection_on_azure_has_a_twin() -> None:
    """Logs of AWS are not in the workspace by themselves."""
    assert TWINS.keys() == {rule.id for rule in CATALOGUE if "ResourceId" in rule.group_fields}


def many(count: int, record: Row) -> list[Row]:
    """Return the same record so many times."""
    return [record] * count


@pytest.mark.parametrize(
    ("rule_id", "below", "at"),
    [
        ("model_theft", many(99, list_key(responseLength=999_999)), many(100, list_key())),
        ("model_theft", many(99, list_key()), many(1, list_key(responseLength=1_000_000))),
        ("denial_of_service", many(9, chat(requestLength=9_999)), many(10, chat(requestLength=5_000))),
        ("denial_of_service", many(10, chat(requestLength=4_999)), [*many(9, chat()), chat(requestLength=5_000)]),
        ("denial_of_service", many(30, chat()), many(10, chat(requestLength=5_000))),
        ("insecure_output", [*many(9, chat(responseLength=0)), chat()], many(10, chat(responseLength=0))),
        ("large_transfer", many(900, chat(responseLength=999_999)), [chat(responseLength=1_000_000)]),
        (
            "large_transfer",
            [*many(600, chat(responseLength=999_999)), *many(600, chat(responseLength=999_999, objectId=PIPELINE))],
            many(1_001, chat(responseLength=999_999)),
        ),
    ],
)
def test_a_twin_fires_at_the_numbers_of_the_detector(rule_id: str, below: list[Row], at: list[Row]) -> None:
    """And not one below; a length that is missing is not 0."""
    arrived, now = START + MINUTE, START + timedelta(hours=2)
    assert twin_of(rule_id, [(arrived, record) for record in below], now) == set()
    assert twin_of(rule_id, [(arrived, record) for record in at], now) != set()


FIRING = {
    "model_theft": many(200, list_key()),
    "denial_of_service": many(20, chat(requestLength=6_000)),
    "insecure_output": many(20, chat(responseLength=0)),
    "large_transfer": many(2, chat(responseLength=2_000_000)),
}
OTHERS: dict[str, list[Row]] = {
    "model_theft": [{"category": "RequestResponse"}, {"operationName": "listkey"}],
    "denial_of_service": [{"operationName": "Embeddings_Create"}],
    "insecure_output": [{"operationName": "Embeddings_Create"}, {"resultSignature": "429"}],
    "large_transfer": [{"category": "Audit"}],
}


@pytest.mark.parametrize("rule_id", FIRING)
def test_a_twin_reads_its_own_records_and_windows_that_have_ended(rule_id: str) -> None:
    """Other operations, categories and answers do not count, nor does the hour that still runs."""
    others = [(START, record | change) for change in OTHERS[rule_id] for record in FIRING[rule_id]]
    assert twin_of(rule_id, others, START + timedelta(hours=2)) == set()
    ours = [(START, record) for record in FIRING[rule_id]]
    assert twin_of(rule_id, ours, START + 9 * MINUTE) == set()
    assert len(twin_of(rule_id, ours, START + 25 * MINUTE)) == (1 if rule_id == "denial_of_service" else 2)


def test_the_twin_of_newcomers_forgets_nobody_and_takes_no_one_without_a_name() -> None:
    """A caller who listed keys last week is none, nor is one of yesterday; others are new on each account."""
    day = timedelta(days=1)

    def listed(before: timedelta, name: str, caller: str) -> Arrived:
        return START - before, list_key(name, caller=caller) | {"time": (START - before).isoformat()}

    arrived = [listed(20 * day, name, PIPELINE) for name in ("one", "two")]
    arrived += [
        listed(13 * day, "young", PIPELINE),
        listed(7 * day, "one", PEOPLE[0]),
        listed(2 * day, "one", PEOPLE[1]),
    ]
    arrived += [listed(20 * day, "young", "")]
    arrived += [listed(MINUTE, name, PEOPLE[0]) for name in ("one", "two", "young")]
    arrived += [listed(MINUTE, "one", caller) for caller in (PIPELINE, PEOPLE[1], "", PEOPLE[2])]
    said = twin_of("new_key_lister", arrived, START + MINUTE)
    assert {(str(resource).rsplit("/", 1)[1], caller, days) for _, resource, caller, days in said} == {
        ("two", PEOPLE[0], 19),
        ("one", PEOPLE[2], 19),
    }
