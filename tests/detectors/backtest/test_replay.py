"""Replays: which windows are evaluated, by which numbers, and what is said of input that is late, odd or cut short."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings

from detectors.backtest.exports import find
from detectors.backtest.outcome import Trial
from detectors.backtest.replay import BacktestRequest
from detectors.evaluation.policy import Policy
from tests.builders import START, chat, list_key
from tests.detectors.backtest.logs import Entry, entries
from tests.detectors.backtest.replays import (
    COUNT,
    RESPONSE_LENGTH,
    SWEEPS,
    SWEPT,
    THRESHOLDS,
    Replayed,
    listed,
    minutes,
    run,
    run_lines,
    stamped,
    write,
)


def _at(number: float) -> datetime:
    return START + minutes(number)


def _course(replayed: Replayed) -> list[tuple[str, str, int]]:
    """Window, status and count of every finding."""
    return [(f"{row.window_end:%H:%M}", row.status, row.event_count) for row in replayed.findings]


def _chat(after: timedelta) -> bytes:
    return json.dumps({**chat(), "time": stamped(after)}).encode()


def test_windows_are_judged_until_the_last_record_has_left_them(tmp_path: Path) -> None:
    """Six windows hold a burst at the end of the log, and its episode is still open."""
    replayed = run_lines(tmp_path, listed(minutes(3), times=COUNT))
    assert _course(replayed) == [
        ("08:10", "New", 4),
        *((f"08:{at}0", "Ongoing", 4) for at in range(2, 6)),
        ("09:00", "Ongoing", 4),
    ]
    assert (replayed.outcome.windows, replayed.outcome.findings) == (6, 6)
    assert replayed.outcome.episodes[0].is_open


def test_an_episode_closes_when_any_later_record_shows_that_time_went_on(tmp_path: Path) -> None:
    """A record of something else does it; a window that nothing touches and nobody watches is not looked at."""
    replayed = run_lines(tmp_path, [*listed(minutes(3), times=COUNT), _chat(minutes(11)), *listed(minutes(600))])
    assert _course(replayed)[-1] == ("09:10", "Closed", 0)
    assert not replayed.outcome.episodes[0].is_open
    assert replayed.outcome.windows == 7 + 6


def test_findings_are_dated_by_their_window_as_there_is_no_clock(tmp_path: Path) -> None:
    """So that two replays of one log are the same."""
    replayed = run_lines(tmp_path, listed(minutes(3), times=COUNT))
    assert [row.time_generated for row in replayed.findings] == [row.window_end for row in replayed.findings]


@pytest.mark.parametrize(
    ("since", "until", "windows"),
    [
        (None, 30, ["08:10", "08:20", "08:30"]),
        (None, 39.9, ["08:10", "08:20", "08:30"]),
        (30, None, ["08:40", "08:50", "09:00"]),
        (29.9, None, ["08:30", "08:40", "08:50", "09:00"]),
        (20, 40, ["08:30", "08:40"]),
        (None, 0, []),
        (60, None, []),
    ],
)
def test_only_windows_that_end_after_since_and_by_until_are_judged(
    tmp_path: Path, since: float | None, until: float | None, windows: list[str]
) -> None:
    """Records up to an hour before the first window take part in it."""
    request = BacktestRequest(
        Policy(THRESHOLDS),
        since=None if since is None else _at(since),
        until=None if until is None else _at(until),
    )
    replayed = run_lines(tmp_path, listed(minutes(3), times=COUNT), request)
    assert [window for window, _, _ in _course(replayed)] == windows
    assert replayed.outcome.windows == len(windows)


def test_until_goes_on_behind_the_last_record(tmp_path: Path) -> None:
    """The episode closes, and the quiet windows after that are not looked at."""
    request = BacktestRequest(Policy(THRESHOLDS), until=_at(10_000))
    replayed = run_lines(tmp_path, listed(minutes(3), times=COUNT), request)
    assert _course(replayed)[-1] == ("09:10", "Closed", 0)
    assert replayed.outcome.windows == 7


def test_records_before_and_behind_the_span_are_read_but_not_counted(tmp_path: Path) -> None:
    """They are no problem either: nobody asked for them."""
    request = BacktestRequest(Policy(THRESHOLDS), since=_at(60), until=_at(125))
    lines = [line for at in (9.9, 10, 119.9, 120) for line in listed(minutes(at), times=COUNT)]
    replayed = run_lines(tmp_path, lines, request)
    assert _course(replayed)[0] == ("09:10", "New", 4)  # of 08:10; 08:09:54 has left that window
    assert _course(replayed)[-1] == ("10:00", "New", 4)
    quality = replayed.outcome.quality
    assert (quality.records, quality.selected["model_theft"].records, quality.problems) == (16, 8, {})


@settings(max_examples=40, deadline=None)
@given(log=entries)
def test_a_sweep_tells_what_replays_with_each_number_would(log: list[Entry]) -> None:
    """In one pass, without touching the rest of the outcome."""
    with TemporaryDirectory() as name:
        chunks = find([write(Path(name), "log", [entry.line for entry in log])])
        alone, swept = run(chunks), run(chunks, SWEPT)
        for trial in swept.outcome.trials:
            numbers = {**THRESHOLDS["model_theft"], trial.threshold: trial.value}
            other = run(chunks, BacktestRequest(Policy({"model_theft": numbers}))).outcome
            assert trial == Trial(
                rule_id="model_theft",
                threshold=trial.threshold,
                value=trial.value,
                in_force=trial.value in {COUNT, RESPONSE_LENGTH},
                overrules=False,
                findings=other.findings,
                episodes=len(other.episodes),
                resources=len({episode.resource for episode in other.episodes}),
            )
    assert [(trial.rule_id, trial.threshold, trial.value) for trial in swept.outcome.trials] == [
        (rule_id, threshold, value) for rule_id, threshold, values in SWEEPS for value in values
    ]
    assert msgspec.structs.replace(swept.outcome, trials=[]) == alone.outcome
    assert swept.findings == alone.findings


@pytest.mark.parametrize("odd", ["9999-12-31T23:59:59Z", "9999-12-31T22:55:00Z", "0001-01-01T00:00:00Z", "1969-12-31"])
def test_a_time_that_cannot_be_neither_hangs_nor_counts(tmp_path: Path, odd: str) -> None:
    """A clock that was never set costs its own record only, whatever windows it would be in."""
    lines = [*listed(minutes(3), times=COUNT), _chat(minutes(70))]
    odd_lines = [json.dumps({**record, "time": odd}).encode() for record in (list_key(), list_key(), chat())]
    sound, spoilt = run_lines(tmp_path, lines), run_lines(tmp_path, [*lines, *odd_lines])
    assert spoilt.findings == sound.findings
    assert spoilt.outcome.quality.problems == {"no_time": 2}
    assert (spoilt.outcome.quality.first_time, spoilt.outcome.quality.last_time) == (_at(3), _at(70))


def test_years_between_records_cost_nothing(tmp_path: Path) -> None:
    """An episode closes before the gap, and the windows in the gap are not looked at."""
    lines = [*listed(minutes(3), times=COUNT), *listed(timedelta(days=365_000), times=COUNT)]
    replayed = run_lines(tmp_path, lines)
    assert [row.status for row in replayed.findings].count("New") == 2
    assert replayed.outcome.windows == 7 + 6


def test_thresholds_hold_to_the_last_one(tmp_path: Path) -> None:
    """One less is silent, equal fires."""
    lines = [
        *listed(minutes(1), times=COUNT - 1),
        *listed(minutes(1), "aoai-dev", length=RESPONSE_LENGTH - 1),
        *listed(minutes(1), "aoai-lab", length=RESPONSE_LENGTH),
    ]
    replayed = run_lines(tmp_path, lines)
    assert {row.resource_name for row in replayed.findings} == {"aoai-lab"}
    assert replayed.findings[0].triggers == [
        {"Name": "response_length", "Measure": "max_response_length", "Value": 1_000, "Threshold": 1_000}
    ]


def test_an_input_without_records_comes_to_nothing(tmp_path: Path) -> None:
    """An empty log is no problem, and no log at all neither."""
    for replayed in (run([]), run_lines(tmp_path, [b""])):
        assert (replayed.outcome.windows, replayed.findings) == (0, [])
        assert (replayed.outcome.quality.first_time, replayed.outcome.quality.delays) == (None, None)
        assert replayed.outcome.quality.problems == {}
        assert replayed.outcome.thresholds == THRESHOLDS
        assert replayed.outcome.rules == ["model_theft"]
