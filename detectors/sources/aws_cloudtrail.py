"""AWS CloudTrail: what was done to Bedrock through its API, by whom. Plain, or as the detail of an EventBridge event.

Source: "CloudTrail record contents" of the AWS CloudTrail user guide; actions of Amazon Bedrock in the service
authorization reference.
"""

from functools import lru_cache, partial
from typing import NamedTuple

import msgspec

from detectors.sources.aws_bedrock import principal
from detectors.sources.callers import named
from detectors.sources.source import CALLER, LENGTHS, NOTHING, Field, LogSource, Observed, Scalar, first_text

NAME = "aws_cloudtrail"
BEDROCK = "bedrock.amazonaws.com"
_TIMES = ("event_time", "time")
_MAX_CHARACTERS = 256
_ACCOUNT_PART = 4
"""The place of the account among the parts of an ARN."""


class CloudTrailRecord(msgspec.Struct, rename="camel", gc=False):
    """One record."""

    time: str | None = None
    event_time: Scalar = None
    event_source: Scalar = None
    event_name: Scalar = None
    error_code: Scalar = None
    recipient_account_id: Scalar = None
    user_identity: msgspec.Raw = NOTHING


class Traits(NamedTuple):
    """What repeats."""

    source: str
    service: Scalar
    event: Scalar
    error_code: Scalar
    principal: str | None
    account_id: str | None


class _Identity(msgspec.Struct, rename="camel"):
    arn: str | None = None
    account_id: str | None = None


_NOBODY = _Identity()
_decode_identity = msgspec.json.Decoder(_Identity).decode


@lru_cache(maxsize=1024)
def _who(identity: bytes) -> _Identity:
    try:
        return _decode_identity(identity)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _NOBODY


def _account_in(arn: str) -> str:
    """Return the account that an ARN names; empty if it is cut short."""
    parts = arn.split(":", _ACCOUNT_PART + 1)
    return parts[_ACCOUNT_PART] if len(parts) > _ACCOUNT_PART else ""


def _observe(record: CloudTrailRecord) -> Observed:
    who = _who(bytes(record.user_identity))
    arn = who.arn if who.arn and who.arn.startswith("arn:") else None
    account = record.recipient_account_id or who.account_id or _account_in(arn or "")
    traits = (
        NAME,
        record.event_source,
        record.event_name,
        record.error_code,
        None if arn is None else named(principal(arn), _MAX_CHARACTERS),
        account if isinstance(account, str) and 0 < len(account) <= _MAX_CHARACTERS and account.isprintable() else None,
    )
    return traits, first_text(record, _TIMES), None, None, arn or "", frozenset()


_keep_name = partial(named, characters=_MAX_CHARACTERS)

SOURCE = LogSource(
    name=NAME,
    title="AWS CloudTrail",
    record=CloudTrailRecord,
    marks=("event_source", "event_name"),
    recognises=lambda record: record.event_source is not None and record.event_name is not None,
    traits=Traits,
    observe=_observe,
    fields={
        "service": Field(lambda of: of.service, "event_source", wire=frozenset({"eventSource"})),
        "event": Field(lambda of: of.event, "event_name", wire=frozenset({"eventName"})),
        "error": Field(lambda of: of.error_code, wire=frozenset({"errorCode"})),
        "principal": Field(
            lambda of: of.principal, wire=frozenset({"userIdentity"}), column="UserArn", missing="no_caller"
        ),
        "account": Field(
            lambda of: of.account_id, wire=frozenset({"recipientAccountId"}), column="AccountId", missing="no_account"
        ),
        CALLER: Field(lambda _: None, wire=frozenset({"userIdentity"}), column="Caller", missing="no_caller"),
    },
    numbers=LENGTHS,
    number_wire={},
    name_of_caller=lambda _: _keep_name,
    times=_TIMES,
    private=frozenset({"user_identity"}),
)
