"""`llm-detector replay`: what it prints, what it refuses, and its exit codes."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from detectors.cli.main import main
from detectors.reporting.finding import Finding, columns
from tests.builders import START, chat, list_key, of_another_service, refused

WHEN = ("2026-11-23", "08:10", "2026-11-23", "08:10")
PROGRAM = [str(Path(sys.executable).with_name("llm-detector")), "replay"]


def _write(path: Path, *records: object) -> str:
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return str(path)


def _listed(count: int, name: str = "aoai-prod", minutes: int = 0) -> list[dict[str, object]]:
    """Return records of so many key listings in one minute."""
    return [{**list_key(name), "time": (START + timedelta(minutes=minutes)).isoformat()} for _ in range(count)]


TUNING = """
[[resources]]
rule = "model_theft"
resource = "*/accounts/aoai-dev"
count = 20
severity = "High"
reason = "Nobody lists these keys."

[[exceptions]]
rule = "model_theft"
resource = "*/accounts/aoai-prod"
callers = ["0d1e2f3a-4b5c-4d6e-8f70-8192a3b4c5d6"]
reason = "The nightly rotation."
owner = "platform team"
expires = 2026-12-31
"""


@pytest.fixture
def tuned(tmp_path: Path) -> str:
    """Provide a tuning file with a number for one resource, and an exception for another."""
    path = tmp_path / "ours.toml"
    path.write_text(TUNING)
    return str(path)


@pytest.fixture
def burst(tmp_path: Path) -> str:
    """Provide an hour in which the keys of one resource were listed 120 times, and those of another 30 times."""
    return _write(tmp_path / "PT1H.json", *_listed(120), chat(), *_listed(30, "aoai-dev"))


def _printed(capsys: pytest.CaptureFixture[str], arguments: Sequence[str], code: int = 0) -> tuple[list[str], str]:
    assert main(["replay", *arguments]) == code
    printed = capsys.readouterr()
    return printed.out.splitlines(), printed.err


def test_the_table_has_a_row_for_each_episode(burst: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Rule, resource, first and last window, peak and the most active caller."""
    lines, _ = _printed(capsys, [burst])
    assert lines[0].startswith("Read 1 file, ")
    assert "151 records, 2026-11-23 07:59 to 2026-11-23 08:00 UTC." in lines[0]
    assert lines[1].startswith("6 findings in 1 episode; ")
    (row,) = [line for line in lines if line.startswith("model_theft  ")]
    assert "rg-ai/aoai-prod" in row
    assert "2026-11-23 08:10  2026-11-23 09:00" in row
    assert "count 120" in row


