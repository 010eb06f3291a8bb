"""A loopback reverse proxy in front of Azurite that fails when told to, for tests of storage faults."""

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection, HTTPException
from threading import Lock
from typing import Final, Self

from local.azurite import ACCOUNT, Azurite, connection_string
from local.loopback import Answer, Incoming, LoopbackServer

READS: Final = frozenset({"GET", "HEAD"})
WRITES: Final = frozenset({"DELETE", "MERGE", "PATCH", "POST", "PUT"})

# The codes by which azure-data-tables chooses its exception.
# https://learn.microsoft.com/rest/api/storageservices/table-service-error-codes
_CODES: Final = {
    409: "EntityAlreadyExists",
    412: "UpdateConditionNotSatisfied",
    500: "InternalError",
    503: "ServerBusy",
}
# These belong to one connection, and each side of the proxy has its own (RFC 9110, section 7.6.1).
_HOP_BY_HOP: Final = frozenset({"connection", "content-length", "keep-alive", "transfer-encoding"})
_UPSTREAM_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Refuse:
    """Storage answers with an error and applies nothing."""

    status: int
    methods: frozenset[str] = READS | WRITES


@dataclass(frozen=True, slots=True)
class LoseResponse:
    """Storage applies the request, and the connection breaks before the answer."""

    methods: frozenset[str] = READS | WRITES


@dataclass(frozen=True, slots=True)
class CallBefore:
    """`action` runs before storage gets the request: another owner's write makes a true 412 of it."""

    action: Callable[[], object]
    methods: frozenset[str] = READS | WRITES


type Fault = Refuse | LoseResponse | CallBefore


@dataclass(frozen=True, slots=True)
class Call:
    """One request to storage, each retry of a client its own.

    `status` is what storage or the fault said, None when storage was down; `lost` tells that the client never
    heard it.
    """

    method: str
    path: str
    status: int | None
    lost: bool


class FaultyStorage:
    """Reverse proxy of `azurite` whose faults are scripted; without any it passes everything through."""

    def __init__(self, azurite: Azurite) -> None:
        self.requests: list[Call] = []
        self._azurite = azurite
        self._faults: deque[Fault] = deque()
        self._lock = Lock()
        self._server = LoopbackServer(self._answer)

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.__exit__(*error)

    @property
    def connection_string(self) -> str:
        """Leads through the proxy; the signature holds, for it covers the path and not the host."""
        return connection_string(f"http://127.0.0.1:{self._server.port}/{ACCOUNT}")

    @property
    def writes(self) -> int:
        """How many requests wrote, a batch counting once."""
        return sum(call.method in WRITES for call in self.requests)

    @property
    def reads(self) -> int:
        """How many requests read, each page of a query counting once."""
        return sum(call.method in READS for call in self.requests)

    @property
    def pending(self) -> int:
        """How many faults no request has met yet: a test that wants them all ends with none."""
        return len(self._faults)

    def script(self, *faults: Fault) -> None:
        """Queue faults; each request meets the first in the queue that is for its method, and uses it up."""
        with self._lock:
            self._faults.extend(faults)

    def clear(self) -> None:
        """Forget the requests so far and the faults still queued."""
        with self._lock:
            self._faults.clear()
            self.requests.clear()

    def _answer(self, request: Incoming) -> Answer | None:
        fault = self._take(request.method)
        if isinstance(fault, CallBefore):
            fault.action()
        answer = _refusal(fault.status) if isinstance(fault, Refuse) else self._forward(request)
        lost = answer is None or isinstance(fault, LoseResponse)
        status = answer.status if answer else None
        # Before the answer leaves, so that whoever has it finds it in the log.
        self.requests.append(Call(request.method, request.target.partition("?")[0], status, lost))
        return None if lost else answer

    def _take(self, method: str) -> Fault | None:
        with self._lock:
            fault = next((fault for fault in self._faults if method in fault.methods), None)
            if fault:
                self._faults.remove(fault)
            return fault

    def _forward(self, request: Incoming) -> Answer | None:
        # A new connection a request costs under a millisecond; a kept one would break when Azurite restarts,
        # and sending again what may have been applied is the client's decision.
        upstream = HTTPConnection("127.0.0.1", self._azurite.port, timeout=_UPSTREAM_SECONDS)
        try:
            upstream.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
            for name, value in _end_to_end(request.headers).items():
                upstream.putheader(name, value)
            upstream.putheader("Content-Length", str(len(request.body)))
            upstream.endheaders(request.body)
            response = upstream.getresponse()
            return Answer(response.status, _end_to_end(response.headers), response.read())
        except (OSError, HTTPException):
            return None  # storage is down, which its client sees as a lost connection
        finally:
            upstream.close()


def _end_to_end(headers: Message) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}


def _refusal(status: int) -> Answer:
    message = {"lang": "en-US", "value": "This fault is scripted."}
    body = {"odata.error": {"code": _CODES.get(status, "ScriptedFault"), "message": message}}
    return Answer(status, {"Content-Type": "application/json"}, json.dumps(body).encode())
