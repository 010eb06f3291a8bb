"""Replays: which windows are judged, by which numbers, and what is said of input that is late, odd or cut short."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.backtest import replay as replay_module
from detectors.backtest.exports import Form, Piece, find
from detectors.backtest.outcome import Trial
from detectors.backtest.replay import Hooks, Question, replay
from detectors.events import Event
from detectors.findings import Finding
from detectors.rules import CATALOGUE
from tests.builders import SOURCE, START, chat, event, list_key
from tests.detectors.backtest.captures import write_capture
from tests.detectors.backtest.replays import (
    COUNT,
    QUESTION,
    RESPONSE_LENGTH,
    SWEEPS,
    SWEPT,
    THRESHOLDS,
    Entry,
    Replayed,
    entries,
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
    question = Question(
        CATALOGUE,
        THRESHOLDS,
        since=None if since is None else _at(since),
        until=None if until is None else _at(until),
    )
    replayed = run_lines(tmp_path, listed(minutes(3), times=COUNT), question)
    assert [window for window, _, _ in _course(replayed)] == windows
    assert replayed.outcome.windows == len(windows)


def test_until_goes_on_behind_the_last_record(tmp_path: Path) -> None:
    """The episode closes, and the quiet windows after that are not looked at."""
    question = Question(CATALOGUE, THRESHOLDS, until=_at(10_000))
    replayed = run_lines(tmp_path, listed(minutes(3), times=COUNT), question)
    assert _course(replayed)[-1] == ("09:10", "Closed", 0)
    assert replayed.outcome.windows == 7


def test_records_before_and_behind_the_span_are_read_but_not_counted(tmp_path: Path) -> None:
    """They are no problem either: nobody asked for them."""
    question = Question(CATALOGUE, THRESHOLDS, since=_at(60), until=_at(125))
    lines = [line for at in (9.9, 10, 119.9, 120) for line in listed(minutes(at), times=COUNT)]
    replayed = run_lines(tmp_path, lines, question)
    assert _course(replayed)[0] == ("09:10", "New", 4)  # of 08:10; 08:09:54 has left that window
    assert _course(replayed)[-1] == ("10:00", "New", 4)
    quality = replayed.outcome.quality
    assert (quality.records, quality.selected["model_theft"].records, quality.problems) == (16, 8, {})


@settings(max_examples=40, deadline=None)
@given(log=entries)
def test_a_sweep_tells_what_replays_with_each_number_would(log: list[Entry]) -> None:
    """In one pass, without touching the rest of the outcome."""
    with TemporaryDirectory() as name:
        pieces = find([write(Path(name), "log", [entry.line for entry in log])])
        alone, swept = run(pieces), run(pieces, SWEPT)
        for trial in swept.outcome.trials:
            numbers = {**THRESHOLDS["model_theft"], trial.threshold: trial.value}
            other = run(pieces, Question(CATALOGUE, {"model_theft": numbers})).outcome
            assert trial == Trial(
                rule_id="model_theft",
                threshold=trial.threshold,
                value=trial.value,
                in_force=trial.value in {COUNT, RESPONSE_LENGTH},
                findings=other.findings,
                episodes=len(other.episodes),
                resources=len({episode.resource for episode in other.episodes}),
            )
    assert [(trial.rule_id, trial.threshold, trial.value) for trial in swept.outcome.trials] == [
        (rule_id, threshold, value) for rule_id, threshold, values in SWEEPS for value in values
    ]
    assert msgspec.structs.replace(swept.outcome, trials=[], suggestions=[]) == alone.outcome
    assert swept.findings == alone.findings


@settings(max_examples=40, deadline=None)
@given(log=entries, random=st.randoms(use_true_random=False), most=st.integers(0, 12))
def test_letting_go_of_old_buckets_changes_nothing_for_input_that_is_late_by_less_than_a_day(
    log: list[Entry], random: Random, most: int
) -> None:
    """Files of an hour, days apart, each shuffled: the same with a handful of tallies held as with all."""
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        pieces: list[Piece] = []
        for number, start in enumerate([0, 0, 20, 20, 50, 51]):
            shuffled = random.sample(log, len(log))
            lines = [_moved(entry, timedelta(hours=start)) for entry in shuffled[: random.randrange(40)]]
            pieces += find([write(folder, f"file{number}", lines)])
        all_held = run(pieces, SWEPT)
        patch.setattr(replay_module, "MAX_HELD", most)
        assert run(pieces, SWEPT) == all_held
    assert "too_late" not in all_held.outcome.quality.problems


def _moved(entry: Entry, later: timedelta) -> bytes:
    if entry.record is None or entry.after is None:
        return entry.line
    return json.dumps({**entry.record, "time": stamped(entry.after + later)}).encode()


@pytest.mark.parametrize("behind", [minutes(0), minutes(10), minutes(50), timedelta(days=2)])
def test_what_comes_after_its_windows_were_judged_is_told_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behind: timedelta
) -> None:
    """Counting it into what is left of the hour would make wrong numbers look right."""
    monkeypatch.setattr(replay_module, "MAX_HELD", 0)
    newest, day = timedelta(days=4), timedelta(days=1)
    parts = [
        [*listed(newest - day - minutes(1), times=COUNT - 1), *listed(newest)],
        listed(newest - day - behind, times=2),
        listed(newest + minutes(30)),
    ]
    pieces = [find([write(tmp_path, f"part{number}", lines)])[0] for number, lines in enumerate(parts)]
    in_time, late = run([pieces[0], pieces[2]]), run(pieces)
    if behind:
        assert late.outcome.quality.problems == {"too_late": 2}
        assert late.findings == in_time.findings == []
        assert late.outcome.timelines == in_time.outcome.timelines
    else:
        assert late.outcome.quality.problems == {}
        assert [(row.event_count, row.bucket_counts) for row in late.findings][:1] == [(5, [0, 0, 0, 0, 3, 2])]


def test_memory_is_bounded_by_the_last_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows are judged, and findings given, while files are still read; from the newest one on a day is kept."""
    monkeypatch.setattr(replay_module, "MAX_HELD", 0)
    pieces = [find([write(tmp_path, f"day{day}", listed(timedelta(days=day), times=COUNT))])[0] for day in range(4)]
    given_by: list[int] = []
    findings: list[Finding] = []
    hooks = Hooks(on_finding=findings.append, on_read=lambda _: given_by.append(len(findings)))
    replay(pieces, QUESTION, hooks=hooks)
    assert given_by == [0, 0, 7 + 0, 14 + 0]
    assert len(findings) == 7 * 3 + 6


