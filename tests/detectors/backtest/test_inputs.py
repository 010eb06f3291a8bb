"""Finding exports: the order of time, each real file once, and errors that help."""

import gzip
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from detectors.backtest.inputs import InputChunk, find
from detectors.errors import InputError
from tests.builders import SOURCE, START, event, list_key
from tests.detectors.backtest.captures import write_capture

ACCOUNT = "resourceId=/SUBSCRIPTIONS/5B0C/RESOURCEGROUPS/RG-AI/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/AOAI"
NOBODY = 65534


def _write(path: Path, time: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**list_key(), "time": time}) + "\n")
    return path


def _found(*paths: Path | str) -> list[str]:
    return [chunk.path for chunk in find([str(path) for path in paths])]


def test_pieces_come_in_the_order_of_time_whatever_tells_it(tmp_path: Path) -> None:
    """The path of a blob, of a capture, the first event or the first record; what has no time comes last."""
    blob = _write(tmp_path / "z" / ACCOUNT / "y=2026/m=11/d=23/h=07/m=00/PT1H.json", "2031-01-01T00:00:00Z")
    upper = _write(tmp_path / "y" / "Y=2026/M=11/D=23/H=08/M=00/PT1H.json")
    capture = write_capture(tmp_path / "x", SOURCE, [event(1, after=timedelta(minutes=1))])
    moved = write_capture(tmp_path / "w", SOURCE, [event(2, after=timedelta(minutes=2))]).rename(tmp_path / "w.avro")
    lines = _write(tmp_path / "v.json", "2026-11-23T08:03:00.1234567Z")
    packed = tmp_path / "u.json.gz"
    packed.write_bytes(gzip.compress(b"\n[\n" + lines.read_bytes().replace(b":03:", b":04:") + b"]"))
    none = _write(tmp_path / "a.json")
    assert _found(tmp_path) == [str(path) for path in (blob, upper, capture, moved, lines, packed, none)]


def test_a_path_decides_between_files_of_one_time(tmp_path: Path) -> None:
    """So that the order does not depend on that of the arguments."""
    paths = [_write(tmp_path / name, "2026-11-23T08:00:00Z") for name in ("b", "c", "a")]
    assert _found(*paths) == [str(path) for path in sorted(paths)]


def test_the_first_time_that_can_be_read_counts(tmp_path: Path) -> None:
    """A broken first record does not send a file to the end."""
    late = _write(tmp_path / "late", "2026-11-23T09:00:00+01:00")
    late.write_bytes(b'{"time": "not a time at all"}\n{"time": "2026-11-23T99:00:00Z"}\n' + late.read_bytes())
    later = _write(tmp_path / "early", "2026-11-23T08:00:01")
    assert _found(later, late) == [str(late), str(later)]


def test_a_layout_with_an_impossible_time_tells_none(tmp_path: Path) -> None:
    """Folders may be named anything."""
    odd = _write(tmp_path / "y=2026/m=13/d=23/h=07/m=00/PT1H.json")
    assert _found(odd, _write(tmp_path / "b", "2026-11-23T08:00:00Z")) == [str(tmp_path / "b"), str(odd)]


def test_a_relative_path_tells_as_much_as_a_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """People start the command from within an export."""
    write_capture(tmp_path, SOURCE, [event(1)])
    _write(tmp_path / "a.json", (START - timedelta(seconds=1)).isoformat())
    monkeypatch.chdir(tmp_path / "local" / "llm-logs" / "0")
    assert _found("2026", "../../../a.json") == ["../../../a.json", "2026/11/23/08/00/00.avro"]


def test_a_real_file_is_read_once(tmp_path: Path) -> None:
    """Through two arguments, a folder and a link, and a folder that holds itself."""
    path = _write(tmp_path / "folder" / "a.json")
    (tmp_path / "folder" / "b.json").symlink_to(path)
    (tmp_path / "folder" / "itself").symlink_to(tmp_path / "folder")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    folder, link = tmp_path / "folder", tmp_path / "link"
    assert _found(folder, path, link, path, folder) == [str(path)]
    assert _found(link) == [str(link / "a.json")]


