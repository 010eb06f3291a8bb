"""Runs a function app in this process, on Microsoft's worker library, without the Functions host.

The host's side of the conversation is played here: start, index, load, invoke. Everything past it is
`azure_functions_runtime`, the library that does the same in Azure, so indexing, bindings, conversions
and error reports are the real ones.

Errors:

    WorkerError
    ├── WorkerStartError    the app could not be indexed
    └── FunctionError       a function call failed
"""

import asyncio
import importlib
import json
import sys
import uuid
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import azure_functions_runtime as library
from azure.durable_functions.models.utils import http_utils

from local import protos
from local.protos import TypedData

MODULE_NAME = "function_app"


class WorkerError(Exception):
    """An error the function app reported, with the stack it reported."""

    def __init__(self, message: str, stack: str = "") -> None:
        super().__init__(message)
        self.stack = stack


class WorkerStartError(WorkerError):
    """The function app could not be indexed; the message is the app's own error."""


class FunctionError(WorkerError):
    """A function call failed; the message is `ErrorType: text` of what the function raised."""


@dataclass(frozen=True, slots=True)
class RetryOptions:
    """The retry policy of a function; `max_retry_count` -1 means without end."""

    strategy: str
    max_retry_count: int
    delay_interval: timedelta | None = None
    minimum_interval: timedelta | None = None
    maximum_interval: timedelta | None = None

    def backoff(self, failed: int) -> timedelta:
        """Give the wait after so many failed calls in a row: the least at first, then doubled up to the most."""
        assert self.minimum_interval is not None
        assert self.maximum_interval is not None
        return min(self.minimum_interval * (1 << min(failed - 1, 20)), self.maximum_interval)  # more would overflow


@dataclass(frozen=True, slots=True)
class FunctionInfo:
    """One indexed function: its bindings as function.json would list them, and its retry policy."""

    name: str
    function_id: str
    bindings: list[dict[str, Any]]
    retry: RetryOptions | None

    @property
    def trigger(self) -> dict[str, Any]:
        """Give the binding that starts the function; the library indexes exactly one."""
        return next(binding for binding in self.bindings if binding["type"].endswith("Trigger"))


