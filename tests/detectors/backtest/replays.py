"""Backtests for tests: made-up entries of a log, files of them, and what a replay of files came to."""

import gzip
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from hypothesis import strategies as st

from detectors.backtest.exports import Piece, find
from detectors.backtest.outcome import Outcome
from detectors.backtest.replay import Hooks, Question, replay
from detectors.findings import Finding, as_json
from detectors.rules import CATALOGUE
from tests.builders import START, chat, list_key

COUNT, RESPONSE_LENGTH = 4, 1_000
"""Thresholds that a few records reach."""
THRESHOLDS = {"model_theft": {"count": COUNT, "response_length": RESPONSE_LENGTH}}
SWEEPS = (("model_theft", "count", (1, COUNT, 9)), ("model_theft", "response_length", (500, RESPONSE_LENGTH)))
QUESTION = Question(CATALOGUE, THRESHOLDS)
SWEPT = Question(CATALOGUE, THRESHOLDS, SWEEPS)
NAMES = ("aoai-prod", "aoai-dev", "aoai-lab")

Stamp = Literal["seconds", "fraction", "offset", "space", "basic"]


@dataclass(frozen=True)
class Entry:
    """One line of a log, and what it ought to count as.

    Attributes:
        line: without a line break.
        record: what the line holds; None if that is no JSON object.
        after: how long after `START` its time is; None without one.
        name: of the account whose keys were listed; None for what no rule selects.
        length: of the response, if it tells.
    """

    line: bytes
    record: dict[str, Any] | None = None
    after: timedelta | None = None
    name: str | None = None
    length: int | None = None


@dataclass
class Replayed:
    """What came of it."""

    outcome: Outcome
    findings: list[Finding] = field(default_factory=list)

    def rows(self, *without: str) -> list[dict[str, Any]]:
        """Findings as rows, without some columns."""
        return [
            {name: value for name, value in as_json(finding).items() if name not in without}
            for finding in self.findings
        ]


def run(pieces: Sequence[Piece], question: Question = QUESTION, *, processes: int = 1) -> Replayed:
    """Replay pieces, and keep the findings."""
    findings: list[Finding] = []
    outcome = replay(pieces, question, processes=processes, hooks=Hooks(on_finding=findings.append))
    return Replayed(outcome, findings)


def run_lines(folder: Path, lines: Iterable[bytes], question: Question = QUESTION) -> Replayed:
    """Replay one file of lines."""
    return run(find([write(folder, "log.ndjson", lines)]), question)


def write(folder: Path, name: str, lines: Iterable[bytes], *, newline: bytes = b"\n", packed: bool = False) -> str:
    """A file of lines; its path."""
    path = folder / name
    data = b"".join(line + newline for line in lines)
    path.write_bytes(gzip.compress(data, 1) if packed else data)
    return str(path)


def listed(after: timedelta, name: str = "aoai-prod", *, times: int = 1, length: int | None = None) -> list[bytes]:
    """Lines of key readings at one time, with a length of the response if one is given."""
    record = list_key(name, responseLength=length) | {"time": stamped(after)}
    return [json.dumps(record).encode()] * times


def stamped(after: timedelta, stamp: Stamp = "fraction") -> str:
    """A time after `START` in one of the forms that logs have."""
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


def oracle(entries: Iterable[Entry], until: datetime) -> set[tuple[datetime, str, int, int | None]]:
    """Every window end by then with an account that fires: its records, and their largest length. By plain loops."""
    listings = [entry for entry in entries if entry.name is not None and entry.after is not None]
    fired = set()
    end = START - timedelta(hours=1)
    while end <= until:
        for name in NAMES:
            within = [one for one in listings if one.name == name and _is_in_hour(one, end)]
            lengths = [one.length for one in within if one.length is not None]
            if len(within) >= COUNT or max(lengths, default=0) >= RESPONSE_LENGTH:
                fired.add((end, name, len(within), max(lengths, default=None)))
        end += timedelta(minutes=10)
    return fired


def _is_in_hour(entry: Entry, end: datetime) -> bool:
    return entry.after is not None and end - timedelta(hours=1) <= START + entry.after < end


_afters = st.one_of(
    st.integers(0, 300 * 60_000),
    st.sampled_from([0, 3_600_000, 3_599_999, 600_000]),
    st.integers(0, 20).map(lambda place: place * 600_000),
    st.integers(30 * 60_000, 34 * 60_000),  # a burst
).map(lambda milliseconds: timedelta(milliseconds=milliseconds))
_stamps: st.SearchStrategy[Stamp] = st.sampled_from(["fraction", "fraction", "seconds", "offset", "space", "basic"])
_spellings = st.sampled_from([str.upper, str.lower, str.title])


@st.composite
def _listings(draw: st.DrawFn) -> Entry:
    name, after = draw(st.sampled_from(NAMES)), draw(_afters)
    length = draw(st.sampled_from([None, None, None, 0, 700, RESPONSE_LENGTH - 1, RESPONSE_LENGTH, 2**40]))
    record = list_key(name, caller=f"caller-{draw(st.integers(0, 3))}")
    if length is not None:
        record["properties"]["responseLength"] = length
    record["resourceId"] = draw(_spellings)(record["resourceId"])
    record["time"] = stamped(after, draw(_stamps))
    if draw(st.booleans()):
        record["properties"] = json.dumps(record["properties"])
    return Entry(json.dumps(record).encode(), record, after, name, length)


def _other(record: dict[str, Any], after: timedelta | None = None) -> Entry:
    return Entry(json.dumps(record).encode(), record, after)


_others = st.one_of(
    st.builds(lambda after: _other({**chat(), "time": stamped(after)}, after), _afters),
    st.just(_other({**list_key(), "time": None})),
    st.just(_other({**list_key(), "time": "yesterday"})),
    st.just(_other({**list_key(), "time": "2026-11-23T08:00:00Z", "resourceId": "nowhere"}, timedelta())),
    st.just(_other({"category": "FunctionAppLogs", "operationName": "x", "time": 7, "properties": []})),
    st.sampled_from([b"{'cut'}", b"[42]", b"[null, {}]", b'{"records": null}', b'{"a": "\xff"}', b"{}{}"]).map(Entry),
)
entries = st.lists(st.one_of(_listings(), _listings(), _listings(), _others), max_size=40)
"""Hours of a log of three accounts, in any order, with all that is wrong in logs."""
