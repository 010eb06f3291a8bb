"""The loopback Azure Monitor as the real ingestion client and credential meet it."""

import gzip
import io
import json
from collections.abc import Iterator, MutableMapping

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.identity import DefaultAzureCredential, ManagedIdentityCredential
from azure.monitor.ingestion import LogsIngestionClient

from local.loopback import Answer
from local.monitor import LIMIT_BYTES, Monitor, Scripted

COLUMNS = {
    "TimeGenerated": "datetime",
    "Rule": "string",
    "Requests": "int",
    "Tokens": "long",
    "Score": "real",
    "Suppressed": "boolean",
    "Evidence": "dynamic",
}
ROW = {"TimeGenerated": "2026-01-01T00:00:00Z", "Rule": "token-burst"}
FINDINGS = "Custom-Findings_CL"
RAW = "Custom-Raw_CL"


@pytest.fixture
def monitor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Monitor]:
    """Provide a rule with one stream of known columns and one of any; the environment is that of the deployed code."""
    for name in ("CLIENT_ID", "CLIENT_SECRET", "FEDERATED_TOKEN_FILE", "TENANT_ID", "TOKEN_CREDENTIALS"):
        # A developer's own sign-in would come before the managed identity.
        monkeypatch.delenv(f"AZURE_{name}", raising=False)
    with Monitor({FINDINGS: COLUMNS, RAW: None}) as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def client(monitor: Monitor) -> Iterator[LogsIngestionClient]:
    """Provide the client of the deployed code, but for retries."""
    endpoint = monitor.environment()["LOGS_INGESTION_ENDPOINT"]
    with (
        DefaultAzureCredential() as credential,
        LogsIngestionClient(endpoint, credential, retry_total=0) as ingestion,
    ):
        yield ingestion


def refusal(client: LogsIngestionClient, monitor: Monitor, body: bytes, stream: str = RAW) -> str:
    """How the API refuses `body`, as 'status code'."""
    with pytest.raises(HttpResponseError) as raised:
        client.upload(monitor.rule_id, stream, io.BytesIO(body))
    assert raised.value.error is not None
    return f"{raised.value.status_code} {raised.value.error.code}"


def test_rows_arrive_in_order_by_stream(monitor: Monitor, client: LogsIngestionClient) -> None:
    """Uploads to two streams do not mix."""
    client.upload(monitor.rule_id, FINDINGS, [ROW, {**ROW, "Rule": "key-sharing"}])
    client.upload(monitor.rule_id, RAW, [{"n": 1}])
    client.upload(monitor.rule_id, RAW, [{"n": 2}, {"n": 3}])
    assert [row["Rule"] for row in monitor.rows[FINDINGS]] == ["token-burst", "key-sharing"]
    assert monitor.rows[RAW] == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_the_log_has_sizes_before_and_after_compression(monitor: Monitor, client: LogsIngestionClient) -> None:
    """The client compresses, and the limit counts what it compressed."""
    rows: list[MutableMapping[str, object]] = [{"text": "x" * 1000}]
    client.upload(monitor.rule_id, RAW, rows)
    (upload,) = monitor.requests
    assert upload.path == f"/dataCollectionRules/{monitor.rule_id}/streams/{RAW}"
    assert upload.plain_bytes == len(json.dumps(rows)) > upload.wire_bytes
    assert upload.status == 204


def test_the_client_splits_what_is_over_the_limit(monitor: Monitor, client: LogsIngestionClient) -> None:
    """Each part is within 1 MB and no row is lost."""
    rows: list[MutableMapping[str, object]] = [{"n": n, "text": "x" * 300_000} for n in range(5)]
    client.upload(monitor.rule_id, RAW, rows)
    assert monitor.rows[RAW] == rows
    assert len(monitor.requests) == 2
    assert all(upload.plain_bytes <= LIMIT_BYTES for upload in monitor.requests)


def test_the_client_forgets_separators_when_it_splits(monitor: Monitor, client: LogsIngestionClient) -> None:
    """Its parts of many small rows exceed the limit by two bytes a row: whoever uploads must split first."""
    rows: list[MutableMapping[str, object]] = [{"text": "x" * 1000} for _ in range(1500)]
    with pytest.raises(HttpResponseError, match="ContentLengthLimitExceeded"):
        client.upload(monitor.rule_id, RAW, rows)
    assert LIMIT_BYTES < monitor.requests[0].plain_bytes < LIMIT_BYTES + 2 * len(rows)


