"""A captured day in a backtest: row by row what the deployed functions posted for the same events, faults and all."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from detectors.backtest.exports import find
from detectors.backtest.replay import Question
from detectors.events import Event, Source
from detectors.rules import CATALOGUE
from detectors.windows import BUCKET, bucket_start
from local.host import sample_settings
from local.play import Faults, Outcome, Play
from local.report import newest
from local.traffic import Scenario, Traffic
from tests.builders import NAMESPACE
from tests.detectors.backtest.captures import Codec, write_capture
from tests.detectors.backtest.replays import Replayed, run

SCENARIO = Scenario(duration=timedelta(hours=4), records=3_000, partitions=3)
NOON = SCENARIO.start + timedelta(hours=2, minutes=5)
FAULTS = Faults(redelivered=0.4, crash_at=NOON, silent=(NOON, NOON + timedelta(minutes=30)))
CUT = timedelta(minutes=5)
CODECS: tuple[Codec, ...] = ("snappy", "deflate", "null")
THRESHOLDS = {"model_theft": {"count": 10, "response_length": 500_000}}
SETTINGS = {"MODEL_THEFT__COUNT": "10", "MODEL_THEFT__RESPONSE_LENGTH": "500000"}
WHEN = "TimeGenerated"


@pytest.fixture(scope="module")
def play() -> Play:
    """What the functions are given."""
    return Play(Traffic(SCENARIO), settings=SETTINGS, batch_size=40, faults=FAULTS)


@pytest.fixture(scope="module")
def deployed(play: Play) -> Outcome:
    """What the functions made of it."""
    outcome = play.run(lambda _: None)
    assert outcome.redelivered > 50
    assert {row["Status"] for row in newest(outcome.findings)} == {"New", "Ongoing", "Escalated", "Closed"}
    return outcome


def _files(events: Sequence[Event]) -> Iterator[list[Event]]:
    """The events of a partition as Capture cuts them."""
    for _, file in groupby(events, key=lambda event: (event.enqueued - SCENARIO.start) // CUT):
        yield list(file)


def _capture(folder: Path, play: Play) -> None:
    hub = sample_settings()["EVENT_HUB_NAME"]
    for number, partition in play.partitions.items():
        for events in _files(partition.events):
            write_capture(folder, Source(NAMESPACE, hub, str(number)), events, CODECS[number])


def _replayed(play: Play, *folders: Path) -> Replayed:
    question = Question(CATALOGUE, THRESHOLDS, until=play.windows[-1])
    return run(find([str(folder) for folder in folders]), question)


def _posted(outcome: Outcome) -> list[dict[str, Any]]:
    """What a reader of the table sees in the end."""
    return _in_order([{name: value for name, value in row.items() if name != WHEN} for row in newest(outcome.findings)])


def _in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (row["WindowEnd"], row["ResourceId"]))


def test_a_captured_day_gives_the_rows_that_were_posted(play: Play, deployed: Outcome, tmp_path: Path) -> None:
    """Every column but the time of evaluation, evidence included, though batches came again and a host died."""
    _capture(tmp_path, play)
    replayed = _replayed(play, tmp_path)
    assert _in_order(replayed.rows(WHEN)) == _posted(deployed)
    assert replayed.outcome.findings == len(_posted(deployed))
    quality = replayed.outcome.quality
    assert quality.problems.keys() == {row.values["Reason"] for row in deployed.quarantine}
    assert sum(quality.problems.values()) == len(deployed.quarantine)
    assert quality.selected["model_theft"].records == deployed.counts.total()
    assert quality.files_read == quality.files > 100


def test_a_second_copy_of_some_captures_changes_nothing(play: Play, deployed: Outcome, tmp_path: Path) -> None:
    """An archive holds files that were copied twice, cut elsewhere: their events count once, and are reported."""
    _capture(tmp_path / "archive", play)
    hub = sample_settings()["EVENT_HUB_NAME"]
    copied = play.partitions[1].events[7:90]
    for part in (copied[:50], copied[40:]):
        write_capture(tmp_path / "copies", Source(NAMESPACE, hub, "1"), part)
    replayed = _replayed(play, tmp_path / "archive", tmp_path / "copies")
    assert _in_order(replayed.rows(WHEN)) == _posted(deployed)
    assert replayed.outcome.quality.duplicates == len(copied) + 10
    assert replayed.outcome.quality.selected["model_theft"].records == deployed.counts.total()


def test_events_are_cut_at_their_arrival_not_at_the_time_of_their_records(play: Play, tmp_path: Path) -> None:
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
