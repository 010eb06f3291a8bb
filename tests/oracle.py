"""What the rules say, told again in plain loops over raw JSON. Shares no code with the detector.

Times are aware UTC; a window is the hour before its end, by arrival, and is evaluated at every tenth minute.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

type RawRecord = dict[str, Any]
type Place = tuple[str, tuple[str, ...]]
"""A rule's id and a group."""

AZURE_RULES = {"model_theft", "denial_of_service", "insecure_output", "large_transfer", "new_key_lister"}
BEDROCK_RULES = {"bedrock_denied_models", "bedrock_validation_exceptions", "bedrock_guardrail_violations"}
GENERATING = {
    "ChatCompletions_Create",
    "Responses_Create",
    "Completions_Create",
    "Creates a completion for the chat message",
    "getChatCompletions",
}
RULES = AZURE_RULES | BEDROCK_RULES

type Numbers = Mapping[str, Mapping[str, int]]
"""Thresholds by rule and name."""

HOUR = timedelta(hours=1)
_RESOURCE = re.compile(r"/subscriptions/[^/]+/resourcegroups/[^/]+/providers/[^/]+/[^/]+/[^/]+")
_FRACTION = re.compile(r"\.\d+")


@dataclass(frozen=True)
class Arrival:
    """A record, and when it came to the Event Hub."""

    at: datetime
    record: RawRecord


@dataclass
class Group:
    """The records of one group in one window."""

    records: list[RawRecord] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.records)

    @property
    def requests(self) -> list[int]:
        return [length for record in self.records if (length := properties(record).get("requestLength")) is not None]

    @property
    def responses(self) -> list[int]:
        return [length for record in self.records if (length := answered(record)) is not None]

    def bytes_by_caller(self) -> dict[str, int]:
        received: dict[str, int] = defaultdict(int)
        for record in self.records:
            fields = properties(record)
            who = fields.get("objectId") or fields.get("callerObjectId") or record.get("callerIpAddress") or ""
            received[re.sub(r"\*+$", "***", who)] += answered(record) or 0
        return received


def properties(record: RawRecord) -> RawRecord:
    """Return a record's properties, which may be JSON in a string; other services write what they like."""
    found = record.get("properties")
    with suppress(ValueError):
        found = json.loads(found) if isinstance(found, str) else found
    return found if isinstance(found, dict) else {}


def answered(record: RawRecord) -> int | None:
    """Return the bytes of an answer; streams are logged with 0, which is no length."""
    fields = properties(record)
    length: int | None = fields.get("responseLength")
    return None if fields.get("streamType") == "Streaming" and length == 0 else length


def minute(record: RawRecord) -> str | None:
    """Return the minute of a record's own time; what is less than a microsecond is never rounded up."""
    if not record.get("time"):
        return None
    at = datetime.fromisoformat(_FRACTION.sub("", record["time"])).astimezone(UTC)
    return at.strftime("%Y-%m-%dT%H:%MZ")


def places(record: RawRecord) -> Iterator[Place]:
    """Each rule that counts a record, and the group under which it does."""
    yield from _on_bedrock(record) if record.get("schemaType") == "ModelInvocationLog" else _on_azure(record)


def _on_azure(record: RawRecord) -> Iterator[Place]:
    match = _RESOURCE.match((record.get("resourceId") or "").lower())
    if not match:
        return
    resource, operation, category = match[0], record.get("operationName"), record.get("category")
    fields, own_minute = properties(record), minute(record)
    if category == "Audit" and operation == "ListKey":
        yield "model_theft", (resource,)
        if fields.get("objectId"):
            yield "new_key_lister", (resource, fields["objectId"])
    named = fields.get("objectId") or fields.get("callerObjectId")
    if (
        category == "RequestResponse"
        and operation in GENERATING
        and (named or answered(record) or fields.get("modelName"))
    ):
        if own_minute:
            yield "denial_of_service", (resource, own_minute)
        if str(record.get("resultSignature")) == "200" and answered(record) == 0:
            yield "insecure_output", (resource,)
    if category == "RequestResponse" and answered(record) is not None:
        yield "large_transfer", (resource,)


