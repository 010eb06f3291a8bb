"""Azure Monitor on loopback: the Logs Ingestion API and the identity endpoint whose tokens it takes.

The deployed code runs against it unmodified, with the real clients over TLS: `Monitor.environment` is all it
needs. The API's contract: https://learn.microsoft.com/azure/azure-monitor/logs/logs-ingestion-api-overview
"""

import base64
import gzip
import json
import math
import re
import secrets
import ssl
import tempfile
import time
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from threading import Lock
from typing import Final, NoReturn, Self
from urllib.parse import parse_qs, urlsplit

import trustme

from local.loopback import Answer, Incoming, LoopbackServer

LIMIT_BYTES: Final = 1024 * 1024

_PATH: Final = re.compile(r"/dataCollectionRules/(?P<rule>[^/]+)/streams/(?P<stream>[^/]+)")
_RESOURCE: Final = "https://monitor.azure.com"
_TOKEN_SECONDS: Final = 24 * 3600

type Row = dict[str, object]


class Scripted(Enum):
    """What can be scripted besides an answer in place of the API's own."""

    NORMAL = "apply and answer as without a script"
    LOST = "apply, and break the connection before the answer"


@dataclass(frozen=True, slots=True)
class Upload:
    """One request to the API; `status` is what was answered, or would have been when the answer was lost."""

    path: str
    wire_bytes: int
    plain_bytes: int
    status: int


class _RefusedError(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.answer = _json_answer(status, {"error": {"code": code, "message": message}})


class Monitor:
    """The Logs Ingestion API over TLS and App Service's identity endpoint over HTTP, each on a free port.

    Args:
        streams: The rule's streams by name; a stream with columns (name -> KQL type) refuses rows that do not
            fit them, one with None takes any object.
    """

    def __init__(self, streams: Mapping[str, Mapping[str, str] | None]) -> None:
        unknown = {kind for columns in streams.values() for kind in (columns or {}).values()} - _FITS.keys()
        if unknown:
            raise ValueError(f"unknown column types {sorted(unknown)}: use {', '.join(_FITS)}")
        self.rows: dict[str, list[Row]] = {stream: [] for stream in streams}
        self.requests: list[Upload] = []
        self.rule_id = f"dcr-{secrets.token_hex(16)}"
        self.authority = trustme.CA()
        self._streams = streams
        self._identity_header = secrets.token_urlsafe()
        self._tokens: dict[str, str] = {}
        self._script: deque[Answer | Scripted] = deque()
        self._lock = Lock()
        self._resources = ExitStack()
        self._authority_file = Path()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert("localhost", "127.0.0.1").configure_cert(tls)
        self._ingestion = LoopbackServer(self._ingest, tls)
        self._identity = LoopbackServer(self._identify)

    def __enter__(self) -> Self:
        with ExitStack() as resources:
            folder = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="monitor-")))
            self._authority_file = folder / "authority.pem"
            self.authority.cert_pem.write_to_path(self._authority_file)
            resources.enter_context(self._ingestion)
            resources.enter_context(self._identity)
            self._resources = resources.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._resources.close()

    @property
    def pending(self) -> int:
        """How many scripted answers no request has met yet: a test that wants them all ends with none."""
        return len(self._script)

    def environment(self) -> dict[str, str]:
        """Return what the deployed code needs in its environment to take this for Azure.

        azure-core's transport is requests, which reads REQUESTS_CA_BUNDLE and not SSL_CERT_FILE. The file
        replaces the public authorities, so that with it nothing but loopback can be trusted.
        """
        return {
            "LOGS_INGESTION_ENDPOINT": f"https://127.0.0.1:{self._ingestion.port}",
            "LOGS_INGESTION_RULE_ID": self.rule_id,
            "IDENTITY_ENDPOINT": f"http://127.0.0.1:{self._identity.port}/msi/token",
            "IDENTITY_HEADER": self._identity_header,
            "REQUESTS_CA_BUNDLE": str(self._authority_file),
        }

    def script(self, *answers: Answer | Scripted) -> None:
        """Queue answers of the ingestion API, one for each request to come; an `Answer` applies nothing."""
        with self._lock:
            self._script.extend(answers)

    def _ingest(self, request: Incoming) -> Answer | None:
        # One request at a time, so that rows and requests are in the same order.
        with self._lock:
            scripted = self._script.popleft() if self._script else Scripted.NORMAL
            plain = request.body
            try:
                plain = _plain(request)
                answer = scripted if isinstance(scripted, Answer) else self._apply(request, plain)
            except _RefusedError as refused:
                answer = refused.answer
            path = urlsplit(request.target).path
            self.requests.append(Upload(path, len(request.body), len(plain), answer.status))
        return None if scripted is Scripted.LOST else answer

    def _apply(self, request: Incoming, plain: bytes) -> Answer:
        url = urlsplit(request.target)
        if request.headers["Authorization"] != f"Bearer {self._token(_RESOURCE)}":
            raise _RefusedError(401, "InvalidToken", f"the token is not one for {_RESOURCE}")
        if parse_qs(url.query).get("api-version") != ["2023-01-01"]:
            raise _RefusedError(400, "InvalidApiVersion", "the API's version is 2023-01-01")
        path = _PATH.fullmatch(url.path)
        if request.method != "POST" or path is None or path["rule"] != self.rule_id:
            raise _RefusedError(404, "NotFound", "there is no data collection rule with this immutable id")
        if path["stream"] not in self._streams:
            raise _RefusedError(400, "InvalidStream", f"stream {path['stream']} was not configured")
        if max(len(request.body), len(plain)) > LIMIT_BYTES:
            raise _RefusedError(413, "ContentLengthLimitExceeded", f"a body has at most {LIMIT_BYTES} bytes")
        self.rows[path["stream"]] += _rows(plain, self._streams[path["stream"]])
        return Answer(204)

    def _identify(self, request: Incoming) -> Answer:
        # https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
        query = parse_qs(urlsplit(request.target).query)
        if request.headers["X-IDENTITY-HEADER"] != self._identity_header:
            return _json_answer(401, {"statusCode": 401, "message": "X-IDENTITY-HEADER is not the right one"})
        if query.get("api-version") != ["2019-08-01"] or "resource" not in query:
            return _json_answer(400, {"statusCode": 400, "message": "ask for a resource, in version 2019-08-01"})
        resource = query["resource"][0]
        token = {"access_token": self._token(resource), "resource": resource, "token_type": "Bearer"}
        return _json_answer(200, {**token, "expires_on": str(int(time.time()) + _TOKEN_SECONDS)})

    def _token(self, resource: str) -> str:
        resource = resource.rstrip("/")
        return self._tokens.setdefault(resource, _new_token(resource))


