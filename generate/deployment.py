"""What a deployment sets: the parameters of the Bicep template, and host.json."""

import json
import re
from pathlib import Path

from generate.markdown import marked, table

_ROOT = Path(__file__).parents[1]
_PARAMETER = re.compile(r"@description\('(.*)'\)\n(?:@.*(?:\n  .*)*\n(?:\]\)\n)?)*param (\w+) [^=\n]*(?:= (.*))?")
_WORDS = {"": "none", "{}": "none", "resourceGroup().location": "that of the resource group"}

_REASONS = {
    "maxEventBatchSize": "one storage write for each batch: larger is cheaper, at up to 1 MB an event of memory",
    "minEventBatchSize": "waits for a full batch, since an execution is billed for at least a second",
    "maxWaitTime": "at most this long, well before the evaluation",
    "prefetchCount": "three batches at hand",
    "batchCheckpointFrequency": "a checkpoint after every batch keeps redeliveries short",
    "initialOffsetOptions": "a first start counts what the hub still holds",
    "targetUnprocessedEventThreshold": "scales out when a partition is three batches behind",
    "hubName": "names the orchestration's queues and tables",
    "maxConcurrentOrchestratorFunctions": "one small instance evaluates without starving ingestion",
    "maxConcurrentActivityFunctions": "the same",
    "queueClientMessageEncoding": "as text, one name with U+FFFF in a log would stop every evaluation",
    "controlQueueVisibilityTimeout": "another host takes over from a dead one after a minute, not after five",
    "workItemQueueVisibilityTimeout": "the same",
}


def parameters() -> str:
    """Make the table of the template's parameters."""
    found = _PARAMETER.findall((_ROOT / "infra" / "main.bicep").read_text())
    return table(
        ("Parameter", "Default", "What it is"),
        ((marked(name), _default(default), about.replace("\\'", "'")) for about, name, default in found),
    )


def _default(written: str) -> str:
    if not written:
        return "required"
    text = written.strip("'")
    return _WORDS.get(text, marked(text))


def host() -> str:
    """Make the table of what host.json sets for the extensions.

    Raises:
        KeyError: a setting has no reason here.
    """
    extensions = json.loads((_ROOT / "host.json").read_text())["extensions"]
    values = {**extensions["eventHubs"], **extensions["durableTask"]}
    values |= values.pop("storageProvider")
    values["initialOffsetOptions"] = values["initialOffsetOptions"]["type"]
    return table(
        ("Setting", "Value", "Why"), ((marked(name), str(value), _REASONS[name]) for name, value in values.items())
    )
