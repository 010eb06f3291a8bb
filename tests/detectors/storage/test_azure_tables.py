"""Table Storage itself: how it is opened, pages, outages, keys and identities."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from azure.core.pipeline.transport import RequestsTransport
from azure.data.tables import TableClient, TableServiceClient

from detectors.errors import ConflictError, StorageError
from detectors.storage.azure_tables import AzureTable, open_existing_table, open_table
from detectors.storage.connection import StorageConnection
from detectors.storage.tables import MAX_PROPERTIES, Row, Table, Value, sent_bytes
from local.azurite import ACCOUNT, Azurite, connection_string
from local.monitor import Monitor

VALUES: dict[str, Value] = {"Text": "model theft", "Large": 2**63 - 1, "Packed": bytes(range(256)), "Yes": True}


def _all(table: Table) -> list[tuple[str, str, dict[str, Value]]]:
    return [(row.partition, row.key, dict(row.values)) for row in table.query("0", "z")]


def test_a_table_is_made_once(azurite: Azurite, table_name: str) -> None:
    """Whoever comes second opens the same one."""
    connection = StorageConnection(connection_string=azurite.connection_string)
    open_table(connection, table_name).insert(Row("p", "k", {"N": 1}))
    assert _all(open_table(connection, table_name)) == [("p", "k", {"N": 1})]


def test_a_query_gives_more_rows_than_a_page_holds(azurite: Azurite, table_name: str) -> None:
    """The service answers a thousand at a time."""
    table = open_table(StorageConnection(connection_string=azurite.connection_string), table_name)
    for start in range(0, 1100, 100):
        table.upsert([Row("p", f"{number:04d}") for number in range(start, start + 100)])
    assert [row.key for row in table.query("p", "p")] == [f"{number:04d}" for number in range(1100)]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"N": 1, "Yes": True},
        {f"N{number:03d}": -(2**63) for number in range(MAX_PROPERTIES)},
        {f"Packed{number}": b"x" * 1_000 for number in range(16)},
        {"Text": "\N{PILE OF POO}\x01" * 500},
    ],
    ids=["nothing", "little", "numbers", "bytes", "text"],
)
@pytest.mark.parametrize("key", ["k", "\N{PILE OF POO}" * 100])
def test_a_transaction_takes_no_more_bytes_than_it_is_said_to(
    values: dict[str, Value], key: str, azurite: Azurite, table_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the client really sends, so that what is split by these figures is never refused for its size."""
    table, sent = open_table(StorageConnection(connection_string=azurite.connection_string), table_name), list[int]()
    send = RequestsTransport.send

    def watched(transport: RequestsTransport, request: Any, **more: Any) -> Any:  # noqa: ANN401 - as they come
        sent.append(len(request.body))
        return send(transport, request, **more)

    monkeypatch.setattr(RequestsTransport, "send", watched)
    rows = [Row("p", f"{key}{number}", values) for number in range(20)]
    table.write(rows)
    assert sum(map(sent_bytes, rows)) / 3 < sum(sent) < sum(map(sent_bytes, rows))


