"""What the real Durable extension did, recorded in durable_facts.json, and what the local task hub does instead.

Either they do the same, or the task hub refuses what Azure would change, or never finish.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from azure.durable_functions.models.actions.ActionType import ActionType

from local.durable import Encoding, InstanceResult, Kind, TaskHub, UnfitResultError, UnsupportedActionError, through
from local.durable_execution import Execution
from local.durable_history import ActivityCall, ActivityOutcome, Done, Timer
from local.worker import Worker

FACTS: dict[str, Any] = json.loads((Path(__file__).parent / "durable_facts.json").read_text())
TOY_APP = Path(__file__).parent / "toyapp"
TEN = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
TRACE = "Traceback (most recent call last):\n  File ...\n"

pytestmark = [
    pytest.mark.filterwarnings("ignore:azure.functions df_loads was called:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:enable_cleanup_closed ignored:DeprecationWarning"),
]


class Hub:
    """A task hub with the toy app, reached as the extension is: by HTTP.

    Attributes:
        requests: what the orchestrator was last given.
    """

    def __init__(self, worker: Worker, encoding: Encoding) -> None:
        self.requests: list[dict[str, Any]] = []
        self.during: Callable[[], Awaitable[None]] | None = None
        self._run = through(worker, encoding)
        self.tasks = TaskHub(self._invoke)
        self.tasks.now = TEN

    async def _invoke(self, name: str, kind: Kind, payload: str) -> str:
        if kind == "orchestration":
            self.requests.append(json.loads(payload))
        elif self.during:
            await self.during()
        return await self._run(name, kind, payload)

    async def call(self, method: str, path: str, body: object = None) -> list[Any]:
        """Ask the endpoint; the status and the text of its answer, without the instance's id."""
        base = json.loads(self.tasks.client_binding())["rpcBaseUrl"]
        async with aiohttp.ClientSession() as session, session.request(method, base + path, json=body) as answer:
            return [answer.status, (await answer.text()).replace("mine", "ID").replace(": ", ":", 1)]

    async def run(self, name: str, value: object) -> InstanceResult:
        """Run an orchestrator to its end."""
        await self.call("POST", f"orchestrators/{name}/mine", json.dumps(value))
        (result,) = await self.tasks.run_pending(TEN)
        return result


def with_hub[Result](use: Callable[[Hub], Awaitable[Result]], encoding: Encoding = "UTF8") -> Result:
    """Start the toy app and a task hub, use them, and stop them."""

    @asynccontextmanager
    async def started() -> Any:  # noqa: ANN401 - a generator of one hub
        worker = Worker(TOY_APP)
        await worker.start()
        hub = Hub(worker, encoding)
        await hub.tasks.start()
        try:
            yield hub
        finally:
            await hub.tasks.stop()
            await worker.stop()

    async def live() -> Result:
        async with started() as hub:
            return await use(hub)

    return asyncio.run(live())


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_GREETING", "hello")


def _arrives(fact: dict[str, Any]) -> bool:
    """Whether the extension gave an activity's result to the orchestrator as it was; it gives no text for null."""
    return "read" in fact and json.loads(fact["read"] or "null") == json.loads(fact["returned"])


@pytest.mark.parametrize("fact", FACTS["results"], ids=lambda fact: fact["returned"][:20])
def test_a_result_arrives_or_is_refused(fact: dict[str, Any]) -> None:
    """As it was; what the extension changes, fails on or waits for without end is refused."""

    async def use(hub: Hub) -> object:
        return (await hub.run("relay", fact["returned"])).output

    if _arrives(fact):
        assert json.loads(str(with_hub(use))) == json.loads(fact["returned"])
    else:
        with pytest.raises(UnfitResultError, match="the activity 'parrot' does not reach its reader"):
            with_hub(use)


def test_base64_carries_what_text_does_not() -> None:
    """Of all that is refused it cures one thing: characters that no queue takes as text."""

    async def use(hub: Hub) -> object:
        return (await hub.run("relay", fact["returned"])).output

    cured = set()
    for fact in FACTS["results"]:
        if not _arrives(fact):
            try:
                assert json.loads(str(with_hub(use, "Base64"))) == json.loads(fact["returned"])
                cured.add(fact["returned"])
            except UnfitResultError:
                continue
    assert cured == {fact["returned"] for fact in FACTS["results"] if fact.get("status_after_20_s") == "Running"}
    assert len(cured) == 1


def _execution() -> Execution:
    """Return an activity that fails once and is retried: every kind of event is in its history."""
    execution = Execution("mine", 1, "several", "null")
    execution.start(TEN)
    retry = {"firstRetryIntervalInMilliseconds": 1000, "maxNumberOfAttempts": 2}
    name = FACTS["failure"]["activity"]
    action = {"actionType": ActionType.CALL_ACTIVITY_WITH_RETRY, "functionName": name, "input": "1"}
    (call,) = execution.accept([action | {"retryOptions": retry}], TEN)
    assert isinstance(call, ActivityCall)
    failed = ActivityOutcome(failure=FACTS["failure"]["raised"], stack=TRACE)
    (timer,) = execution.deliver([Done(call, failed)], TEN)
    assert isinstance(timer, Timer)
    (again,) = execution.deliver([timer], TEN + timedelta(seconds=1))
    assert isinstance(again, ActivityCall)
    execution.deliver([Done(again, ActivityOutcome(result="1"))], TEN)
    return execution


