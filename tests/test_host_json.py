"""host.json: only names that the host knows, since it ignores all others without a word.

Sources: https://learn.microsoft.com/azure/azure-functions/functions-host-json for the top,
https://learn.microsoft.com/azure/azure-functions/functions-bindings-event-hubs#hostjson-settings for `eventHubs`,
https://learn.microsoft.com/azure/azure-functions/durable/durable-functions-bindings#host-json for `durableTask`, all
compared with the options classes of the two extensions.
"""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HOST: dict[str, Any] = json.loads((Path(__file__).parents[1] / "host.json").read_text())

FLAG = "true|false"
WHOLE = r"[1-9]\d*"
MINUTES = r"0\d:0[1-9]:00|0\d:[1-5]\d:00"
"""The extension takes no visibility timeout below a minute."""

TIME = r"\d\d:\d\d:\d\d"
LEVEL = "Trace|Debug|Information|Warning|Error|Critical|None"
KNOWN = {
    "version": r"2\.0",
    "functionTimeout": TIME,
    "logging.logLevel.default": LEVEL,
    "logging.logLevel.Host.Aggregator": LEVEL,
    "logging.logLevel.Azure.Core": LEVEL,
    "logging.applicationInsights.samplingSettings.isEnabled": FLAG,
    "logging.applicationInsights.samplingSettings.excludedTypes": "Exception|Request|Dependency|Event|Trace",
    "extensionBundle.id": r"Microsoft\.Azure\.Functions\.ExtensionBundle",
    "extensionBundle.version": r"\[4\.\*, 5\.0\.0\)",
    "extensions.eventHubs.maxEventBatchSize": WHOLE,
    "extensions.eventHubs.minEventBatchSize": WHOLE,
    "extensions.eventHubs.maxWaitTime": TIME,
    "extensions.eventHubs.prefetchCount": WHOLE,
    "extensions.eventHubs.batchCheckpointFrequency": WHOLE,
    "extensions.eventHubs.initialOffsetOptions.type": "fromStart|fromEnd|fromEnqueuedTime",
    "extensions.eventHubs.targetUnprocessedEventThreshold": WHOLE,
    "extensions.durableTask.hubName": r"[A-Za-z][A-Za-z0-9]{2,44}",
    "extensions.durableTask.maxConcurrentOrchestratorFunctions": WHOLE,
    "extensions.durableTask.maxConcurrentActivityFunctions": WHOLE,
    "extensions.durableTask.storageProvider.queueClientMessageEncoding": "UTF8|Base64",
    "extensions.durableTask.storageProvider.controlQueueVisibilityTimeout": MINUTES,
    "extensions.durableTask.storageProvider.workItemQueueVisibilityTimeout": MINUTES,
}
"""What may stand where, of the names that are in use; others join from the sources above when they are needed."""


def _settings(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Each setting by its path, as JSON but for quotes."""
    if not isinstance(value, dict):
        yield path, value if isinstance(value, str) else json.dumps(value)
        return
    for name, inner in value.items():
        yield from _settings(inner, f"{path}.{name}" if path else name)


def _wrong(host: object) -> list[str]:
    return [path for path, text in _settings(host) if not re.fullmatch(KNOWN.get(path, "(?!)"), text)]


def test_the_host_knows_every_setting_and_takes_its_value() -> None:
    """What is not known is ignored, and would be missed only in Azure."""
    assert _wrong(HOST) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("durableTask.storageProvider.queueClientMessageEncodng", "Base64"),
        ("durableTask.storageProvider.queueClientMessageEncoding", "base65"),
        ("durableTask.storageProvider.workItemQueueVisibilityTimeout", "00:00:30"),
        ("durableTask.queueClientMessageEncoding", "Base64"),
        ("durableTask.hubName", "llm-detector"),
        ("eventHubs.maxBatchSize", 100),
    ],
)
def test_a_wrong_name_place_or_value_is_found(path: str, value: object) -> None:
    """A slip of the pen, a setting one level too high, the name of an older version."""
    host = copy.deepcopy(HOST)
    *places, name = path.split(".")
    section = host["extensions"]
    for place in places:
        section = section[place]
    section[name] = value
    assert _wrong(host) == [f"extensions.{path}"]


def test_messages_hold_any_character() -> None:
    """As text a queue refuses U+FFFE and U+FFFF: the activity that gives one never ends, nor does any later run."""
    assert HOST["extensions"]["durableTask"]["storageProvider"]["queueClientMessageEncoding"] == "Base64"
