"""Recognises the format of an exported log by its first bytes, or says what it is instead and what to do."""

import json
import re
from enum import StrEnum
from itertools import islice

from detectors.backtest import captures, codecs, parquet
from detectors.errors import UnreadableError

PEEK = 1 << 18
"""Decompressed bytes to look at when recognising a format."""

UTF_8_MARK = b"\xef\xbb\xbf"


class InputFormat(StrEnum):
    """The format of an input."""

    LINES = "lines"
    DOCUMENT = "document"
    AVRO = "avro"
    PARQUET = "parquet"


_UTF_16 = re.compile(rb"\xff\xfe|\xfe\xff|(?:\0[\t\n\r -~]){8}|(?:[\t\n\r -~]\0){8}")
_UTF_16_FIX = "Text in UTF-16: convert it with `iconv -f UTF-16 -t UTF-8`, or export it again with `-Encoding utf8`."
_OTHERS = {
    b"PK\x03\x04": "a zip archive: unpack it and give the folder",
    b"ORC": "an ORC file: export the records as JSON lines",
    b"BZh": "packed with bzip2: unpack it with `bunzip2`, and pipe it to `-` if it is large",
    b"\xfd7zXZ\0": "packed with xz: unpack it with `unxz`, and pipe it to `-` if it is large",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: unpack it and give the folder",
    b"\x04\x22\x4d\x18": "packed with lz4: unpack it with `unlz4`, and pipe it to `-` if it is large",
    b"SQLite format 3\0": "a SQLite database: export the records as JSON lines",
    b"%PDF": "a PDF",
    b"<": "XML or HTML, perhaps an error page of a failed download: download it again",
}
_TAR = slice(257, 262)
_CONTROLS = bytes({*range(0x20), 0x7F} - set(b"\t\n\v\f\r"))
_MOST_CONTROLS = 0.01
_A_RECORD_BEGINS = re.compile(rb'^[ \t]*"?[\[{]', re.MULTILINE)
_SHOWN = 16


def format_of(head: bytes) -> InputFormat | None:
    """Recognise the format of an input that begins with `head`; None if it is blank.

    Raises:
        UnreadableError: the format is not supported.
    """
    if head.startswith(captures.MAGIC):
        return InputFormat.AVRO
    if head.startswith(parquet.MAGIC):
        return InputFormat.PARQUET
    if _UTF_16.match(head):
        raise UnreadableError("utf_16", _UTF_16_FIX)
    text = head.removeprefix(UTF_8_MARK).lstrip()
    if not text:
        return None
    if text[:1] in b"[{" or text[:2] in {b'"{', b'"['}:  # the last two are JSON in texts, a text a line
        return InputFormat.DOCUMENT if _is_document(text) else InputFormat.LINES
    _refuse_other(head, text)
    return InputFormat.LINES


def _refuse_other(head: bytes, text: bytes) -> None:
    """Raise unless this is text with JSON in later lines, such as a log whose beginning was cut off."""
    known = next((told for magic, told in _OTHERS.items() if text.startswith(magic)), None)
    if codecs.is_packed(head):
        known = "packed twice: unpack it once"
    elif head[_TAR] == b"ustar":
        known = "a tar archive: unpack it and give the folder"
    if known:
        raise UnreadableError("unknown_form", f"This looks like {known}.")
    controls = len(head) - len(head.translate(None, _CONTROLS))
    if controls > _MOST_CONTROLS * len(head) or not _A_RECORD_BEGINS.search(text):
        raise UnreadableError(
            "unknown_form",
            f"Neither JSON nor Avro nor Parquet nor packed with gzip or zstd: it begins with {text[:_SHOWN]!r}.",
        )


def _is_document(text: bytes) -> bool:
    """Check whether one JSON document spans several lines; otherwise each line is a value, perhaps a broken one.

    If the first line is complete JSON, also before a comma, each line is a value. Likewise if two lines are objects on
    their own. A single such line belongs to a document if the first line opened a bracket for it.
    """
    first, newline, rest = text.partition(b"\n")
    first = first.strip()
    if not newline or is_json(first.removesuffix(b",")) or _closes(first):
        return False
    others = map(bytes.strip, rest.split(b"\n"))
    objects = sum(1 for _ in islice((line for line in others if line[:1] == b"{" and is_json(line)), 2))
    if first.endswith((b"[", b"{")) or (first.startswith(b"[") and first.endswith(b",")):
        return objects < 2  # noqa: PLR2004
    return not objects


def _closes(line: bytes) -> bool:
    """Check whether a line, JSON or not, closes as many brackets as it opens."""
    return sum(map(line.count, (b"{", b"["))) <= sum(map(line.count, (b"}", b"]")))


def is_json(line: bytes) -> bool:
    """Check whether a line is a JSON value by itself."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
