"""The environment variables, read and checked one by one."""

import re
from collections.abc import Callable, Mapping

from detectors.storage.connection import StorageConnection

_RULE_ID = re.compile(r"dcr-[0-9a-f]{32}")
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
_CLIENT_ID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_ADDRESS = re.compile(r"https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?(?:/[A-Za-z0-9._/-]*)?")  # no query: it may hold a key
_INNOCENT = re.compile(r"[^=;?&@]{1,60}")
"""A value that may be shown: keys, connection strings and signed addresses all hold one of the excluded characters."""


class Environment:
    """Reads settings and collects their problems. Shows a value's shape, never a secret.

    Settings that bindings name (`%EVENT_HUB_NAME%`) have no default: the host resolves them itself.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self.problems: list[str] = []

    def named(self, wanted: Callable[[str], object]) -> list[str]:
        """List the names that are set and wanted: finds rare settings without asking for each of them."""
        return [name for name in self._env if wanted(name) and self._value(name)]

    def text(self, name: str, default: str | None, pattern: re.Pattern[str], wanted: str) -> str:
        """Read a setting that must match a pattern; without a default it is required."""
        value = self._value(name) or default
        if value is None:
            self.problems.append(f"{name} is not set: give it {wanted}.")
            return ""
        return self._checked(name, value, pattern, wanted)

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """Read a whole number between two limits."""
        value = self._value(name) or str(default)
        if not re.fullmatch(r"[0-9]{1,18}", value) or not least <= int(value) <= most:
            self.problems.append(f"{name} is {_shown(value)}: give it a whole number from {least} to {most}.")
            return default
        return int(value)

    def flag(self, name: str) -> bool | None:
        """Read true or false in any capitalization; None if it is neither."""
        value = (self._value(name) or "").lower()
        if value not in {"true", "false", ""}:
            self.problems.append(f"{name} is {_shown(value)}: give it true or false.")
        return {"true": True, "false": False}.get(value)

    def connection(self, name: str, suffix: str, example: str) -> None:
        """Check a connection of the Functions host: a connection string, or settings that name a resource."""
        identity_setting = f"{name}__{suffix}"
        if not self._value(name) and not self._value(identity_setting):
            self.problems.append(
                f"{name} is not set: give {identity_setting} {example} (managed identity),"
                f" or {name} a connection string for a local run."
            )

    def storage_name(self) -> str:
        """Choose `BucketStorage` if any of its settings is set, else the app's own `AzureWebJobsStorage`."""
        own = any(key.partition("__")[0] == "BucketStorage" and self._value(key) for key in self._env)
        return "BucketStorage" if own else "AzureWebJobsStorage"

    def storage(self) -> StorageConnection:
        """Read the connection that `storage_name` names."""
        name = self.storage_name()
        endpoint = self._table_endpoint(name)
        connection_string = None if endpoint else self._value(name)
        if not endpoint and not connection_string:
            self.problems.append(
                f"{name} is not set: give {name}__tableServiceUri https://<account>.table.core.windows.net"
                f" (managed identity), or {name} a connection string for a local run."
            )
        elif connection_string and not _names_account_and_key(connection_string):
            self.problems.append(
                f"{name} is no storage connection string: give it one with AccountName and AccountKey."
            )
        credential = self._value(f"{name}__credential")
        if credential not in {None, "managedidentity"}:
            self.problems.append(
                f"{name}__credential is {_shown(credential)}: give it managedidentity, or leave it out."
            )
        client_id = self._value(f"{name}__clientId")
        return StorageConnection(
            connection_string=connection_string,
            table_endpoint=endpoint,
            managed_identity=credential == "managedidentity",
            client_id=client_id
            and self._checked(f"{name}__clientId", client_id, _CLIENT_ID, "the client id of an identity, a GUID"),
        )

    def ingestion(self) -> tuple[str | None, str | None]:
        """Read the endpoint and the rule that receive findings: both, or neither for a local run."""
        endpoint = self._value("LOGS_INGESTION_ENDPOINT")
        if endpoint is None and self._value("LOGS_INGESTION_RULE_ID") is None:
            return None, None
        if endpoint is None:
            self.problems.append("LOGS_INGESTION_RULE_ID is set without LOGS_INGESTION_ENDPOINT: give both or neither.")
        else:
            wanted = "an https address, such as https://<name>.<region>.ingest.monitor.azure.com"
            self._checked("LOGS_INGESTION_ENDPOINT", endpoint, _ADDRESS, wanted)
        wanted = "the rule's immutable id, dcr- and 32 hex digits (give it and LOGS_INGESTION_ENDPOINT, or neither)"
        return endpoint, self.text("LOGS_INGESTION_RULE_ID", None, _RULE_ID, wanted)

    def _value(self, name: str) -> str | None:
        """Read a raw setting; a blank one counts as not set."""
        return self._env.get(name, "").strip() or None

    def _table_endpoint(self, name: str) -> str | None:
        """Find the table service that identity-based settings name; None if they name none."""
        endpoint, account = self._value(f"{name}__tableServiceUri"), self._value(f"{name}__accountName")
        if endpoint:
            wanted = "an https address, such as https://<account>.table.core.windows.net"
            return self._checked(f"{name}__tableServiceUri", endpoint, _ADDRESS, wanted)
        if account:
            self._checked(f"{name}__accountName", account, _ACCOUNT, "the name of a storage account")
            return f"https://{account}.table.core.windows.net"
        return None

    def _checked(self, name: str, value: str, pattern: re.Pattern[str], wanted: str) -> str:
        if not pattern.fullmatch(value):
            self.problems.append(f"{name} is {_shown(value)}: give it {wanted}.")
        return value


def _names_account_and_key(connection_string: str) -> bool:
    parts = {part.partition("=")[0] for part in connection_string.split(";")}
    return connection_string == "UseDevelopmentStorage=true" or {"AccountName", "AccountKey"} <= parts


def _shown(value: str | None) -> str:
    """Format a value for a message: a key pasted into the wrong setting must not end up in a log."""
    return repr(value) if value and _INNOCENT.fullmatch(value) else f"a text of {len(value or '')} characters"
