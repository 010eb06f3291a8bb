"""Reads exported logs, on disk or from standard input, in blocks.

`find` lists the chunks, and `read` yields the blocks of one: JSON lines, one JSON document over many lines, or events
of Event Hubs Capture; each plain or compressed with gzip or zstd; and Parquet. The content decides, not the file name.
Blocks are bounded, so memory does not grow with a file.
"""

from collections.abc import Iterator
from sys import maxsize
from typing import BinaryIO, NamedTuple

from detectors.backtest import captures, parquet, path_layouts
from detectors.backtest.codecs import Content
from detectors.backtest.formats import PEEK, UTF_8_MARK, InputFormat, format_of, is_json
from detectors.backtest.inputs import InputChunk, find
from detectors.errors import UnreadableError
from detectors.events import Event, Source

__all__ = [
    "Block",
    "Captured",
    "Document",
    "InputChunk",
    "InputFormat",
    "Lines",
    "ReadError",
    "find",
    "read",
    "read_stream",
]

BLOCK_BYTES = 1 << 16
"""About so many bytes of lines are read together. What is wrong with one makes no more be read again. And they stay in
the processor's cache, in memory that the allocator keeps: 4 MB at once would take half as long again."""

MAX_LINE_BYTES = 1 << 26
MAX_DOCUMENT_BYTES = 1 << 30
_AS_LINES = "write a record a line, for example with `jq -c '(.records? // .)[]'`"


class Lines(NamedTuple):
    """Whole lines: each is a record, a message, or blank. Only the last line of a file may lack its newline."""

    data: bytes


class Document(NamedTuple):
    """One JSON document over many lines: a message."""

    body: bytes


class Captured(NamedTuple):
    """Events of one partition."""

    source: Source
    events: list[Event]


class ReadError(NamedTuple):
    """The reason why the rest of an input cannot be read; after `line_too_long` the next lines still follow.

    Reasons: `truncated`, `damaged`, `not_a_capture`, `utf_16`, `unknown_form`, `line_too_long`, `document_too_long`,
    `unreadable`.
    """

    reason: str
    detail: str


Block = Lines | Document | Captured | ReadError


def read(chunk: InputChunk) -> Iterator[Block]:
    """Read the blocks of a chunk. A `ReadError` stands for anything wrong with its bytes.

    Raises:
        DetectorError: a package that unpacks it is missing.
    """
    try:
        with open(chunk.path, "rb", buffering=0) as file:  # noqa: PTH123  # as given, where Path would normalise
            if chunk.form is InputFormat.PARQUET:
                yield from map(Lines, parquet.read_lines(chunk.path))
            elif chunk.start or chunk.end is not None:
                yield from _lines(_lines_between(file, chunk.start, maxsize if chunk.end is None else chunk.end))
            else:
                yield from read_stream(file, chunk.path)
    except OSError as error:
        yield ReadError("unreadable", f"Reading failed: {error.strerror}.")
    except UnreadableError as error:
        yield ReadError(error.reason, error.detail)


def read_stream(stream: BinaryIO, name: str) -> Iterator[Block]:
    """Read the blocks of a stream, such as standard input; `name` is its path, or stands for one.

    Raises:
        DetectorError: a package that unpacks it is missing.
    """
    content = Content(stream)
    try:
        head = content.peek(PEEK)
        form = format_of(head)
        if head.startswith(UTF_8_MARK):
            content.read(len(UTF_8_MARK))
        if form is InputFormat.AVRO:
            source = path_layouts.source_in(name)
            yield from (Captured(source, events) for events in captures.read_events(content))
        elif form is InputFormat.PARQUET:
            yield ReadError("unknown_form", "Parquet is read from files alone: unpack it, and give its path.")
        elif form is InputFormat.DOCUMENT:
            yield _document(content)
        else:
            yield from _lines(content.chunks(), content)
        broken = content.error
    except UnreadableError as error:
        broken = content.error or error
    if broken:
        yield ReadError(broken.reason, broken.detail)


def _document(content: Content) -> Block:
    """Read the whole document, even if it broke off: a part of it may hold whole records."""
    parts: list[bytes] = []
    size = 0
    for chunk in content.chunks():
        parts.append(chunk)
        size += len(chunk)
        if size > MAX_DOCUMENT_BYTES:
            return ReadError(
                "document_too_long", f"One JSON document of more than {MAX_DOCUMENT_BYTES} bytes: {_AS_LINES}."
            )
    return Document(b"".join(parts))


def _lines(chunks: Iterator[bytes], content: Content | None = None) -> Iterator[Block]:
    """Yield blocks of whole lines. A line that is too long leaves a blank one, so that line numbers stay right."""
    whole: list[bytes] = []
    rest: list[bytes] = []
    is_skipping = False
    for chunk in chunks:
        data = chunk
        if is_skipping:
            data = data[data.find(b"\n") :] if b"\n" in data else b""
            is_skipping = not data
        cut = data.rfind(b"\n") + 1
        if cut:
            whole += [*rest, data[:cut]]
            rest.clear()
        rest.append(data[cut:])
        is_too_long = sum(map(len, rest)) > MAX_LINE_BYTES
        if whole and (is_too_long or sum(map(len, whole)) >= BLOCK_BYTES // 2):
            yield Lines(b"".join(whole))
            whole.clear()
        if is_too_long:
            yield ReadError("line_too_long", f"A line of more than {MAX_LINE_BYTES} bytes was left out: {_AS_LINES}.")
            rest.clear()
            is_skipping = True
    last = b"".join(rest)
    if content is None or content.error is None or is_json(last):
        whole.append(last)
    if any(whole):
        yield Lines(b"".join(whole))


def _lines_between(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    """Yield the lines that begin in [start, end): the first one follows the first newline at `start - 1` or later.

    The last line is read to its end, even beyond `end`.
    """
    position = max(start - 1, 0)
    file.seek(position)
    is_begun = start == 0
    while chunk := file.read(BLOCK_BYTES):
        last = max(end - 1 - position, 0)
        if is_begun:
            begin = len(UTF_8_MARK) if position == 0 and chunk.startswith(UTF_8_MARK) else 0
        else:
            begin = chunk.find(b"\n", 0, last) + 1
        is_begun = is_begun or begin > 0
        cut = chunk.find(b"\n", max(last, begin)) + 1
        if is_begun:
            yield chunk[begin : cut or None]
        if cut or not (is_begun or len(chunk) < last):
            return
        position += len(chunk)
