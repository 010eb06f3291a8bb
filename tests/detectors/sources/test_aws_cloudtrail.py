"""CloudTrail: which action on which service, by whom, in which account."""

from typing import Any

import pytest

from detectors.sources.aws_cloudtrail import BEDROCK, SOURCE
from detectors.sources.decoding import decode
from detectors.sources.source import CALLER
from tests.builders import message

ROLE = "arn:aws:sts::111122223333:assumed-role/app"


def _record(**fields: object) -> dict[str, Any]:
    return {
        "eventTime": "2026-11-23T08:00:00Z",
        "eventSource": BEDROCK,
        "eventName": "DeleteGuardrail",
        "userIdentity": {"type": "AssumedRole", "arn": f"{ROLE}/session", "accountId": "444455556666"},
        "recipientAccountId": "111122223333",
        **fields,
    }


def _read(**fields: object) -> tuple[dict[str, object], str | None, str]:
    """Return the fields of a record, its time and its caller."""
    (record,) = decode(message(_record(**fields))).records
    assert SOURCE.recognises(record)
    traits, time, *_, caller, _ = SOURCE.observe(record)
    of = SOURCE.traits(*traits)
    return {name: field.read(of) for name, field in SOURCE.fields.items()}, time, SOURCE.name_of_caller(of)(caller)


def test_an_event_says_what_was_done_by_whom_where() -> None:
    """A role is one caller; its session is told besides."""
    assert _read(errorCode="AccessDenied") == (
        {
            "service": BEDROCK,
            "event": "DeleteGuardrail",
            "error": "AccessDenied",
            "principal": ROLE,
            "account": "111122223333",
            CALLER: None,
        },
        "2026-11-23T08:00:00Z",
        f"{ROLE}/session",
    )


@pytest.mark.parametrize(
    ("fields", "account"),
    [
        ({}, "111122223333"),
        ({"recipientAccountId": None}, "444455556666"),
        ({"recipientAccountId": None, "userIdentity": {"arn": f"{ROLE}/s"}}, "111122223333"),
        ({"recipientAccountId": None, "userIdentity": {}}, None),
        ({"recipientAccountId": None, "userIdentity": {"arn": "arn:aws"}}, None),
        ({"recipientAccountId": None, "userIdentity": {"arn": "arn:aws:iam::"}}, None),
        ({"recipientAccountId": "1" * 257}, None),
        ({"recipientAccountId": "1\x1b[2J"}, None),
        ({"recipientAccountId": 111122223333, "userIdentity": {}}, None),
    ],
)
def test_the_account_is_that_of_the_recipient_or_else_the_callers(fields: dict[str, object], account: str) -> None:
    """Older records tell less."""
    assert _read(**fields)[0]["account"] == account


@pytest.mark.parametrize("identity", ["text", None, [], {"arn": "dana"}, {"arn": 5}])
def test_an_identity_that_cannot_be_read_is_nobodys(identity: object) -> None:
    """A rule that groups by users quarantines it."""
    fields, _, caller = _read(userIdentity=identity)
    assert (fields["principal"], caller) == (None, "")


def test_a_record_without_source_or_name_is_none_of_it() -> None:
    """Both are in each that CloudTrail writes."""
    for name in ("eventSource", "eventName"):
        assert not SOURCE.recognises(decode(message(_record(**{name: None}))).records[0])
