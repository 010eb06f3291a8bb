"""Hunting queries executed on raw logs; the twin of the detection against the detector on the same day."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.traffic import Message, Scenario, Traffic
from tests.builders import PIPELINE, START, canonical_id, chat, list_key
from tests.infra.kql import FINDINGS, RAW, Deployment, Row, Workspace, template

DAY = datetime(2026, 3, 2, tzinfo=UTC)
LISTER, STRANGER = "1e2f3a4b-4b5c-4d6e-8f70-8192a3b4c5d6", "2e2f3a4b-4b5c-4d6e-8f70-8192a3b4c5d6"


def query(name: str) -> str:
    """The text of a hunting query."""
    text: str = template(f"hunting-queries/{name}.yaml")["query"]
    return text


def raw(record: Row, ingested: datetime, *, flattened: bool = False) -> Row:
    """A record as AzureDiagnostics holds it: properties as text in one column, or each in its own."""
    properties = record.get("properties")
    fields = json.loads(properties) if isinstance(properties, str) else properties or {}
    row = {
        "TimeGenerated": record["time"],
        "IngestionTime": ingested.isoformat(),
        "Category": record.get("category"),
        "OperationName": record.get("operationName"),
        "ResultSignature": record.get("resultSignature"),
        "CallerIPAddress": record.get("callerIpAddress"),
        "_ResourceId": (record.get("resourceId") or "").lower(),
    }
    if not flattened:
        return row | {"properties_s": json.dumps(fields)}
    return row | {
        "properties_s": "",
        "objectId_g": fields.get("objectId"),
        "responseLength_d": fields.get("responseLength"),
    }


def records(message: Message) -> Iterator[Row]:
    """The records of a sound message."""
    body: Any = json.loads(message.body)
    yield from body if isinstance(body, list) else body.get("records", [body])


@pytest.fixture(scope="module")
def played() -> tuple[list[Message], list[Row]]:
    """The messages of a made-up morning with its attacks, and the newest row of each finding of the real pipeline."""
    messages = list(Traffic(Scenario(start=DAY, duration=timedelta(hours=6), records=4_000, malformed=0)))
    deployment, waiting = Deployment(Workspace()), list(messages)
    for minute in range(10, 7 * 60 + 11, 10):
        end = DAY + timedelta(minutes=minute)
        while waiting and waiting[0].enqueued < end:
            message = waiting.pop(0)
            deployment.receive(message.enqueued, message.body, message.partition)
        deployment.tick(end + timedelta(seconds=45))
    return messages, list({row["FindingId"]: dict(row) for row in deployment.posting.rows(FINDINGS)}.values())


def said_by_detector(findings: list[Row]) -> set[tuple[object, ...]]:
    """Window, account, count and largest length of every finding that fired."""
    return {
        (datetime.fromisoformat(row["WindowEnd"]), row["ResourceId"], row["EventCount"], row["MaxResponseLength"])
        for row in findings
        if row["Triggers"]
    }


def said_by_twin(workspace: Workspace, now: datetime) -> set[tuple[object, ...]]:
    """The same of every row of the twin."""
    return {
        (row["WindowEnd"], row["ResourceId"], row["EventCount"], row["MaxResponseLength"])
        for row in workspace.query(query("model-theft-in-raw-logs"), now)
    }


@pytest.mark.parametrize("flattened", [False, True], ids=["properties as text", "properties as columns"])
def test_the_twin_says_what_the_detector_says(played: tuple[list[Message], list[Row]], *, flattened: bool) -> None:
    """Every window, account, count and length, if the logs come to both at the same moment."""
    messages, findings = played
    workspace = Workspace()
    rows = [
        raw(record, message.enqueued, flattened=flattened)
        for message in messages
        for record in records(message)
        if record["category"] in {"Audit", "RequestResponse"}
    ]
    workspace.add(RAW, rows)
    said = said_by_twin(workspace, DAY + timedelta(hours=8))
    assert said == said_by_detector(findings)
    assert len({resource for _, resource, *_ in said}) == 3
    assert len(said) > 20


def test_the_twin_counts_by_its_own_arrivals(played: tuple[list[Message], list[Row]]) -> None:
    """Logs that reach the workspace ten minutes after the Event Hub are seen one window later, and the same."""
    messages, findings = played
    workspace, later = Workspace(), timedelta(minutes=10)
    workspace.add(
        RAW,
        [
            raw(record, message.enqueued + later)
            for message in messages
            for record in records(message)
            if record.get("operationName") == "ListKey"
        ],
    )
    shifted = {(end + later, *rest) for end, *rest in said_by_detector(findings)}  # type: ignore[operator]
    assert said_by_twin(workspace, DAY + timedelta(hours=8)) == shifted


@pytest.mark.parametrize(
    ("count", "length", "fires"),
    [(99, 999_999, False), (100, None, True), (1, 1_000_000, True), (99, None, False)],
)
def test_the_twin_fires_at_the_numbers_of_the_detector(count: int, length: int | None, *, fires: bool) -> None:
    """And not one below."""
    fields = {} if length is None else {"responseLength": length}
    workspace = Workspace()
    workspace.add(RAW, [raw(list_key(**fields), START + timedelta(minutes=1))] * count)  # type: ignore[arg-type]
    assert bool(said_by_twin(workspace, START + timedelta(hours=2))) is fires


def test_the_twin_reads_only_key_listings_and_windows_that_have_ended() -> None:
    """Other operations and categories do not count, nor does the hour that still runs."""
    workspace = Workspace()
    others = [chat(), list_key() | {"category": "RequestResponse"}, list_key() | {"operationName": "listkey"}]
    for other in others:
        workspace.add(RAW, [raw(other, START)] * 200)
    assert said_by_twin(workspace, START + timedelta(hours=2)) == set()
    workspace.add(RAW, [raw(list_key(), START)] * 200)
    assert said_by_twin(workspace, START + timedelta(minutes=9)) == set()
    assert len(said_by_twin(workspace, START + timedelta(minutes=25))) == 2


def test_a_caller_who_never_listed_keys_before_is_found() -> None:
    """Not the pipeline that did so last week, and not a caller whom nobody can name."""
    now, workspace = START + timedelta(hours=1), Workspace()
    week_ago = (START - timedelta(days=7)).isoformat()
    old = [list_key(caller=PIPELINE) | {"time": week_ago}]
    new = [list_key(caller=caller) for caller in (PIPELINE, STRANGER, STRANGER, "")]
    workspace.add(RAW, [raw(record, now) for record in old + new])
    (row,) = workspace.query(query("first-time-key-listers"), now)
    assert (row["ObjectId"], row["Listings"], row["ResourceId"]) == (STRANGER, 2, canonical_id())


def _requests(name: str, first: datetime, count: int, every: timedelta, caller: str = "") -> list[Row]:
    return [
        raw(chat(name, objectId=caller) | {"time": (first + every * number).isoformat()}, first)
        for number in range(count)
    ]


def test_volume_with_a_key_after_the_keys_were_listed_is_found() -> None:
    """Not an account that is as busy as before, nor one whose callers sign in, nor one whose keys nobody listed."""
    now, workspace = START + timedelta(hours=6), Workspace()
    hour, minute = timedelta(hours=1), timedelta(minutes=1)
    for name in ("robbed", "steady", "signed-in"):
        workspace.add(RAW, [raw(list_key(name, caller=LISTER), START)])
    workspace.add(RAW, _requests("robbed", START - 100 * hour, 100, hour) + _requests("robbed", START, 240, minute))
    workspace.add(RAW, _requests("steady", START - 160 * hour, 160 * 60 + 300, minute))
    workspace.add(RAW, _requests("signed-in", START, 240, minute, caller=LISTER))
    workspace.add(RAW, _requests("not-listed", START, 240, minute))
    (row,) = workspace.query(query("keys-listed-then-volume"), now)
    assert row["ResourceId"] == canonical_id("robbed")
    assert (row["RequestsBefore"], row["RequestsAfter"], row["Listings"]) == (100, 240, 1)
    assert (row["BytesAfter"], row["HourlyAfter"]) == (240 * 1523, 40.0)