def test_only_what_is_held_makes_a_replay_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What adds to a tally, and buckets that were let go of, take no room: stragglers still find theirs."""
    monkeypatch.setattr(replay_module, "MAX_HELD", 2)
    days = (0, 0.5, 5, 5, 5, 7, 5, 0)  # the first two are let go of with the third
    path = write(tmp_path, "log", [line for day in days for line in listed(timedelta(days=day))])
    size = Path(path).stat().st_size // len(days)
    pieces = [Piece(path, Form.LINES, size, size * number, size * (number + 1)) for number in range(len(days))]
    replayed = run(pieces[:-1])
    assert replayed.outcome.quality.problems == {}
    assert {row.event_count for row in replayed.findings if row.status != "Closed"} == {4}
    assert run(pieces).outcome.quality.problems == {"too_late": 1}


@pytest.mark.parametrize(("kept", "processes"), [(1, 1), (2, 1), (1, 2)])
def test_an_interrupt_judges_what_was_read_until_then(tmp_path: Path, kept: int, processes: int) -> None:
    """The same as if the other files were not there, and it says so."""
    pieces = [
        find([write(tmp_path, f"hour{hour}", listed(minutes(60 * hour), times=COUNT + hour))])[0] for hour in range(3)
    ]
    findings: list[Finding] = []
    read: list[int] = []

    def interrupts(size: int) -> None:
        read.append(size)
        if len(read) == kept:
            raise KeyboardInterrupt

    hooks = Hooks(on_finding=findings.append, on_read=interrupts)
    outcome = replay(pieces, SWEPT, processes=processes, hooks=hooks)
    alone = run(pieces[:kept], SWEPT)
    assert read == [piece.size for piece in pieces[:kept]]
    assert findings == alone.findings
    assert outcome.interrupted
    assert not alone.outcome.interrupted
    assert (outcome.quality.files, outcome.quality.files_read) == (3, kept)
    quality = msgspec.structs.replace(outcome.quality, files=kept)
    assert msgspec.structs.replace(outcome, quality=quality, interrupted=False) == alone.outcome


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


def _events(first: int, last: int, *, after: timedelta) -> list[Event]:
    """A key reading a second; the first so long after `START`."""
    return [event(number, list_key(), after=after + timedelta(seconds=number - first)) for number in range(first, last)]


def test_a_hub_that_was_made_again_is_counted_in_both_its_lives(tmp_path: Path) -> None:
    """Its sequence numbers begin at 0 again; a copy of either life's file adds nothing."""
    lives = [_events(0, 30, after=minutes(0)), _events(0, 20, after=minutes(30)), _events(20, 40, after=minutes(40))]
    for folder in ("archive", "copy"):
        for events in lives:
            write_capture(tmp_path / folder, SOURCE, events)
    once, twice = (run(find([str(tmp_path / "archive"), *more])) for more in ([], [str(tmp_path / "copy")]))
    assert once.outcome.quality.selected["model_theft"].records == 70
    assert (once.outcome.quality.duplicates, twice.outcome.quality.duplicates) == (0, 70)
    assert twice.findings == once.findings
    assert max(row.event_count for row in twice.findings) == 70


