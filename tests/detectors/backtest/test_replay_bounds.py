"""Replays that let go of old buckets, or are interrupted: what was evaluated stays right, what is lost is told."""

from datetime import timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.backtest import replay as replay_module
from detectors.backtest.exports import InputChunk, InputFormat, find
from detectors.backtest.replay import Hooks, replay
from detectors.reporting.finding import Finding
from tests.detectors.backtest.expected import EVERYTHING
from tests.detectors.backtest.logs import Entry, entries, moved
from tests.detectors.backtest.replays import (
    COUNT,
    QUESTION,
    listed,
    minutes,
    run,
    write,
)
from tests.examples import examples


@examples(25)
@given(log=entries, random=st.randoms(use_true_random=False), most=st.integers(0, 12))
def test_letting_go_of_old_buckets_changes_nothing_for_input_that_is_late_by_less_than_a_day(
    log: list[Entry], random: Random, most: int
) -> None:
    """Files of some hours, days apart, each shuffled: the same with a handful of tallies held as with all."""
    log = [entry for entry in log if entry.after is None or entry.after < timedelta(hours=6)]
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        chunks: list[InputChunk] = []
        for number, start in enumerate([0, 0, 20, 20, 50, 51]):
            shuffled = random.sample(log, len(log))
            lines = [moved(entry, timedelta(hours=start)) for entry in shuffled[: random.randrange(40)]]
            chunks += find([write(folder, f"file{number}", lines)])
        all_held = run(chunks, EVERYTHING)
        patch.setattr(replay_module, "MAX_HELD", most)
        assert run(chunks, EVERYTHING) == all_held
    assert "too_late" not in all_held.outcome.quality.problems


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
    chunks = [find([write(tmp_path, f"part{number}", lines)])[0] for number, lines in enumerate(parts)]
    in_time, late = run([chunks[0], chunks[2]]), run(chunks)
    if behind:
        assert late.outcome.quality.problems == {"too_late": 2}
        assert late.findings == in_time.findings == []
        assert late.outcome.timelines == in_time.outcome.timelines
    else:
        assert late.outcome.quality.problems == {}
        assert [(row.event_count, row.bucket_counts) for row in late.findings][:1] == [(5, [0, 0, 0, 0, 3, 2])]


def test_memory_is_bounded_by_the_last_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows are evaluated, and findings given, while files are still read; from the newest one on a day is kept."""
    monkeypatch.setattr(replay_module, "MAX_HELD", 0)
    chunks = [find([write(tmp_path, f"day{day}", listed(timedelta(days=day), times=COUNT))])[0] for day in range(4)]
    given_by: list[int] = []
    findings: list[Finding] = []
    hooks = Hooks(on_finding=findings.append, on_read=lambda _: given_by.append(len(findings)))
    replay(chunks, QUESTION, hooks=hooks)
    assert given_by == [0, 0, 7 + 0, 14 + 0]
    assert len(findings) == 7 * 3 + 6


def test_only_what_is_held_makes_a_replay_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What adds to a tally, and buckets that were let go of, take no room: stragglers still find theirs."""
    monkeypatch.setattr(replay_module, "MAX_HELD", 2 * 2)  # of each account, what a rule counts and that it was seen
    days = (0, 0.5, 5, 5, 5, 7, 5, 0)  # the first two are let go of with the third
    path = write(tmp_path, "log", [line for day in days for line in listed(timedelta(days=day))])
    size = Path(path).stat().st_size // len(days)
    chunks = [
        InputChunk(path, InputFormat.LINES, size, size * number, size * (number + 1)) for number in range(len(days))
    ]
    replayed = run(chunks[:-1])
    assert replayed.outcome.quality.problems == {}
    assert {row.event_count for row in replayed.findings if row.status != "Closed"} == {4}
    assert run(chunks).outcome.quality.problems == {"too_late": 1}


def test_tallies_that_stay_as_they_are_go_on_taking_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that adds to one account of a bucket leaves the others held."""
    monkeypatch.setattr(replay_module, "MAX_HELD", 2 * 2)  # as above
    lines = [(0, "aoai-prod"), (0, "aoai-dev."), (0, "aoai-prod"), (3, "aoai-prod"), (0, "aoai-prod")]
    path = write(tmp_path, "log", [line for day, name in lines for line in listed(timedelta(days=day), name)])
    size = Path(path).stat().st_size // len(lines)
    chunks = [
        InputChunk(path, InputFormat.LINES, size, size * number, size * (number + 1)) for number in range(len(lines))
    ]
    assert run(chunks).outcome.quality.problems == {"too_late": 1}


@pytest.mark.parametrize(("kept", "processes"), [(1, 1), (2, 1), (1, 2)])
def test_an_interrupt_judges_what_was_read_until_then(tmp_path: Path, kept: int, processes: int) -> None:
    """The same as if the other files were not there, and it says so."""
    chunks = [
        find([write(tmp_path, f"hour{hour}", listed(minutes(60 * hour), times=COUNT + hour))])[0] for hour in range(3)
    ]
    findings: list[Finding] = []
    read: list[int] = []

    def interrupts(size: int) -> None:
        read.append(size)
        if len(read) == kept:
            raise KeyboardInterrupt

    hooks = Hooks(on_finding=findings.append, on_read=interrupts)
    outcome = replay(chunks, EVERYTHING, processes=processes, hooks=hooks)
    alone = run(chunks[:kept], EVERYTHING)
    assert read == [chunk.size for chunk in chunks[:kept]]
    assert findings == alone.findings
    assert outcome.interrupted
    assert not alone.outcome.interrupted
    assert (outcome.quality.files, outcome.quality.files_read) == (3, kept)
    quality = msgspec.structs.replace(outcome.quality, files=kept)
    assert msgspec.structs.replace(outcome, quality=quality, interrupted=False) == alone.outcome
