"""The local task hub: real orchestrators of the toy app, run by the real worker in virtual time."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from local.durable import InstanceResult, Kind, Status, TaskHub, UnsupportedActionError, through
from local.durable_execution import Execution
from local.durable_history import Timer
from local.protos import TypedData
from local.virtual_queue import VirtualQueue
from local.worker import FunctionError, Worker

pytestmark = [
    # The SDK tells once in a process that it decodes JSON untyped, which the activity binding always does.
    pytest.mark.filterwarnings("ignore:azure.functions df_loads was called:DeprecationWarning"),
    # The SDK's client asks aiohttp for what Python does by itself from 3.13.1 on.
    pytest.mark.filterwarnings("ignore:enable_cleanup_closed ignored:DeprecationWarning"),
]

TOY_APP = Path(__file__).parent / "toyapp"
TEN = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_GREETING", "hello")


class Host:
    """A worker with a task hub, and the calls the tests make through the app's own functions."""

    def __init__(self, worker: Worker, hub: TaskHub, clock: list[datetime]) -> None:
        self.worker = worker
        self.hub = hub
        self.clock = clock

    @property
    def seen(self) -> list[Any]:
        """Give what the app's functions have noted."""
        seen: list[Any] = self.worker.module.SEEN
        return seen

    async def call(self, name: str, message: object) -> None:
        """Send a queue message to a function that has a durable client."""
        text = message if isinstance(message, str) else json.dumps(message)
        client = TypedData(string=self.hub.client_binding())
        await self.worker.invoke(name, {"message": TypedData(string=text), "client": client})

    async def tick(self) -> None:
        """Fire the timer function."""
        client = TypedData(string=self.hub.client_binding())
        await self.worker.invoke("tick", {"timer": TypedData(json='{"IsPastDue": false}'), "client": client})

    async def begin(self, name: str, value: object = None, instance_id: str | None = None) -> None:
        """Start an orchestrator through the durable client."""
        await self.call("begin", {"name": name, "id": instance_id, "input": value})

    async def run(self, name: str, value: object = None) -> InstanceResult:
        """Start one orchestrator and run it to its end."""
        await self.begin(name, value)
        (result,) = await self.hub.run_pending(TEN)
        return result


def with_host[Result](
    use: Callable[[Host], Awaitable[Result]],
    *,
    seed: int | None = None,
    spy: Callable[[Host, str, Kind], Awaitable[None]] | None = None,
) -> Result:
    """Start a worker and a task hub at ten o'clock, use them, and stop them; `spy` sees every call, `seed` shuffles."""

    async def live() -> Result:
        worker, clock = Worker(TOY_APP), list[datetime]()
        run = through(worker)

        async def invoke(name: str, kind: Kind, payload: str) -> str:
            if spy:
                await spy(host, name, kind)
            return await run(name, kind, payload)

        shuffle = None if seed is None else random.Random(seed)
        hub = TaskHub(invoke, shuffle=shuffle, on_advance=clock.append)
        hub.now = TEN
        host = Host(worker, hub, clock)
        await worker.start()
        await hub.start()
        try:
            return await use(host)
        finally:
            await hub.stop()
            await worker.stop()

    return asyncio.run(live())


def test_started_orchestration_runs_its_fan_out_to_the_end() -> None:
    """What the durable client starts with an input comes back with its output, in virtual time."""

    async def use(host: Host) -> InstanceResult:
        await host.begin("fan_out", [1, 2, 3], "mine")
        assert host.seen == ["mine"]
        assert host.hub.instances["mine"].status is Status.PENDING
        (result,) = await host.hub.run_pending(TEN + HOUR)
        assert host.hub.instances == {"mine": result}
        return result

    result = with_host(use)
    assert result.status is Status.COMPLETED
    assert result.output == {"doubled": [2, 4, 6], "at": "2026-11-23T11:00:00+00:00"}
    assert (result.name, result.created_at, result.updated_at) == ("fan_out", TEN, TEN + HOUR)


def test_activities_of_a_fan_out_run_at_the_same_time() -> None:
    """Three that wait for each other only ever meet when none waits for another's end."""

    async def use(host: Host) -> object:
        return (await host.run("gathering")).output

    assert with_host(use) == [0, 1, 2]


def test_nothing_is_run_twice() -> None:
    """A finished instance is not run again by the next call, nor given again."""

    async def use(host: Host) -> None:
        await host.run("fan_out", [1])
        assert await host.hub.run_pending(TEN + HOUR) == []

    with_host(use)


