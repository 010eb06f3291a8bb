"""How to reach Table Storage."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class StorageConnection:
    """How to reach the storage account: a connection string, or an endpoint and an identity.

    Attributes:
        connection_string: for local runs; never shown.
        table_endpoint: `https://<account>.table.core.windows.net`.
        managed_identity: use only the managed identity, as `__credential=managedidentity` asks.
        client_id: of a user-assigned identity.
    """

    connection_string: str | None = field(default=None, repr=False)
    table_endpoint: str | None = None
    managed_identity: bool = False
    client_id: str | None = None
