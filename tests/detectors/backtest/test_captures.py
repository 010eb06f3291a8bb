"""Capture files: times, bodies, sources, and files that are broken or something else."""

import io
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fastavro
import pytest

from detectors.backtest import captures
from detectors.backtest.captures import parse_utc
from detectors.backtest.exports import Block, Captured, ReadError, read_stream
from detectors.backtest.path_layouts import source_in, time_in
from detectors.errors import DetectorError
from detectors.events import Event, Source
from tests.builders import NAMESPACE, SOURCE, START, event, list_key
from tests.detectors.backtest.captures import FIELDS, SCHEMA, american, record, write_capture, write_records

EVENTS = [event(number, list_key(), after=timedelta(milliseconds=1500 * number)) for number in range(100)]


def _read(path: Path) -> list[Block]:
    with path.open("rb") as file:
        return list(read_stream(file, str(path)))


def _events(blocks: list[Block]) -> list[Event]:
    return [each for block in blocks if isinstance(block, Captured) for each in block.events]


def _troubles(blocks: list[Block]) -> list[str]:
    return [block.reason for block in blocks if isinstance(block, ReadError)]


def _one(tmp_path: Path, changes: Mapping[str, object]) -> list[Block]:
    """Return what is read of a file with one event of other values."""
    path = tmp_path / "one.avro"
    write_records(path, [{**record(EVENTS[1]), **changes}])
    return _read(path)


@pytest.mark.parametrize(
    ("changes", "enqueued"),
    [
        ({}, START + timedelta(milliseconds=1500)),
        ({"SystemProperties": {}}, START + timedelta(seconds=1)),
        ({"SystemProperties": {"x-opt-enqueued-time": None}}, START + timedelta(seconds=1)),
        ({"SystemProperties": {}, "EnqueuedTimeUtc": "2026-11-23T08:00:01.5000000Z"}, START + timedelta(seconds=1.5)),
    ],
)
def test_the_time_is_taken_where_it_is_finest(changes: dict[str, object], enqueued: datetime, tmp_path: Path) -> None:
    """Milliseconds of the system properties if they are there, else the string."""
    assert [each.enqueued for each in _events(_one(tmp_path, changes))] == [enqueued]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2/13/2017 6:04:28 PM", datetime(2017, 2, 13, 18, 4, 28, tzinfo=UTC)),
        ("12/1/2026 12:00:00 AM", datetime(2026, 12, 1, tzinfo=UTC)),
        ("12/31/2026 12:59:59 PM", datetime(2026, 12, 31, 12, 59, 59, tzinfo=UTC)),
        ("4/24/2023 5:13:56 PM +00:00", datetime(2023, 4, 24, 17, 13, 56, tzinfo=UTC)),
        ("2018-06-11T00:00:08.2250000Z", datetime(2018, 6, 11, 0, 0, 8, 225000, tzinfo=UTC)),
        ("2018-06-11T02:00:08+02:00", datetime(2018, 6, 11, 0, 0, 8, tzinfo=UTC)),
        ("2018-06-11 00:00:08", datetime(2018, 6, 11, 0, 0, 8, tzinfo=UTC)),
    ],
)
def test_times_as_text_are_utc(text: str, expected: datetime) -> None:
    """American as Capture writes them, or ISO 8601."""
    assert (parse_utc(text), parse_utc(text).tzinfo) == (expected, UTC)


def test_a_time_without_a_zone_is_utc_wherever_the_command_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Capture writes UTC and does not say so."""
    monkeypatch.setenv("TZ", "JST-9")
    time.tzset()
    try:
        assert parse_utc.__wrapped__("2018-06-11 09:00:08") == datetime(2018, 6, 11, 9, 0, 8, tzinfo=UTC)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_time_in_a_map_of_its_own_is_read(tmp_path: Path) -> None:
    """Tools that go through Avro's JSON leave the name of the type around a value."""
    path = tmp_path / "wrapped.avro"
    values = {"type": "map", "values": {"type": "map", "values": "long"}}
    fields = [each if each["name"] != "SystemProperties" else {**each, "type": values} for each in FIELDS]
    row = {**record(EVENTS[1]), "SystemProperties": {"x-opt-enqueued-time": {"long": 1_795_000_000_123}}}
    with path.open("wb") as file:
        fastavro.writer(file, {**SCHEMA, "fields": fields}, [row])
    [found] = _events(_read(path))
    assert found.enqueued == datetime.fromtimestamp(1_795_000_000, UTC) + timedelta(milliseconds=123)