def test_failed_activity_is_retried_after_its_delay() -> None:
    """Two failures cost two delays of virtual time, during which the rest of the fan-out is done."""

    async def use(host: Host) -> object:
        output = (await host.run("persistent", {"key": "a", "failures": 2})).output
        assert host.clock == [TEN + MINUTE, TEN + 2 * MINUTE]
        return output

    assert with_host(use) == ["attempt 3", 8, 10, "2026-11-23T10:02:00+00:00"]


def test_orchestration_fails_when_the_attempts_run_out() -> None:
    """After the last attempt there is a delay too, as the framework has it, and then the failure."""

    async def use(host: Host) -> InstanceResult:
        result = await host.run("persistent", {"key": "a", "failures": 9})
        assert host.worker.module.ATTEMPTS == {"a": 3}
        return result

    result = with_host(use)
    assert result.status is Status.FAILED
    assert "Activity function 'flaky' failed:  ConnectionError: attempt 3 refused" in str(result.output)
    assert result.updated_at == TEN + 3 * MINUTE


@pytest.mark.parametrize("hours", [3, 24 * 8])
def test_timer_moves_the_clock_and_nothing_sleeps(hours: int) -> None:
    """An orchestration wakes at the due time; beyond six days the SDK chains shorter timers."""

    async def use(host: Host) -> object:
        output = (await host.run("sleepy", hours)).output
        assert host.clock[-1] == host.hub.now == TEN + hours * HOUR
        return output

    assert with_host(use) == (TEN + hours * HOUR).isoformat()


def test_timer_in_the_past_fires_at_once() -> None:
    """The clock does not go back for it."""

    async def use(host: Host) -> object:
        output = (await host.run("sleepy", -1)).output
        assert host.clock == []
        return output

    assert with_host(use) == TEN.isoformat()


def test_first_of_any_wins_and_a_cancelled_timer_moves_no_clock() -> None:
    """An activity in time beats the timer, which never fires; the orchestration outlives it."""

    async def use(host: Host) -> object:
        output = (await host.run("racing", {"key": "a", "failures": 0, "minutes": 5})).output
        assert host.clock == [TEN + HOUR]
        return output

    assert with_host(use) == "attempt 1"


def test_end_waits_for_what_has_been_called() -> None:
    """The timer wins against a retry, which is made all the same; only then has the orchestration ended."""

    async def use(host: Host) -> InstanceResult:
        result = await host.run("racing", {"key": "a", "failures": 1, "minutes": 5})
        assert host.clock == [TEN + 5 * MINUTE, TEN + 10 * MINUTE]
        assert host.worker.module.ATTEMPTS == {"a": 2}
        return result

    result = with_host(use)
    assert (result.output, result.updated_at) == ("late", TEN + 10 * MINUTE)


def test_failure_waits_for_what_has_been_called() -> None:
    """A call of a fan-out fails, and the others run to their end before the orchestration fails."""

    async def use(host: Host) -> InstanceResult:
        result = await host.run("several", {"wait": "all", "calls": [[1, 0], [2, 3]]})
        assert host.worker.module.ATTEMPTS == {"0": 1, "1": 3}
        return result

    result = with_host(use)
    assert result.status is Status.FAILED
    assert "attempt 1 refused" in str(result.output)
    assert result.updated_at == TEN + 2 * MINUTE


def test_continue_as_new_begins_a_fresh_history_under_the_same_id() -> None:
    """Each generation gets the new input and a new time of creation; only the last one's end is given."""

    async def use(host: Host) -> InstanceResult:
        await host.begin("countdown", 2, "rocket")
        (result,) = await host.hub.run_pending(TEN)
        assert host.seen == ["rocket", 2, 1, 0]
        return result

    result = with_host(use)
    assert (result.instance_id, result.output) == ("rocket", "lift-off")
    assert result.created_at == TEN + 2 * HOUR