class Worker:
    """One life of the host's worker process, started from an app's directory.

    To restart the host, stop the worker and start a new one: function_app.py is imported afresh and
    reads the environment again. The modules it imports stay loaded. The library keeps its functions
    and threads in module globals, so only one worker runs at a time in a process.
    """

    _running: ClassVar["Worker | None"] = None

    def __init__(self, app_directory: Path) -> None:
        self.functions: dict[str, FunctionInfo] = {}
        self._directory = app_directory.resolve()
        self._undo = AsyncExitStack()
        self._module: ModuleType | None = None

    @property
    def module(self) -> ModuleType:
        """Give the function_app module this worker loaded."""
        if self._module is None:
            raise RuntimeError("the worker has not started")
        return self._module

    async def start(self) -> None:
        """Index and load every function of the app.

        Raises:
            WorkerStartError: function_app.py is missing, or its import or indexing failed.
            RuntimeError: another worker of this process has not been stopped.
        """
        if Worker._running is not None:
            raise RuntimeError("another worker runs in this process; stop it first")
        async with AsyncExitStack() as undo:
            self._claim_process(undo)
            self.functions = await self._index()
            self._module = sys.modules[MODULE_NAME]
            self._undo = undo.pop_all()

    async def stop(self) -> None:
        """End the worker and leave the process as it was before it started."""
        await self._undo.aclose()

    async def invoke(
        self,
        name: str,
        inputs: dict[str, TypedData],
        metadata: dict[str, TypedData] | None = None,
        *,
        retry_count: int = 0,
    ) -> object:
        """Run one function and give its return value as it travels to the host.

        Activities and orchestrators return a str of JSON, as the durable extension gets it; other
        functions the str, bytes or number itself; None when nothing is returned.

        Args:
            name: The function's name.
            inputs: Each input binding's value, by the binding's name.
            metadata: The trigger metadata, as the trigger's extension sends it.
            retry_count: How many attempts under the retry policy came before this one.

        Raises:
            FunctionError: The function, or the conversion of its inputs, failed.
            KeyError: The app has no such function.
        """
        function = self.functions[name]
        most = function.retry.max_retry_count if function.retry else 0
        call = SimpleNamespace(
            invocation_id=str(uuid.uuid4()),
            function_id=function.function_id,
            input_data=[protos.ParameterBinding(key, value) for key, value in inputs.items()],
            trigger_metadata=metadata or {},
            trace_context=SimpleNamespace(trace_parent="", trace_state="", attributes={}),
            retry_context=SimpleNamespace(retry_count=retry_count, max_retry_count=most, exception=None),
        )
        response = await library.invocation_request(_message(invocation_request=call))
        _require_success(response.result, FunctionError)
        return None if response.return_value is None else response.return_value.value

    def _claim_process(self, undo: AsyncExitStack) -> None:
        """Change what the library shares with the process, noting in `undo` how to change it back."""
        Worker._running = self
        undo.callback(setattr, Worker, "_running", None)
        # In front, or the function_app of the repository or of an earlier worker would be found.
        sys.path.insert(0, str(self._directory))
        undo.callback(sys.path.remove, str(self._directory))
        importlib.invalidate_caches()
        sys.modules.pop(MODULE_NAME, None)
        undo.callback(sys.modules.pop, MODULE_NAME, None)
        library.start_threadpool_executor()
        undo.callback(library.stop_threadpool_executor)
        undo.push_async_callback(_close_durable_session)

    async def _index(self) -> dict[str, FunctionInfo]:
        """Have the library index the app, and load what it found."""
        start = SimpleNamespace(capabilities={}, function_app_directory=str(self._directory))
        response = await library.worker_init_request(_message(worker_init_request=start))
        _require_success(response.result, WorkerStartError)
        response = await library.functions_metadata_request(_message())
        if response.function_metadata_results is None:
            raise WorkerStartError(f"there is no {MODULE_NAME}.py in {self._directory}")
        functions = {found.name: _function_info(found) for found in response.function_metadata_results}
        for function in functions.values():
            load = SimpleNamespace(function_id=function.function_id)
            response = await library.function_load_request(_message(function_load_request=load))
            _require_success(response.result, WorkerStartError)
        return functions


def _message(**body: SimpleNamespace) -> SimpleNamespace:
    """Wrap a request the way the library expects it from its gRPC channel."""
    properties = {"protos": protos, "host": "127.0.0.1"}
    return SimpleNamespace(request=SimpleNamespace(**body), properties=properties)


def _require_success(result: protos.StatusResult, error: type[WorkerError]) -> None:
    """Raise the app's error as `error` if the library reports one."""
    if result.status != protos.StatusResult.Success:
        raise error(result.exception.message, result.exception.stack_trace)


def _function_info(found: protos.RpcFunctionMetadata) -> FunctionInfo:
    """Read what the library indexed for one function."""
    return FunctionInfo(
        name=found.name,
        function_id=found.function_id,
        bindings=[json.loads(binding) for binding in found.raw_bindings],
        retry=RetryOptions(**_retry_fields(found.retry_options)) if found.retry_options else None,
    )


def _retry_fields(options: protos.RpcRetryOptions) -> dict[str, Any]:
    """Rename the policy's fields; the wire calls the strategy `retry_strategy`."""
    fields = dict(vars(options))
    return {"strategy": fields.pop("retry_strategy"), **fields}


async def _close_durable_session() -> None:
    """Close the HTTP session of the durable client.

    The SDK opens one per process, bound to the event loop of the first call, and relies on the end of
    the process to close it. A restarted worker may run on another loop, for which its lock is renewed.
    """
    await http_utils._close_session()  # noqa: SLF001 - the SDK offers no public way
    http_utils._session_lock = asyncio.Lock()  # noqa: SLF001 - likewise
