"""The settings, read from the environment once, at start: every problem at once, each with its fix."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from difflib import get_close_matches

from detectors.configuration import tuning
from detectors.configuration.environment import Environment
from detectors.errors import SettingsError
from detectors.evaluation.policy import MAX_THRESHOLD, Policy, PolicyChange
from detectors.evaluation.suppressions import Scope
from detectors.rules import catalogue
from detectors.rules.catalogue import CATALOGUE, ROOT
from detectors.sources.decoding import EXCERPT_CHARACTERS
from detectors.storage.connection import StorageConnection
from detectors.toml_table import suggestion

MIN_RETENTION_HOURS = 25
MAX_RETENTION_HOURS = 14 * 24

_HUB_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,254}[A-Za-z0-9])?")
_CONSUMER_GROUP = re.compile(r"\$Default|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,48}[A-Za-z0-9])?")
_SCHEDULE = re.compile(r"[0-9A-Za-z*/,-]+(?: [0-9A-Za-z*/,-]+){5}")
_STREAM = re.compile(r"Custom-[A-Za-z0-9_]{1,60}")
_TUNING_FILE = re.compile(r"[A-Za-z0-9 ._/\\:-]{1,200}\.toml")


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of the detector.

    Attributes:
        event_hub_name: the hub that receives the diagnostic logs.
        consumer_group: the detector's own consumer group.
        evaluation_schedule: NCRONTAB of six fields; some seconds past each tenth minute.
        storage: where buckets, journal and quarantine live.
        ingestion_endpoint: the endpoint of the data collection rule; None writes findings to the log.
        ingestion_rule_id: the rule's immutable id.
        findings_stream: its stream for findings.
        health_stream: its stream for heartbeats.
        policy: the thresholds, severities and suppression rules in force.
        retention: how long buckets are kept; an evaluation catches up one hour less than that.
        quarantine_characters: how many characters of a flawed record are kept.
    """

    event_hub_name: str
    consumer_group: str
    evaluation_schedule: str
    storage: StorageConnection
    ingestion_endpoint: str | None
    ingestion_rule_id: str | None
    findings_stream: str
    health_stream: str
    policy: Policy = field(hash=False)
    retention: timedelta
    quarantine_characters: int

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Read and check every setting.

        Raises:
            SettingsError: lists all problems, not just the first.
        """
        read = Environment(env)
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
            policy=_policy(read),
            retention=timedelta(
                hours=read.number("BUCKET_RETENTION_HOURS", 25, MIN_RETENTION_HOURS, MAX_RETENTION_HOURS)
            ),
            quarantine_characters=read.number("QUARANTINE_EXCERPT_CHARACTERS", 1024, 0, EXCERPT_CHARACTERS),
        )
        if read.problems:
            raise SettingsError(read.problems)
        return settings


def storage_from_env(env: Mapping[str, str]) -> tuple[str, StorageConnection]:
    """Read the storage alone, for tools that need nothing else, and the setting that names it.

    Raises:
        SettingsError: lists all problems of the storage's settings.
    """
    read = Environment(env)
    name, storage = read.storage_name(), read.storage()
    if read.problems:
        raise SettingsError(read.problems)
    return name, storage


def policy_from_env(env: Mapping[str, str], tuned: tuning.Tuning | None = None) -> Policy:
    """Read the policy alone, for tools that need nothing else; `tuned` replaces the tuning file in force.

    Raises:
        SettingsError: lists all problems of the tuning file and of the settings that override it.
    """
    read = Environment(env)
    policy = _policy(read, tuned)
    if read.problems:
        raise SettingsError(read.problems)
    return policy


def setting_of(rule_id: str, what: str) -> str:
    """Name the setting that overrides a threshold, or turns a rule on or off, such as `MODEL_THEFT__COUNT`."""
    return f"{rule_id}__{what}".upper()


TUNING_FILE = "detectors/tuning.toml"
ENABLED = "enabled"
OVERRIDES: dict[str, tuple[str, str]] = {
    setting_of(rule.id, what): (rule.id, what)
    for rule in CATALOGUE
    for what in (*(threshold.name for threshold in rule.thresholds), ENABLED)
}
"""The optional settings that override the tuning file, each with its rule and the threshold or switch that it sets."""


def _policy(read: Environment, tuned: tuning.Tuning | None = None) -> Policy:
    """Combine the catalogue, the changes of the tuning file and the overrides of the app settings."""
    if tuned is None:
        tuned = _tuned(read)
    read.problems += [*catalogue.PROBLEMS, *tuned.problems]
    overruling = [_override(read, name) for name in read.named(OVERRIDES.__contains__)]
    for name in read.named(lambda name: name not in OVERRIDES and _rule_meant(name)):
        wanted = [known for known, (rule_id, _) in OVERRIDES.items() if rule_id == _rule_meant(name)]
        read.problems.append(f"{name} is no setting of a rule: {suggestion(name, wanted)}")
    return Policy(changes=(*tuned.changes, *overruling), suppression_rules=tuned.suppression_rules)


def _tuned(read: Environment) -> tuning.Tuning:
    name = read.text("TUNING_FILE", TUNING_FILE, _TUNING_FILE, "the path of a .toml file")
    return tuning.read(ROOT / name, name) if _TUNING_FILE.fullmatch(name) else tuning.Tuning()


def _override(read: Environment, name: str) -> PolicyChange:
    rule_id, what = OVERRIDES[name]
    origin, scope = f"app setting {name}", Scope(rule_id)
    if what == ENABLED:
        return PolicyChange(origin, scope, enabled=read.flag(name))
    return PolicyChange(origin, scope, thresholds={what: read.number(name, 1, 1, MAX_THRESHOLD)})


def _rule_meant(name: str) -> str | None:
    """Guess the rule that a misspelt setting means: otherwise it would silently change nothing."""
    upper = name.upper()
    close = get_close_matches(upper, OVERRIDES, n=1, cutoff=0.85) if "__" in name else []
    begun = (rule.id for rule in CATALOGUE if upper.startswith(rule.id.upper()))
    return next(begun, OVERRIDES[close[0]][0] if close else None)