def test_one_number_in_two_partitions_is_two_events(tmp_path: Path) -> None:
    """Partitions number their events apart from each other, and so do hubs and namespaces."""
    sources = [
        SOURCE,
        SOURCE._replace(partition="1"),
        SOURCE._replace(hub="other"),
        SOURCE._replace(namespace="b.servicebus.windows.net"),
    ]
    for source in sources:
        write_capture(tmp_path, source, _events(0, 3, after=minutes(0)))
    replayed = run(find([str(tmp_path)]))
    assert replayed.outcome.quality.duplicates == 0
    assert replayed.findings[0].event_count == 12
    assert {(place["Namespace"], place["Hub"], place["Partition"]) for place in replayed.findings[0].evidence} == set(
        sources
    )


spans = st.tuples(st.integers(0, 59), st.integers(1, 30)).map(lambda span: (span[0], min(span[0] + span[1], 60)))


@settings(max_examples=50, deadline=None)
@given(
    captured=st.lists(st.tuples(spans, st.booleans()), min_size=1, max_size=6), random=st.randoms(use_true_random=False)
)
def test_overlapping_captures_count_once_however_they_overlap(
    captured: list[tuple[tuple[int, int], bool]], random: Random
) -> None:
    """Against a plain set of sequence numbers: files with gaps, in any order, some with an event twice."""
    events = [event(number, list_key(), after=minutes(number)) for number in range(60)]
    seen: set[int] = set()
    brought = 0
    with TemporaryDirectory() as name:
        for copy, ((first, last), is_gappy) in enumerate(captured):
            chosen = events[first : last : 2 if is_gappy else 1]
            chosen += chosen[:1]
            write_capture(Path(name) / str(copy), SOURCE, chosen)
            seen.update(each.sequence for each in chosen)
            brought += len(chosen)
        pieces = find([name])
        replayed = run(random.sample(pieces, len(pieces)))
    assert replayed.outcome.quality.selected["model_theft"].records == len(seen)
    assert replayed.outcome.quality.duplicates == brought - len(seen)
    assert {(row.window_end, row.event_count) for row in replayed.findings if row.status != "Closed"} == {
        (end, count)
        for end in (_at(10 * number) for number in range(1, 12))
        if (count := sum(_at(number) < end <= _at(number) + minutes(60) for number in seen)) >= COUNT
    }


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
