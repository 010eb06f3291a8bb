"""Exports in Parquet say what the same records say as lines of JSON."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from detectors.backtest.exports import Lines, ReadError, find, read
from detectors.errors import DetectorError
from detectors.windows import record_time
from tests.builders import chat, list_key
from tests.detectors.backtest.replays import minutes, run, stamped, write

pytestmark = pytest.mark.real

AS_WRITTEN = "read_json(?, format = 'newline_delimited')"
AS_TEXT = "(SELECT * REPLACE (to_json(properties)::VARCHAR AS properties) FROM read_json(?))"
WITH_TIMES = "(SELECT * REPLACE (time::TIMESTAMP AS time) FROM read_json(?))"


def _records(count: int = 300) -> list[Mapping[str, Any]]:
    made = [list_key() if number % 3 else chat(responseLength=900) for number in range(count)]
    return [{**record, "time": stamped(minutes(number / 10))} for number, record in enumerate(made)]


def _lines(records: Sequence[Mapping[str, Any]]) -> list[bytes]:
    return [json.dumps(record).encode() for record in records]


def _parquet(folder: Path, records: Sequence[Mapping[str, Any]], source: str = AS_WRITTEN, name: str = "log") -> Path:
    """Return a file as another program writes it."""
    path = folder / f"{name}.parquet"
    lines = write(folder, "source.json", _lines(records))
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE log AS SELECT * FROM {source}", [lines])  # noqa: S608 - one of ours
        connection.table("log").write_parquet(str(path))
    return path


@pytest.mark.parametrize("source", [AS_WRITTEN, AS_TEXT, WITH_TIMES])
def test_a_replay_finds_the_same(source: str, tmp_path: Path) -> None:
    """With properties as an object or as text, and times as text or of the type that the format has for them."""
    records = _records()
    path = _parquet(tmp_path, records, source, "log*")
    _parquet(tmp_path, records[:100], source, "logs of others")
    expected = run(find([write(tmp_path, "log.ndjson", _lines(records))]))
    replayed = run(find([str(path)]), processes=2)
    assert replayed.findings
    assert replayed.rows("Evidence") == expected.rows("Evidence")
    assert replayed.outcome.quality.problems == expected.outcome.quality.problems == {}


def test_rows_come_in_blocks_in_their_order(tmp_path: Path) -> None:
    """Each row is a line, so that places can be told."""
    records = _records(1_000)
    blocks = list(read(*find([str(_parquet(tmp_path, records))])))
    data = [block.data for block in blocks if isinstance(block, Lines)]
    assert len(blocks) == len(data) > 10
    found = [json.loads(line) for line in b"".join(data).splitlines()]
    assert [record_time(one["time"]) for one in found] == [record_time(one["time"]) for one in records]


def test_files_are_in_the_order_of_their_first_records(tmp_path: Path) -> None:
    """As other files are, whatever they are called."""
    late, early = _records(20)[10:], _records(20)[:10]
    paths = [_parquet(tmp_path, late, name="a"), _parquet(tmp_path, early, name="b")]
    assert [chunk.path for chunk in find([str(path) for path in paths])] == [str(path) for path in reversed(paths)]


def test_a_cut_file_is_told(tmp_path: Path) -> None:
    """The others are read."""
    path = _parquet(tmp_path, _records())
    path.write_bytes(path.read_bytes()[:-40])
    (error,) = read(*find([str(path)]))
    assert isinstance(error, ReadError)
    assert error.reason == "damaged"


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With what to install."""
    path = _parquet(tmp_path, _records())
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(DetectorError, match=r"Parquet needs duckdb: pip install '\.\[parquet\]'"):
        find([str(path)])