@pytest.mark.parametrize("name", ["fickle", "forgetful"])
def test_non_deterministic_orchestrator_fails(name: str) -> None:
    """A replay that changes or omits what was scheduled is found out, as it would be in Azure."""

    async def use(host: Host) -> InstanceResult:
        return await host.run(name)

    result = with_host(use)
    assert result.status is Status.FAILED
    assert str(result.output).startswith("Non-Deterministic workflow detected: ")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("failing", 1, "Activity function 'flaky' failed:  ConnectionError: attempt 1 refused"),
        ("failing", 0, "Orchestrator function 'failing' failed: nothing else to do"),
        ("no_such_orchestrator", None, "The function 'no_such_orchestrator' doesn't exist, is disabled"),
        ("double", None, "The function 'double' doesn't exist, is disabled, or is not an orchestrator"),
    ],
)
def test_failing_orchestration_is_a_result_with_its_message(name: str, value: object, message: str) -> None:
    """Errors of the app are told in the result, without the SDK's state dump, and are not raised."""

    async def use(host: Host) -> InstanceResult:
        return await host.run(name, value)

    result = with_host(use)
    assert result.status is Status.FAILED
    assert message in str(result.output)
    assert "OutOfProcData" not in str(result.output)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("parent", "'parent' uses call_sub_orchestrator"),
        ("mistaken", "no activity 'no_such_activity': the extension waits without end"),
    ],
)
def test_unplayed_feature_is_refused_by_name(name: str, message: str) -> None:
    """A sub-orchestration, or an activity that a release has renamed, is not quietly left waiting."""

    async def use(host: Host) -> None:
        with pytest.raises(UnsupportedActionError, match=message):
            await host.run(name)

    with_host(use)


def test_unplayed_client_call_is_refused_by_name() -> None:
    """Raising an event fails in the function that does it."""

    async def use(host: Host) -> None:
        with pytest.raises(FunctionError, match="501"):
            await host.call("signal", "mine")

    with_host(use)


def test_timer_function_leaves_a_running_evaluation_alone() -> None:
    """The client's status is none, then pending, then completed, and a completed one is replaced."""

    async def use(host: Host) -> list[Any]:
        await host.tick()
        await host.tick()
        first = await host.hub.run_pending(TEN)
        await host.tick()
        second = await host.hub.run_pending(TEN + HOUR)
        assert [r.instance_id for r in first + second] == ["evaluation", "evaluation"]
        return host.seen

    statuses = [status for _, status in with_host(use)]
    completed = "OrchestrationRuntimeStatus.Completed"
    assert statuses == ["None", "OrchestrationRuntimeStatus.Pending", completed]


def test_status_shows_times_input_and_output() -> None:
    """The durable client parses the status of an instance, and finds an unknown one to be none."""

    async def use(host: Host) -> list[Any]:
        await host.begin("sleepy", 1, "mine")
        await host.hub.run_pending(TEN)
        await host.call("inspect", "mine")
        await host.call("inspect", "nobody's")
        return host.seen

    _, status, unknown = with_host(use)
    assert unknown is None
    assert status == {
        "name": "sleepy",
        "instanceId": "mine",
        "runtimeStatus": "Completed",
        "input": "1",
        "output": "2026-11-23T11:00:00+00:00",
        "customStatus": None,
        "history": None,
        "createdTime": "2026-11-23T10:00:00.000000Z",
        "lastUpdatedTime": "2026-11-23T11:00:00.000000Z",
    }


def test_unfinished_instance_cannot_be_started_again() -> None:
    """A pending one and a running one are refused in the extension's words; a finished one is replaced."""

    async def start_again(host: Host, name: str, _kind: Kind) -> None:
        if name == "note":
            with pytest.raises(FunctionError, match="instance with the status Running already exists"):
                await host.begin("chatty", "b", "mine")

    async def use(host: Host) -> list[Any]:
        await host.begin("chatty", "a", "mine")
        with pytest.raises(FunctionError, match="instance with the status Pending already exists"):
            await host.begin("chatty", "b", "mine")
        await host.hub.run_pending(TEN)
        await host.begin("sleepy", 1, "mine")
        assert host.hub.instances["mine"].name == "sleepy"
        return host.seen

    assert with_host(use, spy=start_again) == ["mine", "a0", "a1", "a2", "mine"]


def test_instance_created_during_a_run_joins_it() -> None:
    """What starts while another runs is run too, not left for the next time."""

    async def start_another(host: Host, name: str, _kind: Kind) -> None:
        if name == "fan_out" and "other" not in host.hub.instances:
            await host.begin("chatty", "x", "other")

    async def use(host: Host) -> list[InstanceResult]:
        await host.begin("fan_out", [1], "mine")
        return await host.hub.run_pending(TEN)

    results = with_host(use, spy=start_another)
    assert [(r.instance_id, r.status) for r in results] == [
        ("mine", Status.COMPLETED),
        ("other", Status.COMPLETED),
    ]


