"""Runs function_app.py as it is deployed, on this machine: the part that the Functions host plays in Azure.

Microsoft's worker library indexes and calls the functions, a task hub in memory runs the orchestrations, and the
clock stands where it is put. Storage and the ingestion endpoint are whatever the settings name.
"""

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self
from unittest.mock import patch

from detectors.events import Event
from local.durable import Encoding, InstanceResult, Status, TaskHub, through
from local.event_hub import trigger_input
from local.protos import TypedData
from local.worker import FunctionError, Worker

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "local.settings.sample.json"

_log = logging.getLogger(__name__)


class OrchestrationError(Exception):
    """A run of the evaluation failed; in Azure the next tick takes its windows up again."""


def sample_settings() -> dict[str, str]:
    """Return the values of local.settings.sample.json: the settings of a local run unless others are given."""
    values: dict[str, str] = json.loads(SAMPLE.read_text())["Values"]
    return values


def queue_encoding() -> Encoding:
    """How host.json has the messages of the orchestration encoded."""
    storage = json.loads((ROOT / "host.json").read_text())["extensions"]["durableTask"]["storageProvider"]
    encoding: Encoding = storage["queueClientMessageEncoding"]
    return encoding


class LocalHost:
    """One life of the app. Its state is in storage, so another life goes on where this one ended.

    Args:
        settings: over those of the sample.
        now: where the clock stands at first.
        shuffle: makes the task hub take steps in random order.
        sleep: waits some seconds, before a batch is handed over again.
    """

    def __init__(
        self,
        settings: Mapping[str, str],
        now: datetime,
        shuffle: Random | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.now = now
        self._sleep = sleep
        self._settings = {**sample_settings(), **settings}
        self._shuffle = shuffle
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.enter_context(patch.dict(os.environ, self._settings))
            self._runner = undo.enter_context(asyncio.Runner())
            self._worker = Worker(ROOT)
            self._runner.run(self._worker.start())
            undo.callback(lambda: self._runner.run(self._worker.stop()))
            self._hub = TaskHub(
                through(self._worker, queue_encoding()), shuffle=self._shuffle, on_advance=self._set_clock
            )
            self._runner.run(self._hub.start())
            undo.callback(lambda: self._runner.run(self._hub.stop()))
            self.app.detector.clock = lambda: self.now
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._undo.close()

    @property
    def app(self) -> Any:  # noqa: ANN401 - the module function_app, as the worker loaded it
        """The loaded function_app module."""
        return self._worker.module

    @property
    def worker(self) -> Worker:
        """What calls the functions."""
        return self._worker

    @property
    def instances(self) -> Mapping[str, InstanceResult]:
        """The orchestration instances, by id."""
        return self._hub.instances

    def invoke_ingest(self, partition: int, events: Sequence[Event], *, retry_count: int = 0) -> None:
        """Call the function once with a batch. Raises `FunctionError` if it failed."""
        hub, group = self._settings["EVENT_HUB_NAME"], self._settings["EVENT_HUB_CONSUMER_GROUP"]
        data, metadata = trigger_input(hub, group, partition, events)
        self._runner.run(self._worker.invoke("ingest", {"events": data}, metadata, retry_count=retry_count))

    def ingest(self, partition: int, events: Sequence[Event]) -> int:
        """Hand over a batch until it is taken, without end, as the retry policy does; how many calls that took."""
        failed = 0
        while True:
            try:
                self.invoke_ingest(partition, events, retry_count=failed)
            except FunctionError as error:
                failed += 1
                self._hold_back(partition, events, failed, error)
            else:
                return failed + 1

    def _hold_back(self, partition: int, events: Sequence[Event], failed: int, error: FunctionError) -> None:
        """Say that a partition is stuck, and wait as long as the function's retry policy says."""
        policy = self._worker.functions["ingest"].retry
        assert policy is not None
        seconds = policy.backoff(failed).total_seconds()
        _log.warning(
            "Partition %d is stuck at events %d to %d: %s\n"
            "Call %d failed. Azure too would try without end, and count nothing behind them: next call in %d s.",
            *(partition, events[0].sequence, events[-1].sequence, error, failed, seconds),
        )
        self._sleep(seconds)

    def fire_timer(self) -> None:
        """Call the timer function: it creates a run, which has not begun yet."""
        self._hub.now = self.now
        client = TypedData(string=self._hub.client_binding())
        self._runner.run(self._worker.invoke("schedule_evaluation", {"timer": _timer(self.now), "client": client}))

    def run_orchestrations(self) -> list[InstanceResult]:
        """Run what has been created to its end."""
        return self._runner.run(self._hub.run_pending(self.now))

    def tick(self, now: datetime) -> list[InstanceResult]:
        """Put the clock there, fire the timer and run the evaluation.

        Raises:
            OrchestrationError: a run failed, with its message.
        """
        self.now = now
        self.fire_timer()
        results = self.run_orchestrations()
        for result in results:
            if result.status is Status.FAILED:
                raise OrchestrationError(f"{result.instance_id}: {result.output}")
        return results

    def _set_clock(self, now: datetime) -> None:
        self.now = max(self.now, now)


def _timer(now: datetime) -> TypedData:
    at = now.astimezone(UTC).isoformat()
    status = {"Last": at, "Next": at, "LastUpdated": at}
    return TypedData(
        json=json.dumps({"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": False})
    )