@pytest.mark.parametrize("encode", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_body_over_the_limit_is_refused(encode: type[bytes], monitor: Monitor, client: LogsIngestionClient) -> None:
    """The limit holds before compression as after; a body right at it passes."""
    empty = len(b'[{"text":""}]')
    at_limit = b'[{"text":"%s"}]' % (b"x" * (LIMIT_BYTES - empty))
    client.upload(monitor.rule_id, RAW, io.BytesIO(encode(at_limit)))
    over = at_limit + b" "
    assert refusal(client, monitor, encode(over)) == "413 ContentLengthLimitExceeded"
    assert len(monitor.rows[RAW]) == 1


@pytest.mark.parametrize(
    "body",
    [b"[", b'{"a": 1}', b"[1]", b'[{"a": NaN}]', b'[{"a": -Infinity}]', b"\xff", b"\x1f\x8bbroken", b""],
)
def test_a_body_that_is_no_array_of_objects_is_refused(
    body: bytes, monitor: Monitor, client: LogsIngestionClient
) -> None:
    """Python's extensions of JSON count as broken too."""
    assert refusal(client, monitor, body) == "400 InvalidPayload"
    assert monitor.requests[-1].status == 400
    assert monitor.rows[RAW] == []


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("TimeGenerated", "2026-01-01T00:00:00.123456+00:00"),
        ("Requests", -(2**31)),
        ("Tokens", 2**63 - 1),
        ("Score", 1),
        ("Score", 0.5),
        ("Suppressed", False),
        ("Evidence", {"callers": [1, "two", None]}),
        ("Rule", None),
    ],
)
def test_a_value_that_fits_its_column_passes(
    column: str, value: object, monitor: Monitor, client: LogsIngestionClient
) -> None:
    """Each KQL type has its JSON form, and every column but TimeGenerated may be null."""
    client.upload(monitor.rule_id, FINDINGS, [{**ROW, column: value}])
    assert monitor.rows[FINDINGS] == [{**ROW, column: value}]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("TimeGenerated", None),
        ("TimeGenerated", "yesterday"),
        ("TimeGenerated", "2026-01-01T00:00:00"),
        ("TimeGenerated", 1767225600),
        ("Rule", 7),
        ("Requests", 2**31),
        ("Requests", 1.0),
        ("Requests", True),
        ("Tokens", 2**63),
        ("Tokens", "7"),
        ("Score", "0.5"),
        ("Score", False),
        ("Suppressed", 1),
        ("Colour", "red"),
    ],
)
def test_a_row_that_does_not_fit_refuses_the_upload_and_names_it(
    column: str, value: object, monitor: Monitor, client: LogsIngestionClient
) -> None:
    """Nothing of the upload is stored, not even the row that fits."""
    with pytest.raises(HttpResponseError, match=f"row 1: {column} is ") as raised:
        client.upload(monitor.rule_id, FINDINGS, [ROW, {**ROW, column: value}])
    assert raised.value.status_code == 400
    assert monitor.rows[FINDINGS] == []


def test_a_row_without_its_time_is_refused(monitor: Monitor, client: LogsIngestionClient) -> None:
    """Every table of Log Analytics has TimeGenerated."""
    with pytest.raises(HttpResponseError, match="row 0: TimeGenerated is missing"):
        client.upload(monitor.rule_id, FINDINGS, [{"Rule": "token-burst"}])


def test_a_number_beyond_every_float_is_not_real(monitor: Monitor, client: LogsIngestionClient) -> None:
    """Python reads 1e999 as infinity."""
    body = b'[{"TimeGenerated": "2026-01-01T00:00:00Z", "Score": 1e999}]'
    assert refusal(client, monitor, body, FINDINGS) == "400 InvalidPayload"


def test_an_unknown_column_type_is_refused_at_once() -> None:
    """A typing error in a test's columns does not wait for the first row."""
    with pytest.raises(ValueError, match=r"unknown column types \['guess'\]"):
        Monitor({FINDINGS: {"Rule": "guess"}})


def test_an_unknown_rule_is_not_found(monitor: Monitor, client: LogsIngestionClient) -> None:
    """The immutable id is checked, and is another one in every run."""
    with Monitor({RAW: None}) as other, pytest.raises(ResourceNotFoundError):
        client.upload(other.rule_id, RAW, [{}])
    assert [upload.status for upload in monitor.requests] == [404]


