"""The local worker: a function app in this process, on Microsoft's worker library."""

import asyncio
import json
import sys
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from local import protos
from local.protos import TypedData
from local.worker import FunctionError, RetryOptions, Worker, WorkerStartError

# The SDK tells once in a process that it decodes JSON untyped, which the activity binding always does.
pytestmark = pytest.mark.filterwarnings("ignore:azure.functions df_loads was called:DeprecationWarning")

TOY_APP = Path(__file__).parent / "toyapp"


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_GREETING", "hello")


def with_worker[Result](use: Callable[[Worker], Awaitable[Result]], directory: Path = TOY_APP) -> Result:
    """Start a worker on a loop of its own, use it and stop it."""

    async def live() -> Result:
        worker = Worker(directory)
        await worker.start()
        try:
            return await use(worker)
        finally:
            await worker.stop()

    return asyncio.run(live())


def batch(*bodies: bytes) -> tuple[dict[str, TypedData], dict[str, TypedData]]:
    """Make the input and metadata of an Event Hubs batch, as far as the worker library reads them."""
    numbers = range(100, 100 + len(bodies))
    system = [{"SequenceNumber": n, "Offset": str(n), "EnqueuedTimeUtc": "2026-11-23T00:10:00"} for n in numbers]
    metadata = {
        "SequenceNumberArray": protos.collection_sint64(numbers),
        "OffsetArray": protos.collection_string(str(n) for n in numbers),
        "PartitionKeyArray": protos.collection_string([]),
        "EnqueuedTimeUtcArray": TypedData(json=json.dumps([row["EnqueuedTimeUtc"] for row in system])),
        "SystemPropertiesArray": TypedData(json=json.dumps(system)),
    }
    return {"events": protos.collection_bytes(bodies)}, metadata


def queue_message(text: str) -> dict[str, TypedData]:
    """Make the input of a queue trigger."""
    return {"message": TypedData(string=text)}


def test_start_indexes_every_function_with_its_bindings() -> None:
    """The functions are those of the app, with bindings parsed from what the library sends the host."""

    async def use(worker: Worker) -> None:
        assert {"ingest", "greet", "tick", "fan_out", "double"} <= worker.functions.keys()
        client, trigger = worker.functions["tick"].bindings
        assert trigger["type"] == "timerTrigger"
        assert trigger["schedule"] == "0 */5 * * * *"
        assert client == {"direction": "IN", "type": "durableClient", "name": "client"}
        assert worker.functions["tick"].trigger == trigger

    with_worker(use)


def test_retry_policy_of_a_function_is_indexed() -> None:
    """A function with a retry policy shows it, one without shows none."""

    async def use(worker: Worker) -> None:
        assert worker.functions["ingest"].retry == RetryOptions(
            strategy="exponential_backoff",
            max_retry_count=5,
            minimum_interval=timedelta(seconds=2),
            maximum_interval=timedelta(minutes=1),
        )
        assert worker.functions["greet"].retry is None

    with_worker(use)


def test_binary_event_hub_batch_arrives_with_its_metadata() -> None:
    """Bytes that are no text arrive as they are, each event with its own sequence number."""

    async def use(worker: Worker) -> object:
        inputs, metadata = batch(b"\xff\xfe", b'{"records":[]}')
        await worker.invoke("ingest", inputs, metadata, retry_count=2)
        return worker.module.SEEN

    assert with_worker(use) == [(b"\xff\xfe", 100, 2), (b'{"records":[]}', 101, 2)]


def test_failed_function_raises_its_error_with_the_stack() -> None:
    """The host would see the same message and stack."""

    async def use(worker: Worker) -> None:
        inputs, metadata = batch(b"fine", b"poison")
        with pytest.raises(FunctionError, match=r"^ValueError: this event is poison$") as caught:
            await worker.invoke("ingest", inputs, metadata)
        assert "in ingest_batch" in caught.value.stack
        assert "ValueError: this event is poison" in caught.value.stack

    with_worker(use)


def test_sync_function_runs_in_a_thread_of_the_pool() -> None:
    """A function that is not async must not block the event loop."""

    async def use(worker: Worker) -> object:
        await worker.invoke("greet", queue_message("Ada"))
        return worker.module.SEEN

    assert with_worker(use) == [("hello", "Ada", True)]