def test_every_hour_is_written_by_the_helper_as_it_is_read() -> None:
    """Midnight and noon are where a clock of twelve hours goes wrong."""
    hours = [START + timedelta(hours=hour) for hour in range(24)]
    assert [parse_utc(american(hour)) for hour in hours] == hours


@pytest.mark.parametrize("text", ["", "yesterday", "13/2/2017 6:04:28 PM", "2/13/2017 13:04:28 PM"])
def test_an_event_without_a_time_stops_the_file_after_the_events_before(text: str, tmp_path: Path) -> None:
    """It cannot be counted, and a file with one is none that Capture wrote."""
    path = tmp_path / "odd.avro"
    odd = {**record(EVENTS[3], is_fine=False), "EnqueuedTimeUtc": text}
    write_records(path, [*map(record, EVENTS[:3]), odd, record(EVENTS[4])])
    blocks = _read(path)
    assert (_events(blocks), _troubles(blocks)) == (EVENTS[:3], ["not_a_capture"])


def test_a_time_beyond_the_calendar_is_told(tmp_path: Path) -> None:
    """Seconds or ticks in place of milliseconds must not end the backtest."""
    assert _troubles(_one(tmp_path, {"SystemProperties": {"x-opt-enqueued-time": 2**60}})) == ["not_a_capture"]


def test_an_event_without_body_is_empty(tmp_path: Path) -> None:
    """The schema allows null."""
    assert [each.body for each in _events(_one(tmp_path, {"Body": None}))] == [b""]


def test_many_small_events_come_in_batches(tmp_path: Path) -> None:
    """So that memory does not grow with the block."""
    events = [Event(number, START, b"{}") for number in range(2500)]
    path = tmp_path / "small.avro"
    with path.open("wb") as file:
        fastavro.writer(file, SCHEMA, [record(each) for each in events], sync_interval=10**9)
    blocks = _read(path)
    assert [len(block.events) for block in blocks if isinstance(block, Captured)] == [1000, 1000, 500]
    assert _events(blocks) == events


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("/x/Logs/LLM-Logs/12/2026/10/01/08/05/00.avro", Source("logs.servicebus.windows.net", "llm-logs", "12")),
        ("/x/logs/llm/0/2026/10/01/8/5/0.avro.gz", Source("logs.servicebus.windows.net", "llm", "0")),
        ("/logs.servicebus.chinacloudapi.cn/llm/0/2026/10/01/08/05/00.avro", None),
        ("exports/Some.avro", Source("", "exports/Some.avro", "")),
        ("-", Source("", "-", "")),
    ],
)
def test_the_path_tells_the_partition(path: str, source: Source | None) -> None:
    """By the short name of the namespace; a path without the layout is a partition of its own."""
    assert source_in(path) == (source or Source("logs.servicebus.chinacloudapi.cn", "llm", "0"))


def test_the_helper_writes_to_where_capture_does(tmp_path: Path) -> None:
    """Other tests rely on it."""
    path = write_capture(tmp_path, SOURCE, EVENTS)
    assert path.relative_to(tmp_path) == Path("local/llm-logs/0/2026/11/23/08/00/00.avro")
    assert (source_in(str(path)), time_in(str(path))) == (Source(NAMESPACE, "llm-logs", "0"), START)


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy"])
def test_a_capture_that_breaks_off_gives_the_events_before(codec: str, tmp_path: Path) -> None:
    """At any byte: a beginning of the events, and the break is told unless it falls between two blocks."""
    path = write_capture(tmp_path, SOURCE, EVENTS, codec)  # type: ignore[arg-type]
    data = path.read_bytes()
    with path.open("rb") as file:
        blocks = list(fastavro.block_reader(file))
    borders = {blocks[0].offset, *(block.offset + block.size for block in blocks)}
    assert len(borders) > 3
    near = {border + step for border in borders for step in (-1, 0, 1, 2)}
    for cut in sorted({*range(4, len(data), 37), *near} & set(range(4, len(data) + 1))):
        found = list(read_stream(io.BytesIO(data[:cut]), "-"))
        events = _events(found)
        assert events == EVENTS[: len(events)]
        assert _troubles(found) == ([] if cut in borders else ["truncated"])
        assert (len(events) == len(EVENTS)) == (cut == len(data))