def test_an_unconfigured_stream_is_refused(monitor: Monitor, client: LogsIngestionClient) -> None:
    """The rule must declare the stream."""
    assert refusal(client, monitor, b"[{}]", "Custom-Other_CL") == "400 InvalidStream"


def test_another_version_of_the_api_is_refused(monitor: Monitor) -> None:
    """The contract kept here is that of 2023-01-01."""
    endpoint = monitor.environment()["LOGS_INGESTION_ENDPOINT"]
    with (
        ManagedIdentityCredential() as credential,
        LogsIngestionClient(endpoint, credential, api_version="2021-11-01-preview") as client,
    ):
        assert refusal(client, monitor, b"[{}]") == "400 InvalidApiVersion"


def test_a_token_for_another_resource_is_refused(monitor: Monitor) -> None:
    """A token of the same identity that was issued for Key Vault does not open Monitor."""
    endpoint = monitor.environment()["LOGS_INGESTION_ENDPOINT"]
    scopes = ["https://vault.azure.net/.default"]
    with (
        ManagedIdentityCredential() as credential,
        LogsIngestionClient(endpoint, credential, credential_scopes=scopes) as client,
        pytest.raises(ClientAuthenticationError, match="InvalidToken"),
    ):
        client.upload(monitor.rule_id, RAW, [{}])
    assert monitor.rows[RAW] == []


def test_every_run_has_a_token_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """No constant can be mistaken for a credential, and none passes as one."""
    tokens = set()
    for _ in range(2):
        with Monitor({}) as monitor:
            for name, value in monitor.environment().items():
                monkeypatch.setenv(name, value)
            with ManagedIdentityCredential() as credential:
                tokens.add(credential.get_token("https://monitor.azure.com/.default").token)
    assert len(tokens) == 2


def test_the_identity_endpoint_wants_its_header(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in App Service, the header keeps other processes from asking for a token."""
    monkeypatch.setenv("IDENTITY_HEADER", f"not {monitor.environment()['IDENTITY_HEADER']}")
    with ManagedIdentityCredential() as credential, pytest.raises(ClientAuthenticationError, match="401"):
        credential.get_token("https://monitor.azure.com/.default")


def test_the_client_trusts_the_endpoint_by_its_environment_alone(
    monitor: Monitor, client: LogsIngestionClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without REQUESTS_CA_BUNDLE the certificate is refused: TLS is checked for real."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(ServiceRequestError, match="CERTIFICATE_VERIFY_FAILED"):
        client.upload(monitor.rule_id, RAW, [{}])


def test_a_scripted_answer_is_given_once_and_applies_nothing(monitor: Monitor) -> None:
    """The client waits as told, tries again and succeeds."""
    monitor.script(Answer(429, {"Retry-After": "0"}))
    endpoint = monitor.environment()["LOGS_INGESTION_ENDPOINT"]
    with DefaultAzureCredential() as credential, LogsIngestionClient(endpoint, credential) as client:
        client.upload(monitor.rule_id, RAW, [{"n": 1}])
    assert [upload.status for upload in monitor.requests] == [429, 204]
    assert monitor.rows[RAW] == [{"n": 1}]


def test_a_script_can_let_a_request_pass(monitor: Monitor, client: LogsIngestionClient) -> None:
    """The second of two uploads fails."""
    monitor.script(Scripted.NORMAL, Answer(403))
    client.upload(monitor.rule_id, RAW, [{"n": 1}])
    assert monitor.pending == 1
    with pytest.raises(HttpResponseError) as raised:
        client.upload(monitor.rule_id, RAW, [{"n": 2}])
    assert (raised.value.status_code, monitor.pending) == (403, 0)
    assert monitor.rows[RAW] == [{"n": 1}]


def test_a_lost_answer_leaves_its_rows(monitor: Monitor, client: LogsIngestionClient) -> None:
    """Whoever sends again sends a duplicate, as in Azure."""
    monitor.script(Scripted.LOST)
    with pytest.raises(ServiceResponseError):
        client.upload(monitor.rule_id, RAW, [{"n": 1}])
    client.upload(monitor.rule_id, RAW, [{"n": 1}])
    assert monitor.rows[RAW] == [{"n": 1}, {"n": 1}]
    assert [upload.status for upload in monitor.requests] == [204, 204]
