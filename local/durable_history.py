"""The events of an orchestration's history, with the members that the Durable extension gives them."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from azure.durable_functions.models.history.HistoryEventType import HistoryEventType

TIME_FORMAT = "%Y-%m-%dT%H:%M:%S.%f0Z"
"""Ticks of .NET: tenths of a microsecond."""

_HRESULT = -2_146_233_088
"""The code of an exception of no special kind."""

_EMPTY_MEMBERS: dict[HistoryEventType, dict[str, Any]] = {
    HistoryEventType.EXECUTION_STARTED: {
        "ParentInstance": None,
        "Version": None,
        "Tags": None,
        "Correlation": None,
        "ParentTraceContext": None,
        "ScheduledStartTime": None,
        "Generation": 0,
        "GenerateNewTrace": False,
    },
    HistoryEventType.TASK_SCHEDULED: {"Version": "", "Input": None, "ParentTraceContext": None, "Tags": None},
    HistoryEventType.TASK_FAILED: {"FailureDetails": None},
}
"""What events carry besides; the inputs of activities are not kept, as `storeInputsInOrchestrationHistory` is off."""


@dataclass(frozen=True, slots=True)
class ActivityCall:
    """One attempt to run an activity; `retry_after` is None without a retry policy."""

    task_id: int
    name: str
    input: str
    retry_after: timedelta | None = None
    max_attempts: int = 1
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Timer:
    """A durable timer; `failed` is the attempt whose retry it delays."""

    task_id: int
    fire_at: datetime
    failed: ActivityCall | None = None


@dataclass(frozen=True, slots=True)
class ActivityOutcome:
    """What an attempt came to: JSON, or the reason of its failure with the stack."""

    result: str | None = None
    failure: str | None = None
    stack: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """The outcome of an attempt, on its way to the orchestrator."""

    call: ActivityCall
    outcome: ActivityOutcome


def event(kind: HistoryEventType, now: datetime, event_id: int = -1, **fields: object) -> dict[str, Any]:
    """Make a history event of this moment."""
    timestamp = now.strftime(TIME_FORMAT)
    members = {"EventType": kind, "EventId": event_id, "IsPlayed": False, "Timestamp": timestamp}
    return members | _EMPTY_MEMBERS.get(kind, {}) | fields


def timer_fired(timer: Timer, now: datetime) -> dict[str, Any]:
    """Make the event that a timer has fired."""
    fire_at = timer.fire_at.strftime(TIME_FORMAT)
    return event(HistoryEventType.TIMER_FIRED, now, TimerId=timer.task_id, FireAt=fire_at)


def attempt_done(done: Done, now: datetime) -> dict[str, Any]:
    """Make the event of an outcome."""
    scheduled = {"TaskScheduledId": done.call.task_id}
    if done.outcome.failure is None:
        result = None if done.outcome.result == "null" else done.outcome.result
        return event(HistoryEventType.TASK_COMPLETED, now, **scheduled, Result=result)
    message = f" {done.outcome.failure}"  # the extension leaves out what stands before it in the host's message
    reason = f"Activity function '{done.call.name}' failed: {message}"
    details = _details(message, done.outcome)
    return event(HistoryEventType.TASK_FAILED, now, **scheduled, Reason=reason, Details=details)


def _details(message: str, outcome: ActivityOutcome) -> str:
    """Make the JSON of the .NET exception that stands for an activity's failure: the worker's report is inside."""
    report = f"Result: Failure\nException: {outcome.failure}\nStack: {outcome.stack}"
    failed = {"HelpLink": None, "Source": "host", "HResult": -2146233088, "StackTrace": "   at the host"}
    inner = {
        "$type": "RpcException",
        "Message": report,
        "Data": {"$type": "Dictionary"},
        "InnerException": None,
        **failed,
    }
    details = {
        "$type": "System.Exception, System.Private.CoreLib",
        "ClassName": "System.Exception",
        "Message": message,
        "Data": None,
        "InnerException": inner,
        "HelpURL": None,
        "StackTraceString": None,
        "RemoteStackTraceString": None,
        "RemoteStackIndex": 0,
        "ExceptionMethod": None,
        "HResult": _HRESULT,
        "Source": None,
        "WatsonBuckets": None,
    }
    return json.dumps(details, separators=(",", ":"))
