"""Posting: rows are cut into safe calls, every failure is raised, and nothing is lost on the way."""

import json
import logging
import math
import socket
from collections.abc import Iterator
from itertools import pairwise

import pytest
from azure.core.pipeline.transport import RequestsTransport
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.errors import PostingError
from detectors.reporting.sinks import MAX_CALL_BYTES, JsonRow, LogAnalyticsSink, LogSink, batches
from local.loopback import Answer
from local.monitor import Monitor, Scripted

STREAM = "Custom-LlmThreatFindings_CL"
OTHER = "Custom-LlmDetectorHealth_CL"

json_rows = st.lists(
    st.dictionaries(st.text(max_size=5), st.none() | st.booleans() | st.integers() | st.text(max_size=40), max_size=3),
    max_size=40,
)


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client would have slept between tries, in seconds; it does not."""
    slept: list[float] = []
    monkeypatch.setattr(RequestsTransport, "sleep", lambda _, seconds: slept.append(seconds))
    return slept


@pytest.fixture
def monitor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Monitor]:
    """Provide a rule with two streams, in the environment of the deployed code."""
    for name in ("CLIENT_ID", "CLIENT_SECRET", "FEDERATED_TOKEN_FILE", "TENANT_ID", "TOKEN_CREDENTIALS"):
        monkeypatch.delenv(f"AZURE_{name}", raising=False)
    with Monitor({STREAM: None, OTHER: None}) as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def sink(monitor: Monitor) -> LogAnalyticsSink:
    """Provide the sink of the deployed code, its clients and identity real."""
    return LogAnalyticsSink(monitor.environment()["LOGS_INGESTION_ENDPOINT"], monitor.rule_id)


def _rows(count: int, *, size: int = 20) -> list[JsonRow]:
    return [{"n": n, "text": "x" * size} for n in range(count)]


def _statuses(monitor: Monitor) -> list[int]:
    return [upload.status for upload in monitor.requests]


@settings(max_examples=200)
@given(rows=json_rows, max_bytes=st.integers(3, 500))
def test_every_row_is_in_one_call_in_order_and_no_call_is_too_large(rows: list[JsonRow], max_bytes: int) -> None:
    """Measured as the client sends it, with separators; only a row that is too large by itself exceeds the limit."""
    cut = list(batches(rows, max_bytes))
    assert [row for batch in cut for row in batch] == rows
    assert all(batch and (len(json.dumps(batch).encode()) < max_bytes or len(batch) == 1) for batch in cut)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 400_000) | st.integers(999_950, 1_000_010), max_size=8))
def test_a_call_stays_below_a_megabyte(sizes: list[int]) -> None:
    """Also where a row comes close to the limit."""
    rows: list[JsonRow] = [{"text": "x" * size} for size in sizes]
    cut = list(batches(rows))
    assert sum(map(len, cut)) == len(rows)
    assert all(len(json.dumps(batch)) < 1_000_000 or len(batch) == 1 for batch in cut)


def test_calls_are_as_few_as_the_limit_allows() -> None:
    """Two neighbouring calls would not fit into one."""
    cut = list(batches(_rows(3000, size=1000)))
    together = [len(json.dumps(one + other)) for one, other in pairwise(cut)]
    assert len(cut) == 4
    assert all(size > MAX_CALL_BYTES for size in together[:-1])


def test_no_rows_are_no_call(sink: LogAnalyticsSink, monitor: Monitor) -> None:
    """A window without findings costs nothing."""
    sink.post(STREAM, [])
    assert monitor.requests == []


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_json_is_refused(number: float) -> None:
    """The client would send it as it is, and the whole call would be dropped."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        list(batches([{"fine": 1}, {"nested": [{"value": number}]}]))


def test_without_an_endpoint_rows_go_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """One line of JSON each behind the stream's name, and a warning that they go nowhere else."""
    caplog.set_level(logging.INFO)
    rows: list[JsonRow] = [{"RuleId": "model_theft", "Callers": [{"Count": 3}], "Text": "a\nb ü"}, {"Count": None}]
    sink = LogSink()
    assert "LOGS_INGESTION_ENDPOINT" in caplog.records[0].getMessage()
    sink.post(STREAM, rows)
    lines = [record.getMessage() for record in caplog.records[1:]]
    assert all("\n" not in line for line in lines)
    assert [line.split(" ", 1)[0] for line in lines] == [STREAM] * 2
    assert [json.loads(line.split(" ", 1)[1]) for line in lines] == rows


def test_rows_of_two_and_a_half_megabytes_go_in_three_calls(sink: LogAnalyticsSink, monitor: Monitor) -> None:
    """Each below the limit, all of them there, in order."""
    rows = _rows(2500, size=1000)
    sink.post(STREAM, rows)
    assert monitor.rows[STREAM] == rows
    assert _statuses(monitor) == [204] * 3
    assert all(upload.plain_bytes < MAX_CALL_BYTES for upload in monitor.requests)


def test_several_thousand_small_rows_are_taken(sink: LogAnalyticsSink, monitor: Monitor) -> None:
    """Their separators count: the client forgets them when it splits, and the API would refuse the call."""
    rows = _rows(40_000)
    sink.post(STREAM, rows)
    assert monitor.rows[STREAM] == rows
    assert set(_statuses(monitor)) == {204}


