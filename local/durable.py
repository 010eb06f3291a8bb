"""Plays the Durable Functions extension for azure-functions-durable, in virtual time.

Orchestrators and activities really run, in the worker. Only the extension's part is played: it keeps
the histories, runs what the orchestrators ask for, and decides when. A durable timer or the delay of
a retry moves the clock on; an activity takes no time.

Played: activities, with and without retry, task_all, task_any, timers, continue-as-new. Refused with
`UnsupportedActionError`: entities, sub-orchestrations, external events, HTTP actions, and activities
that the app has not, for which the extension waits without end. What it does with a result that it
cannot carry is in `local.durable_results`.
"""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from azure.durable_functions.models.actions.ActionType import ActionType

from local.durable_execution import Execution, NonDeterministicError, UnsupportedActionError
from local.durable_history import ActivityCall, ActivityOutcome, Done, Timer
from local.durable_instances import UNFINISHED, InstanceResult, Instances, Status
from local.durable_results import Encoding, Kind, UnfitResultError, require_fit
from local.protos import TypedData
from local.task_hub_http import TaskHubEndpoint
from local.virtual_queue import VirtualQueue
from local.worker import FunctionError, Worker

__all__ = [
    "Encoding",
    "InstanceResult",
    "Invoke",
    "Kind",
    "Status",
    "TaskHub",
    "UnfitResultError",
    "UnsupportedActionError",
    "through",
]

type Invoke = Callable[[str, Kind, str], Awaitable[str]]

# After this label the SDK puts the orchestrator's state into the message of the error it raises.
STATE_LABEL = "\n\n$OutOfProcData$:"


@dataclass(frozen=True, slots=True)
class _Start:
    """The first run of an execution."""


@dataclass(frozen=True, slots=True)
class _Step:
    """One thing the hub does next, for one execution."""

    execution: Execution
    work: _Start | Done | ActivityCall | Timer


