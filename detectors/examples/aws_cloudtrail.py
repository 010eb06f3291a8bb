"""Writes AWS CloudTrail events of Bedrock: see `detectors.sources.aws_cloudtrail`, which reads them."""

from datetime import datetime
from typing import Any

from detectors.examples.aws_callers import ACCOUNTS, with_callers
from detectors.examples.writer import Fields, RecordWriter, guid_of, told, with_defaults
from detectors.sources.aws_cloudtrail import BEDROCK

_DEFAULTS: Fields = {
    "service": BEDROCK,
    "event": "ListFoundationModels",
}


def _complete(fields: Fields, customer: int) -> Fields:
    """Fill in the defaults; a caller is the session of a role, and a principal a role, unless they are ARNs."""
    return with_callers(with_defaults(fields, {**_DEFAULTS, "account": ACCOUNTS[customer % len(ACCOUNTS)]}))


def _write(fields: Fields, at: datetime) -> dict[str, Any]:
    return told(
        {
            "eventVersion": "1.11",
            "userIdentity": told({"type": "AssumedRole", "arn": fields.get("caller")}),
            "eventTime": f"{at:%Y-%m-%dT%H:%M:%SZ}",
            "eventSource": fields.get("service"),
            "eventName": fields.get("event"),
            "awsRegion": "us-east-1",
            "sourceIPAddress": "203.0.113.10",
            "errorCode": fields.get("error"),
            "eventID": guid_of(f"{at}"),
            "eventType": "AwsApiCall",
            "managementEvent": True,
            "recipientAccountId": fields.get("account"),
        }
    )


WRITER = RecordWriter(_complete, _write)
