"""A run of the evaluation: each due window in order, each shard once, and the next run where this one ends."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from azure.durable_functions import OrchestrationRuntimeStatus

from detectors import evaluator, orchestration
from detectors.errors import StorageError
from detectors.orchestration import HISTORY_KEPT, RETRY, RUNNING, Run, evaluate_windows, start
from detectors.windows import BUCKET, key_of
from tests.activities import carry_out
from tests.builders import START
from tests.deployment import Deployment

type Json = dict[str, Any]


@dataclass
class Context:
    """A run that calls its activities at once.

    Attributes:
        evaluator: what they are about.
        given: the input.
        called: the activities, in order.
        again: what the next run is started with.
        result: what it returned.
        meanwhile: what happens before a window is concluded.
    """

    evaluator: Any
    given: Json
    now: datetime
    called: list[tuple[str, Json]] = field(default_factory=list)
    again: Json | None = None
    result: Json = field(default_factory=dict)
    meanwhile: Callable[[], object] = lambda: None

    def get_input(self) -> Json:
        return self.given

    def call_activity_with_retry(self, name: str, retry: object, work: Json) -> object:
        assert retry is RETRY
        self.called.append((name, work))
        if name == "conclude_window":
            self.meanwhile()
        return carry_out(name, self.evaluator, work, self.now)

    def task_all(self, results: list[object]) -> list[object]:
        return results

    def continue_as_new(self, given: Json) -> None:
        self.again = given


def _run(deployment: Deployment, given: Json, now: datetime, meanwhile: Callable[[], object] = lambda: None) -> Context:
    context = Context(deployment.evaluator, given, now, meanwhile=meanwhile)
    steps: Any = evaluate_windows(context)
    result = ended = None
    while ended is None:
        try:
            result = steps.send(result)
        except StopIteration as end:
            ended = end.value
    context.result = ended
    return context


def _runs(deployment: Deployment, now: datetime) -> list[Context]:
    """All runs that one tick leads to."""
    given: Json | None = {"until": key_of(now), "after": None, "caught_up": 0}
    runs = []
    while given is not None:
        runs.append(_run(deployment, given, now))
        given = runs[-1].again
    return runs


def test_a_run_posts_what_its_steps_post() -> None:
    """Through JSON and back, as activities hand things on."""
    by_runs, by_steps = Deployment(), Deployment()
    for deployment in (by_runs, by_steps):
        deployment.receive(START + timedelta(minutes=5), 120)
    for tick in range(1, 8):
        _runs(by_runs, START + tick * BUCKET)
        by_steps.tick(START + tick * BUCKET)
    assert by_runs.posted.course() == by_steps.posted.course()
    assert [status for _, status, _ in by_runs.posted.course()] == ["New", *["Ongoing"] * 5, "Closed"]


def test_a_window_is_planned_fanned_out_and_concluded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each shard once; and after the newest window nothing is planned again."""
    monkeypatch.setattr(evaluator, "shards_for", lambda size: 3 if size else 1)
    deployment = Deployment()
    deployment.receive(START, 1)
    (run,) = _runs(deployment, START + BUCKET)
    assert [name for name, _ in run.called] == [
        "plan_window",
        *["evaluate_shard"] * 3,
        "conclude_window",
        "purge_expired",
    ]
    assert [work["shard"] for name, work in run.called if name == "evaluate_shard"] == [0, 1, 2]
    assert run.result == {"until": key_of(START + BUCKET), "after": key_of(START + BUCKET), "caught_up": 1}


def test_where_no_window_is_due_only_what_is_old_is_purged() -> None:
    """As when a finished run is started again."""
    deployment = Deployment()
    _runs(deployment, START + BUCKET)
    (run,) = _runs(deployment, START + BUCKET)
    assert [name for name, _ in run.called] == ["plan_window", "purge_expired"]


def test_a_run_that_an_earlier_release_began_goes_on_as_it_was_begun() -> None:
    """Its plan does not tell that it is the last: so another one is asked for, as the history has it."""
    deployment = Deployment()
    context = Context(deployment.evaluator, {"until": key_of(START), "after": None, "caught_up": 0}, START)
    steps: Any = evaluate_windows(context)
    plan = next(steps)
    del plan["is_last"]
    conclusion = steps.send(steps.send(plan))
    with pytest.raises(StopIteration):
        steps.send(conclusion)
    assert context.again == {"until": key_of(START), "after": key_of(START), "caught_up": 1}
    assert "purge_expired" not in [name for name, _ in context.called]


