"""One run of the evaluation as a durable orchestration: every due window, one after another, in order.

For each window: plan, fan out over the shards of groups, fan in, conclude. The run then continues as new for the next
window, so its history stays short. It holds no state of its own: the tables say what is due, so runs may overlap, fail
or be lost.
"""

import logging
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import azure.durable_functions as df
import msgspec

from detectors.errors import StorageError
from detectors.evaluator import Evaluator
from detectors.reporting.heartbeat import RunProgress
from detectors.storage.handover import Parcel
from detectors.storage.journal import Plan
from detectors.windows import bucket_start, key_of, time_of

_LOG = logging.getLogger(__name__)

RETRY = df.RetryOptions(first_retry_interval_in_milliseconds=15_000, max_number_of_attempts=20)
"""Each step is retried for five minutes. Then the run fails, and the next tick evaluates the window again."""

HISTORY_KEPT = timedelta(days=7)
RUNNING = frozenset({"Running", "Pending", "ContinuedAsNew"})

_FINISHED = [
    df.OrchestrationRuntimeStatus.Completed,
    df.OrchestrationRuntimeStatus.Failed,
    df.OrchestrationRuntimeStatus.Terminated,
]
_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


async def start(client: df.DurableOrchestrationClient, now: datetime) -> str:
    """Start the run for the newest window, unless it is running, and purge the history of old runs.

    A finished run is started again, which is harmless: only due windows are evaluated.

    Returns:
        The instance id, which names the window's end.
    """
    window_key = key_of(bucket_start(now))
    instance_id = f"evaluate-{window_key}"
    if await _is_running(client, instance_id):
        _LOG.info("run %s is under way already", instance_id)
        return instance_id
    await client.start_new("evaluate_windows", instance_id, _json(Run(window_key)))
    await _purge_history(client, now)
    return instance_id


async def _purge_history(client: df.DurableOrchestrationClient, now: datetime) -> None:
    """Purge the history of old runs. A failure is only logged: the run has started, and the next tick tries again."""
    try:
        await client.purge_instance_history_by(_LONG_AGO, now - HISTORY_KEPT, _FINISHED)
    except Exception:  # noqa: BLE001 - the client raises nothing more special
        _LOG.exception("the history of old runs was not purged")


async def _is_running(client: df.DurableOrchestrationClient, instance_id: str) -> bool:
    status = await client.get_status(instance_id)
    return bool(status) and status.runtime_status is not None and status.runtime_status.name in RUNNING


Json = dict[str, Any]


class Run(msgspec.Struct):
    """A run so far.

    Attributes:
        until: key of the newest window to evaluate.
        after: key of the window it evaluated last, None at first.
        caught_up: how many of the windows it evaluated had never been evaluated before.
    """

    until: str
    after: str | None = None
    caught_up: int = 0


def evaluate_windows(context: df.DurableOrchestrationContext) -> Generator[Any, Any, dict[str, Any]]:
    """Orchestrate a run: deterministic, with side effects only in activities."""
    run = msgspec.convert(context.get_input(), Run)
    plan = yield context.call_activity_with_retry("plan_window", RETRY, {"run": _json(run)})
    if plan is None:
        yield context.call_activity_with_retry("purge_expired", RETRY, {})
        return _json(run)
    shards = [{"plan": plan, "shard": shard} for shard in range(plan["shards"])]
    results = yield context.task_all(
        [context.call_activity_with_retry("evaluate_shard", RETRY, shard) for shard in shards]
    )
    conclusion = yield context.call_activity_with_retry(
        "conclude_window",
        RETRY,
        {"plan": plan, "shards": results, "windows_caught_up": run.caught_up},
    )
    if not conclusion["recorded"]:  # another run is at it, and later windows cannot be judged without this one
        return _json(run)
    first_time = plan["etag"] is None
    run = Run(run.until, plan["window_end"], run.caught_up + first_time)
    if plan.get("is_last"):  # which a run that an earlier release began does not tell
        yield context.call_activity_with_retry("purge_expired", RETRY, {})
    else:
        context.continue_as_new(_json(run))
    return _json(run)


def plan_window(evaluator: Evaluator, work: Json) -> Json | None:
    """Plan the next due window, as an activity; None when none is due."""
    run = msgspec.convert(work["run"], Run)
    plan = evaluator.plan(time_of(run.until), time_of(run.after) if run.after else None)
    return None if plan is None else _json(plan)


def evaluate_shard(evaluator: Evaluator, work: Json) -> Json:
    """Evaluate one shard, as an activity."""
    return _json(evaluator.evaluate_shard(msgspec.convert(work["plan"], Plan), work["shard"]))


def measure_health(_: Evaluator, work: Json) -> Json:
    """Refuse an activity of runs that an earlier release began: they fail, and the next tick evaluates their window.

    Raises:
        StorageError: always. An activity that nobody knows would keep such a run for ever.
    """
    raise StorageError(f"the window {work['plan']['window_end']} was planned by an earlier release.")


def conclude_window(evaluator: Evaluator, work: Json, now: datetime) -> Json:
    """Post the findings and the heartbeat and record the window, as an activity.

    What time it is when it runs, and not when it was asked for: that may have been hours ago.
    """
    plan = msgspec.convert(work["plan"], Plan)
    progress = RunProgress(work["windows_caught_up"], plan.windows_skipped, reevaluated=plan.etag is not None)
    conclusion = evaluator.conclude(plan, msgspec.convert(work["shards"], list[Parcel]), progress, now)
    _LOG.info("window %s concluded: %s", plan.window_end, conclusion)
    return _json(conclusion)


def purge_expired(evaluator: Evaluator, _: Json, now: datetime) -> int:
    """Delete what no evaluation needs any more, as an activity; return the number of rows."""
    return evaluator.purge(now)


def _json(value: msgspec.Struct) -> Json:
    built: Json = msgspec.to_builtins(value)
    return built
