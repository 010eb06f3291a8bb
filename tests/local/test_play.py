"""Local runs: a stretch of time with faults comes out exact, files are read, and the command line speaks plainly."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from local.__main__ import main
from local.play import Faults, Play, messages_of
from local.report import newest
from local.traffic import Scenario, Traffic
from tests.builders import START, canonical_id, chat, list_key, message


def test_a_stretch_with_every_fault_counts_what_was_generated() -> None:
    """Redeliveries, a host that dies, missed timers, malformed messages: exact counts, whole episodes."""
    scenario = Scenario(duration=timedelta(hours=4), records=3_000)
    traffic = Traffic(scenario)
    middle = scenario.start + timedelta(hours=2)
    faults = Faults(redelivered=0.5, crash_at=middle, silent=(middle, middle + timedelta(minutes=30)))
    play = Play(traffic, batch_size=7, faults=faults)
    outcome = play.run(lambda _: None)
    assert outcome.counts == traffic.truth.expected()
    assert outcome.redelivered > 100
    assert outcome.quarantine
    attacked = set(traffic.truth.attacked.values())
    assert {row["ResourceId"] for row in newest(outcome.findings)} == attacked
    for resource in attacked:
        statuses = [row["Status"] for row in newest(outcome.findings) if row["ResourceId"] == resource]
        assert (statuses[0], statuses.count("New"), statuses[-1]) == ("New", 1, "Closed")


def _lines(path: Path, *bodies: object) -> Path:
    path.write_bytes(b"\n".join(body if isinstance(body, bytes) else json.dumps(body).encode() for body in bodies))
    return path


def test_a_file_of_records_is_played_through_the_functions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Findings come as one JSON line each; they are what the table would hold."""
    path = _lines(tmp_path / "logs.ndjson", *[list_key()] * 60, chat(), message(*[list_key()] * 40))
    assert main(["run", "--file", str(path), "--partitions", "2", "--format", "ndjson"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["Status"] for row in rows] == ["New"] + ["Ongoing"] * 5 + ["Closed"]
    assert (rows[0]["ResourceId"], rows[0]["EventCount"]) == (canonical_id(), 100)


def test_settings_on_the_command_line_are_those_of_the_app(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A threshold can be tried, and a bad one is refused as at start."""
    path = _lines(tmp_path / "logs.ndjson", list_key(), list_key())
    assert main(["run", "--file", str(path), "--set", "MODEL_THEFT__COUNT=2"]) == 0
    assert "2 ListKey" in capsys.readouterr().out
    assert main(["run", "--file", str(path), "--set", "MODEL_THEFT__COUNT=two"]) == 1
    assert "MODEL_THEFT__COUNT" in capsys.readouterr().out


def test_lines_arrive_when_their_record_says_and_garbage_with_its_neighbour(tmp_path: Path) -> None:
    """In order of time, dealt out over the partitions."""
    later = {**list_key(), "time": "2026-11-23T09:00:00Z"}
    messages = messages_of(_lines(tmp_path / "logs", later, list_key(), b"not json", b""), 2)
    assert [(found.partition, found.enqueued >= START) for found in messages] == [(0, False), (1, False), (0, True)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--file", "no such file"], "no such file"),
        (["run", "--set", "MODEL_THEFT__COUNT"], "NAME=VALUE"),
        (["run", "--records", "5"], "records"),
    ],
)
def test_a_call_that_cannot_be_taken_says_why_and_exits_with_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong and how to put it right."""
    assert main(arguments) == 2
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["dmeo"], ["run", "--redeliver", "2"], ["run", "--partitions", "0"]])
def test_an_unknown_or_impossible_option_exits_with_2_and_help(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """As every command line does."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: python -m local" in capsys.readouterr().err
