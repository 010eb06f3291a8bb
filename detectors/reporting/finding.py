"""The row of a finding. Its fields are the one schema that the data collection rule, Bicep, KQL and tests follow.

A class is a table, a field a column: `event_count: int` is the column `EventCount` of type long. Names avoid those
that Log Analytics reserves: https://learn.microsoft.com/azure/azure-monitor/logs/create-custom-table
"""

from datetime import datetime
from typing import Any

import msgspec

from detectors import __version__
from detectors.evaluation.episodes import EpisodeChange, finding_id
from detectors.evaluation.window import MAX_LISTED
from detectors.rules.catalogue import BY_ID
from detectors.rules.crowds import OTHERS, is_crowd
from detectors.rules.rule import Trigger
from detectors.rules.tally import Tally
from detectors.sources import callers, resources
from detectors.windows import WINDOW, from_microseconds

Dynamic = list[dict[str, Any]]


class Finding(msgspec.Struct, rename="pascal", kw_only=True):
    """One group that fires in one window, or that closes its episode: a row of `LlmThreatFindings_CL`.

    Attributes:
        time_generated: when the window was evaluated.
        finding_id: the same for the same rule, group and window.
        episode_id: the same for all findings of an episode.
        status: New, Ongoing, Escalated, Closed or Suppressed.
        rule_id: the rule, such as `model_theft`.
        rule_name: its name for people.
        rule_version: raised when the meaning of the rule changes.
        severity: Informational, Low, Medium or High.
        risk_score: 0 to 100.
        window_start: the begin of the hour, by arrival.
        window_end: its end.
        subscription_id: of the resource, in lower case like all its parts; empty if the rule is not about a
            resource.
        resource_group: of the resource.
        resource_name: of the resource.
        resource_id: in the form of `_ResourceId`; empty if the rule is not about a resource.
        group: the values of the fields that the rule groups by, such as ResourceId, Minute, Caller, UserArn,
            ModelId, AccountId or Violations. `(others)` stands for all values that find no room: a caller or an
            account has more groups than are told apart.
        event_count: records in the window.
        max_response_length: bytes of the largest response; empty if no record carried a length.
        total_response_length: bytes of all responses; empty if no record carried a length.
        avg_request_length: bytes of a request on average; empty if no record carried a length.
        triggers: the thresholds that were reached: Name, Measure, Value, Threshold.
        suppression: the exception that explains the finding: Reason, Owner, Expires; empty if none does.
        first_event_time: the earliest record's own time.
        last_event_time: the latest record's own time.
        callers: ObjectId (for AWS the ARN), IpAddress (masked) and Count, most records first, at most 50;
            where the rule looks at bytes by caller also Bytes, and most bytes first.
        callers_truncated: there were more callers, or the group is one of `(others)`.
        members: of rules that count distinct ones, such as accounts: Name and Count, most records first, at most 50;
            else empty.
        bucket_counts: the six 10-minute counts, oldest first.
        evidence: Namespace, Hub, Partition, FirstSequence and LastSequence of the raw events.
        techniques: MITRE ATLAS and OWASP ids.
        detector_version: the release that posted the row.
    """

    time_generated: datetime
    finding_id: str
    episode_id: str
    status: str
    rule_id: str
    rule_name: str
    rule_version: int
    severity: str
    risk_score: int
    window_start: datetime
    window_end: datetime
    subscription_id: str
    resource_group: str
    resource_name: str
    resource_id: str
    group: dict[str, str]
    event_count: int
    max_response_length: int | None
    total_response_length: int | None
    avg_request_length: float | None
    triggers: Dynamic
    suppression: dict[str, str] | None
    first_event_time: datetime | None
    last_event_time: datetime | None
    callers: Dynamic
    callers_truncated: bool
    members: Dynamic
    bucket_counts: list[int]
    evidence: Dynamic
    techniques: list[str]
    detector_version: str