def test_each_line_of_ndjson_is_a_finding_with_the_columns_of_the_table(
    burst: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing else is on standard output; what people want to know is on standard error."""
    lines, told = _printed(capsys, [burst, "--format", "ndjson"])
    findings = [json.loads(line) for line in lines]
    assert {tuple(finding) for finding in findings} == {tuple(columns(Finding))}
    assert [(finding["Status"], finding["EventCount"]) for finding in findings] == [
        ("New", 120),
        *[("Ongoing", 120)] * 5,
    ]
    assert "0 of 150 records carried a response length" in told


def test_thresholds_can_be_others(burst: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--set` for all, with `--sweep` one after another in the same pass."""
    lines, _ = _printed(capsys, [burst, "--set", "model_theft.count=30", "--format", "ndjson"])
    assert {json.loads(line)["ResourceName"] for line in lines} == {"aoai-prod", "aoai-dev"}
    lines, _ = _printed(capsys, [burst, "--sweep", "model_theft.count=30,100,121"])
    rows = [line.split() for line in lines if line.startswith("model_theft.count")]
    assert rows == [
        ["model_theft.count", "30", "12", "2", "2"],
        ["model_theft.count", "(in", "force)", "100", "6", "1", "1"],
        ["model_theft.count", "121", "0", "0", "0"],
    ]


def test_a_tuning_file_is_in_force_as_in_the_app(burst: str, tuned: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers and severities of single resources; what an exception explains is suppressed, and said in a line."""
    lines, _ = _printed(capsys, [burst, "--tuning", tuned])
    prod, dev = ((line.split()) for line in lines if line.startswith("model_theft  "))
    assert (prod[1:3], prod[8]) == (["Medium", "rg-ai/aoai-prod"], "suppressed")
    assert (dev[1:3], dev[8]) == (["High", "rg-ai/aoai-dev"], "open")
    explained = "Exceptions explain 1 of 2 episodes: The nightly rotation (platform team, until 2026-12-31)."
    assert lines.count(explained) == 1
    lines, _ = _printed(capsys, [burst, "--tuning", tuned, "--format", "ndjson"])
    findings = [json.loads(line) for line in lines]
    assert {(row["ResourceName"], row["Status"], row["Severity"]) for row in findings} == {
        ("aoai-prod", "Suppressed", "Medium"),
        ("aoai-dev", "New", "High"),
        ("aoai-dev", "Ongoing", "High"),
    }


def test_a_sweep_says_that_it_overrules_the_numbers_of_single_resources(
    burst: str, tuned: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """At 100 only one resource fires, though the tuning file has 20 for the other; nothing is said of others."""
    sweeps = ["--sweep", "model_theft.count=25,100", "--sweep", "insecure_output.count=5"]
    lines, _ = _printed(capsys, [burst, "--tuning", tuned, *sweeps])
    rows = [line.split() for line in lines if line.startswith("model_theft.count ")]
    assert rows[:2] == [
        ["model_theft.count", "25", "12", "2", "2"],
        ["model_theft.count", "(in", "force)", "100", "6", "1", "1"],
    ]
    (said,) = (line for line in lines if "in place of" in line)
    assert said.startswith("model_theft.count: each value was tried for every resource, in place of [[resources]]")
    Path(tuned).write_text("[rules.model_theft]\ncount = 25\n")  # for every resource, as the sweep
    for arguments in ([burst, *sweeps], [burst, "--tuning", tuned, *sweeps]):
        lines, _ = _printed(capsys, arguments)
        assert not any("in place of" in line for line in lines)


def test_a_tuning_file_that_is_not_sound_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With all that is wrong with it, and before anything is read."""
    path = tmp_path / "bad.toml"
    path.write_text("[rules.model_theft]\ncuont = 5\nseverity = 3\n")
    for file, told in ((path, ["cuont is not known", "severity is 3"]), (tmp_path / "none.toml", ["there is no file"])):
        assert main(["replay", "not even there", "--tuning", str(file)]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert all(text in printed.err for text in told)
        assert "TUNING_FILE" not in printed.err


def test_a_rule_that_is_off_cannot_be_asked_about(
    burst: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sweep of nothing would look like safety."""
    path = tmp_path / "off.toml"
    path.write_text("[rules.model_theft]\nenabled = false\n")
    for option in ("--set", "--sweep"):
        for off in (["--tuning", str(path)], ["--rule", "insecure_output"]):
            assert main(["replay", burst, *off, option, "model_theft.count=5"]) == 2
            assert "model_theft.count: that rule is off here" in capsys.readouterr().err


def test_minutes_are_counted_as_minutes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a rule that looks at them; an AWS identity is shown by its last part."""
    record = {**refused("ValidationException"), "timestamp": "2026-11-23T08:03:30Z"}
    other = {**record, "timestamp": "2026-11-23T08:04:30Z"}
    path = _write(tmp_path / "bedrock.json", *[record] * 4, *[other] * 9)
    lines, _ = _printed(capsys, [path, "--sweep", "bedrock_validation_exceptions.count=4,9"])
    assert lines[1].startswith("2 findings in 1 episode; ")
    assert [line.split()[:9] for line in lines if line.startswith("bedrock_validation_exceptions ")] == [
        ["bedrock_validation_exceptions", "High", "assumed-role/app-prod", "111122223333", *WHEN, "2"]
    ]
    assert "2 min  open" in "\n".join(lines)


def test_a_sentence_about_lengths_is_for_rules_that_could_lack_them(
    burst: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, however many rules read the log."""
    lines, _ = _printed(capsys, [burst])
    assert [line for line in lines if "carried a response length" in line] == [
        "model_theft: 0 of 150 records carried a response length, so only counts can fire."
    ]


def test_a_sweep_as_ndjson_has_a_line_for_each_value(burst: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In place of findings, which have other columns."""
    lines, _ = _printed(capsys, [burst, "--sweep", "model_theft.count=30,100", "--format", "ndjson"])
    objects = [json.loads(line) for line in lines]
    assert [(line["kind"], line.get("value")) for line in objects] == [
        ("trial", 30),
        ("trial", 100),
    ]
    assert objects[0]["resources"] == 2


def test_a_report_without_its_library_says_what_to_install(
    burst: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is read; without a report nothing is missed."""
    monkeypatch.setitem(sys.modules, "jinja2", None)
    for name in [name for name in sys.modules if name.startswith("detectors.backtest.report")]:
        monkeypatch.delitem(sys.modules, name)
    assert main(["replay", burst, "--report", str(tmp_path / "page.html")]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "pip install '.[backtest]'" in printed.err
    assert main(["replay", burst]) == 0


def test_findings_fail_a_run_only_on_request(
    burst: str, tuned: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For a pipeline that watches exports; not by what exceptions explain, of which nobody is alerted."""
    assert main(["replay", burst]) == 0
    assert main(["replay", burst, "--fail-on-findings"]) == 1
    assert main(["replay", _write(tmp_path / "quiet.json", *_listed(99)), "--fail-on-findings"]) == 0
    assert main(["replay", burst, "--fail-on-findings", "--tuning", tuned, "--set", "model_theft.count=100"]) == 0
    assert main(["replay", burst, "--fail-on-findings", "--tuning", tuned]) == 1
    capsys.readouterr()


def test_a_span_leaves_out_the_windows_around_it(burst: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Windows that end after the first time, up to the second."""
    lines, _ = _printed(
        capsys, [burst, "--from", "2026-11-23T08:10Z", "--to", "2026-11-23T08:30Z", "--format", "ndjson"]
    )
    assert [json.loads(line)["WindowEnd"] for line in lines] == ["2026-11-23T08:20:00Z", "2026-11-23T08:30:00Z"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "PATH"),
        (["logs", "--rule", "model_thieft"], "did you mean model_theft?"),
        (["logs", "--set", "model_theft.cuont=5"], "did you mean model_theft.count?"),
        (["logs", "--set", "model_theft.count=5,6"], "--sweep"),
        (["logs", "--set", "model_theft.count=0"], "whole numbers from 1"),
        (["logs", "--processes", "0"], "is not in the range 1<=x<=256"),
        (["logs", "--from", "2026-11-23", "--to", "2026-11-23"], "--from must be before --to"),
        (["logs", "--format", "csv"], "there is table, ndjson"),
    ],
)
def test_a_call_that_contradicts_itself_is_refused(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, whatever PATH holds."""
    assert main(["replay", *arguments]) == 2
    assert told in " ".join(capsys.readouterr().err.split())


def test_what_cannot_be_read_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path that is not there is refused; a file of which nothing can be read is a failed call too."""
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 20)
    assert main(["replay", str(tmp_path / "nowhere")]) == 2
    assert "is not there" in capsys.readouterr().err
    lines, _ = _printed(capsys, [str(tmp_path / "binary")], code=2)
    assert any("unknown_form" in line for line in lines)


def test_bad_lines_are_counted_by_reason_with_their_place(
    burst: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first ones of each reason; good neighbours count."""
    path = tmp_path / "bad.json"
    path.write_text("\n".join(["{broken", *Path(burst).read_text().splitlines(), "5"]))
    lines, _ = _printed(capsys, [str(path)])
    assert "6 findings in 1 episode" in lines[1]
    assert lines[-4:] == [
        "1 x not_json",
        f"  {path}:1: this is not JSON",
        "1 x not_a_record",
        f"  {path}:153: a record is an object, and this is none",
    ]


def test_records_of_no_known_log_are_told_by_their_fields(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrapper that nobody knows would hide everything; what stands in it is not shown, and commands no terminal."""
    wrapped = {"parcel": json.dumps(list_key()), "host\x1b[2J": "h"}
    lines, _ = _printed(capsys, [_write(tmp_path / "other.json", wrapped, wrapped, list_key())])
    assert "2 records of no log that is read here, with the fields: host\\x1b[2J, parcel" in lines
    assert not any("ListKey" in line for line in lines)


@pytest.mark.parametrize(
    ("records", "told"),
    [([], "There was no record in it."), ([of_another_service()], "No rule selects any of 1 record:")],
)
def test_an_export_that_says_nothing_is_not_taken_for_safety(
    records: list[object], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Empty, or another service's logs."""
    lines, _ = _printed(capsys, [_write(tmp_path / "other.json", *records)])
    assert any(told in line for line in lines)


def test_a_report_is_one_page(burst: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where it cannot be written, that is said before anything is read."""
    page = tmp_path / "out.html"
    _printed(capsys, [burst, "--report", str(page)])
    assert page.read_text().startswith("<!doctype html>")
    assert main(["replay", "not even there", "--report", str(tmp_path / "nowhere" / "out.html")]) == 2
    assert "there is no folder" in capsys.readouterr().err


@pytest.mark.real
def test_progress_is_for_terminals(burst: str) -> None:
    """In a pipe a short run says nothing; on a terminal there is a bar on standard error."""
    piped = subprocess.run([*PROGRAM, burst], capture_output=True, check=True)  # noqa: S603 - our own
    assert piped.stderr == b""
    ours, theirs = pty.openpty()
    subprocess.run([*PROGRAM, burst], stdout=subprocess.DEVNULL, stderr=theirs, check=True)  # noqa: S603 - our own
    os.close(theirs)
    shown = os.read(ours, 65536)
    os.close(ours)
    assert b"reading" in shown


@pytest.mark.real
def test_an_interrupt_prints_what_is_known(burst: str) -> None:
    """What came until then is evaluated, and the exit code says that it was not all."""
    lines = Path(burst).read_bytes()
    block = lines * (2 + 4 * 2**20 // len(lines))  # more than a block, so that one is judged before the signal
    pipe = subprocess.PIPE
    with subprocess.Popen([*PROGRAM, "-"], stdin=pipe, stdout=pipe) as running:  # noqa: S603 - our own
        assert running.stdin
        assert running.stdout
        running.stdin.write(block * 2)
        running.send_signal(signal.SIGINT)
        with suppress(BrokenPipeError):
            while True:
                running.stdin.write(block)
        with suppress(BrokenPipeError):
            running.stdin.close()
        told = running.stdout.read().decode()
    assert running.returncode == 130
    assert "Interrupted: 0 of 1 files were read to their end." in told
