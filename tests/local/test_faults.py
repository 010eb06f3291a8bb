"""The faults of storage as the real azure-data-tables client meets them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import pytest
from azure.core import MatchConditions
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ServiceResponseError,
)
from azure.data.tables import TableClient, TransactionOperation, UpdateMode

from local.azurite import Azurite
from local.faults import READS, WRITES, Call, CallBefore, FaultyStorage, LoseResponse, Refuse
from local.loopback import Answer, LoopbackServer

ENTITY = {"PartitionKey": "caller-1", "RowKey": "1", "requests": 7}


@pytest.fixture
def direct(azurite: Azurite, table_name: str) -> Iterator[TableClient]:
    """Another owner of the same table, who knows no faults."""
    with TableClient.from_connection_string(azurite.connection_string, table_name) as table:
        table.create_table()
        yield table


@pytest.fixture
def storage(azurite: Azurite) -> Iterator[FaultyStorage]:
    """Storage without faults yet."""
    with FaultyStorage(azurite) as proxy:
        yield proxy


@pytest.fixture
def table(storage: FaultyStorage, direct: TableClient) -> Iterator[TableClient]:
    """Provide the table behind faults; its client does not retry, so that each fault shows."""
    string = storage.connection_string
    with TableClient.from_connection_string(string, direct.table_name, retry_total=0) as faulty:
        yield faulty


def test_without_faults_every_operation_passes(table: TableClient) -> None:
    """Create, read, conditional update, transaction, paged query and delete."""
    etag = table.create_entity(ENTITY)["etag"]
    changed = {**ENTITY, "requests": 8}
    table.update_entity(changed, UpdateMode.REPLACE, etag=etag, match_condition=MatchConditions.IfNotModified)
    table.submit_transaction([(TransactionOperation.UPSERT, {**ENTITY, "RowKey": str(n)}) for n in (2, 3)])
    assert [row["RowKey"] for row in table.list_entities(results_per_page=1)] == ["1", "2", "3"]
    table.delete_entity("caller-1", "2")
    assert [row["requests"] for row in table.query_entities("requests gt 0")] == [8, 7]


# The client asks an XML element for its truth value while it decodes this error.
@pytest.mark.filterwarnings("ignore:Testing an element's truth value:DeprecationWarning")
def test_storage_still_checks_the_signature(storage: FaultyStorage, azurite: Azurite, table_name: str) -> None:
    """A wrong key is refused behind the proxy as before it."""
    endpoint = storage.connection_string.partition("TableEndpoint=")[2]
    wrong = AzureNamedKeyCredential(azurite.account, "d3Jvbmcga2V5")
    with (
        TableClient(endpoint, table_name, credential=wrong) as table,
        pytest.raises(HttpResponseError, match="AuthorizationFailure"),
    ):
        table.create_table()


def test_a_refused_write_is_not_applied(storage: FaultyStorage, table: TableClient, direct: TableClient) -> None:
    """The client hears the status; storage hears nothing; the next write passes."""
    storage.script(Refuse(503))
    with pytest.raises(HttpResponseError) as raised:
        table.create_entity(ENTITY)
    assert raised.value.status_code == 503
    assert not list(direct.list_entities())
    table.create_entity(ENTITY)


@pytest.mark.parametrize(("status", "error"), [(409, ResourceExistsError), (412, ResourceModifiedError)])
def test_a_refusal_raises_what_storage_itself_would(
    status: int, error: type[Exception], storage: FaultyStorage, table: TableClient
) -> None:
    """The client picks its exception by the code in the body."""
    storage.script(Refuse(status))
    with pytest.raises(error):
        table.upsert_entity(ENTITY)


def test_a_retrying_client_gets_over_a_refusal(storage: FaultyStorage, direct: TableClient) -> None:
    """Each retry is a call of its own in the log."""
    storage.script(Refuse(503, WRITES))
    string = storage.connection_string
    retry = {"retry_total": 1, "retry_backoff_factor": 0}
    with TableClient.from_connection_string(string, direct.table_name, **retry) as table:
        table.upsert_entity(ENTITY)
    assert [(call.method, call.status) for call in storage.requests] == [("PATCH", 503), ("PATCH", 204)]


def test_a_lost_response_was_applied(storage: FaultyStorage, table: TableClient, direct: TableClient) -> None:
    """The client cannot know, and storage has it."""
    storage.script(LoseResponse())
    with pytest.raises(ServiceResponseError):
        table.create_entity(ENTITY)
    assert list(direct.list_entities()) == [ENTITY]
    assert storage.requests == [Call("POST", f"/devstoreaccount1/{table.table_name}", 201, lost=True)]


def test_another_owners_write_in_between_makes_a_true_412(
    storage: FaultyStorage, table: TableClient, direct: TableClient
) -> None:
    """Storage itself refuses the stale etag."""
    etag = table.create_entity(ENTITY)["etag"]
    theirs = {**ENTITY, "requests": 100}
    storage.script(CallBefore(lambda: direct.upsert_entity(theirs)))
    with pytest.raises(ResourceModifiedError):
        table.update_entity(ENTITY, etag=etag, match_condition=MatchConditions.IfNotModified)
    assert storage.requests[-1].status == 412
    assert list(direct.list_entities()) == [theirs]


def test_what_is_called_before_may_itself_use_the_proxy(storage: FaultyStorage, table: TableClient) -> None:
    """No lock is held while it runs."""
    storage.script(CallBefore(lambda: table.upsert_entity({**ENTITY, "RowKey": "2"}), frozenset({"POST"})))
    table.create_entity(ENTITY)
    assert [call.method for call in storage.requests] == ["PATCH", "POST"]


def test_an_error_in_what_is_called_before_comes_out(azurite: Azurite, table_name: str) -> None:
    """An assertion that fails in another thread fails the test all the same."""

    def fail() -> None:
        raise AssertionError("not what the test expected")

    with pytest.RaisesGroup(pytest.RaisesExc(AssertionError, match="not what")), FaultyStorage(azurite) as storage:
        storage.script(CallBefore(fail))
        string = storage.connection_string
        faulty = TableClient.from_connection_string(string, table_name, retry_total=0)
        with faulty as table, pytest.raises(ServiceResponseError):
            table.create_table()


def test_a_fault_waits_for_a_request_of_its_method(storage: FaultyStorage, table: TableClient) -> None:
    """A fault of writes lets reads pass, and a later fault of reads does not wait for it."""
    storage.script(Refuse(503, WRITES), Refuse(500, READS))
    with pytest.raises(HttpResponseError) as raised:
        list(table.list_entities())
    assert raised.value.status_code == 500
    assert list(table.list_entities()) == []
    assert storage.pending == 1
    with pytest.raises(HttpResponseError, match="scripted"):
        table.create_entity(ENTITY)
    assert storage.pending == 0


def test_one_fault_meets_one_of_many_concurrent_requests(storage: FaultyStorage, table: TableClient) -> None:
    """Threads share the queue and nobody meets another's fault."""
    storage.script(*[Refuse(503)] * 3)

    def refused(row: int) -> bool:
        try:
            table.upsert_entity({**ENTITY, "RowKey": str(row)})
        except HttpResponseError:
            return True
        return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(refused, range(40))) == 3
    assert len(storage.requests) == 40


