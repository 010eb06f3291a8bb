"""Sinks for rows: the Logs Ingestion API of Azure Monitor, or the log if no endpoint is configured.

The API accepts 1 MB a call and does not detect duplicates: posting is at least once, and readers take the newest row by
id. The client library splits a body without counting separators and drops the rows after a failed part. So rows are
cut into safe calls here first, and every failure is raised.
"""

import json
import logging
from collections.abc import Iterator, MutableMapping, Sequence
from http import HTTPStatus
from typing import Any, Protocol

from azure.core.exceptions import AzureError, HttpResponseError

from detectors.errors import PostingError

MAX_CALL_BYTES = 1_000_000

JsonRow = MutableMapping[str, Any]

_LOG = logging.getLogger(__name__)


class Sink(Protocol):
    """Accepts rows for a stream."""

    def post(self, stream: str, rows: Sequence[JsonRow]) -> None:
        """Post rows of JSON values. Raises `PostingError` unless every row was accepted."""


class LogSink:
    """Writes rows to the log, one JSON line each: a local run without an endpoint."""

    def __init__(self) -> None:
        _LOG.warning("LOGS_INGESTION_ENDPOINT is not set: findings and heartbeats go to this log and nowhere else.")

    def post(self, stream: str, rows: Sequence[JsonRow]) -> None:
        """See `Sink.post`."""
        for row in rows:
            _LOG.info("%s %s", stream, json.dumps(row))


class LogAnalyticsSink:
    """Posts rows through a data collection rule, as the app's identity."""

    def __init__(self, endpoint: str, rule_id: str) -> None:
        # Loaded here: together they cost 0.2 s at start-up, and only an evaluation posts.
        from azure.identity import DefaultAzureCredential  # noqa: PLC0415
        from azure.monitor.ingestion import LogsIngestionClient  # noqa: PLC0415

        self._rule_id = rule_id
        # No retries here: the client sleeps for as long as Retry-After says, an hour if so. The orchestration's
        # retries wait in storage instead, and outlive the process.
        self._client = LogsIngestionClient(endpoint, DefaultAzureCredential(), retry_total=0)

    def post(self, stream: str, rows: Sequence[JsonRow]) -> None:
        """See `Sink.post`. Some rows may have been accepted when it raises: post all of them again."""
        for batch in batches(rows):
            self._upload(stream, batch)

    def _upload(self, stream: str, rows: list[JsonRow]) -> None:
        failures: list[Exception] = []
        self._client.upload(self._rule_id, stream, rows, on_error=lambda failed: failures.append(failed.error))
        if not failures:
            return
        failure = failures[0]
        too_large = isinstance(failure, HttpResponseError) and (
            failure.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        )
        if not too_large or len(rows) == 1:
            raise PostingError(f"{stream}: {len(rows)} rows not taken. {_advice(failure)}") from failure
        middle = len(rows) // 2
        self._upload(stream, rows[:middle])
        self._upload(stream, rows[middle:])


def batches(rows: Sequence[JsonRow], max_bytes: int = MAX_CALL_BYTES) -> Iterator[list[JsonRow]]:
    """Split rows into calls whose JSON body stays below a size; a larger row goes alone.

    Raises:
        ValueError: a row holds NaN or an infinity, which JSON cannot express.
    """
    batch: list[JsonRow] = []
    size = 2
    for row in rows:
        row_size = len(json.dumps(row, allow_nan=False)) + 2
        if batch and size + row_size > max_bytes:
            yield batch
            batch, size = [], 2
        batch.append(row)
        size += row_size
    if batch:
        yield batch


def _advice(failure: Exception) -> str:
    status = failure.status_code if isinstance(failure, HttpResponseError) else None
    if status == HTTPStatus.FORBIDDEN:
        return "Give the app's identity the role Monitoring Metrics Publisher on the data collection rule (403)."
    if status == HTTPStatus.NOT_FOUND:
        return "LOGS_INGESTION_RULE_ID names no rule at LOGS_INGESTION_ENDPOINT (404)."
    message = failure.message if isinstance(failure, AzureError) else str(failure)
    return f"{message.splitlines()[0] if message else type(failure).__name__} ({status or 'no answer'})"
