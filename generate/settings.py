"""The app settings: their names and defaults are those of the sample, which tests hold against what is read."""

import json
from collections.abc import Iterable
from pathlib import Path

from detectors.configuration.settings import (
    MAX_RETENTION_HOURS,
    MIN_RETENTION_HOURS,
    OVERRIDES,
    Settings,
)
from detectors.errors import SettingsError
from detectors.rules.catalogue import RULES_FOLDER
from detectors.rules.rule import Rule
from detectors.sources.decoding import EXCERPT_CHARACTERS
from generate.markdown import lower_first, marked, table

_SAMPLE = Path(__file__).parents[1] / "local.settings.sample.json"
_OF_THE_HOST = {"FUNCTIONS_WORKER_RUNTIME"}

_MEANINGS = {
    "AzureWebJobsStorage": "the app's storage, which holds the tables too: `AzureWebJobsStorage__accountName` or"
    " `__tableServiceUri` with managed identity (and `__credential`, `__clientId`); a connection string for a local"
    " run",
    "BucketStorage": "a storage account of its own for the tables, in the same forms; else `AzureWebJobsStorage`",
    "EVENT_HUB_NAME": "the hub that receives the logs",
    "EVENT_HUB_CONSUMER_GROUP": "a consumer group of its own",
    "EventHubConnection": "with managed identity `EventHubConnection__fullyQualifiedNamespace` (and `__credential`,"
    " `__clientId`); a connection string for a local run",
    "EVALUATION_SCHEDULE": "when it evaluates, as NCRONTAB: some seconds past each tenth minute, so that the last"
    " bucket settles",
    "LOGS_INGESTION_ENDPOINT": "of the data collection rule; without it findings go to the app's log",
    "LOGS_INGESTION_RULE_ID": "the data collection rule's immutable id, `dcr-…`",
    "LOGS_INGESTION_STREAM": "the stream for findings",
    "LOGS_INGESTION_HEALTH_STREAM": "the stream for heartbeats",
    "TUNING_FILE": "thresholds, severities and exceptions; a path from the app's folder",
    "BUCKET_RETENTION_HOURS": f"how long buckets are kept, {MIN_RETENTION_HOURS} to {MAX_RETENTION_HOURS}; windows are"
    " caught up for one hour less",
    "QUARANTINE_EXCERPT_CHARACTERS": f"how much of a flawed record is kept, 0 to {EXCERPT_CHARACTERS}",
    RULES_FOLDER: "a folder of further rules; a path from the app's folder",
}


def settings() -> str:
    """Make the table of settings.

    Raises:
        KeyError: a setting has no meaning here.
    """
    sample: dict[str, str] = json.loads(_SAMPLE.read_text())["Values"]
    required = _required()
    defaults = {name.partition("__")[0]: value for name, value in sample.items() if name not in _OF_THE_HOST}
    rows = [
        (marked(name), "required" if name in required else marked(value), _MEANINGS[name])
        for name, value in {**defaults, RULES_FOLDER: ""}.items()
    ]
    return table(("Setting", "Default", "What it is"), rows)


def _required() -> set[str]:
    """Find the settings without which the app does not start."""
    try:
        Settings.from_env({})
    except SettingsError as error:
        return {problem.partition(" is not set")[0] for problem in error.problems}
    return set()


def of_rules(rules: Iterable[Rule]) -> str:
    """Make the table of settings that overrule rules."""
    numbers = {
        (rule.id, threshold.name): (f"{threshold.at_least:,}", lower_first(threshold.unit))
        for rule in rules
        for threshold in rule.thresholds
    }
    shipped = {rule_id for rule_id, _ in numbers}
    rows = [
        (marked(name), *numbers.get(what, ("true", f"whether `{what[0]}` is on")))
        for name, what in OVERRIDES.items()
        if what[0] in shipped
    ]
    return table(("Setting", "Default", "What it is"), rows)
