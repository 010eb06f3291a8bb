"""The settings, read from the environment once, at start: every problem at once, each with its fix."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from detectors.buckets import SLICES
from detectors.errors import SettingsError
from detectors.records import EXCERPT_CHARACTERS
from detectors.rules import CATALOGUE
from detectors.table_storage import StorageConnection

MIN_RETENTION_HOURS = 25
MAX_RETENTION_HOURS = 14 * 24

_HUB_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,254}[A-Za-z0-9])?")
_CONSUMER_GROUP = re.compile(r"\$Default|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,48}[A-Za-z0-9])?")
_SCHEDULE = re.compile(r"[0-9A-Za-z*/,-]+(?: [0-9A-Za-z*/,-]+){5}")
_RULE_ID = re.compile(r"dcr-[0-9a-f]{32}")
_STREAM = re.compile(r"Custom-[A-Za-z0-9_]{1,60}")
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
_CLIENT_ID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_ADDRESS = re.compile(r"https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?(?:/[A-Za-z0-9._/-]*)?")  # no query: it may hold a key
_INNOCENT = re.compile(r"[^=;?&@]{1,60}")
"""What may be shown: keys, connection strings and signed addresses all hold one of these characters."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the detector is told.

    Attributes:
        event_hub_name: the hub that receives the diagnostic logs.
        consumer_group: the detector's own consumer group.
        evaluation_schedule: NCRONTAB of six fields; some seconds past each tenth minute.
        storage: where buckets, journal and quarantine live.
        ingestion_endpoint: of the data collection rule; None writes findings to the log.
        ingestion_rule_id: the rule's immutable id.
        findings_stream: its stream for findings.
        health_stream: its stream for heartbeats.
        thresholds: numbers in force, by rule id and threshold name.
        retention: how long buckets are kept; an evaluation catches up one hour less than that.
        shards: parallel parts of an evaluation.
        quarantine_characters: how much of a flawed record is kept.
    """

    event_hub_name: str
    consumer_group: str
    evaluation_schedule: str
    storage: StorageConnection
    ingestion_endpoint: str | None
    ingestion_rule_id: str | None
    findings_stream: str
    health_stream: str
    thresholds: Mapping[str, Mapping[str, int]] = field(hash=False)
    retention: timedelta
    shards: int
    quarantine_characters: int

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Read and check every setting.

        Raises:
            SettingsError: with all problems, not just the first.
        """
        read = _Reader(env)
        read.connection("EventHubConnection", "fullyQualifiedNamespace", "<namespace>.servicebus.windows.net")
        endpoint, rule_id = read.ingestion()
        settings = cls(
            event_hub_name=read.text("EVENT_HUB_NAME", None, _HUB_NAME, "the name of an Event Hub, such as llm-logs"),
            consumer_group=read.text("EVENT_HUB_CONSUMER_GROUP", None, _CONSUMER_GROUP, "a consumer group of its own"),
            evaluation_schedule=read.text(
                "EVALUATION_SCHEDULE", None, _SCHEDULE, "six NCRONTAB fields, such as '45 */10 * * * *'"
            ),
            storage=read.storage(),
            ingestion_endpoint=endpoint,
            ingestion_rule_id=rule_id,
            findings_stream=read.text(
                "LOGS_INGESTION_STREAM", "Custom-LlmThreatFindings_CL", _STREAM, "a stream name: Custom-<table>"
            ),
            health_stream=read.text(
                "LOGS_INGESTION_HEALTH_STREAM", "Custom-LlmDetectorHealth_CL", _STREAM, "a stream name: Custom-<table>"
            ),
            thresholds={
                rule.id: {
                    threshold.name: read.number(setting_of(rule.id, threshold.name), threshold.at_least, 1, 2**53)
                    for threshold in rule.thresholds
                }
                for rule in CATALOGUE
            },
            retention=timedelta(
                hours=read.number("BUCKET_RETENTION_HOURS", 25, MIN_RETENTION_HOURS, MAX_RETENTION_HOURS)
            ),
            shards=read.number("EVALUATION_SHARDS", 4, 1, SLICES),
            quarantine_characters=read.number("QUARANTINE_EXCERPT_CHARACTERS", 1024, 0, EXCERPT_CHARACTERS),
        )
        read.unknown_thresholds()
        if read.problems:
            raise SettingsError(read.problems)
        return settings


def storage_from_env(env: Mapping[str, str]) -> tuple[str, StorageConnection]:
    """The storage alone, for tools that need nothing else, and the setting that names it.

    Raises:
        SettingsError: with all problems of the storage's settings.
    """
    read = _Reader(env)
    name, storage = read.storage_name(), read.storage()
    if read.problems:
        raise SettingsError(read.problems)
    return name, storage


def setting_of(rule_id: str, threshold: str) -> str:
    """The name of the setting that overrides a threshold, such as `MODEL_THEFT__COUNT`."""
    return f"{rule_id}__{threshold}".upper()


class _Reader:
    """Reads settings and collects what is wrong with them. Shows a value's shape, never a secret.

    What bindings name (`%EVENT_HUB_NAME%`) has no default: the host looks it up itself, and knows none of ours.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self.problems: list[str] = []

    def text(self, name: str, default: str | None, pattern: re.Pattern[str], wanted: str) -> str:
        """A setting that must match a pattern; without default it is required."""
        value = self._value(name) or default
        if value is None:
            self.problems.append(f"{name} is not set: give it {wanted}.")
            return ""
        return self._checked(name, value, pattern, wanted)

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number between two limits."""
        value = self._value(name) or str(default)
        if not re.fullmatch(r"[0-9]{1,18}", value) or not least <= int(value) <= most:
            self.problems.append(f"{name} is {_shown(value)}: give it a whole number from {least} to {most}.")
            return default
        return int(value)

    def connection(self, name: str, suffix: str, example: str) -> None:
        """A connection of the Functions host: a connection string, or settings that name a resource."""
        identity_setting = f"{name}__{suffix}"
        if not self._value(name) and not self._value(identity_setting):
            self.problems.append(
                f"{name} is not set: give {identity_setting} {example} (managed identity),"
                f" or {name} a connection string for a local run."
            )

    def storage_name(self) -> str:
        """`BucketStorage` if any setting of it is there, else the app's own `AzureWebJobsStorage`."""
        own = any(key.partition("__")[0] == "BucketStorage" and self._value(key) for key in self._env)
        return "BucketStorage" if own else "AzureWebJobsStorage"

    def storage(self) -> StorageConnection:
        """The connection that `storage_name` names."""
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
        """The endpoint and the rule that take findings: both, or neither for a local run."""
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

    def unknown_thresholds(self) -> None:
        """A misspelt threshold would silently leave the default in force."""
        known = {setting_of(rule.id, threshold.name) for rule in CATALOGUE for threshold in rule.thresholds}
        prefixes = tuple(rule.id.upper() for rule in CATALOGUE)
        self.problems += [
            f"{name} names no threshold: there is {', '.join(sorted(known))}."
            for name in self._env
            if name.upper().startswith(prefixes) and name not in known and self._value(name)
        ]

    def _value(self, name: str) -> str | None:
        """A setting as it is; a blank one is not set."""
        return self._env.get(name, "").strip() or None

    def _table_endpoint(self, name: str) -> str | None:
        """The table service that identity-based settings name, if they do."""
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
    """A value as a message may show it: a key pasted into the wrong setting must not end up in a log."""
    return repr(value) if value and _INNOCENT.fullmatch(value) else f"a text of {len(value or '')} characters"