def test_reads_and_writes_are_counted_until_cleared(storage: FaultyStorage, table: TableClient) -> None:
    """Each page of a query is a read; a transaction is one write."""
    table.submit_transaction([(TransactionOperation.UPSERT, {**ENTITY, "RowKey": str(n)}) for n in range(5)])
    assert len(list(table.list_entities(results_per_page=2))) == 5
    table.delete_entity("caller-1", "0")
    assert (storage.reads, storage.writes) == (3, 2)
    storage.script(Refuse(503))
    storage.clear()
    assert (storage.reads, storage.writes, storage.pending, storage.requests) == (0, 0, 0, [])


def test_an_outage_is_a_lost_connection_and_passes(
    azurite: Azurite, storage: FaultyStorage, table: TableClient
) -> None:
    """The proxy outlives storage and finds it again."""
    table.create_entity(ENTITY)
    azurite.stop()
    try:
        with pytest.raises(ServiceResponseError):
            table.get_entity("caller-1", "1")
    finally:
        azurite.start()
    assert storage.requests[-1].status is None
    assert table.get_entity("caller-1", "1") == ENTITY


def test_a_connection_is_kept_alive_until_the_server_closes() -> None:
    """Two requests share a connection, which the server then closes itself."""
    with LoopbackServer(lambda request: Answer(200, {"X-Was": request.target}, request.body)) as server:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.connect()
        kept = connection.sock
        for body in (b"one", b""):
            connection.request("PUT", "/path?query", body)
            response = connection.getresponse()
            assert (response.read(), response.headers["X-Was"]) == (body, "/path?query")
            assert connection.sock is kept
    assert kept.recv(1) == b""
    connection.close()
