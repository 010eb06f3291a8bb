"""The activity log: who did what to which resource, and which of the two records of an operation counts."""

from typing import Any

import pytest

from detectors.sources.azure_activity import OBJECT_ID, SOURCE
from detectors.sources.decoding import decode
from detectors.sources.source import CALLER
from tests.builders import canonical_id, message, resource_id

LIST_KEYS = "MICROSOFT.COGNITIVESERVICES/ACCOUNTS/LISTKEYS/ACTION"
DANA = "5f1c2d3e-0000-4000-8000-000000000001"
UPN = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn"


def _record(**fields: object) -> dict[str, Any]:
    return {
        "time": "2026-11-23T08:00:00Z",
        "category": "Administrative",
        "operationName": LIST_KEYS,
        "resourceId": resource_id(),
        "resultType": "Success",
        "callerIpAddress": "203.0.113.10",
        "identity": {"claims": {OBJECT_ID: DANA, UPN: "dana@example.com", "appid": "app-1"}},
        **fields,
    }


def _read(**fields: object) -> tuple[dict[str, object], str]:
    """Return the fields of a record, and how its caller is kept."""
    (record,) = decode(message(_record(**fields))).records
    assert SOURCE.recognises(record)
    traits, *_, caller, _ = SOURCE.observe(record)
    of = SOURCE.traits(*traits)
    return {name: field.read(of) for name, field in SOURCE.fields.items()}, SOURCE.name_of_caller(of)(caller)


def test_an_operation_says_what_was_done_to_what_by_whom() -> None:
    """In capitals and canonical, however it is written."""
    fields, caller = _read(operationName=LIST_KEYS.title())
    assert fields == {
        "operation": LIST_KEYS,
        "stage": "end",
        "resource": canonical_id(),
        "resource_kind": "microsoft.cognitiveservices/accounts",
        CALLER: None,
    }
    assert caller == DANA


@pytest.mark.parametrize(
    ("claims", "caller"),
    [
        ({OBJECT_ID: DANA, UPN: "dana@example.com"}, DANA),
        ({UPN: "dana@example.com", "appid": "app-1"}, "dana@example.com"),
        ({"appid": "app-1"}, "app-1"),
        ({}, "ip 203.0.113.10"),
    ],
)
def test_the_caller_is_the_surest_name_that_the_claims_tell(claims: dict[str, str], caller: str) -> None:
    """Or the address."""
    assert _read(identity={"claims": claims})[1] == caller


@pytest.mark.parametrize("identity", ["text", 5, None, [], {"claims": "text"}])
def test_an_identity_that_cannot_be_read_leaves_the_address(identity: object) -> None:
    """Other categories put texts there."""
    assert _read(identity=identity)[1] == "ip 203.0.113.10"


@pytest.mark.parametrize(
    ("result", "stage"),
    [("Start", "start"), ("Accepted", "start"), ("Success", "end"), ("Failure", "end"), (None, "end"), (5, "end")],
)
def test_of_an_operation_its_end_counts_also_if_it_failed(result: object, stage: str) -> None:
    """An attempt is one too."""
    assert _read(resultType=result)[0]["stage"] == stage


@pytest.mark.parametrize(
    "other", [{"category": "Audit"}, {"category": "Policy"}, {"operationName": "ListKey"}, {"operationName": None}]
)
def test_records_of_other_logs_are_not_its_own(other: dict[str, object]) -> None:
    """Diagnostic logs of an account have the same fields."""
    (record,) = decode(message(_record(**other))).records
    assert not SOURCE.recognises(record)
