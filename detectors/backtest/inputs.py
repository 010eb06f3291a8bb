"""Splits the files of a command line into chunks that any process can read on its own, in the order of time."""

import difflib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from detectors.backtest import captures, parquet, path_layouts
from detectors.backtest.codecs import Content
from detectors.backtest.formats import PEEK, InputFormat, format_of
from detectors.errors import InputError, UnreadableError

CHUNK_BYTES = 1 << 25
STREAM = "-"

_LAST = datetime.max.replace(tzinfo=UTC)
_RECORD_TIME = re.compile(rb'"time"\s*:\s*"([^"\\]{10,40})"')
_NAMES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class InputChunk:
    """A part of a file that can be read on its own. Small, and can be pickled.

    Attributes:
        path: the path as given, or found below a given folder; `-` for standard input.
        form: the format of the file, judged by its beginning; not known yet for standard input.
        size: bytes on disk, compressed or not; 0 for standard input.
        start: the chunk holds the lines whose first byte is at or after this offset,
        end: and before this one; None for the end of the file.
    """

    path: str
    form: InputFormat
    size: int
    start: int = 0
    end: int | None = None

    @property
    def is_stream(self) -> bool:
        """Whether this is standard input, which only the parent process can read."""
        return self.path == STREAM


def find(paths: Sequence[str]) -> list[InputChunk]:
    """Find the chunks of these files, folders and `-`, each real file once, ordered by time and then by path.

    The time comes from the path (see `path_layouts`), else from the first record; files without one come last.
    Hidden files and folders below a given folder are left out.

    Raises:
        InputError: a path does not exist, may not be read, is no file or folder, or is a folder without files.
        DetectorError: a package that decompresses one of them is missing.
    """
    seen: set[tuple[int, int]] = set()
    found: list[tuple[datetime, str, list[InputChunk]]] = []
    for path in dict.fromkeys(paths):
        if path == STREAM:
            found.append((_LAST, path, [InputChunk(path, InputFormat.LINES, 0)]))
            continue
        for file, status in _files(path):
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                found.append(_examine(file, status.st_size))
    return [chunk for _, _, chunks in sorted(found, key=lambda each: each[:2]) for chunk in chunks]


def _files(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the file, or the files below the folder in the order of their names."""
    status = _status(path)
    if stat.S_ISREG(status.st_mode):
        yield path, status
    elif not stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path} is no file or folder: pipe what it holds to standard input, and give -.")
    else:
        is_empty = True
        for file in _walk(path, set()):
            status = _status(file)
            if stat.S_ISREG(status.st_mode):
                is_empty = False
                yield file, status
        if is_empty:
            raise InputError(f"{path} holds no files (hidden ones are not read).")


def _walk(folder: str, entered: set[tuple[int, int]]) -> Iterator[str]:
    """Yield every file below a folder; a folder is entered once, whatever links lead to it."""
    status = _status(folder)
    if (status.st_dev, status.st_ino) in entered:
        return
    entered.add((status.st_dev, status.st_ino))
    try:
        names = sorted(each.name for each in Path(folder).iterdir() if not each.name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}.") from error
    for name in names:
        path = os.path.join(folder, name)  # noqa: PTH118  # Path would take away a leading "./"
        if os.path.isdir(path):  # noqa: PTH112
            yield from _walk(path, entered)
        else:
            yield path


def _status(path: str) -> os.stat_result:
    try:
        return os.stat(path)  # noqa: PTH116  # an empty argument is no folder, as it were for Path
    except FileNotFoundError as error:
        raise InputError(_not_there(path)) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', error)}.") from error


def _not_there(path: str) -> str:
    """Report a missing path, and list what exists in its place, the most similar names first."""
    parent = next(folder for folder in Path(path).absolute().parents if folder.is_dir())
    wanted = Path(path).absolute().relative_to(parent).parts[0]
    try:
        names = sorted(each.name for each in parent.iterdir() if not each.name.startswith("."))
    except OSError:
        return f"{path} is not there."
    similar = difflib.get_close_matches(wanted, names, _NAMES_SHOWN)
    shown = [*similar, *(name for name in names if name not in similar)]
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"{path} is not there; {parent} holds: {', '.join(shown[:_NAMES_SHOWN]) or 'nothing'}{more}."


def _examine(path: str, size: int) -> tuple[datetime, str, list[InputChunk]]:
    """Find the time and the chunks of a file. An unreadable file has a chunk too, so that it is reported."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123  # as for os.stat
            content = Content(file)
            head = content.peek(PEEK)
            form = _form(head)
            if form is InputFormat.PARQUET and not content.is_plain:
                form = InputFormat.LINES  # as which it is refused with what to do
            time = path_layouts.time_in(path) or _first_time(path, content, head, form)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    chunks = _cut(path, size) if form is InputFormat.LINES and content.is_plain else [InputChunk(path, form, size)]
    return time or _LAST, path, chunks


def _cut(path: str, size: int) -> list[InputChunk]:
    """Split plain lines into chunks; the last chunk includes what was appended meanwhile."""
    starts = range(0, max(size, 1), CHUNK_BYTES)
    ends = [*starts[1:], None]
    return [
        InputChunk(path, InputFormat.LINES, (size if end is None else end) - start, start, end)
        for start, end in zip(starts, ends, strict=True)
    ]


def _form(head: bytes) -> InputFormat:
    """Recognise the format; an unreadable or blank file counts as lines until it is read."""
    try:
        return format_of(head) or InputFormat.LINES
    except UnreadableError:
        return InputFormat.LINES


def _first_time(path: str, content: Content, head: bytes, form: InputFormat) -> datetime | None:
    """Find the enqueued time of the first event, or the time of the first record that has one."""
    try:
        if form is InputFormat.AVRO:
            return next((batch[0].enqueued for batch in captures.read_events(content)), None)
        if form is InputFormat.PARQUET:
            head = next(parquet.read_lines(path), b"")
    except UnreadableError:
        return None
    for found in _RECORD_TIME.finditer(head):
        try:
            return captures.parse_utc(found[1].decode())
        except ValueError:
            continue
    return None
