"""Backtests for tests: lines of a log, files of them, and what a replay of files came to."""

import gzip
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from detectors.backtest.exports import InputChunk, find
from detectors.backtest.outcome import Outcome
from detectors.backtest.replay import BacktestRequest, Hooks, replay
from detectors.evaluation.policy import Policy
from detectors.reporting.finding import Finding, as_json
from tests.builders import START, list_key

COUNT, RESPONSE_LENGTH = 4, 1_000
"""Thresholds that a few records reach."""
THRESHOLDS = {"model_theft": {"count": COUNT, "response_length": RESPONSE_LENGTH}}
SWEEPS = (("model_theft", "count", (1, COUNT, 9)), ("model_theft", "response_length", (500, RESPONSE_LENGTH)))
QUESTION = BacktestRequest(Policy(THRESHOLDS))
SWEPT = BacktestRequest(Policy(THRESHOLDS), SWEEPS)

Stamp = Literal["seconds", "fraction", "offset", "space", "basic"]


@dataclass
class Replayed:
    """What came of it."""

    outcome: Outcome
    findings: list[Finding] = field(default_factory=list)

    def rows(self, *without: str) -> list[dict[str, Any]]:
        """Return findings as rows, without some columns."""
        return [
            {name: value for name, value in as_json(finding).items() if name not in without}
            for finding in self.findings
        ]


def run(chunks: Sequence[InputChunk], request: BacktestRequest = QUESTION, *, processes: int = 1) -> Replayed:
    """Replay chunks, and keep the findings."""
    findings: list[Finding] = []
    outcome = replay(chunks, request, processes=processes, hooks=Hooks(on_finding=findings.append))
    return Replayed(outcome, findings)


def run_lines(folder: Path, lines: Iterable[bytes], request: BacktestRequest = QUESTION) -> Replayed:
    """Replay one file of lines."""
    return run(find([write(folder, "log.ndjson", lines)]), request)


def write(folder: Path, name: str, lines: Iterable[bytes], *, newline: bytes = b"\n", packed: bool = False) -> str:
    """Return a file of lines; its path."""
    path = folder / name
    data = b"".join(line + newline for line in lines)
    path.write_bytes(gzip.compress(data, 1) if packed else data)
    return str(path)


def listed(after: timedelta, name: str = "aoai-prod", *, times: int = 1, length: int | None = None) -> list[bytes]:
    """Lines of key readings at one time, with a length of the response if one is given."""
    record = list_key(name, responseLength=length) | {"time": stamped(after)}
    return [json.dumps(record).encode()] * times


def stamped(after: timedelta, stamp: Stamp = "fraction") -> str:
    """Return a time after `START` in one of the forms that logs have."""
    at = START + after
    match stamp:
        case "seconds" if not at.microsecond:
            return f"{at:%Y-%m-%dT%H:%M:%SZ}"
        case "offset":
            return (at + timedelta(hours=2)).replace(tzinfo=None).isoformat() + "+02:00"
        case "space":
            return f"{at:%Y-%m-%d %H:%M:%S.%f}Z"
        case "basic":
            return f"{at:%Y%m%dT%H%M%S}Z" if not at.microsecond else f"{at:%Y%m%dT%H%M%S.%f}Z"
        case _:
            return f"{at:%Y-%m-%dT%H:%M:%S.%f}0Z"


def minutes(number: float) -> timedelta:
    """So many minutes."""
    return timedelta(minutes=number)
