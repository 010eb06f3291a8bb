"""The day of the demo, played once: exact, every rule shown, and the same row by row in a backtest of its capture."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from io import StringIO
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from detectors.backtest.exports import find
from detectors.backtest.replay import BacktestRequest
from detectors.configuration.settings import policy_from_env
from detectors.evaluation.episodes import Status
from detectors.events import Event, Source
from detectors.rules.catalogue import CATALOGUE
from detectors.rules.tally import ACCOUNT_SEEN
from detectors.windows import BUCKET, bucket_start
from local.__main__ import TUNING, main
from local.host import sample_settings
from local.report import newest
from local.simulation import Outcome, Simulation
from tests.builders import NAMESPACE
from tests.detectors.backtest.captures import Codec, write_capture
from tests.detectors.backtest.replays import Replayed, run

pytestmark = pytest.mark.real

CUT = timedelta(minutes=5)
CODECS: tuple[Codec, ...] = ("snappy", "deflate", "null", "snappy")
WHEN = "TimeGenerated"


@dataclass(frozen=True, slots=True)
class Demo:
    """A run of `make demo` with fewer records: its exit code, what it showed, was given and made of it."""

    code: int
    shown: str
    play: Simulation
    deployed: Outcome


@pytest.fixture(scope="module")
def demo() -> Demo:
    """Provide the day with all of its attacks and faults."""
    played: list[tuple[Simulation, Outcome]] = []

    def keep(play: Simulation, _: Console) -> Outcome:
        outcome = play.run(lambda _: None)
        played.append((play, outcome))
        return outcome

    with pytest.MonkeyPatch.context() as patched, redirect_stdout(StringIO()) as shown:
        patched.setattr("local.__main__._play", keep)
        code = main(["demo", "--records", "4000"])
    ((play, outcome),) = played
    return Demo(code, shown.getvalue(), play, outcome)


@pytest.fixture(scope="module")
def play(demo: Demo) -> Simulation:
    """Provide what the functions are given."""
    return demo.play


@pytest.fixture(scope="module")
def deployed(demo: Demo) -> Outcome:
    """Provide what the functions made of it."""
    assert demo.deployed.redelivered > 50
    rows = newest(demo.deployed.findings)
    assert {row["Status"] for row in rows} == set(Status)
    assert {row["RuleId"] for row in rows} == {rule.id for rule in CATALOGUE}
    return demo.deployed


def test_the_demo_shows_every_rule_and_is_exact(demo: Demo) -> None:
    """A smaller day than by default, with all of its attacks: each rule has a row that was alerted on."""
    assert demo.code == 0
    table = demo.shown[demo.shown.index("Held against what was generated") :]
    for rule in CATALOGUE:
        (line,) = [line for line in table.splitlines() if f" {rule.id} " in line]
        *_, alerts, verdict = [cell.strip() for cell in line.strip("│").split("│")]
        assert (int(alerts) > 0, verdict) == (True, "exact")
    assert "exact: 4,000 records" in table
    assert "The rotation job" in demo.shown
    assert "aoai-workshop" not in demo.shown


def _files(events: Sequence[Event]) -> Iterator[list[Event]]:
    """Yield the events of a partition as Capture cuts them."""
    for _, file in groupby(events, key=lambda event: event.enqueued.timestamp() // CUT.total_seconds()):
        yield list(file)


def _capture(folder: Path, play: Simulation) -> None:
    hub = sample_settings()["EVENT_HUB_NAME"]
    for number, partition in play.partitions.items():
        for events in _files(partition.events):
            write_capture(folder, Source(NAMESPACE, hub, str(number)), events, CODECS[number])


def _replayed(play: Simulation, *folders: Path) -> Replayed:
    request = BacktestRequest(policy_from_env({"TUNING_FILE": TUNING}), until=play.windows[-1])
    return run(find([str(folder) for folder in folders]), request)


def _seen(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what a reader of the table sees in the end: by finding, its last row."""
    return {row["FindingId"]: {name: value for name, value in row.items() if name != WHEN} for row in rows}


def test_a_captured_day_gives_the_rows_that_were_posted(play: Simulation, deployed: Outcome, tmp_path: Path) -> None:
    """Every column but the time of evaluation, evidence included, though batches came again and a host died."""
    _capture(tmp_path, play)
    replayed = _replayed(play, tmp_path)
    assert _seen(replayed.rows()) == _seen(deployed.findings)
    assert replayed.outcome.findings == len(_seen(deployed.findings))
    quality = replayed.outcome.quality
    assert quality.problems.keys() == {row.values["Reason"] for row in deployed.quarantine}
    assert sum(quality.problems.values()) == len(deployed.quarantine)
    assert {rule_id: one.records for rule_id, one in quality.selected.items()} == _counted(deployed)
    assert quality.files_read == quality.files > 100


def test_a_second_copy_of_some_captures_changes_nothing(play: Simulation, deployed: Outcome, tmp_path: Path) -> None:
    """An archive holds files that were copied twice, cut elsewhere: their events count once, and are reported."""
    _capture(tmp_path / "archive", play)
    hub = sample_settings()["EVENT_HUB_NAME"]
    copied = play.partitions[1].events[7:90]
    for part in (copied[:50], copied[40:]):
        write_capture(tmp_path / "copies", Source(NAMESPACE, hub, "1"), part)
    replayed = _replayed(play, tmp_path / "archive", tmp_path / "copies")
    assert _seen(replayed.rows()) == _seen(deployed.findings)
    assert replayed.outcome.quality.duplicates == len(copied) + 10
    selected = replayed.outcome.quality.selected
    assert {rule_id: one.records for rule_id, one in selected.items()} == _counted(deployed)


def test_a_minute_is_one_finding_with_all_of_its_records(play: Simulation, deployed: Outcome, tmp_path: Path) -> None:
    """Though some come minutes later, into the next bucket: the backtest too tells the minute again, and larger."""
    _capture(tmp_path, play)
    replayed = _replayed(play, tmp_path)
    minutes = [row for row in replayed.findings if "Minute" in row.group]
    final = {row.finding_id: row for row in minutes}
    assert len(minutes) > len(final) > 5
    for rule_id in ("denial_of_service", "bedrock_validation_exceptions"):
        shown = [summary for summary in replayed.outcome.episodes if summary.rule_id == rule_id]
        rows = [row for row in final.values() if row.rule_id == rule_id]
        assert sum(summary.windows for summary in shown) == len(rows)
        assert {row.event_count for row in rows} == {
            row["EventCount"]
            for row in _seen(deployed.findings).values()
            if row["RuleId"] == rule_id and row["Triggers"]
        }


def _counted(deployed: Outcome) -> Counter[str]:
    """Return records that the buckets hold, by rule."""
    counts = Counter[str]()
    for (rule_id, _, _), count in deployed.counts.items():
        if rule_id != ACCOUNT_SEEN:
            counts[rule_id] += count
    return counts


def test_events_are_cut_at_their_arrival_not_at_the_time_of_their_records(play: Simulation, tmp_path: Path) -> None:
    """A record of a minute before counts in the bucket in which the hub took it, and the delay is told."""
    _capture(tmp_path, play)
    replayed = _replayed(play, tmp_path)
    delays = replayed.outcome.quality.delays
    assert delays is not None
    assert delays.messages > 50
    assert 3 <= delays.median < delays.largest <= 240
    first = min(event.enqueued for partition in play.partitions.values() for event in partition.events)
    assert replayed.outcome.quality.first_time == first
    assert bucket_start(first) + BUCKET <= replayed.findings[0].window_end
