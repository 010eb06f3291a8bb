"""A finding as it is posted: made by a replay of made-up records."""

import json
from collections.abc import Iterator
from contextlib import chdir
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from detectors.backtest.exports import find
from detectors.backtest.replay import BacktestRequest, Hooks, replay
from detectors.evaluation.policy import Policy
from detectors.reporting.finding import Finding, as_json
from generate.markdown import code

_START = datetime(2026, 11, 23, 8, 10, tzinfo=UTC)
_PIPELINE, _PERSON = "0d1e2f3a-4b5c-4d6e-8f70-8192a3b4c5d6", "7c3f19ae-02d4-4b7e-9d51-6a0f8e2b4c17"
_ACCOUNT = (
    "/SUBSCRIPTIONS/5B0C1F2E-3A4D-4E5F-8A6B-7C8D9E0F1A2B/RESOURCEGROUPS/RG-AI"
    "/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/AOAI-PROD"
)
_WIDTH = 118


def finding() -> str:
    """Show the first finding about keys that a script lists for half an hour."""
    found: list[Finding] = []
    with TemporaryDirectory() as folder, chdir(folder):  # the evidence names the file as it was given
        Path("PT1H.json").write_text("".join(f"{json.dumps(record)}\n" for record in _records()))
        replay(find(["PT1H.json"]), BacktestRequest(Policy()), hooks=Hooks(on_finding=found.append))
    first = next(one for one in found if one.rule_id == "model_theft")
    return code("json", _wrapped(as_json(first)))


def _records() -> Iterator[dict[str, object]]:
    for number in range(180):
        yield {
            "time": f"{_START + timedelta(seconds=10 * number):%Y-%m-%dT%H:%M:%S.0000000Z}",
            "category": "Audit",
            "operationName": "ListKey",
            "resourceId": _ACCOUNT,
            "properties": {"objectId": _PIPELINE if number % 40 == 0 else _PERSON},
        }


def _wrapped(row: dict[str, object]) -> str:
    """Several columns on a line, as far as they fit."""
    lines = [""]
    for name, value in row.items():
        item = f"{json.dumps(name)}: {json.dumps(value)},"
        if lines[-1] and len(lines[-1]) + len(item) > _WIDTH:
            lines.append("")
        lines[-1] += f" {item}"
    return "{\n" + "\n".join(f" {line}" for line in lines).rstrip(",") + "\n}"
