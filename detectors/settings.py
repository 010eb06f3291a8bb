"""The settings, read from the environment once, at start: every problem at once, each with its fix."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit

from detectors.buckets import SLICES
from detectors.errors import SettingsError
from detectors.records import EXCERPT_CHARACTERS
from detectors.rules import CATALOGUE
from detectors.table_storage import StorageConnection

MIN_RETENTION_HOURS = 25
MAX_RETENTION_HOURS = 14 * 24

_HUB_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,254}[A-Za-z0-9])?")
_SCHEDULE = re.compile(r"\S+(?: \S+){5}")
_RULE_ID = re.compile(r"dcr-[0-9a-f]{32}")
_STREAM = re.compile(r"Custom-[A-Za-z0-9_]{1,60}")


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
            consumer_group=read.text("EVENT_HUB_CONSUMER_GROUP", "$Default", re.compile(r"\S+"), "a consumer group"),
            evaluation_schedule=read.text(
                "EVALUATION_SCHEDULE", "45 */10 * * * *", _SCHEDULE, "six NCRONTAB fields, such as '45 */10 * * * *'"
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


def setting_of(rule_id: str, threshold: str) -> str:
    """The name of the setting that overrides a threshold, such as `MODEL_THEFT__COUNT`."""
    return f"{rule_id}__{threshold}".upper()


class _Reader:
    """Reads settings and collects what is wrong with them. Shows a value's shape, never a secret."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = {name: value.strip() for name, value in env.items() if value.strip()}
        self.problems: list[str] = []

    def text(self, name: str, default: str | None, pattern: re.Pattern[str], wanted: str) -> str:
        """A setting that must match a pattern; without default it is required."""
        value = self._env.get(name, default)
        if value is None:
            self.problems.append(f"{name} is not set: give it {wanted}.")
            return ""
        if not pattern.fullmatch(value):
            self.problems.append(f"{name} is {value[:60]!r}: give it {wanted}.")
        return value

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number between two limits."""
        value = self._env.get(name, str(default))
        if not re.fullmatch(r"[0-9]{1,18}", value) or not least <= int(value) <= most:
            self.problems.append(f"{name} is {value[:60]!r}: give it a whole number from {least} to {most}.")
            return default
        return int(value)

    def connection(self, name: str, suffix: str, example: str) -> None:
        """A connection of the Functions host: a connection string, or settings that name a resource."""
        identity_setting = f"{name}__{suffix}"
        if name not in self._env and identity_setting not in self._env:
            self.problems.append(
                f"{name} is not set: give {identity_setting} {example} (managed identity),"
                f" or {name} a connection string for a local run."
            )

    def storage(self) -> StorageConnection:
        """`BucketStorage` if any setting of it is there, else the app's own `AzureWebJobsStorage`."""
        own = any(key == "BucketStorage" or key.startswith("BucketStorage__") for key in self._env)
        name = "BucketStorage" if own else "AzureWebJobsStorage"
        account = self._env.get(f"{name}__accountName")
        endpoint = self._env.get(f"{name}__tableServiceUri") or (
            f"https://{account}.table.core.windows.net" if account else None
        )
        connection_string = None if endpoint else self._env.get(name)
        if endpoint:
            self._check_url(f"{name}__tableServiceUri", endpoint, "https://<account>.table.core.windows.net")
        elif connection_string is None:
            self.problems.append(
                f"{name} is not set: give {name}__tableServiceUri https://<account>.table.core.windows.net"
                f" (managed identity), or {name} a connection string for a local run."
            )
        elif connection_string != "UseDevelopmentStorage=true" and "AccountName=" not in connection_string:
            self.problems.append(f"{name} is no storage connection string: it names no AccountName.")
        credential = self._env.get(f"{name}__credential")
        if credential not in {None, "managedidentity"}:
            self.problems.append(f"{name}__credential is {credential!r}: give it managedidentity, or leave it out.")
        return StorageConnection(
            connection_string=connection_string,
            table_endpoint=endpoint,
            managed_identity=credential == "managedidentity",
            client_id=self._env.get(f"{name}__clientId"),
        )

    def ingestion(self) -> tuple[str | None, str | None]:
        """The endpoint and the rule that take findings: both, or neither for a local run."""
        endpoint = self._env.get("LOGS_INGESTION_ENDPOINT")
        rule_id = self._env.get("LOGS_INGESTION_RULE_ID")
        if endpoint is None and rule_id is None:
            return None, None
        if endpoint is None:
            self.problems.append("LOGS_INGESTION_RULE_ID is set without LOGS_INGESTION_ENDPOINT: give both or neither.")
        else:
            self._check_url("LOGS_INGESTION_ENDPOINT", endpoint, "https://<name>.<region>.ingest.monitor.azure.com")
        wanted = "the rule's immutable id, dcr- and 32 hex digits (give it and LOGS_INGESTION_ENDPOINT, or neither)"
        return endpoint, self.text("LOGS_INGESTION_RULE_ID", None, _RULE_ID, wanted)

    def unknown_thresholds(self) -> None:
        """A misspelt threshold would silently leave the default in force."""
        for rule in CATALOGUE:
            known = {setting_of(rule.id, threshold.name) for threshold in rule.thresholds}
            prefix = setting_of(rule.id, "")
            self.problems += [
                f"{name} names no threshold of {rule.id}: there is {', '.join(sorted(known))}."
                for name in self._env
                if name.upper().startswith(prefix) and name not in known
            ]

    def _check_url(self, name: str, value: str, example: str) -> None:
        url = urlsplit(value)
        if url.scheme != "https" or not url.hostname:
            self.problems.append(f"{name} is {value[:80]!r}: give it an https address, such as {example}.")