class TaskHub:
    """A task hub in memory.

    Instances take turns, step by step. Unless shuffled, steps due at the same time are taken in the
    order in which they came up, and activities among them run concurrently. With `shuffle` they are
    taken in random order, activities one at a time and some events of an execution together, as the
    extension does with those that arrive while it is busy. A seed repeats the order.

    Args:
        invoke: Runs a function by name and kind on a JSON payload and gives its JSON result; raises
            `FunctionError` when the function fails. See `through`.
        shuffle: The source of random order.
        on_advance: Called with the new time whenever a run moves the clock.
    """

    def __init__(
        self,
        invoke: Invoke,
        *,
        shuffle: random.Random | None = None,
        on_advance: Callable[[datetime], None] | None = None,
    ) -> None:
        self._invoke = invoke
        self._instances = Instances()
        self._queue = VirtualQueue[_Step](shuffle, on_advance)
        self._endpoint = TaskHubEndpoint(self._instances, lambda: self.now)
        self._last_queued_execution = 0

    @property
    def instances(self) -> Mapping[str, InstanceResult]:
        """Give every instance that has been created and not purged, by id."""
        return self._instances.view

    @property
    def now(self) -> datetime:
        """Give the hub's time, which instances created between runs get too; the wall clock at first."""
        return self._queue.now

    @now.setter
    def now(self, moment: datetime) -> None:
        self._queue.now = moment

    def client_binding(self) -> str:
        """Give the JSON of the durableClient input binding."""
        return self._endpoint.client_binding()

    async def start(self) -> None:
        """Begin to answer durable clients."""
        await self._endpoint.start()

    async def stop(self) -> None:
        """Cease to answer durable clients."""
        await self._endpoint.stop()

    async def run_pending(self, now: datetime) -> list[InstanceResult]:
        """Run all created instances to their end, from `now` on, and give how they ended.

        Instances created during the run join it. One that waits for what never comes, such as a
        timer it has cancelled, is given with the status Running. One purged meanwhile is not given.

        Raises:
            UnsupportedActionError: An orchestrator uses a feature that is not played here.
            UnfitResultError: A function gave a result that Azure would change or never deliver.
        """
        self._queue.advance(now)
        ran = self._enqueue_created()
        while step := self._queue.take(self._matters):
            if isinstance(step.work, ActivityCall):
                beside = self._queue.take_beside(lambda other: isinstance(other.work, ActivityCall))
                await self._attempt([step, *beside])
            elif isinstance(step.work, _Start):
                step.execution.start(self.now)
                self._instances.update(step.execution.instance_id, Status.RUNNING, None, self.now)
                await self._run(step.execution)
            else:
                await self._deliver(step.execution, [step, *self._queue.take_some(partial(self._arrives_with, step))])
            ran |= self._enqueue_created()
        return [self.instances[key] for key in ran if key in self.instances]

    def _enqueue_created(self) -> dict[str, None]:
        """Queue the executions new since the last look; give their instance ids, as an ordered set."""
        new = [known for known in self.instances.values() if known.execution > self._last_queued_execution]
        for known in new:
            execution = Execution(known.instance_id, known.execution, known.name, known.input)
            self._queue.push(_Step(execution, _Start()))
        self._last_queued_execution = max((known.execution for known in new), default=self._last_queued_execution)
        return dict.fromkeys(known.instance_id for known in new)

    def _matters(self, step: _Step) -> bool:
        """Tell whether a step is still to be taken: what was called runs, but the dead get no events."""
        if isinstance(step.work, ActivityCall):
            return True
        cancelled = isinstance(step.work, Timer) and step.work.task_id in step.execution.cancelled
        return not cancelled and self._is_running(step.execution)

    def _arrives_with(self, first: _Step, other: _Step) -> bool:
        """Tell whether a step may be delivered in one episode with another."""
        return other.execution is first.execution and isinstance(other.work, Done | Timer) and self._matters(other)

    def _is_running(self, execution: Execution) -> bool:
        """Tell whether an execution has neither ended nor been purged."""
        known = self.instances.get(execution.instance_id)
        return known is not None and known.execution == execution.number and known.status in UNFINISHED

    async def _attempt(self, steps: list[_Step]) -> None:
        """Run activities at the same time, and queue their outcomes in the order of the calls."""
        calls = [(step.execution, step.work) for step in steps if isinstance(step.work, ActivityCall)]
        outcomes = await asyncio.gather(*(self._outcome(call) for _, call in calls), return_exceptions=True)
        for (execution, call), outcome in zip(calls, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                raise outcome
            self._queue.push(_Step(execution, Done(call, outcome)))

    async def _outcome(self, call: ActivityCall) -> ActivityOutcome:
        """Run an activity; its failure is an outcome, any other error is raised."""
        try:
            return ActivityOutcome(result=await self._invoke(call.name, "activity", call.input))
        except FunctionError as error:
            return ActivityOutcome(failure=str(error), stack=error.stack)

    async def _deliver(self, execution: Execution, steps: list[_Step]) -> None:
        """Enter what has arrived into the history and run the orchestrator on it."""
        arrived = [step.work for step in steps if isinstance(step.work, Done | Timer)]
        for work in execution.deliver(arrived, self.now):
            self._queue.push(_Step(execution, work), work.fire_at if isinstance(work, Timer) else None)
        await self._run(execution)

    async def _run(self, execution: Execution) -> None:
        """Run the orchestrator on the history so far. Its end waits for all that it has called."""
        try:
            state = json.loads(await self._invoke(execution.name, "orchestration", execution.request()))
            self._continue(execution, state)
        except NonDeterministicError as error:
            self._end(execution, Status.FAILED, str(error))
        except FunctionError as error:
            if not execution.outstanding:
                failure = f"Orchestrator function '{execution.name}' failed: {_own_message(error)}"
                self._end(execution, Status.FAILED, failure)

    def _continue(self, execution: Execution, state: dict[str, Any]) -> None:
        """Queue what the orchestrator asks for, and see whether it has ended."""
        actions = state["actions"][0]
        for work in execution.accept(actions, self.now):
            self._queue.push(_Step(execution, work), work.fire_at if isinstance(work, Timer) else None)
        if not state["isDone"] or execution.outstanding or not self._is_running(execution):
            return
        if actions and actions[-1]["actionType"] == ActionType.CONTINUE_AS_NEW:
            self._instances.restart(execution.instance_id, actions[-1]["input"], self.now)
        else:
            self._end(execution, Status.COMPLETED, state.get("output"))

    def _end(self, execution: Execution, status: Status, output: object) -> None:
        """Record how an instance ended, unless it was purged while its orchestrator ran."""
        if self._is_running(execution):
            self._instances.update(execution.instance_id, status, output, self.now)


def through(worker: Worker, encoding: Encoding = "UTF8") -> Invoke:
    """Make the way a task hub calls functions: through a worker, with queue messages in host.json's encoding."""

    async def invoke(name: str, kind: Kind, payload: str) -> str:
        function = worker.functions.get(name)
        if function is None or function.trigger["type"] != f"{kind}Trigger":
            if kind == "activity":
                raise UnsupportedActionError(f"the app has no activity '{name}': the extension waits without end")
            raise FunctionError(
                f"The function '{name}' doesn't exist, is disabled, or is not an orchestrator function."
            )
        data = TypedData(json=payload) if kind == "activity" else TypedData(string=payload)
        result = str(await worker.invoke(name, {function.trigger["name"]: data}))
        require_fit(name, kind, result, encoding)
        return result

    return invoke


def _own_message(error: FunctionError) -> str:
    """Give the orchestrator's own error out of the SDK's report of it."""
    _, label, state = str(error).partition(STATE_LABEL)
    return str(json.loads(state)["error"]) if label else str(error)
