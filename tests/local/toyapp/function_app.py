# mypy: disable-error-code="untyped-decorator,no-untyped-call"
# The decorators of both Azure libraries are untyped.
"""A small function app that uses each feature the local worker and task hub have to play."""

import asyncio
import itertools
import json
import os
import threading
import typing
from collections import Counter
from collections.abc import Generator
from datetime import datetime, timedelta
from typing import Any, TypedDict

import azure.durable_functions as df
import azure.functions as func


class ToySettingsError(Exception):
    """The toy app's settings are wrong."""


if not os.environ.get("TOY_GREETING"):
    raise ToySettingsError("TOY_GREETING is missing: set it to any word")


class ReadError(TypedDict):
    """How often the flaky activity is to fail; the worker library takes no `dict[str, int]` here."""

    key: str
    failures: int


type Orchestration = Generator[Any, Any, Any]

GREETING = os.environ["TOY_GREETING"]
SEEN: list[Any] = []
ATTEMPTS: Counter[str] = Counter()
RUNS = itertools.count()
MEETING = asyncio.Barrier(3)

app = df.DFApp()
ingest = func.Blueprint()


@ingest.function_name("ingest")
@ingest.event_hub_message_trigger(
    arg_name="events", event_hub_name="%HUB%", connection="HUB", cardinality="many", data_type="binary"
)
@ingest.retry(
    strategy="exponential_backoff",
    max_retry_count="5",
    minimum_interval="00:00:02",
    maximum_interval="00:01:00",
)
async def ingest_batch(
    events: typing.List[func.EventHubEvent],  # noqa: UP006 - the worker library refuses list[...]
    context: func.Context,
) -> None:
    """Note each event of a batch; refuse poison."""
    for event in events:
        if event.get_body() == b"poison":
            raise ValueError("this event is poison")
        SEEN.append((event.get_body(), event.sequence_number, context.retry_context.retry_count))


@app.function_name("greet")
@app.queue_trigger(arg_name="message", queue_name="greetings", connection="QUEUE")
def greet(message: func.QueueMessage) -> None:
    """Note who is greeted, and whether in a thread of its own."""
    aside = threading.current_thread() is not threading.main_thread()
    SEEN.append((GREETING, message.get_body().decode(), aside))