def _shape(value: object) -> object:
    if isinstance(value, dict):
        return {name: _shape(inner) for name, inner in value.items()}
    return type(value).__name__


def test_the_request_of_an_orchestrator_has_the_recorded_members() -> None:
    """The SDK goes by some of them, such as the version of the schema."""
    request = json.loads(_execution().request())
    assert {name: value for name, value in request.items() if name not in {"history", "instanceId", "input"}} == (
        FACTS["request"]
    )


def test_events_have_the_recorded_members() -> None:
    """Of the recorded kinds; the input of an activity is not kept in its event."""
    found = {}
    for event in json.loads(_execution().request())["history"]:
        found[str(event["EventType"])] = {name: type(value).__name__ for name, value in event.items()}
        assert len(event["Timestamp"]) == len(FACTS["timestamp"])
    assert found == FACTS["event_members"]


def test_a_failure_is_told_in_the_recorded_form() -> None:
    """A reason with two spaces, and details that are the JSON of an exception with the trace inside."""
    history = json.loads(_execution().request())["history"]
    (failed,) = (event for event in history if "Reason" in event)
    details, fact = json.loads(failed["Details"]), FACTS["failure"]
    assert failed["Reason"] == fact["reason"]
    assert _shape(details) == fact["details"]
    assert details["Message"] == fact["message"]
    assert details["InnerException"]["Message"].startswith(fact["inner_message_begins"])


@pytest.mark.parametrize("fact", FACTS["last_histories"], ids=lambda fact: json.dumps(fact["calls"]))
def test_an_execution_ends_with_the_recorded_events(fact: dict[str, Any]) -> None:
    """It has ended when all that it called has, retries too, though a call has failed or won before."""

    async def use(hub: Hub) -> Counter[str]:
        await hub.run("several", fact)
        history = hub.requests[-1]["history"]
        return Counter(str(event["EventType"]) for event in history if event["EventType"] not in {12, 13})

    assert with_hub(use) == fact["events"]


@pytest.mark.parametrize(
    ("name", "value", "fact"),
    [
        ("fickle", None, "non_deterministic"),
        ("forgetful", None, "non_deterministic"),
        ("no_such_orchestrator", None, "unknown_orchestrator"),
        ("failing", 0, "raised"),
    ],
)
def test_the_output_of_a_failure_begins_as_recorded(name: str, value: object, fact: str) -> None:
    """Searches in the log go by these words."""

    async def use(hub: Hub) -> str:
        return str((await hub.run(name, value)).output)

    expected = FACTS["outputs"][fact].replace("NAME", name).replace("afterwards", "nothing else to do")
    assert with_hub(use).startswith(expected)


def test_an_unknown_activity_is_refused_where_the_extension_waits() -> None:
    """A release that renames one stops the runs under way, and the extension says nothing."""

    async def use(hub: Hub) -> None:
        with pytest.raises(UnsupportedActionError, match="no_such_activity"):
            await hub.run("mistaken", None)

    assert FACTS["unknown_activity_status_after_15_s"] == "Running"
    with_hub(use)


@pytest.mark.parametrize("status", ["Pending", "Running"])
def test_a_start_over_an_unfinished_instance_is_refused_as_recorded(status: str) -> None:
    """By status and text."""
    assert _meanwhile(status, "POST", "orchestrators/chatty/mine", json.dumps("b")) == FACTS["start_over"][status]


@pytest.mark.parametrize("status", ["Running", "Completed"])
def test_one_instance_is_purged_or_not_as_recorded(status: str) -> None:
    """A running one is kept; by time it goes, see the other tests."""
    assert _meanwhile(status, "DELETE", "instances/mine") == FACTS["purge"][status]


def test_a_purge_of_nothing_is_answered_as_recorded() -> None:
    """As not found, without a word."""

    async def use(hub: Hub) -> list[Any]:
        return await hub.call("DELETE", "instances/nobodys")

    assert with_hub(use) == FACTS["purge"]["missing"]


def _meanwhile(status: str, method: str, path: str, body: object = None) -> list[Any]:
    """Return what the endpoint answers while an instance has a status."""

    async def use(hub: Hub) -> list[Any]:
        answers: list[list[Any]] = []

        async def ask() -> None:
            answers.append(await hub.call(method, path, body))

        await hub.call("POST", "orchestrators/chatty/mine", json.dumps("a"))
        if status == "Pending":
            await ask()
        hub.during = ask if status == "Running" else None
        await hub.tasks.run_pending(TEN)
        if status == "Completed":
            await ask()
        return answers[0]

    return with_hub(use)
