"""One execution of an orchestrator: the history it is replayed from and the work it has asked for.

An orchestrator is run again from the start for every event. It is given the history so far and gives
back all actions up to now; whatever is new among them is work to do. This module keeps that account
the way the Durable Task Framework does, and knows no clock, queue or worker.

Task ids are handed out in the order in which the SDK hands out its own, which is what ties an event
to the task that awaits it: one id an action, one id for the timer of a retry, one id an attempt.
"""

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from azure.durable_functions.models.actions.ActionType import ActionType
from azure.durable_functions.models.history.HistoryEventType import HistoryEventType

from local.durable_history import TIME_FORMAT, ActivityCall, Done, Timer, attempt_done, event, timer_fired

type Action = dict[str, Any]


class NonDeterministicError(Exception):
    """A replay asked for other work than the run before it; the extension fails such an orchestration."""


class UnsupportedActionError(Exception):
    """The orchestrator asked for something this stand-in does not play, such as an entity."""


class Execution:
    """The history of one execution, from its start or continue-as-new to its end.

    Attributes:
        instance_id: The instance it belongs to.
        number: Tells the executions of one instance apart.
        name: The orchestrator's name.
        cancelled: The task ids of timers the orchestrator has cancelled.
        outstanding: The task ids of calls and timers that have not come back; until then no execution ends, though
            its orchestrator has returned or failed.
    """

    def __init__(self, instance_id: str, number: int, name: str, input_json: str | None) -> None:
        self.instance_id = instance_id
        self.number = number
        self.name = name
        self.cancelled: set[int] = set()
        self.outstanding: set[int] = set()
        self._input = input_json
        self._history: list[dict[str, Any]] = []
        self._task_ids = itertools.count()
        self._scheduled: list[tuple[str, int]] = []

    def start(self, now: datetime) -> None:
        """Begin the history."""
        self._history = [
            event(HistoryEventType.ORCHESTRATOR_STARTED, now),
            event(
                HistoryEventType.EXECUTION_STARTED,
                now,
                OrchestrationInstance={"InstanceId": self.instance_id, "ExecutionId": str(self.number)},
                Name=self.name,
                Input=json.dumps(self._input),
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
            "sourceInstanceId": None,
            "upperSchemaVersion": 1,
            "upperSchemaVersionNew": 3,
            # What the extension sends over Azure Storage, whose queues hide a message 7 days at most.
            "maximumShortTimerDuration": "6.00:00:00",
            "longRunningTimerIntervalDuration": "3.00:00:00",
            "defaultHttpAsyncRequestSleepTimeMillseconds": 30_000,
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
                self._cancel(task_id)
        new = [self._schedule(leaf, now) for leaf in leaves[len(self._scheduled) :]]
        return [work for work in new if work is not None]

    def deliver(self, arrived: Sequence[Done | Timer], now: datetime) -> list[ActivityCall | Timer]:
        """Close the episode so far and open the next one with what has arrived; give the retries that follow.

        A failed attempt is followed by a timer, after the last attempt too, and that one by the next attempt.
        """
        self._history.append(event(HistoryEventType.ORCHESTRATOR_COMPLETED, now))
        for played in self._history:
            played["IsPlayed"] = True
        self._history.append(event(HistoryEventType.ORCHESTRATOR_STARTED, now))
        for one in arrived:
            self._history.append(timer_fired(one, now) if isinstance(one, Timer) else attempt_done(one, now))
            self.outstanding.discard(one.task_id if isinstance(one, Timer) else one.call.task_id)
        followers = [self._follower(one, now) for one in arrived]
        return [work for work in followers if work is not None]

    def _follower(self, arrived: Done | Timer, now: datetime) -> ActivityCall | Timer | None:
        """Schedule what the framework does by itself about a failed attempt."""
        match arrived:
            case Done(call, outcome) if outcome.failure is not None and call.retry_after is not None:
                return self._start_timer(now + call.retry_after, now, failed=call)
            case Timer(failed=ActivityCall() as failed) if failed.attempt < failed.max_attempts:
                return self._call(replace(failed, task_id=next(self._task_ids), attempt=failed.attempt + 1), now)
            case _:
                return None

    def _cancel(self, task_id: int) -> None:
        self.cancelled.add(task_id)
        self.outstanding.discard(task_id)

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
                timer = self._start_timer(datetime.fromisoformat(leaf["fireAt"]), now, task_id=task_id)
                if leaf["isCanceled"]:
                    self._cancel(task_id)
                return timer
            case ActionType.CONTINUE_AS_NEW:
                return None
            case other:
                kind = ActionType(other).name.lower()
                raise UnsupportedActionError(f"orchestrator '{self.name}' uses {kind}, which is not played locally")

    def _call(self, call: ActivityCall, now: datetime) -> ActivityCall:
        """Note that an attempt is scheduled."""
        self._history.append(event(HistoryEventType.TASK_SCHEDULED, now, call.task_id, Name=call.name))
        self.outstanding.add(call.task_id)
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
        self._history.append(event(HistoryEventType.TIMER_CREATED, now, timer.task_id, FireAt=due))
        self.outstanding.add(timer.task_id)
        return timer


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