def test_rows_of_two_streams_do_not_mix(sink: LogAnalyticsSink, monitor: Monitor) -> None:
    """One sink serves both."""
    sink.post(STREAM, [{"a": 1}])
    sink.post(OTHER, [{"b": "ü"}])
    assert (monitor.rows[STREAM], monitor.rows[OTHER]) == ([{"a": 1}], [{"b": "ü"}])


def test_a_throttled_call_is_an_error_however_long_it_is_told_to_wait(
    sink: LogAnalyticsSink, monitor: Monitor, sleeps: list[float]
) -> None:
    """No function can sleep for an hour; whoever called tries again."""
    monitor.script(Answer(429, {"Retry-After": "3600"}))
    with pytest.raises(PostingError, match="429"):
        sink.post(STREAM, _rows(3))
    sink.post(STREAM, _rows(3))
    assert (monitor.rows[STREAM], _statuses(monitor), sleeps) == (_rows(3), [429, 204], [])


def test_a_call_that_is_too_large_for_the_service_is_split(sink: LogAnalyticsSink, monitor: Monitor) -> None:
    """Whatever its limit really is: halves until they are taken, nothing lost, nothing twice, in order."""
    too_large = Answer(413)
    monitor.script(too_large, too_large, Scripted.NORMAL, too_large)
    sink.post(STREAM, _rows(9))
    assert monitor.rows[STREAM] == _rows(9)
    assert _statuses(monitor) == [413, 413, 204, 413, 204, 204, 204]


def test_a_row_that_is_too_large_alone_is_an_error(sink: LogAnalyticsSink, monitor: Monitor) -> None:
    """It cannot be split, and is not dropped in silence."""
    with pytest.raises(PostingError, match=rf"{STREAM}: 1 rows not taken.*413"):
        sink.post(STREAM, [*_rows(2), *_rows(1, size=1_100_000)])
    assert monitor.rows[STREAM] == _rows(2)


def test_a_missing_role_is_named(sink: LogAnalyticsSink, monitor: Monitor) -> None:
    """The usual mistake of a deployment comes with its remedy."""
    monitor.script(Answer(403))
    with pytest.raises(PostingError, match=r"Monitoring Metrics Publisher.*403"):
        sink.post(STREAM, _rows(1))


def test_an_unknown_rule_is_named(monitor: Monitor) -> None:
    """The other mistake names the setting."""
    sink = LogAnalyticsSink(monitor.environment()["LOGS_INGESTION_ENDPOINT"], f"dcr-{'0' * 32}")
    with pytest.raises(PostingError, match="LOGS_INGESTION_RULE_ID"):
        sink.post(STREAM, _rows(1))


@pytest.mark.parametrize("status", [400, 401, 408, 429, 500, 502, 503, 504])
def test_no_failure_is_silent(status: int, sink: LogAnalyticsSink, monitor: Monitor) -> None:
    """Each is raised at once, in one line, for the caller to try again."""
    monitor.script(Answer(status))
    with pytest.raises(PostingError, match=rf"{STREAM}: 2 rows not taken\. .*\({status}\)$") as raised:
        sink.post(STREAM, _rows(2))
    assert "\n" not in str(raised.value)
    assert raised.value.__cause__ is not None


def test_what_was_taken_before_a_failure_stays_and_is_posted_again(sink: LogAnalyticsSink, monitor: Monitor) -> None:
    """At least once: readers take the newest row by id."""
    rows = _rows(2500, size=1000)
    monitor.script(Scripted.NORMAL, Answer(400))
    with pytest.raises(PostingError):
        sink.post(STREAM, rows)
    taken = monitor.rows[STREAM][:]
    assert taken == rows[: len(taken)]
    assert taken
    sink.post(STREAM, rows)
    assert monitor.rows[STREAM] == taken + rows


def test_a_lost_answer_is_an_error(sink: LogAnalyticsSink, monitor: Monitor, sleeps: list[float]) -> None:
    """Nobody knows whether the rows arrived, so they have to come again."""
    monitor.script(Scripted.LOST)
    with pytest.raises(PostingError, match="no answer"):
        sink.post(STREAM, _rows(1))
    assert (monitor.rows[STREAM], sleeps) == (_rows(1), [])


def test_an_endpoint_that_nobody_serves_is_an_error(monitor: Monitor, sleeps: list[float]) -> None:
    """Refused connections are no crash."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        sink = LogAnalyticsSink(f"https://127.0.0.1:{probe.getsockname()[1]}", monitor.rule_id)
        with pytest.raises(PostingError, match="no answer"):
            sink.post(STREAM, _rows(1))
    assert sleeps == []


def test_no_token_is_an_error(sink: LogAnalyticsSink, monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """An app without identity must not believe that it posted."""
    monkeypatch.setenv("IDENTITY_HEADER", "not the one")
    with pytest.raises(PostingError, match="token"):
        sink.post(STREAM, _rows(1))
    assert monitor.requests == []


def test_an_error_shows_no_row_and_no_credential(sink: LogAnalyticsSink, monitor: Monitor) -> None:
    """It ends up in logs that more people read than the table."""
    monitor.script(Answer(400))
    header = monitor.environment()["IDENTITY_HEADER"]
    with pytest.raises(PostingError) as raised:
        sink.post(STREAM, [{"Caller": "0d1e2f3a"}])
    assert "0d1e2f3a" not in str(raised.value)
    assert header not in str(raised.value)