def test_purge_removes_by_time_of_creation_and_status() -> None:
    """Both ends of the time are included, other statuses stay, and the number is told."""

    async def use(host: Host) -> list[Any]:
        for hour, name in enumerate(["fan_out", "failing", "fan_out", "fan_out"]):
            host.hub.now = TEN + hour * HOUR
            await host.begin(name, [1], f"{name}-{hour}")
            await host.hub.run_pending(host.hub.now)
        host.seen.clear()
        span = {"from": TEN.isoformat(), "to": (TEN + 2 * HOUR).isoformat()}
        await host.call("purge", {**span, "statuses": ["Completed"]})
        assert list(host.hub.instances) == ["failing-1", "fan_out-3"]
        await host.call("purge", {**span, "statuses": ["Completed", "Running"]})
        await host.call("purge", {**span, "statuses": []})
        assert list(host.hub.instances) == ["fan_out-3"]
        return host.seen

    assert with_host(use) == [2, 0, 1]


def test_purge_without_a_status_takes_a_running_instance_with_it() -> None:
    """Azure Storage does so: the instance gets no further events, and is no result."""

    async def purge_all(host: Host, name: str, _kind: Kind) -> None:
        if name == "note":
            day = {"from": "2026-11-23", "to": "2026-11-24"}
            await host.call("purge", {**day, "statuses": []})

    async def use(host: Host) -> list[Any]:
        await host.begin("chatty", "a", "mine")
        assert await host.hub.run_pending(TEN) == []
        assert host.hub.instances == {}
        return host.seen

    assert with_host(use, spy=purge_all) == ["mine", 1, "a0"]


@pytest.mark.parametrize(("name", "value", "last_run"), [("sleepy", 1, 2), ("countdown", 1, 3), ("failing", 1, 2)])
def test_instance_purged_while_its_orchestrator_runs_stays_away(name: str, value: object, last_run: int) -> None:
    """Neither its end, its next generation nor its failure brings it back."""
    runs: list[str] = []

    async def purge_in_last_run(host: Host, _name: str, kind: Kind) -> None:
        if kind == "orchestration":
            runs.append(kind)
            if len(runs) == last_run:
                await host.call("purge", {"from": "2026-11-23", "to": "2026-11-24", "statuses": []})

    async def use(host: Host) -> None:
        await host.begin(name, value)
        assert await host.hub.run_pending(TEN) == []
        assert host.hub.instances == {}

    with_host(use, spy=purge_in_last_run)
    assert len(runs) == last_run


def overlapping(seed: int | None) -> list[str]:
    """Run three orchestrations that overlap, and give the order in which they said their things."""

    async def use(host: Host) -> list[str]:
        for name in "abc":
            await host.begin("chatty", name, name)
        host.seen.clear()
        results = await host.hub.run_pending(TEN)
        assert [result.status for result in results] == [Status.COMPLETED] * 3
        return host.seen

    return with_host(use, seed=seed)


def test_instances_take_turns() -> None:
    """Overlapping evaluations really overlap, step by step."""
    assert overlapping(None) == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]


def test_shuffle_varies_the_interleaving_and_repeats_for_a_seed() -> None:
    """Each instance keeps its own order, whatever the order among them."""
    orders = [overlapping(seed) for seed in range(4)]
    assert len({tuple(order) for order in orders}) > 1
    assert overlapping(2) == orders[2]
    for order in orders:
        assert [said for said in order if said.startswith("a")] == ["a0", "a1", "a2"]


def test_shuffle_varies_the_order_of_completion() -> None:
    """Which of several activities is done first is chance, and still the same for a seed."""

    async def use(host: Host) -> object:
        return (await host.run("sprint")).output

    winners = [with_host(use, seed=seed) for seed in range(6)]
    assert len({str(winner) for winner in winners}) > 1
    assert with_host(use, seed=5) == winners[5]
    assert with_host(use) == 0


def test_activities_nobody_waits_for_any_more_still_run() -> None:
    """What an orchestrator has called is done, though it has ended with the first result."""
    called: list[str] = []

    async def note_call(_host: Host, name: str, _kind: Kind) -> None:
        called.append(name)

    async def use(host: Host) -> None:
        await host.run("sprint")

    with_host(use, seed=1, spy=note_call)
    assert called.count("double") == 4


