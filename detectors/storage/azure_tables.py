"""`Table` on Azure Table Storage, and how to connect to it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, ResourceExistsError, ResourceModifiedError
from azure.data.tables import (
    EdmType,
    EntityProperty,
    TableClient,
    TableErrorCode,
    TableServiceClient,
    UpdateMode,
)

from detectors.errors import ConflictError, StorageError
from detectors.storage.connection import StorageConnection
from detectors.storage.tables import Row, Value, check_limits, check_transaction

_CONFLICTS = frozenset(
    {
        TableErrorCode.RESOURCE_NOT_FOUND,  # purged meanwhile: another version too
        TableErrorCode.ENTITY_ALREADY_EXISTS,  # in a transaction, which has no exception of its own for it
        TableErrorCode.UPDATE_CONDITION_NOT_SATISFIED,
    }
)
RETRIES = 3
"""Quick retries of one request. After them, the retry policy of the trigger or of the orchestration takes over."""


def open_table(connection: StorageConnection, name: str) -> "AzureTable":
    """Open a table, and create it if it does not exist. Raises `StorageError` if the account cannot be reached."""
    with _translated():
        client = _service(connection).create_table_if_not_exists(name)
    return AzureTable(client)


def open_existing_table(connection: StorageConnection, name: str) -> "AzureTable":
    """Open a table without creating it. If it does not exist, using it raises `StorageError`."""
    return AzureTable(_service(connection).get_table_client(name))


def _service(connection: StorageConnection) -> TableServiceClient:
    options: dict[str, Any] = {"retry_total": RETRIES}
    if connection.connection_string:
        return TableServiceClient.from_connection_string(connection.connection_string, **options)
    # Loaded here: identity costs 0.15 s at start-up, which a connection string does not need.
    from azure.identity import DefaultAzureCredential, ManagedIdentityCredential  # noqa: PLC0415

    credential = (
        ManagedIdentityCredential(client_id=connection.client_id)
        if connection.managed_identity
        else DefaultAzureCredential(managed_identity_client_id=connection.client_id)
    )
    return TableServiceClient(endpoint=connection.table_endpoint or "", credential=credential, **options)


class AzureTable:
    """A table of Azure Table Storage or Azurite. Safe for several threads, as the client is."""

    def __init__(self, client: TableClient) -> None:
        self._client = client

    def insert(self, row: Row) -> str:
        """See `Table.insert`."""
        check_limits(row)
        with _translated():
            return str(self._client.create_entity(_entity(row))["etag"])

    def merge(self, row: Row) -> str:
        """See `Table.merge`."""
        if row.etag is None:
            raise ConflictError(f"{row.partition} {row.key} was never read, so it may have changed")
        check_limits(row)
        with _translated():
            written = self._client.update_entity(
                _entity(row), UpdateMode.MERGE, etag=row.etag, match_condition=MatchConditions.IfNotModified
            )
        return str(written["etag"])

    def write(self, rows: Sequence[Row]) -> None:
        """See `Table.write`."""
        check_transaction(rows)
        with _translated():
            self._client.submit_transaction([_written(row) for row in rows])

    def upsert(self, rows: Sequence[Row]) -> None:
        """See `Table.upsert`."""
        check_transaction(rows)
        with _translated():
            if len(rows) == 1:
                self._client.upsert_entity(_entity(rows[0]), UpdateMode.REPLACE)
            elif rows:
                self._client.submit_transaction(
                    [("upsert", _entity(row), {"mode": UpdateMode.REPLACE}) for row in rows]
                )

    def query(
        self, first: str, last: str, *, key_prefix: str = "", columns: Sequence[str] | None = None
    ) -> Iterator[Row]:
        """See `Table.query`."""
        conditions = "PartitionKey eq @first" if first == last else "PartitionKey ge @first and PartitionKey le @last"
        parameters = {"first": first, "last": last}
        if key_prefix:
            conditions += " and RowKey ge @prefix and RowKey lt @beyond"
            parameters |= {"prefix": key_prefix, "beyond": key_prefix[:-1] + chr(ord(key_prefix[-1]) + 1)}
        select = None if columns is None else ["PartitionKey", "RowKey", *columns]
        with _translated():
            for entity in self._client.query_entities(conditions, parameters=parameters, select=select):
                yield _row(entity)

    def delete(self, partition: str, keys: Sequence[str]) -> None:
        """See `Table.delete`. In a transaction; one by one if that fails, as it does if another host deleted a row."""
        if len(keys) > 1:
            with suppress(ConflictError), _translated():
                self._client.submit_transaction(
                    [("delete", {"PartitionKey": partition, "RowKey": key}) for key in keys]
                )
                return
        with _translated():
            for key in keys:
                self._client.delete_entity(partition, key)  # the client takes a row that is gone for success


def _written(row: Row) -> tuple[Any, ...]:
    """Convert a row for a transaction that finds every row as it was read."""
    if row.etag is None:
        return "create", _entity(row)
    unchanged = {"mode": UpdateMode.MERGE, "etag": row.etag, "match_condition": MatchConditions.IfNotModified}
    return "update", _entity(row), unchanged


def _entity(row: Row) -> dict[str, Any]:
    """Convert a row for the client; whole numbers become Int64, since it stores a plain int as Int32."""
    values = {
        name: EntityProperty(value, EdmType.INT64) if type(value) is int else value
        for name, value in row.values.items()
    }
    return {"PartitionKey": row.partition, "RowKey": row.key, **values}


def _row(entity: Any) -> Row:  # noqa: ANN401 - the client's entity is a dict of anything
    values: dict[str, Value] = {
        name: value.value if isinstance(value, EntityProperty) else value
        for name, value in entity.items()
        if name not in {"PartitionKey", "RowKey"} and value is not None
    }
    return Row(entity["PartitionKey"], entity["RowKey"], values, entity.metadata.get("etag"))


@contextmanager
def _translated() -> Iterator[None]:
    """Translate the client's errors to the detector's."""
    try:
        yield
    except (ResourceExistsError, ResourceModifiedError) as error:
        raise ConflictError(error.message) from error
    except AzureError as error:
        if getattr(error, "error_code", None) in _CONFLICTS:
            raise ConflictError(error.message) from error
        raise StorageError(f"Table Storage: {error.message}") from error