def _on_bedrock(record: RawRecord) -> Iterator[Place]:
    arn, model, account = record["identity"]["arn"], record["modelId"], record["accountId"]
    user = arn.rpartition("/")[0] if ":assumed-role/" in arn else arn
    if record.get("errorCode") == "AccessDeniedException":
        yield "bedrock_denied_models", (user, model, account)
    if record.get("errorCode") == "ValidationException":
        yield "bedrock_validation_exceptions", (user, account, minute({"time": record["timestamp"]}) or "")
    blocking = set(_blocking(record.get("output")))
    if len(blocking) > 1:
        yield "bedrock_guardrail_violations", (user, model, account, f"{len(blocking)}")


def _blocking(value: object) -> Iterator[str]:
    """Yield the names of policies of which an item blocked, anywhere below a value."""
    for name, inner in value.items() if isinstance(value, dict) else ():
        if name.endswith("Policy"):
            yield from [name] if '"BLOCKED"' in json.dumps(inner) else []
        else:
            yield from _blocking(inner)
    for inner in value if isinstance(value, list) else ():
        yield from _blocking(inner)


def window(arrivals: Iterable[Arrival], end: datetime) -> dict[Place, Group]:
    """Return the groups of the hour before a time."""
    groups: dict[Place, Group] = defaultdict(Group)
    for arrival in arrivals:
        if end - HOUR <= arrival.at < end:
            for place in places(arrival.record):
                groups[place].records.append(arrival.record)
    return groups


def fires(rule_id: str, group: Group, numbers: Numbers) -> bool:
    """Whether a window's group is one to report; newcomers are told apart by `newcomers`."""
    least = numbers[rule_id]
    match rule_id:
        case "model_theft":
            return group.count >= least["count"] or max(group.responses, default=0) >= least["response_length"]
        case "denial_of_service":
            enough = group.count >= least["count"] and len(group.requests) > 0
            return enough and sum(group.requests) >= least["request_length"] * len(group.requests)
        case "insecure_output":
            return group.count >= least["count"]
        case "large_transfer":
            received = max(group.bytes_by_caller().values())
            return max(group.responses) >= least["response_length"] or received >= least["caller_bytes"]
        case "bedrock_denied_models" | "bedrock_validation_exceptions" | "bedrock_guardrail_violations":
            return group.count >= least["count"]
    raise ValueError(rule_id)


def newcomers(arrivals: Iterable[Arrival], end: datetime, learning: timedelta) -> set[Place]:
    """Find who lists keys of a resource in a window and never did, though others did; by buckets.

    The resource has to be known for the time of learning, by any call of it or any key listing.
    """
    first: dict[Place, datetime] = {}
    since: dict[str, datetime] = {}
    for arrival in sorted(arrivals, key=lambda arrival: arrival.at):
        bucket = arrival.at - timedelta(minutes=arrival.at.minute % 10, seconds=arrival.at.second)
        bucket = bucket.replace(microsecond=0)
        called = _RESOURCE.match((arrival.record.get("resourceId") or "").lower())
        if called and arrival.record.get("category") == "RequestResponse" and arrival.at < end:
            since.setdefault(called[0], bucket)
        for rule_id, group in places(arrival.record) if arrival.at < end else ():
            since.setdefault(group[0], bucket)
            if rule_id == "new_key_lister":
                first.setdefault((rule_id, group), bucket)
    return {
        (rule_id, group)
        for (rule_id, group), begun in first.items()
        if end - HOUR <= begun
        and begun - since[group[0]] >= learning
        and any(other[0] == group[0] and earlier < begun for (_, other), earlier in first.items())
    }