def test_a_break_within_the_number_of_events_of_a_block_is_told(tmp_path: Path) -> None:
    """The number has two bytes from 64 events on; with one of them the file is not at its end."""
    events = [Event(number, START, b"") for number in range(100)]
    path = tmp_path / "small.avro"
    write_records(path, [])
    header = path.stat().st_size
    write_records(path, map(record, events))
    data = path.read_bytes()
    assert data[header] & 0x80
    assert list(read_stream(io.BytesIO(data[:header]), "-")) == []
    assert _troubles(list(read_stream(io.BytesIO(data[: header + 1]), "-"))) == ["truncated"]


@pytest.mark.parametrize("at", [30, 700, -1, -10])
def test_a_damaged_capture_is_told(at: int, tmp_path: Path) -> None:
    """In its header, in a block, and in the mark behind one; asking for memory that nobody has is no way to tell."""
    path = write_capture(tmp_path, SOURCE, EVENTS)
    data = bytearray(path.read_bytes())
    for index in range(at, at + 9 if at > 0 else min(at + 9, 0)):
        data[index] = 0xFE
    path.write_bytes(data)
    assert set(_troubles(_read(path))) <= {"damaged", "truncated"}
    assert _troubles(_read(path))


def test_a_length_that_no_block_has_is_not_read(tmp_path: Path) -> None:
    """Whatever a damaged number asks for is not held in memory."""
    path = tmp_path / "huge.avro"
    write_records(path, [])
    path.write_bytes(path.read_bytes() + b"\x02" + b"\xfe\xff\xff\xff\xff\xff\xff\x7f")
    [error] = _read(path)
    assert isinstance(error, ReadError)
    assert error.reason == "damaged"
    assert "a part of 36028797018963963 bytes" in error.detail


@pytest.mark.parametrize(
    ("schema", "rows", "names"),
    [
        (
            {"type": "record", "name": "Stock", "fields": [{"name": "symbol", "type": "string"}]},
            [{"symbol": "MSFT"}],
            "fields symbol; wanted SequenceNumber, EnqueuedTimeUtc, Body",
        ),
        ({"type": "array", "items": "long"}, [[1]], "fields none; wanted"),
        (
            {
                "type": "record",
                "name": "EventData",
                "fields": [{"name": name, "type": "string"} for name in captures.FIELDS],
            },
            [dict.fromkeys(captures.FIELDS, "1")],
            "Event 1: a number and bytes are wanted",
        ),
        (
            {
                "type": "record",
                "name": "EventData",
                "fields": [
                    {"name": "SequenceNumber", "type": "long"},
                    *({"name": name, "type": "string"} for name in captures.FIELDS[1:]),
                ],
            },
            [{"SequenceNumber": 7, "EnqueuedTimeUtc": "2026-11-23T08:00:00Z", "Body": "{}"}],
            "Event 7: a number and bytes are wanted",
        ),
    ],
)
def test_avro_of_another_schema_is_told(
    schema: dict[str, object], rows: list[object], names: str, tmp_path: Path
) -> None:
    """With the fields that are there and those that are wanted."""
    path = tmp_path / "other.avro"
    with path.open("wb") as file:
        fastavro.writer(file, schema, rows)
    [error] = _read(path)
    assert isinstance(error, ReadError)
    assert error.reason == "not_a_capture"
    assert names in error.detail


def test_a_codec_that_nobody_knows_is_told(tmp_path: Path) -> None:
    """By its name."""
    path = write_capture(tmp_path, SOURCE, EVENTS, "snappy")
    path.write_bytes(path.read_bytes().replace(b"snappy", b"sleepy", 1))
    [error] = _read(path)
    assert isinstance(error, ReadError)
    assert (error.reason, "sleepy" in error.detail) == ("unknown_form", True)


def test_missing_fastavro_is_told_with_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not installed in Azure."""
    path = write_capture(tmp_path, SOURCE, EVENTS)
    monkeypatch.setitem(sys.modules, "fastavro", None)
    with pytest.raises(DetectorError, match=r"Avro needs fastavro: pip install"):
        _read(path)


def test_missing_cramjam_is_told_with_how_to_install_it(tmp_path: Path) -> None:
    """In a process of its own, since fastavro looks for it once."""
    path = write_capture(tmp_path, SOURCE, EVENTS, "snappy")
    script = (
        "import sys; sys.modules['cramjam'] = None\n"
        "from detectors.backtest.exports import find, read\n"
        f"list(read(find([{str(path)!r}])[0]))"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)  # noqa: S603
    assert "DetectorError: Reading Avro needs cramjam: pip install -r requirements-dev.txt" in ended.stderr
