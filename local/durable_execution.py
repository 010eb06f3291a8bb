"""One execution of an orchestrator: the history it is replayed from and the work it has asked for.

An orchestrator is run again from the start for every event. It is given the history so far and gives
back all actions up to now; whatever is new among them is work to do. This module keeps that account
the way the Durable Task Framework does, and knows no clock, queue or worker.

Task ids are handed out in the order in which the SDK hands out its own, which is what ties an event
to the task that awaits it: one id an action, one id for the timer of a retry, one id an attempt.
"""

import itertools
import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from azure.durable_functions.models.actions.ActionType import ActionType
from azure.durable_functions.models.history.HistoryEventType import HistoryEventType

type Action = dict[str, Any]

TIME_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"


class NonDeterministicError(Exception):
    """A replay asked for other work than the run before it; the extension fails such an orchestration."""


class UnsupportedActionError(Exception):
    """The orchestrator asked for something this stand-in does not play, such as an entity."""


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


class Execution:
    """The history of one execution, from its start or continue-as-new to its end.

    Attributes:
        instance_id: The instance it belongs to.
        number: Tells the executions of one instance apart.
        name: The orchestrator's name.
        cancelled: The task ids of timers the orchestrator has cancelled.
    """

    def __init__(self, instance_id: str, number: int, name: str, input_json: str | None) -> None:
        self.instance_id = instance_id
        self.number = number
        self.name = name
        self.cancelled: set[int] = set()
        self._input = input_json
        self._history: list[dict[str, Any]] = []
        self._task_ids = itertools.count()
        self._scheduled: list[tuple[str, int]] = []

    def start(self, now: datetime) -> None:
        """Begin the history."""
        self._history = [
            _event(HistoryEventType.ORCHESTRATOR_STARTED, now),
            _event(
                HistoryEventType.EXECUTION_STARTED,
                now,
                Name=self.name,
                Input=json.dumps(self._input),
                Version=None,
            ),
        ]

    def request(self) -> str:
        """Give the input of the next run of the orchestrator, as JSON."""
        body = {
            "history": self._history,
            "input": self._input,
            "instanceId": self.instance_id,
            "isReplaying": bool(self._scheduled),
            "parentInstanceId": None,
            "upperSchemaVersion": 1,
            "upperSchemaVersionNew": 2,
            # What the extension sends over Azure Storage, whose queues hide a message 7 days at most.
            "maximumShortTimerDuration": "6.00:00:00",
            "longRunningTimerIntervalDuration": "3.00:00:00",
        }
        return json.dumps(body)

    def accept(self, actions: list[Action], now: datetime) -> list[ActivityCall | Timer]:
        """Take all actions a run has given back and find the new work in them.

        Inputs and due times are compared too, which the framework leaves out: they are as much
        computed by the orchestrator as the names are.

        Raises:
            NonDeterministicError: An action of an earlier run is missing or has changed.
            UnsupportedActionError: A new action is none of those played here.
        """
        leaves = [leaf for action in actions for leaf in _leaves(action)]
        if len(leaves) < len(self._scheduled):
            raise NonDeterministicError(_difference(self._scheduled[len(leaves)][0], "nothing"))
        for leaf, (before, task_id) in zip(leaves, self._scheduled, strict=False):
            if _identity(leaf) != before:
                raise NonDeterministicError(_difference(before, _identity(leaf)))
            if leaf.get("isCanceled"):
                self.cancelled.add(task_id)
        new = [self._schedule(leaf, now) for leaf in leaves[len(self._scheduled) :]]
        return [work for work in new if work is not None]

    def complete(self, call: ActivityCall, outcome: ActivityOutcome, now: datetime) -> Timer | None:
        """Enter the outcome of an attempt; give the timer that precedes its retry, if any."""
        if outcome.failure is None:
            done = _event(HistoryEventType.TASK_COMPLETED, now, TaskScheduledId=call.task_id, Result=outcome.result)
            self._deliver(done, now)
            return None
        reason = f"Activity function '{call.name}' failed: {outcome.failure}"
        self._deliver(
            _event(
                HistoryEventType.TASK_FAILED,
                now,
                TaskScheduledId=call.task_id,
                Reason=reason,
                Details=outcome.stack,
            ),
            now,
        )
        if call.retry_after is None:
            return None
        # The framework sets a timer after the last attempt too, and only then gives up.
        return self._start_timer(now + call.retry_after, now, failed=call)

    def fire(self, timer: Timer, now: datetime) -> ActivityCall | None:
        """Enter that a timer has fired; give the attempt it delayed, if one is left."""
        fire_at = timer.fire_at.strftime(TIME_FORMAT)
        self._deliver(_event(HistoryEventType.TIMER_FIRED, now, TimerId=timer.task_id, FireAt=fire_at), now)
        failed = timer.failed
        if failed is None or failed.attempt >= failed.max_attempts:
            return None
        retried = replace(failed, task_id=next(self._task_ids), attempt=failed.attempt + 1)
        return self._call(retried, now)

    def _deliver(self, event: dict[str, Any], now: datetime) -> None:
        """Close the episode so far and open the next one with an event."""
        self._history.append(_event(HistoryEventType.ORCHESTRATOR_COMPLETED, now))
        for played in self._history:
            played["IsPlayed"] = True
        self._history += [_event(HistoryEventType.ORCHESTRATOR_STARTED, now), event]

    def _schedule(self, leaf: Action, now: datetime) -> ActivityCall | Timer | None:
        """Note a new action and turn it into work; None when it asks for none."""
        task_id = next(self._task_ids)
        self._scheduled.append((_identity(leaf), task_id))
        match leaf["actionType"]:
            case ActionType.CALL_ACTIVITY:
                return self._call(ActivityCall(task_id, leaf["functionName"], leaf["input"]), now)
            case ActionType.CALL_ACTIVITY_WITH_RETRY:
                policy = leaf["retryOptions"]
                wait = timedelta(milliseconds=policy["firstRetryIntervalInMilliseconds"])
                most = policy["maxNumberOfAttempts"]
                return self._call(ActivityCall(task_id, leaf["functionName"], leaf["input"], wait, most), now)
            case ActionType.CREATE_TIMER:
                if leaf["isCanceled"]:
                    self.cancelled.add(task_id)
                return self._start_timer(datetime.fromisoformat(leaf["fireAt"]), now, task_id=task_id)
            case ActionType.CONTINUE_AS_NEW:
                return None
            case other:
                kind = ActionType(other).name.lower()
                raise UnsupportedActionError(f"orchestrator '{self.name}' uses {kind}, which is not played locally")

    def _call(self, call: ActivityCall, now: datetime) -> ActivityCall:
        """Note that an attempt is scheduled."""
        event = _event(HistoryEventType.TASK_SCHEDULED, now, call.task_id, Name=call.name, Input=call.input)
        self._history.append(event)
        return call

    def _start_timer(
        self,
        fire_at: datetime,
        now: datetime,
        *,
        task_id: int | None = None,
        failed: ActivityCall | None = None,
    ) -> Timer:
        """Note that a timer is set, under an id of its own unless an action has one."""
        timer = Timer(next(self._task_ids) if task_id is None else task_id, fire_at, failed)
        due = fire_at.strftime(TIME_FORMAT)
        self._history.append(_event(HistoryEventType.TIMER_CREATED, now, timer.task_id, FireAt=due))
        return timer


def _event(kind: HistoryEventType, now: datetime, event_id: int = -1, **fields: object) -> dict[str, Any]:
    """Make a history event of this moment."""
    timestamp = now.strftime(TIME_FORMAT)
    return {"EventType": kind, "EventId": event_id, "IsPlayed": False, "Timestamp": timestamp, **fields}


def _leaves(action: Action) -> list[Action]:
    """List the actions of a task_all or task_any in order; any other action is its own leaf."""
    if "compoundActions" not in action:
        return [action]
    return [leaf for inner in action["compoundActions"] for leaf in _leaves(inner)]


def _identity(leaf: Action) -> str:
    """Give what must not change from run to run; a timer may be cancelled later."""
    return json.dumps({key: value for key, value in leaf.items() if key != "isCanceled"}, sort_keys=True)


def _difference(before: str, after: str) -> str:
    """Say what a replay did differently."""
    return f"Non-Deterministic workflow detected: an earlier run scheduled {before}, the replay {after}"