def test_return_value_is_the_json_that_travels_to_the_host() -> None:
    """An activity's value is the text the durable extension gets; a function without one gives None."""

    async def use(worker: Worker) -> tuple[object, object]:
        doubled = await worker.invoke("double", {"number": TypedData(json="21")})
        return doubled, await worker.invoke("greet", queue_message("Ada"))

    assert with_worker(use) == ("42", None)


def test_unknown_function_is_a_key_error() -> None:
    """A misspelt name is the caller's error, not the function's."""

    async def use(worker: Worker) -> None:
        with pytest.raises(KeyError, match="gret"):
            await worker.invoke("gret", {})

    with_worker(use)


def test_restart_imports_the_app_afresh_and_keeps_its_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second life reads the environment again and has none of the first one's state."""

    async def use(worker: Worker) -> Any:  # noqa: ANN401 - a module's attributes are untyped
        await worker.invoke("greet", queue_message("Ada"))
        return worker.module

    first = with_worker(use)
    monkeypatch.setenv("TOY_GREETING", "goodbye")
    second = with_worker(use)
    assert [seen[0] for seen in first.SEEN] == ["hello"]
    assert [seen[0] for seen in second.SEEN] == ["goodbye"]
    assert first.func is second.func


def test_start_error_carries_the_message_of_the_app() -> None:
    """Bad settings stop the start with the app's own words, and the next start is not harmed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TOY_GREETING")
        with pytest.raises(WorkerStartError, match=r"^ToySettingsError: TOY_GREETING is missing") as caught:
            with_worker(_nothing)
    assert "function_app.py" in caught.value.stack
    with_worker(_nothing)


def test_directory_without_an_app_cannot_start(tmp_path: Path) -> None:
    """The library would silently index nothing."""
    with pytest.raises(WorkerStartError, match=r"there is no function_app\.py in"):
        with_worker(_nothing, tmp_path)


def test_apps_of_other_directories_do_not_mix(tmp_path: Path) -> None:
    """The next worker finds its own function_app.py and none of the last one's functions."""
    (tmp_path / "function_app.py").write_text(
        "import azure.functions as func\n"
        "app = func.FunctionApp()\n"
        "@app.function_name('alone')\n"
        "@app.queue_trigger(arg_name='message', queue_name='q', connection='Q')\n"
        "def alone(message: func.QueueMessage) -> None: ...\n"
    )

    async def names(worker: Worker) -> set[str]:
        return set(worker.functions)

    assert "alone" not in with_worker(names)
    assert with_worker(names, tmp_path) == {"alone"}
    assert "alone" not in with_worker(names)


def test_app_is_found_before_another_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The repository has a function_app.py of its own, which tests can import."""
    (tmp_path / "function_app.py").write_text("raise AssertionError('this is not the app')")
    monkeypatch.syspath_prepend(tmp_path)
    with_worker(_nothing)


@pytest.mark.parametrize("greeting", ["hello", ""])
def test_process_is_left_as_it_was(greeting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a life nor a failed start leaves a path, a module or a thread behind."""
    monkeypatch.setenv("TOY_GREETING", greeting)
    before = list(sys.path), threading.enumerate()

    async def use(worker: Worker) -> None:
        await worker.invoke("greet", queue_message("Ada"))

    if greeting:
        with_worker(use)
    else:
        with pytest.raises(WorkerStartError):
            with_worker(use)
    assert (sys.path, threading.enumerate()) == before
    assert "function_app" not in sys.modules


def test_second_worker_at_the_same_time_is_refused() -> None:
    """Both would share the library's globals and the module name."""

    async def use(worker: Worker) -> None:
        with pytest.raises(RuntimeError, match="another worker runs"):
            await Worker(TOY_APP).start()
        assert await worker.invoke("double", {"number": TypedData(json="1")}) == "2"

    with_worker(use)


def test_module_of_a_worker_that_has_not_started_is_refused() -> None:
    """There is nothing to show yet."""
    with pytest.raises(RuntimeError, match="has not started"):
        _ = Worker(TOY_APP).module


def test_typed_data_holds_one_value_at_most() -> None:
    """Protobuf's oneof would drop the others."""
    with pytest.raises(TypeError, match="got json, string"):
        TypedData(string="a", json="1")
    assert TypedData(string=None).WhichOneof("data") is None


async def _nothing(_worker: Worker) -> None:
    """Use the worker for nothing."""