def test_shuffle_delivers_some_outcomes_together() -> None:
    """The orchestrator runs once for several of them, as it does in Azure when they come while it is busy."""

    def runs(seed: int | None) -> int:
        kinds: list[Kind] = []

        async def note_kind(_host: Host, _name: str, kind: Kind) -> None:
            kinds.append(kind)

        async def use(host: Host) -> object:
            return (await host.run("fan_out", [1, 2, 3, 4])).output

        assert with_host(use, seed=seed, spy=note_kind) == {"doubled": [2, 4, 6, 8], "at": TEN.isoformat()}
        return kinds.count("orchestration")

    assert runs(None) == 5
    assert min(runs(seed) for seed in range(6)) < 5


def test_results_of_a_shuffled_fan_out_are_in_the_order_of_the_calls() -> None:
    """task_all puts them back, whatever the order of completion."""

    async def use(host: Host) -> object:
        return (await host.run("fan_out", list(range(6)))).output

    outputs = [with_host(use, seed=seed) for seed in range(3)]
    assert outputs == [{"doubled": [0, 2, 4, 6, 8, 10], "at": TEN.isoformat()}] * 3


def test_hub_that_has_not_started_has_no_client_binding() -> None:
    """There is no port to name yet."""

    async def invoke(_name: str, _kind: Kind, _payload: str) -> str:
        return ""

    with pytest.raises(RuntimeError, match="has not started"):
        TaskHub(invoke).client_binding()


def test_history_tells_what_has_been_played() -> None:
    """Only the events since the last run are new to the orchestrator."""
    execution = Execution("mine", 1, "sleepy", "1")
    execution.start(TEN)
    action = {"actionType": 5, "fireAt": "2026-11-23T11:00:00.000000Z", "isCanceled": False}
    (timer,) = execution.accept([action], TEN)
    assert isinstance(timer, Timer)
    assert execution.deliver([timer], TEN + HOUR) == []
    history = json.loads(execution.request())["history"]
    assert [(event["EventType"], event["IsPlayed"]) for event in history] == [
        (12, True),
        (0, True),
        (10, True),
        (13, True),
        (12, False),
        (11, False),
    ]


def test_queue_gives_together_only_what_is_due_now_and_alike() -> None:
    """A later item and another kind stay; the clock moves on to what is taken and never back."""
    moments: list[datetime] = []
    queue = VirtualQueue[str](None, moments.append)
    queue.advance(TEN)
    for item, due in [("late", TEN - HOUR), ("a1", TEN), ("a2", TEN), ("b1", TEN), ("a3", TEN + HOUR)]:
        queue.push(item, due)
    assert queue.take(bool) == "late"
    assert queue.take_beside(lambda item: item.startswith("a")) == ["a1", "a2"]
    assert queue.take(bool) == "b1"
    assert queue.take_beside(lambda item: item.startswith("a")) == []
    assert queue.take(bool) == "a3"
    assert queue.take(bool) is None
    assert moments == [TEN, TEN + HOUR]


def test_shuffled_queue_gives_one_at_a_time() -> None:
    """Things that ran together would have no order to repeat."""
    queue = VirtualQueue[str](random.Random(1), None)
    queue.push("a1")
    queue.push("a2")
    assert queue.take_beside(bool) == []


def test_shuffled_queue_gives_some_of_what_is_due_and_alike_together() -> None:
    """Sometimes none, sometimes all; what is due later, of another kind or left over stays in its place."""
    sizes = set()
    for seed in range(20):
        queue = VirtualQueue[str](random.Random(seed), None)
        queue.advance(TEN)
        for item, due in [("a1", TEN), ("a2", TEN), ("b1", TEN), ("a3", TEN + HOUR)]:
            queue.push(item, due)
        together = queue.take_some(lambda item: item.startswith("a"))
        assert set(together) <= {"a1", "a2"}
        left = [queue.take(bool) for _ in range(4 - len(together))]
        assert sorted([*together, *map(str, left)]) == ["a1", "a2", "a3", "b1"]
        sizes.add(len(together))
    assert sizes == {0, 1, 2}


def test_queue_that_is_not_shuffled_gives_nothing_together() -> None:
    """Tests that look at single episodes get them."""
    queue = VirtualQueue[str](None, None)
    queue.push("a1")
    assert queue.take_some(bool) == []
