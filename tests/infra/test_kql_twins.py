"""The twins of the detections, executed on raw logs, against what the detector says of the same logs."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from detectors.events import Event
from detectors.examples.events import happenings
from detectors.examples.play import START as PLAYED
from detectors.examples.play import play
from detectors.ingestion.counting import BatchCounter
from detectors.rules.catalogue import BY_ID, CATALOGUE
from detectors.rules.rule import Condition, Example, Rule, Selection, Threshold
from detectors.windows import bucket_start
from infra.sentinel import hunting_queries
from local.traffic import Scenario, Traffic
from tests.builders import PIPELINE, START, chat, list_key, message
from tests.infra.kql import FINDINGS, RAW, Deployment, Row, Workspace
from tests.infra.raw_logs import hunt, raw, records

pytestmark = pytest.mark.real

DAY = datetime(2026, 3, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LATER = timedelta(minutes=10)
PEOPLE = [f"{number}e2f3a4b-4b5c-4d6e-8f70-8192a3b4c5d6" for number in range(4)]
Arrived = tuple[datetime, Row]
"""When a record arrived, and the record."""


MEASURED: dict[str, tuple[str, Callable[[Row], object]]] = {
    "max_response_length": ("MaxResponseLength", lambda row: row["MaxResponseLength"]),
    "avg_request_length": ("AvgRequestLength", lambda row: row["AvgRequestLength"]),
    "max_caller_bytes": ("TopCallerBytes", lambda row: max(caller.get("Bytes", 0) for caller in row["Callers"])),
}
"""The column of a query for each measure besides the count, and what it is in a row of the detector."""

WRITTEN = [rule for rule in CATALOGUE if rule.alert and rule.alert.hunt]
"""The rules whose twin is made from their files; that of newcomers is written by hand."""

NEWCOMERS = "new_key_lister"
TWINS = [*(rule.id for rule in WRITTEN), NEWCOMERS]
each_twin = pytest.mark.parametrize("rule_id", TWINS)
each_written = pytest.mark.parametrize("rule", WRITTEN, ids=lambda rule: str(rule.id))


def measures(rule: Rule) -> list[str]:
    """Return what a rule measures besides the count."""
    return [threshold.measure for threshold in rule.thresholds if threshold.measure in MEASURED]


def of_finding(row: Row) -> tuple[object, ...]:
    """Return what a row of the detector says: when, about whom, how many, and each measure."""
    rule, group = BY_ID[row["RuleId"]], dict(row["Group"])
    if rule.id == NEWCOMERS:
        when = datetime.fromisoformat(row["WindowEnd"])
        return when, group["ResourceId"], group["Caller"], row["Triggers"][1]["Value"]
    when = datetime.fromisoformat(group.pop("Minute") if rule.per_minute else row["WindowEnd"])
    return when, *group.values(), row["EventCount"], *(MEASURED[name][1](row) for name in measures(rule))


def of_twin(rule: Rule, row: Row) -> tuple[object, ...]:
    """Return the same of a row of its query."""
    if rule.id == NEWCOMERS:
        return row["WindowEnd"], row["ResourceId"], row["ObjectId"], row["DaysWatched"]
    when = "Minute" if rule.per_minute else "WindowEnd"
    columns = (
        when,
        *rule.episode_group(rule.group_fields),
        "EventCount",
        *(MEASURED[name][0] for name in measures(rule)),
    )
    return tuple(row[name] for name in columns)


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
    return {of_finding(row) for row in newest}


def said_by_twin(rule_id: str, workspace: Workspace, now: datetime) -> set[tuple[object, ...]]:
    """Return the same of every row of the twin."""
    file = "first-time-key-listers" if rule_id == NEWCOMERS else hunting_queries.path(rule_id).stem
    return {of_twin(BY_ID[rule_id], row) for row in workspace.query(hunt(file), now)}


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
    if rng.random() < 0.3:
        refused = {"resultSignature": rng.choice(["400", "401", "403"])}
        return [chat(name, objectId=caller) | moment | refused] * rng.choice([9, 10, 25, 50])
    sizes: dict[str, object] = {
        "objectId": caller,
        "modelName": rng.choice([None, "gpt-4o", "gpt-4o"]),
        "streamType": rng.choice([None, "Non-Streaming", "Streaming"]),
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
    for _ in range(250):
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
    sent = Traffic(Scenario(start=DAY, duration=timedelta(hours=6), records=5_000, malformed=0))
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


@each_written
def test_a_twin_is_what_its_rule_says(rule: Rule) -> None:
    """After a change: `python -m infra.sentinel.analytic_rules`."""
    assert rule.alert
    assert rule.alert.hunt
    rendered = hunting_queries.render(rule, rule.alert, rule.alert.hunt)
    assert hunting_queries.path(rule.id).read_text() == rendered


def test_every_rule_that_can_be_said_of_a_raw_table_has_a_twin() -> None:
    """Logs of AWS are not in the workspace by themselves."""
    assert [rule.id for rule in WRITTEN] == [rule.id for rule in CATALOGUE if hunting_queries.raw_table(rule)]
    files = {path.name for path in hunting_queries.path("x").parent.glob("*-in-raw-logs.yaml")}
    assert files == {hunting_queries.path(rule.id).name for rule in WRITTEN}


@pytest.mark.parametrize(
    ("rule", "example", "flattened"),
    [
        pytest.param(rule, one, flattened, id=f"{rule.id}: {one.says}, properties as {form}")
        for rule in WRITTEN
        for one in rule.examples
        for flattened, form in ((False, "text"), (True, "columns"))
        if one.fires or not flattened
    ],
)
def test_a_twin_says_of_an_example_what_the_detector_says(rule: Rule, example: Example, *, flattened: bool) -> None:
    """Both engines, on the records of the example: what fires and every number of it, or nothing."""
    arrived = [(one.at, one.record) for one in happenings(rule, example, PLAYED)]
    said = twin_of(rule.id, arrived, PLAYED + timedelta(hours=8), flattened=flattened)
    assert said == {of_finding(dict(row)) for row in play(rule, example).rows}
    assert bool(said) is example.fires


@each_written
def test_a_twin_reads_windows_that_have_ended(rule: Rule) -> None:
    """The hour that still runs does not count yet."""
    example = rule.examples[0]
    arrived = [(PLAYED, one.record) for one in happenings(rule, example, PLAYED)]
    assert twin_of(rule.id, arrived, PLAYED + 9 * MINUTE) == set()
    windows = twin_of(rule.id, arrived, PLAYED + 25 * MINUTE)
    assert len({one[0] for one in windows}) == (example.events[0].over_minutes if rule.per_minute else 2)


EVERY_WORD = (
    Selection(
        "azure_openai",
        (
            Condition("operation", "is", ("ListKey", "ChatCompletions_Create")),
            Condition("status", "is_not", ("200", "201")),
            Condition("authentication", "is", ("entra",)),
        ),
        (Condition("response_length", "at_least", (5,)), Condition("request_length", "known", (True,))),
    ),
    Selection("azure_openai", (Condition("category", "is", ("Audit",)), Condition("status", "known", (False,)))),
)


@pytest.mark.parametrize("select", [EVERY_WORD, EVERY_WORD[:1], EVERY_WORD[1:]])
@pytest.mark.parametrize("group_by", [("resource",), ("resource", "caller")])
def test_every_word_of_a_selection_means_in_kql_what_it_means_to_the_detector(
    morning: list[Arrived], monkeypatch: pytest.MonkeyPatch, select: tuple[Selection, ...], group_by: tuple[str, ...]
) -> None:
    """Whatever rules ask for, alone and among alternatives, and by whatever they group."""
    columns = tuple({"resource": "ResourceId", "caller": "Caller"}[name] for name in group_by)
    count = (Threshold("count", "count", 1),)
    rule = replace(BY_ID["model_theft"], select=select, group_by=group_by, group_fields=columns, thresholds=count)
    raw_table = hunting_queries.raw_table(rule)
    assert raw_table
    workspace = Workspace()
    workspace.add(RAW, [raw(record, moment) for moment, record in morning])
    rows = workspace.query("\n".join(hunting_queries.query(rule, raw_table)), DAY + timedelta(hours=8))
    monkeypatch.setitem(BY_ID, rule.id, rule)
    delta = counted(rule, morning)
    assert {of_twin(rule, row) for row in rows} == delta
    assert len(delta) > 5


def counted(rule: Rule, arrived: Iterable[Arrived]) -> set[tuple[object, ...]]:
    """Windows, groups and counts, as counting gives them."""
    counter, windows = BatchCounter([rule]), Counter[tuple[object, ...]]()
    for moment, record in arrived:
        delta = counter.count([Event(1, moment, message(record))], moment)
        for key, tally in delta.tallies.items():
            for age in range(1, 7) if key.rule_id == rule.id else ():
                windows[bucket_start(moment) + age * LATER, *key.group] += tally.count
    return {(*place, count) for place, count in windows.items()}


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
