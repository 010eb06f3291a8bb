"""Local runs: files are read, and the command line speaks plainly. The demo itself is in tests/system/test_demo.py."""

import json
from collections import Counter
from pathlib import Path

import pytest

from detectors.configuration.settings import OVERRIDES
from local.__main__ import main
from local.simulation import Outcome, messages_of
from local.traffic import Scenario, Traffic
from tests.builders import START, bedrock, canonical_id, chat, list_key, message, refused


def _lines(path: Path, *bodies: object) -> Path:
    path.write_bytes(b"\n".join(body if isinstance(body, bytes) else json.dumps(body).encode() for body in bodies))
    return path


@pytest.mark.real
def test_a_file_of_records_is_played_through_the_functions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Findings come as one JSON line each; they are what the table would hold."""
    path = _lines(tmp_path / "logs.ndjson", *[list_key()] * 60, chat(), message(*[list_key()] * 40))
    assert main(["run", "--file", str(path), "--partitions", "2", "--format", "ndjson"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["Status"] for row in rows] == ["New"] + ["Ongoing"] * 5 + ["Closed"]
    assert (rows[0]["ResourceId"], rows[0]["EventCount"]) == (canonical_id(), 100)


@pytest.mark.real
def test_settings_on_the_command_line_are_those_of_the_app(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A threshold can be tried, and a bad one is refused as at start."""
    path = _lines(tmp_path / "logs.ndjson", list_key(), list_key())
    assert main(["run", "--file", str(path), "--set", "MODEL_THEFT__COUNT=2"]) == 0
    assert "Key listings: 2, limit 2" in capsys.readouterr().out
    assert main(["run", "--file", str(path), "--set", "MODEL_THEFT__COUNT=two"]) == 1
    assert "MODEL_THEFT__COUNT" in capsys.readouterr().out


@pytest.mark.real
def test_every_setting_of_a_rule_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All at once: thresholds at 1, all rules on, and one rule off with the rest of the file untouched."""
    values = {name: "true" if name.endswith("__ENABLED") else "1" for name in OVERRIDES}
    settings = {**values, "INSECURE_OUTPUT__ENABLED": "false"}
    records = list_key(responseLength=7), chat(requestLength=7), refused("ValidationException")
    path = _lines(tmp_path / "logs.ndjson", *records)
    arguments = [argument for name, value in settings.items() for argument in ("--set", f"{name}={value}")]
    assert main(["run", "--file", str(path), "--format", "ndjson", *arguments]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["RuleId"] for row in rows} == {
        "model_theft",
        "denial_of_service",
        "large_transfer",
        "key_sweep",
        "bedrock_validation_exceptions",
    }


@pytest.mark.real
def test_a_tuning_file_is_taken_by_its_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As the setting says, from the folder of the app or from the root."""
    tuning = tmp_path / "mine.toml"
    tuning.write_text("[rules.model_theft]\ncount = 2\nseverity = 'High'\n")
    path = _lines(tmp_path / "logs.ndjson", list_key(), list_key())
    assert main(["run", "--file", str(path), "--format", "ndjson", "--set", f"TUNING_FILE={tuning}"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["Severity"] == "High"


def test_a_file_of_bedrock_records_is_read_by_their_own_field_of_time(tmp_path: Path) -> None:
    """They have no `time`."""
    (found,) = messages_of(_lines(tmp_path / "logs", bedrock(timestamp="2026-11-23T09:00:00Z")), 1)
    assert found.enqueued == START.replace(hour=9)


def test_lines_arrive_when_their_record_says_and_garbage_with_its_neighbour(tmp_path: Path) -> None:
    """In order of time, dealt out over the partitions."""
    later = {**list_key(), "time": "2026-11-23T09:00:00Z"}
    messages = messages_of(_lines(tmp_path / "logs", later, list_key(), b"not json", b""), 2)
    assert [(found.partition, found.enqueued >= START) for found in messages] == [(0, False), (1, False), (0, True)]


LOST = [
    pytest.param([], ("model_theft", "2026-03-02T01:00:00+00:00"), 1, id="a record is lost"),
    pytest.param(["--set", "BUCKET_RETENTION_HOURS=2"], ("model_theft", "2026-03-02T01:00:00+00:00"), 0, id="purged"),
    pytest.param(["--set", "MODEL_THEFT__ENABLED=false"], ("model_theft", ""), 0, id="a rule that is off"),
]


@pytest.mark.parametrize(("arguments", "lost", "code"), LOST)
def test_a_run_of_generated_traffic_is_held_against_what_was_generated(
    arguments: list[str],
    lost: tuple[str, str],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each record counted once, as far back as buckets are kept, by each rule that is on; else the exit code is 1."""
    traffic = Traffic(Scenario(records=4_000))
    list(traffic)
    exact = traffic.truth.counts()
    rule_id, until = lost
    counts = Counter(
        {key: count for key, count in exact.items() if key[0] != rule_id or (until and key[2].isoformat() > until)}
    )
    assert 0 < counts.total() < exact.total()
    for counted, expected in ((exact, 0), (counts, code)):
        monkeypatch.setattr("local.__main__._play", lambda *_, counted=counted: Outcome(counts=counted))
        assert main(["run", "--records", "4000", "--format", "ndjson", *arguments]) == expected
        shown = capsys.readouterr().err
        assert ("NOT exact" in shown) == bool(expected)
        assert ("model_theft: records of " in shown) == bool(expected)


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
    printed = capsys.readouterr()
    assert said in printed.out + printed.err


@pytest.mark.parametrize("arguments", [[], ["dmeo"], ["run", "--redeliver", "2"], ["run", "--partitions", "0"]])
def test_an_unknown_or_impossible_option_exits_with_2_and_help(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """As every command line does."""
    assert main(arguments) == 2
    assert "Usage: python -m local" in capsys.readouterr().err
