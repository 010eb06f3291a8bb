"""A small HTTP server on loopback that hands each request to one function: what the stand-ins for Azure stand on."""

import socket
import ssl
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from threading import Thread
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Incoming:
    """One request as it arrived; `target` is its path and query."""

    method: str
    target: str
    headers: Message
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to be sent."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""


class LoopbackServer(ThreadingTCPServer):
    """HTTP server on a free loopback port that leaves no socket and no thread behind.

    Args:
        answer: Called for each request, in its connection's thread; None drops the connection unanswered.
        tls: Makes it an HTTPS server.
    """

    request_queue_size = 128

    def __init__(self, answer: Callable[[Incoming], Answer | None], tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        if tls:
            # The handshake waits for the connection's own thread, so that a slow client holds up no other.
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.answer = answer
        self.port: int = self.server_address[1]
        self._connections: set[socket.socket] = set()
        self._failures: list[Exception] = []
        self._accepting = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close every connection.

        Raises:
            ExceptionGroup: What `answer` raised, since its caller saw no more than a lost connection.
        """
        self.shutdown()
        self._accepting.join()
        for connection in list(self._connections):
            with suppress(OSError):  # its client may have closed it this moment
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        self.server_close()
        if self._failures:
            raise ExceptionGroup("a loopback server failed to answer", self._failures)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as in its base
        """Remember the connection, which may idle until the server closes."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - as in its base
        """Forget the connection."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, *_: object) -> None:
        """Keep the error for the end, unless the client only went away or distrusts the certificate."""
        error = sys.exception()
        if isinstance(error, Exception) and not isinstance(error, ConnectionError | ssl.SSLError):
            self._failures.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections alive
    # Headers and body leave together and at once: in two packets, Nagle's algorithm and the client's delayed
    # acknowledgement cost 40 ms a request.
    wbufsize = -1
    disable_nagle_algorithm = True
    server: LoopbackServer

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = self.server.answer(Incoming(self.command, self.path, self.headers, body))
        if answer is None:
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    # The base class looks methods up by these names.
    do_DELETE = do_GET = do_HEAD = do_MERGE = do_PATCH = do_POST = do_PUT = _answer  # noqa: N815 - see above

    def log_message(self, *_: object) -> None:
        """Say nothing: the terminal belongs to the tests."""
