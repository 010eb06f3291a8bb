"""Azurite as the real client sees it, and what its start says when it fails."""

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from azure.data.tables import TableClient
from azure.identity import ManagedIdentityCredential

from local.azurite import Azurite, AzuriteError
from local.monitor import Monitor

ENTITY = {"PartitionKey": "caller-1", "RowKey": "2026-01-01T00:00Z", "requests": 7}


def client(azurite: Azurite, name: str) -> TableClient:
    """Return a client without retries, so that a failure shows at once."""
    return TableClient.from_connection_string(azurite.connection_string, name, retry_total=0)


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Provide the folder in which temporary folders are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def entry(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide a script that starts in Azurite's place."""
    script = tmp_path_factory.mktemp("entry") / "main.js"
    monkeypatch.setattr("local.azurite._ENTRY", script)
    return script


def test_a_client_reads_back_what_it_wrote(azurite: Azurite, table_name: str) -> None:
    """The connection string is all that azure-data-tables needs."""
    with client(azurite, table_name) as table:
        table.create_table()
        table.create_entity(ENTITY)
        assert table.get_entity("caller-1", "2026-01-01T00:00Z") == ENTITY


def test_data_outlives_a_restart(table_name: str) -> None:
    """An outage loses no write, however late before it the write came."""
    with Azurite() as azurite, client(azurite, table_name) as table:
        table.create_table()
        endpoint = azurite.endpoint
        table.create_entity(ENTITY)
        azurite.restart()
        assert azurite.endpoint == endpoint
        assert table.get_entity("caller-1", "2026-01-01T00:00Z") == ENTITY


def test_nothing_is_left_at_the_end(temporary: Path, azurite: Azurite, table_name: str) -> None:
    """Its process and folder go, and another Azurite stays."""
    with Azurite() as ending:
        assert list(temporary.iterdir())
    assert not list(temporary.iterdir())
    with client(ending, table_name) as table, pytest.raises(ServiceRequestError):
        table.create_table()
    with client(azurite, table_name) as table:
        table.create_table()


def test_accounts_of_the_environment_do_not_replace_the_development_account(
    monkeypatch: pytest.MonkeyPatch, table_name: str
) -> None:
    """A developer's own AZURITE_ACCOUNTS does not reach it."""
    monkeypatch.setenv("AZURITE_ACCOUNTS", "somebody:c29tZWtleQ==")
    with Azurite() as azurite, client(azurite, table_name) as table:
        table.create_table()


def test_a_port_lost_to_another_process_is_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first port chosen is taken, the second is not."""
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        ports = [taken.getsockname()[1], free.getsockname()[1]]
        expected = ports[1]
        free.close()
        monkeypatch.setattr("local.azurite._free_port", lambda: ports.pop(0))
        with Azurite() as azurite:
            assert azurite.port == expected


def test_a_start_gives_up_when_every_port_is_lost(entry: Path, temporary: Path) -> None:
    """Five ports are tried, and the error says what was wrong with the last."""
    tries = entry.with_name("tries")
    entry.write_text(f"require('fs').appendFileSync({str(tries)!r}, 'x'); throw new Error('EADDRINUSE')")
    with pytest.raises(AzuriteError, match="EADDRINUSE"), Azurite():
        pass
    assert tries.read_text() == "xxxxx"
    assert not list(temporary.iterdir())


def test_a_failed_start_tells_what_the_process_said(entry: Path, temporary: Path) -> None:
    """The process's own words are in the error."""
    entry.write_text("console.error('the disk is full'); process.exit(3)")
    with pytest.raises(AzuriteError, match=r"ended on port \d+: the disk is full"), Azurite():
        pass
    assert not list(temporary.iterdir())


def test_a_start_that_never_comes_is_bounded(entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that neither listens nor ends is ended."""
    pid = entry.with_name("pid")
    entry.write_text(f"require('fs').writeFileSync({str(pid)!r}, `${{process.pid}}`); setInterval(() => 0, 1e6)")
    monkeypatch.setattr("local.azurite._START_SECONDS", 1.0)
    with pytest.raises(AzuriteError, match="did not start within 1 s"), Azurite():
        pass
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_missing_packages_are_told_with_the_remedy(entry: Path) -> None:
    """Without node_modules the error names make."""
    with pytest.raises(AzuriteError, match=rf"{entry} does not exist.*`make`"), Azurite():
        pass


def test_a_missing_node_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without Node.js the error names it and make."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AzuriteError, match=r"node is not on the PATH.*`make`"), Azurite():
        pass


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[Monitor, Azurite]]:
    """Azurite that takes the tokens of a managed identity."""
    with Monitor({}) as monitor, Azurite(authority=monitor.authority) as azurite:
        yield monitor, azurite


@pytest.fixture
def identity(guarded: tuple[Monitor, Azurite], monkeypatch: pytest.MonkeyPatch) -> Iterator[ManagedIdentityCredential]:
    """Provide the credential of the deployed code."""
    for name, value in guarded[0].environment().items():
        monkeypatch.setenv(name, value)
    with ManagedIdentityCredential() as credential:
        yield credential


def test_a_managed_identity_reads_and_writes(
    guarded: tuple[Monitor, Azurite], identity: ManagedIdentityCredential, table_name: str
) -> None:
    """No key is involved: endpoint and credential, as in Azure."""
    with TableClient(guarded[1].endpoint, table_name, credential=identity) as table:
        table.create_table()
        table.create_entity(ENTITY)
        assert table.get_entity("caller-1", "2026-01-01T00:00Z") == ENTITY


# The client asks an XML element for its truth value while it decodes this error.
@pytest.mark.filterwarnings("ignore:Testing an element's truth value:DeprecationWarning")
def test_a_token_for_another_resource_is_refused(
    guarded: tuple[Monitor, Azurite], identity: ManagedIdentityCredential, table_name: str
) -> None:
    """Azurite does check the tokens it is given."""
    elsewhere = TableClient(guarded[1].endpoint, table_name, credential=identity, audience="https://vault.azure.net")
    with elsewhere as table, pytest.raises(ClientAuthenticationError, match="audience"):
        table.create_table()