_KQL_TYPES = {datetime: "datetime", str: "string", int: "long", float: "real", bool: "boolean"}


def columns(table: type[msgspec.Struct]) -> dict[str, str]:
    """List the columns of a table and their KQL types, in order."""
    return {
        field.encode_name: next((kql for kind, kql in _KQL_TYPES.items() if _holds(field.type, kind)), "dynamic")
        for field in msgspec.structs.fields(table)
    }


def _holds(annotation: object, kind: type) -> bool:
    return annotation is kind or annotation == (kind | None)


def finding(change: EpisodeChange, window_end: datetime, now: datetime) -> Finding:
    """Build the row for a change of an episode in a window."""
    result, tally, rule = change.result, change.result.tally, BY_ID[change.result.rule_id]
    group = dict(zip(rule.group_fields, result.group, strict=False))  # a closed episode of minutes has no minute
    resource_id = "" if (named := group.get("ResourceId", "")) == OTHERS else named
    resource = resources.parts(resource_id) if resource_id else resources.Resource("", "", "")
    return Finding(
        time_generated=now,
        finding_id=finding_id(result.key, window_end),
        episode_id=change.episode.id,
        status=change.status.value,
        rule_id=rule.id,
        rule_name=rule.name,
        rule_version=rule.version,
        severity=result.severity,
        risk_score=rule.risk_score,
        window_start=window_end - WINDOW,
        window_end=window_end,
        subscription_id=resource.subscription_id,
        resource_group=resource.resource_group,
        resource_name=resource.name,
        resource_id=resource_id,
        group=group,
        event_count=tally.count,
        max_response_length=tally.responses.largest if tally.responses.records else None,
        total_response_length=tally.responses.total if tally.responses.records else None,
        avg_request_length=tally.requests.total / tally.requests.records if tally.requests.records else None,
        triggers=[
            {
                "Name": trigger.threshold,
                "Measure": trigger.measure,
                "Value": trigger.value,
                "Threshold": trigger.at_least,
            }
            | ({} if trigger.usual is None else _usual(trigger))
            for trigger in result.triggers
        ],
        suppression=None if result.suppression is None else msgspec.to_builtins(result.suppression),
        first_event_time=None if tally.first_time is None else from_microseconds(tally.first_time),
        last_event_time=None if tally.last_time is None else from_microseconds(tally.last_time),
        callers=_callers(tally),
        callers_truncated=tally.other_callers > 0 or len(tally.callers) > MAX_LISTED or is_crowd(result.group),
        members=[{"Name": name, "Count": tally.members[name]} for name in tally.ranked_members()[:MAX_LISTED]],
        bucket_counts=result.bucket_counts,
        evidence=[
            {
                "Namespace": place.namespace,
                "Hub": place.hub,
                "Partition": place.partition,
                "FirstSequence": place.first_sequence,
                "LastSequence": place.last_sequence,
            }
            for place in result.evidence[:MAX_LISTED]
        ],
        techniques=list(rule.techniques),
        detector_version=__version__,
    )


def _callers(tally: Tally) -> Dynamic:
    rows: Dynamic = []
    for text in tally.ranked_callers()[:MAX_LISTED]:
        caller = callers.parse(text)
        row = {
            "ObjectId": caller.object_id,
            "IpAddress": caller.ip_address,
            "Count": tally.callers.get(text, 0),
        }
        rows.append(row | ({"Bytes": tally.caller_bytes[text]} if text in tally.caller_bytes else {}))
    return rows


def _usual(trigger: Trigger) -> dict[str, Any]:
    """Show what is usual for the entity, and how many times the usual the value is."""
    usual = trigger.usual or 0
    return {"Usual": usual, "TimesUsual": round(trigger.value / usual, 1) if usual else None}


def as_json(posted: msgspec.Struct) -> dict[str, Any]:
    """Convert a row to JSON values, as the Logs Ingestion API and a line of ndjson hold them."""
    values: dict[str, Any] = msgspec.to_builtins(posted)
    return values