def _json_answer(status: int, body: Mapping[str, object]) -> Answer:
    return Answer(status, {"Content-Type": "application/json"}, json.dumps(body).encode())


def _new_token(resource: str) -> str:
    """Return a token for `resource` with the claims that Azurite reads; nobody signs it."""
    now = int(time.time())
    claims = {"aud": resource, "iss": "https://sts.windows.net/loopback/", "jti": secrets.token_hex()}
    lifetime = {"iat": now, "nbf": now, "exp": now + _TOKEN_SECONDS}
    parts = ({"alg": "none", "typ": "JWT"}, {**claims, **lifetime})
    encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    return b".".join((*encoded, b"")).decode()


def _plain(request: Incoming) -> bytes:
    if request.headers["Content-Encoding"] != "gzip":
        return request.body
    try:
        return gzip.decompress(request.body)
    except (EOFError, OSError, zlib.error) as error:
        raise _RefusedError(400, "InvalidPayload", f"the body is not gzip: {error}") from error


def _rows(plain: bytes, columns: Mapping[str, str] | None) -> list[Row]:
    """Return the body's rows, all or none of them.

    Azure answers 204 and silently drops what does not fit the columns; here a test sees it refused.
    """
    try:
        rows = json.loads(plain, parse_constant=_refuse_constant)
    except ValueError as error:
        raise _RefusedError(400, "InvalidPayload", f"the body is not JSON: {error}") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _RefusedError(400, "InvalidPayload", "the body is not an array of objects")
    problems = [f"row {at}: {wrong}" for at, row in enumerate(rows) for wrong in misfits(row, columns)]
    if problems:
        raise _RefusedError(400, "InvalidPayload", "; ".join(problems))
    return rows


def _refuse_constant(name: str) -> NoReturn:
    # NaN and the infinities are Python's extension of JSON.
    raise ValueError(name)


def misfits(row: Row, columns: Mapping[str, str] | None) -> list[str]:
    """Return what of a row does not fit the columns of its stream (name -> KQL type), if it has any."""
    if columns is None:
        return []
    absent = ["TimeGenerated is missing"] if row.get("TimeGenerated") is None else []
    unknown = [f"{name} is not a column" for name in row if name not in columns]
    return (
        absent
        + unknown
        + [
            f"{name} is not a {kind}"
            for name, kind in columns.items()
            if row.get(name) is not None and not _FITS[kind](row[name])
        ]
    )


def _is_integer(value: object, bits: int) -> bool:
    return type(value) is int and -(2 ** (bits - 1)) <= value < 2 ** (bits - 1)


def _is_moment(value: object) -> bool:
    # A time without an offset would be UTC to Azure, whatever its writer meant by it.
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


_FITS: Final[dict[str, Callable[[object], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "int": lambda value: _is_integer(value, 32),
    "long": lambda value: _is_integer(value, 64),
    "real": lambda value: _is_integer(value, 64) or (isinstance(value, float) and math.isfinite(value)),
    "boolean": lambda value: isinstance(value, bool),
    "datetime": _is_moment,
    "dynamic": lambda _: True,
}
