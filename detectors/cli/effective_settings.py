"""The settings in force as values to show: where each comes from, and nothing that is a secret."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from detectors.configuration.settings import ENABLED, OVERRIDES, TUNING_FILE, Settings
from detectors.evaluation.policy import Policy

CONNECTIONS = ("EventHubConnection", "AzureWebJobsStorage", "BucketStorage")
HIDDEN = "(not shown)"
SET, DEFAULT = "set", "default"

_SHOWN_PARTS = ("Endpoint", "AccountName", "TableEndpoint")
_EMULATOR = "UseDevelopmentStorage=true"
_HOST = re.compile(r"[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+(?::[0-9]{1,5})?")
_HARMLESS = {
    "accountName": re.compile(r"[a-z0-9]{3,24}"),
    "clientId": re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"),
    "credential": re.compile("managedidentity"),
    "fullyQualifiedNamespace": _HOST,
}
"""What the settings beside a connection hold; another value may be a key that was pasted there."""


class EffectiveSetting(NamedTuple):
    """A setting, its value as it may be shown (None: none), and where it comes from: `set`, or else `default`.

    What a rule does may also come from the tuning file, whose entry is named then.
    """

    setting: str
    value: str | int | None
    origin: str


def in_force(env: Mapping[str, str]) -> list[EffectiveSetting]:
    """Every setting in the order of the sample. Raises `SettingsError` with all problems there are."""
    settings = Settings.from_env(env)
    values: dict[str, str | int | None] = {
        "EVENT_HUB_NAME": settings.event_hub_name,
        "EVENT_HUB_CONSUMER_GROUP": settings.consumer_group,
        "EVALUATION_SCHEDULE": settings.evaluation_schedule,
        "LOGS_INGESTION_ENDPOINT": settings.ingestion_endpoint,
        "LOGS_INGESTION_RULE_ID": settings.ingestion_rule_id,
        "LOGS_INGESTION_STREAM": settings.findings_stream,
        "LOGS_INGESTION_HEALTH_STREAM": settings.health_stream,
        "TUNING_FILE": env.get("TUNING_FILE", "").strip() or TUNING_FILE,
    }
    limits: dict[str, str | int | None] = {
        "BUCKET_RETENTION_HOURS": round(settings.retention.total_seconds() / 3600),
        "QUARANTINE_EXCERPT_CHARACTERS": settings.quarantine_characters,
    }
    return [*_connections(env), *_plain(env, values), *_of_rules(env, settings.policy), *_plain(env, limits)]


def _plain(env: Mapping[str, str], values: Mapping[str, str | int | None]) -> Iterator[EffectiveSetting]:
    return (EffectiveSetting(name, value, SET if _is_set(env, name) else DEFAULT) for name, value in values.items())


def _of_rules(env: Mapping[str, str], policy: Policy) -> Iterator[EffectiveSetting]:
    """Yield what holds where no resource has its own."""
    for name, (rule_id, what) in OVERRIDES.items():
        effective = policy.resolve(rule_id, "")
        value = effective.enabled if what == ENABLED else effective.thresholds[what]
        shown = str(value.value).lower() if what == ENABLED else value.value
        yield EffectiveSetting(name, shown, SET if _is_set(env, name) else value.origin)


def _is_set(env: Mapping[str, str], name: str) -> bool:
    return bool(env.get(name, "").strip())


def _connections(env: Mapping[str, str]) -> Iterator[EffectiveSetting]:
    """Yield the settings of each connection that are set."""
    for connection in CONNECTIONS:
        names = [name for name in env if name.partition("__")[0] == connection and env[name].strip()]
        for name in sorted(names):
            yield EffectiveSetting(name, _without_secrets(name, env[name].strip()), SET)
        if not names:  # only BucketStorage: the others are required, one way or another
            yield EffectiveSetting(connection, "AzureWebJobsStorage", DEFAULT)


def _without_secrets(name: str, value: str) -> str:
    """Return a connection string's account and endpoints, an address without its query, an identity; nothing else."""
    part = name.partition("__")[2]
    if not part:
        return value if value == _EMULATOR else _named(value)
    if part.endswith("Uri"):
        return _address(value) or HIDDEN
    return value if part in _HARMLESS and _HARMLESS[part].fullmatch(value) else HIDDEN


def _named(connection_string: str) -> str:
    """Return the parts of a connection string that are no secret."""
    parts = dict(part.strip().split("=", 1) for part in connection_string.split(";") if "=" in part)
    shown = []
    for name in _SHOWN_PARTS:
        value = parts.get(name, "")
        harmless = value if name == "AccountName" and _HARMLESS["accountName"].fullmatch(value) else _address(value)
        shown += [f"{name}={harmless}"] if harmless else []
    return ";".join(shown) or HIDDEN


def _address(text: str) -> str:
    """Scheme, host and port of an address; empty if it is none."""
    try:
        split = urlsplit(text)
        port = f":{split.port}" if split.port else ""
    except ValueError:
        return ""
    return f"{split.scheme}://{split.hostname}{port}" if split.scheme and split.hostname else ""