def test_hidden_files_and_folders_are_left_out_unless_named(tmp_path: Path) -> None:
    """Nothing else is: a name says nothing of what a file holds."""
    hidden, inner = _write(tmp_path / ".a.json"), _write(tmp_path / ".git" / "b.json")
    shown = [_write(tmp_path / name) for name in ("c", "d.txt", "e/f.bak")]
    os.mkfifo(tmp_path / "pipe")
    assert _found(tmp_path) == [str(path) for path in shown]
    assert _found(hidden, inner.parent) == [str(hidden), str(inner)]


def test_standard_input_is_a_piece_that_comes_last_and_once(tmp_path: Path) -> None:
    """Nothing is read of it to find out its time."""
    path = _write(tmp_path / "z", "2026-11-23T08:00:00Z")
    assert [(chunk.path, chunk.is_stream) for chunk in find(["-", str(path), "-"])] == [(str(path), False), ("-", True)]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("exports/2026-12", "exports holds: 2026-11, 2025-01, PT1H.json"),
        ("export", "holds: exports"),
        ("exports/2026-11/13/a.json", "2026-11 holds: 12"),
        ("exports/2026-11/12/a.json", "12 holds: nothing"),
    ],
)
def test_a_path_that_is_not_there_is_told_with_what_is(path: str, told: str, tmp_path: Path) -> None:
    """The most similar name comes first."""
    _write(tmp_path / "exports" / "PT1H.json")
    for name in ("2025-01", "2026-11/12"):
        (tmp_path / "exports" / name).mkdir(parents=True)
    with pytest.raises(InputError) as raised:
        find([str(tmp_path / path)])
    assert f"{path} is not there; " in str(raised.value)
    assert str(raised.value).endswith(f"{told}.")


def test_of_many_neighbours_only_some_are_told(tmp_path: Path) -> None:
    """A storage account has thousands of blobs in a folder."""
    for number in range(30):
        _write(tmp_path / f"{number:02}.json")
    with pytest.raises(InputError, match=r"holds: 17\.json, .* and 25 more\.$"):
        find([str(tmp_path / "17.jso")])


@pytest.mark.parametrize(("path", "told"), [("", "is not there"), ("a\0b", "cannot be read"), ("x" * 999, "cannot be")])
def test_a_path_that_none_can_have_is_told(path: str, told: str) -> None:
    """An empty argument, such as of a variable that is not set, is not the working folder."""
    with pytest.raises(InputError, match=told):
        find([path])


def test_a_folder_without_files_is_told(tmp_path: Path) -> None:
    """A download may have failed."""
    (tmp_path / "y=2026" / "m=10").mkdir(parents=True)
    _write(tmp_path / ".DS_Store")
    with pytest.raises(InputError, match="holds no files"):
        find([str(tmp_path)])


def test_a_pipe_by_its_path_is_told_how_to_give_it(tmp_path: Path) -> None:
    """A look at it would take away what is looked at."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"pipe .*standard input, and give -"):
        find([str(tmp_path / "pipe")])


@contextmanager
def _unprivileged() -> Iterator[None]:
    """As a user whom permissions bind."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.mark.parametrize("name", ["locked.json", "locked"])
def test_what_may_not_be_read_is_told(name: str) -> None:
    """A file and a folder."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        folder.chmod(0o755)
        locked = _write(folder / name if name.endswith("json") else folder / name / "inner.json")
        assert _found(folder) == [str(locked)]
        locked = folder / name
        locked.chmod(0)
        with _unprivileged(), pytest.raises(InputError, match=rf"{name} cannot be read: Permission denied\."):
            find([text])
        locked.chmod(0o755)


def test_a_piece_by_default_is_a_whole_file() -> None:
    """Only large files of plain lines are cut."""
    [chunk] = find([__file__])
    assert chunk == InputChunk(__file__, chunk.form, Path(__file__).stat().st_size, 0, None)
