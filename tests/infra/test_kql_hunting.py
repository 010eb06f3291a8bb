"""Hunting queries that look further than the detector, executed on raw logs."""

import json
from datetime import datetime, timedelta

import pytest

from tests.builders import START, canonical_id, chat, list_key
from tests.infra.kql import RAW, Row, Workspace
from tests.infra.raw_logs import hunt, raw

pytestmark = pytest.mark.real

LISTER = "1e2f3a4b-4b5c-4d6e-8f70-8192a3b4c5d6"


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
    (row,) = workspace.query(hunt("keys-listed-then-volume"), now)
    assert row["ResourceId"] == canonical_id("robbed")
    assert (row["RequestsBefore"], row["RequestsAfter"], row["Listings"]) == (100, 240, 1)
    assert (row["BytesAfter"], row["HourlyAfter"]) == (240 * 1523, 40.0)


def test_files_and_deployments_of_a_new_caller_are_found() -> None:
    """Not what a pipeline does every day, nor chats, nor the same network whose address is masked with another star."""
    now, workspace = START + timedelta(hours=6), Workspace()

    def does(operation: str, days_ago: int, **fields: str) -> None:
        moment = START - timedelta(days=days_ago)
        record = chat(objectId=fields.pop("caller", "")) | {"operationName": operation, "time": moment.isoformat()}
        workspace.add(RAW, [raw(record | fields, moment)])

    for days_ago in range(10):
        does("Files_Upload", days_ago, caller=LISTER)
        does("ChatCompletions_Create", days_ago)
    does("Deployments_Create", 3, callerIpAddress="81.2.69.**")
    for operation in ("Files_Upload", "FineTuningJobs_Create", "Files_GetContent", "Deployments_Delete", "Models_List"):
        does(operation, 0, callerIpAddress="203.0.113.***")
        does(operation, 0, callerIpAddress="81.2.69.***")
    does("Files_GetContent", 0, callerIpAddress="203.0.113.***", resultSignature="404")
    (row,) = workspace.query(hunt("files-and-deployments"), now)
    assert (row["ResourceId"], row["ObjectId"], row["Address"]) == (canonical_id(), "", "203.0.113.")
    assert (row["Requests"], row["Refused"], row["Bytes"]) == (5, 1, 5 * 1523)
    assert set(json.loads(row["Operations"])) == {
        "Files_Upload",
        "FineTuningJobs_Create",
        "Files_GetContent",
        "Deployments_Delete",
    }