def test_a_table_that_was_deleted_is_an_error_and_no_conflict(azurite: Azurite, table_name: str) -> None:
    """A conflict would be tried again at once, in vain."""
    table = open_table(StorageConnection(connection_string=azurite.connection_string), table_name)
    etag = table.insert(Row("p", "k", {"N": 1}))
    with TableServiceClient.from_connection_string(azurite.connection_string) as service:
        service.delete_table(table_name)
    with pytest.raises(StorageError) as raised:
        table.merge(Row("p", "k", {"N": 2}, etag))
    assert not isinstance(raised.value, ConflictError)
    with pytest.raises(StorageError):
        list(table.query("p", "p"))


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Provide the connection string of an account where nobody listens; the client does not sleep between tries."""
    monkeypatch.setattr(RequestsTransport, "sleep", lambda _, __: None)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # bound and not listening: refused, and nobody else gets the port
        yield connection_string(f"http://127.0.0.1:{probe.getsockname()[1]}/{ACCOUNT}")


def test_storage_that_is_down_is_an_error_whatever_is_asked_of_it(unreachable: str, table_name: str) -> None:
    """Never a conflict, which would be taken for another writer."""
    with pytest.raises(StorageError):
        open_table(StorageConnection(connection_string=unreachable), table_name)
    table = AzureTable(TableClient.from_connection_string(unreachable, table_name))
    row = Row("p", "k", {"N": 1}, "W/\"datetime'2026-11-23T08%3A00%3A00.0000000Z'\"")
    for attempt in (
        lambda: table.insert(row),
        lambda: table.merge(row),
        lambda: table.upsert([row]),
        lambda: table.upsert([row, Row("p", "l")]),
        lambda: list(table.query("p", "p")),
        lambda: table.delete("p", ["k"]),
        lambda: table.delete("p", ["k", "l"]),
        lambda: table.write([row, Row("p", "l")]),
    ):
        with pytest.raises(StorageError) as raised:
            attempt()
        assert not isinstance(raised.value, ConflictError)


# The client asks an XML element for its truth value while it decodes this error.
@pytest.mark.filterwarnings("ignore:Testing an element's truth value:DeprecationWarning")
def test_a_wrong_key_is_an_error_that_does_not_show_it(azurite: Azurite, table_name: str) -> None:
    """Keys are rotated; the message names what refused, not with what."""
    wrong = "d3Jvbmcta2V5LW9mLWFuLWFjY291bnQ="
    parts = azurite.connection_string.split(";")
    text = ";".join(f"AccountKey={wrong}" if part.startswith("AccountKey") else part for part in parts)
    with pytest.raises(StorageError) as raised:
        open_table(StorageConnection(connection_string=text), table_name)
    assert wrong not in f"{raised.value} {raised.value.__cause__}"


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[Monitor, Azurite]]:
    """Azurite that takes the tokens of a managed identity, and who gives them."""
    with Monitor({}) as monitor, Azurite(authority=monitor.authority) as azurite:
        yield monitor, azurite


@pytest.fixture
def endpoint(guarded: tuple[Monitor, Azurite], monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the tables are, for an app with a managed identity and without a key."""
    monitor, azurite = guarded
    for name in ("CLIENT_ID", "CLIENT_SECRET", "FEDERATED_TOKEN_FILE", "TENANT_ID", "TOKEN_CREDENTIALS"):
        monkeypatch.delenv(f"AZURE_{name}", raising=False)
    for name, value in monitor.environment().items():
        monkeypatch.setenv(name, value)
    return azurite.endpoint


@pytest.mark.real
@pytest.mark.parametrize("chosen", [{}, {"managed_identity": True}], ids=["default", "managed identity"])
def test_an_identity_opens_a_table(chosen: dict[str, Any], endpoint: str, table_name: str) -> None:
    """By an endpoint and a token, as in Azure."""
    table = open_table(StorageConnection(table_endpoint=endpoint, **chosen), table_name)
    table.insert(Row("p", "k", VALUES))
    assert _all(table) == [("p", "k", VALUES)]


@pytest.mark.real
def test_a_managed_identity_that_was_asked_for_is_the_only_one(
    endpoint: str, table_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the environment offers besides is not even tried; without an identity storage is out of reach."""
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    open_table(StorageConnection(table_endpoint=endpoint, managed_identity=True), table_name)
    with pytest.raises(StorageError):
        open_table(StorageConnection(table_endpoint=endpoint), table_name)


def test_an_existing_table_is_opened_and_none_is_made(azurite: Azurite, table_name: str) -> None:
    """A tool that only reads must leave nothing behind."""
    connection = StorageConnection(connection_string=azurite.connection_string)
    with pytest.raises(StorageError):
        list(open_existing_table(connection, table_name).query("p", "p"))
    open_table(connection, table_name).insert(Row("p", "k", {"N": 1}))
    assert _all(open_existing_table(connection, table_name)) == [("p", "k", {"N": 1})]


def test_a_row_that_was_never_read_is_not_merged(azurite: Azurite, table_name: str) -> None:
    """Without a version there is nothing to hold the write against; the service would take it for any."""
    table = open_table(StorageConnection(connection_string=azurite.connection_string), table_name)
    table.insert(Row("p", "k", {"N": 1}))
    with pytest.raises(ConflictError):
        table.merge(Row("p", "k", {"N": 2}))
    assert _all(table) == [("p", "k", {"N": 1})]