def test_missed_windows_are_caught_up_in_order_and_counted() -> None:
    """One run each, so that no history grows long."""
    deployment = Deployment()
    deployment.tick(START)
    runs = _runs(deployment, START + 3 * BUCKET)
    assert [run.result["after"] for run in runs if not run.again] == [key_of(START + 3 * BUCKET)]
    assert [run.again["after"] for run in runs if run.again] == [key_of(START + n * BUCKET) for n in (1, 2)]
    assert [(run.again or run.result)["caught_up"] for run in runs] == [1, 2, 3]


@pytest.mark.parametrize("late", [0, 300])
def test_a_run_that_another_one_overtook_ends_if_its_window_is_not_recorded_from_what_it_planned(late: int) -> None:
    """Later windows cannot be judged without it. Where both planned the same it goes on, as after a lost answer."""
    deployment, end = Deployment(), START + 2 * BUCKET
    deployment.receive(START, 120)
    deployment.tick(START)

    def overtake() -> None:
        if late:
            deployment.receive(START + timedelta(minutes=1), late)
        deployment.step(end, START)

    overtaken = _run(deployment, {"until": key_of(end), "after": None, "caught_up": 0}, end, overtake)
    assert (overtaken.result["after"] is None) is bool(late)
    deployment.tick(end)
    assert [(status, count) for _, status, count in deployment.posted.course()] == [
        ("New", 120 + late),
        ("Ongoing", 120 + late),
    ]


def test_a_window_that_is_evaluated_again_is_not_one_that_was_missed() -> None:
    """Late records, or another state before it."""
    deployment = Deployment()
    deployment.tick(START + BUCKET)
    deployment.make_due(START + BUCKET)
    (run,) = _runs(deployment, START + BUCKET)
    assert run.result["caught_up"] == 0


@dataclass
class Client:
    """A durable client that knows one status and writes down what it is told."""

    status: object
    purging_fails: bool = False
    started: list[tuple[str, str, Json]] = field(default_factory=list)
    purged: list[datetime] = field(default_factory=list)

    async def get_status(self, instance_id: str) -> object:
        assert instance_id == f"evaluate-{key_of(START)}"
        return self.status

    async def start_new(self, name: str, instance_id: str, given: Json) -> None:
        self.started.append((name, instance_id, given))

    async def purge_instance_history_by(self, _: datetime, until: datetime, __: object) -> None:
        self.purged.append(until)
        if self.purging_fails:
            raise ConnectionError("the task hub is away")


def _status(name: str) -> object:
    return SimpleNamespace(runtime_status=OrchestrationRuntimeStatus[name])


def _started(client: Client) -> str:
    return asyncio.run(start(client, START + timedelta(seconds=45)))


@pytest.mark.parametrize(
    "status", [None, SimpleNamespace(runtime_status=None), _status("Completed"), _status("Failed")]
)
def test_a_tick_starts_the_run_of_its_window_and_drops_old_history(status: object) -> None:
    """Also one that ran before, which finds nothing to do."""
    client = Client(status)
    assert _started(client) == f"evaluate-{key_of(START)}"
    assert client.started == [("evaluate_windows", f"evaluate-{key_of(START)}", _as_json(Run(key_of(START))))]
    assert client.purged == [START + timedelta(seconds=45) - HISTORY_KEPT]


def _as_json(run: Run) -> Json:
    return {"until": run.until, "after": run.after, "caught_up": run.caught_up}


@pytest.mark.parametrize("name", sorted(RUNNING))
def test_a_run_that_is_under_way_is_left_alone(name: str) -> None:
    """The timer may fire twice."""
    client = Client(_status(name))
    assert _started(client) == f"evaluate-{key_of(START)}"
    assert (client.started, client.purged) == ([], [])


def test_a_run_goes_on_though_old_history_cannot_be_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """The next tick tries again."""
    client = Client(None, purging_fails=True)
    _started(client)
    assert len(client.started) == 1
    assert "the history of old runs was not purged" in caplog.text


def test_what_a_run_of_an_earlier_release_still_asks_for_fails() -> None:
    """So that it ends, and the next tick evaluates its window; unanswered it would run for ever."""
    deployment = Deployment()
    with pytest.raises(StorageError, match="earlier release"):
        orchestration.measure_health(deployment.evaluator, {"plan": {"window_end": key_of(START)}})