@app.function_name("tick")
@app.timer_trigger(arg_name="timer", schedule="0 */5 * * * *")
@app.durable_client_input(client_name="client")
async def tick(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    """Start the one evaluation, unless it still runs."""
    status = await client.get_status("evaluation")
    SEEN.append((timer.past_due, str(status.runtime_status)))
    if status.runtime_status not in {
        df.OrchestrationRuntimeStatus.Pending,
        df.OrchestrationRuntimeStatus.Running,
    }:
        await client.start_new("fan_out", instance_id="evaluation", client_input=[1, 2, 3])


@app.function_name("begin")
@app.queue_trigger(arg_name="message", queue_name="orders", connection="QUEUE")
@app.durable_client_input(client_name="client")
async def begin(message: func.QueueMessage, client: df.DurableOrchestrationClient) -> None:
    """Start any orchestrator."""
    order = message.get_json()
    SEEN.append(await client.start_new(order["name"], order["id"], order["input"]))


@app.function_name("inspect")
@app.queue_trigger(arg_name="message", queue_name="questions", connection="QUEUE")
@app.durable_client_input(client_name="client")
async def inspect_instance(message: func.QueueMessage, client: df.DurableOrchestrationClient) -> None:
    """Note the status of an instance."""
    status = await client.get_status(message.get_body().decode())
    SEEN.append(status.to_json() if status else None)


@app.function_name("signal")
@app.queue_trigger(arg_name="message", queue_name="signals", connection="QUEUE")
@app.durable_client_input(client_name="client")
async def signal(message: func.QueueMessage, client: df.DurableOrchestrationClient) -> None:
    """Raise an event, which is not played locally."""
    await client.raise_event(message.get_body().decode(), "news")


@app.function_name("purge")
@app.queue_trigger(arg_name="message", queue_name="purges", connection="QUEUE")
@app.durable_client_input(client_name="client")
async def purge(message: func.QueueMessage, client: df.DurableOrchestrationClient) -> None:
    """Purge by time of creation and status, and note how many went."""
    order = message.get_json()
    statuses = [df.OrchestrationRuntimeStatus(name) for name in order["statuses"]]
    result = await client.purge_instance_history_by(
        datetime.fromisoformat(order["from"]), datetime.fromisoformat(order["to"]), statuses or None
    )
    SEEN.append(result.instances_deleted)


@app.orchestration_trigger(context_name="context")
def fan_out(context: df.DurableOrchestrationContext) -> Orchestration:
    """Double every number, side by side."""
    doubled = yield context.task_all([context.call_activity("double", n) for n in context.get_input()])
    return {"doubled": doubled, "at": context.current_utc_datetime.isoformat()}


@app.orchestration_trigger(context_name="context")
def gathering(context: df.DurableOrchestrationContext) -> Orchestration:
    """Have three meet, which they only do when they run at the same time."""
    return (yield context.task_all([context.call_activity("meet", n) for n in range(3)]))


@app.orchestration_trigger(context_name="context")
def persistent(context: df.DurableOrchestrationContext) -> Orchestration:
    """Try an activity up to three times, a minute apart, and another beside it."""
    policy = df.RetryOptions(first_retry_interval_in_milliseconds=60_000, max_number_of_attempts=3)
    tasks = [
        context.call_activity_with_retry("flaky", policy, context.get_input()),
        context.call_activity("double", 4),
    ]
    both = yield context.task_all(tasks)
    last = yield context.call_activity("double", 5)
    return [*both, last, context.current_utc_datetime.isoformat()]


@app.orchestration_trigger(context_name="context")
def sleepy(context: df.DurableOrchestrationContext) -> Orchestration:
    """Sleep for so many hours."""
    yield context.create_timer(context.current_utc_datetime + timedelta(hours=context.get_input()))
    return context.current_utc_datetime.isoformat()


@app.orchestration_trigger(context_name="context")
def racing(context: df.DurableOrchestrationContext) -> Orchestration:
    """Give an activity, retried every ten minutes, so many minutes; if it is in time, rest for an hour."""
    policy = df.RetryOptions(first_retry_interval_in_milliseconds=600_000, max_number_of_attempts=3)
    deadline = context.create_timer(context.current_utc_datetime + timedelta(minutes=context.get_input()["minutes"]))
    flaky = context.call_activity_with_retry("flaky", policy, context.get_input())
    winner = yield context.task_any([flaky, deadline])
    if winner is deadline:
        return "late"
    deadline.cancel()
    yield context.create_timer(context.current_utc_datetime + timedelta(hours=1))
    return winner.result


@app.orchestration_trigger(context_name="context")
def sprint(context: df.DurableOrchestrationContext) -> Orchestration:
    """Give the result of whichever of four activities is done first."""
    winner = yield context.task_any([context.call_activity("double", n) for n in range(4)])
    return winner.result


@app.orchestration_trigger(context_name="context")
def countdown(context: df.DurableOrchestrationContext) -> Orchestration:
    """Count down to zero, an hour and an execution each."""
    left = context.get_input()
    yield context.call_activity("note", left)
    if left == 0:
        return "lift-off"
    yield context.create_timer(context.current_utc_datetime + timedelta(hours=1))
    context.continue_as_new(left - 1)
    return None


@app.orchestration_trigger(context_name="context")
def chatty(context: df.DurableOrchestrationContext) -> Orchestration:
    """Say three things, one after the other."""
    for n in range(3):
        yield context.call_activity("note", f"{context.get_input()}{n}")


@app.orchestration_trigger(context_name="context")
def fickle(context: df.DurableOrchestrationContext) -> Orchestration:
    """Ask for another number in every run, which no orchestrator may."""
    yield context.call_activity("double", next(RUNS))
    yield context.call_activity("double", 0)


@app.orchestration_trigger(context_name="context")
def forgetful(context: df.DurableOrchestrationContext) -> Orchestration:
    """Ask for work in the first run and end without it in the next."""
    if next(RUNS) == 0:
        yield context.call_activity("double", 1)
    return "what work?"


@app.orchestration_trigger(context_name="context")
def failing(context: df.DurableOrchestrationContext) -> Orchestration:
    """Fail, in an activity or by itself."""
    yield context.call_activity("flaky", {"key": "failing", "failures": context.get_input()})
    raise ValueError("nothing else to do")


@app.orchestration_trigger(context_name="context")
def several(context: df.DurableOrchestrationContext) -> Orchestration:
    """Wait for all or any of some calls: each fails so many times; one with attempts is retried after a minute."""
    calls = []
    for place, (failures, attempts) in enumerate(context.get_input()["calls"]):
        work = {"key": str(place), "failures": failures}
        if attempts:
            policy = df.RetryOptions(first_retry_interval_in_milliseconds=60_000, max_number_of_attempts=attempts)
            calls.append(context.call_activity_with_retry("flaky", policy, work))
        else:
            calls.append(context.call_activity("flaky", work))
    yield context.task_all(calls) if context.get_input()["wait"] == "all" else context.task_any(calls)


@app.orchestration_trigger(context_name="context")
def relay(context: df.DurableOrchestrationContext) -> Orchestration:
    """Pass on, as JSON in ASCII, what an activity gives."""
    return json.dumps((yield context.call_activity("parrot", context.get_input())))


@app.orchestration_trigger(context_name="context")
def mistaken(context: df.DurableOrchestrationContext) -> Orchestration:
    """Call an activity that does not exist."""
    yield context.call_activity("no_such_activity", None)


@app.orchestration_trigger(context_name="context")
def parent(context: df.DurableOrchestrationContext) -> Orchestration:
    """Use a sub-orchestration, which is not played locally."""
    yield context.call_sub_orchestrator("sleepy", 1)


@app.activity_trigger(input_name="number")
def double(number: int) -> int:
    """Double a number, in a thread of the pool."""
    return number * 2


@app.activity_trigger(input_name="number")
async def meet(number: int) -> int:
    """Wait for the other two."""
    async with asyncio.timeout(10):
        await MEETING.wait()
    return number


@app.activity_trigger(input_name="order")
async def flaky(order: ReadError) -> str:
    """Fail so many times, then tell how often it was tried."""
    ATTEMPTS[order["key"]] += 1
    if ATTEMPTS[order["key"]] <= order["failures"]:
        raise ConnectionError(f"attempt {ATTEMPTS[order['key']]} refused")
    return f"attempt {ATTEMPTS[order['key']]}"


@app.activity_trigger(input_name="text")
async def parrot(text: str) -> typing.Any:  # noqa: ANN401 - whatever JSON holds
    """Give the value of a JSON text."""
    return json.loads(text)


@app.activity_trigger(input_name="text")
async def note(text: str) -> None:
    """Note a text."""
    SEEN.append(text)


app.register_functions(ingest)
