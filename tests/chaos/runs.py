"""Runs of the orchestration as the Durable extension runs it: activity by activity, with results as JSON.

They overlap, are delivered once more to another host, or go on after hours.
"""

import json
from collections.abc import Generator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from detectors import orchestration
from detectors.errors import DetectorError
from detectors.evaluator import Evaluator
from detectors.windows import bucket_start, key_of
from tests.activities import carry_out

ATTEMPTS = 4
"""How often an activity is tried; there are fewer than in Azure, so that runs fail."""


class Call(NamedTuple):
    """An activity that an orchestrator asks for, its input as JSON."""

    activity: str
    work: str


@dataclass
class Context:
    """What the orchestrator sees of the Durable extension."""

    given: str
    following: str = ""

    def get_input(self) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.given)

    def call_activity_with_retry(self, name: str, _: object, work: object) -> Call:
        return Call(name, json.dumps(work))

    def task_all(self, calls: list[Call]) -> list[Call]:
        return calls

    def continue_as_new(self, work: object) -> None:
        self.following = json.dumps(work)


class Run:
    """A run of the orchestration."""

    def __init__(self, until: datetime) -> None:
        self.until = key_of(bucket_start(until))
        self.is_over = False
        self._attempts = 0
        self._begin(json.dumps({"until": self.until}))

    def go_on(self, evaluator: Evaluator, now: datetime) -> None:
        """Carry out the next activity; a run ends when one has failed too often."""
        call, result, failed = self._calls[len(self._results)], None, False
        try:
            result = carry_out(call.activity, evaluator, json.loads(call.work), now)
        except DetectorError:
            failed = True
        if len(self._results) == len(self._calls) or self._calls[len(self._results)] is not call:
            return  # it was delivered twice, and the other host was faster
        self._attempts = self._attempts + 1 if failed else 0
        self.is_over = self._attempts == ATTEMPTS
        if failed:
            return
        self._results.append(json.loads(json.dumps(result)))
        if len(self._results) == len(self._calls):
            self._resume(self._results if self._fans_out else self._results[0])

    def _begin(self, given: str) -> None:
        self._context = Context(given)
        self._steps: Generator[Any, Any, Any] = orchestration.evaluate_windows(self._context)
        self._resume(None)

    def _resume(self, results: object) -> None:
        try:
            asked = self._steps.send(results)
        except StopIteration:
            self.is_over = not self._context.following
            if self._context.following:
                self._begin(self._context.following)
            return
        self._fans_out = isinstance(asked, list)
        self._calls: list[Call] = asked if isinstance(asked, list) else [asked]
        self._results: list[Any] = []
