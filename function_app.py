"""The functions: triggers, bindings, wiring."""

import logging
import os
from collections.abc import Generator
from typing import Any, List  # noqa: UP035 - see ingest

import azure.durable_functions as df
import azure.functions as func

from detectors import orchestration
from detectors.configuration.settings import Settings
from detectors.detector import Detector

logging.getLogger("azure").setLevel(logging.WARNING)  # the clients log every request otherwise

detector = Detector(Settings.from_env(os.environ))
functions = df.Blueprint()


@functions.function_name("ingest")
@functions.event_hub_message_trigger(
    arg_name="events",
    event_hub_name="%EVENT_HUB_NAME%",
    consumer_group="%EVENT_HUB_CONSUMER_GROUP%",
    connection="EventHubConnection",
    cardinality=func.Cardinality.MANY,
    data_type=func.DataType.BINARY,  # as text the host drops empty bodies, and the batch no longer matches its metadata
)
# The host checkpoints even when a function fails; only a retry without limit holds the checkpoint back.
@functions.retry(
    strategy="exponential_backoff",
    max_retry_count="-1",
    minimum_interval="00:00:01",
    maximum_interval="00:01:00",
)
def ingest(events: List[func.EventHubEvent]) -> None:  # noqa: UP006 - the worker takes list[...] for no type
    """Count a batch of diagnostic logs into the buckets of its arrival."""
    detector.ingest(events)


@functions.function_name("schedule_evaluation")
@functions.timer_trigger(arg_name="timer", schedule="%EVALUATION_SCHEDULE%", use_monitor=True)
@functions.durable_client_input(client_name="client")
async def schedule_evaluation(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    """Start the run that evaluates every window that is due."""
    await orchestration.start(client, detector.now())


@functions.orchestration_trigger(context_name="context")
def evaluate_windows(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    """Evaluate window after window."""
    return orchestration.evaluate_windows(context)


@functions.activity_trigger(input_name="work")
def plan_window(work: dict) -> dict | None:
    """Find the next window that is due."""
    return orchestration.plan_window(detector.evaluator, work)


@functions.activity_trigger(input_name="work")
def evaluate_shard(work: dict) -> dict:
    """Hold one share of the groups against the thresholds."""
    return orchestration.evaluate_shard(detector.evaluator, work)


@functions.activity_trigger(input_name="work")
def measure_health(work: dict) -> dict:
    """Refuse runs of an earlier release."""
    return orchestration.measure_health(detector.evaluator, work)


@functions.activity_trigger(input_name="work")
def conclude_window(work: dict) -> dict:
    """Post findings and heartbeat, record the window."""
    return orchestration.conclude_window(detector.evaluator, work, detector.now())


@functions.activity_trigger(input_name="work")
def purge_expired(work: dict) -> int:
    """Delete what is no longer needed."""
    return orchestration.purge_expired(detector.evaluator, work, detector.now())


app = df.DFApp()
app.register_functions(functions)
