"""What is certain about JSON that Azure broke.

The breakages seen in diagnostic logs: a byte order mark, trailing NULs, raw control characters inside strings,
single quotes for double ones, `[ 218 B blob data ]` where a value belongs, a message cut short. This is the slow
way in: `records` comes here only when the fast way refuses a message.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

EFFORT = 8
"""How many times its own length a broken message may be read in search of its records: bounds the work."""

_LENIENT = json.JSONDecoder(strict=False)  # strict=False takes raw newlines and tabs inside strings
# Possessive throughout: a message that is cut inside a string must not cost the square of its length.
_BLOB = re.compile(r"(?<=:)\s*+\[ \d++ B blob data \]")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|\'(?:[^\'\\]|\\.)*+(?:\'|\\?\Z)', re.DOTALL)
_INSIDE_QUOTES = re.compile(r'\\.|"', re.DOTALL)
_BETWEEN_RECORDS = re.compile(r'(?:[\s,\[\]}]|\{\s*+"records"\s*+:\s*+(?=\[))*+')
_NEXT_RECORD = re.compile(r'[\[}]\s*+(?:,\s*+)?+(?=\{)|,\s*+(?=\{\s*+")')
_LEAST_EFFORT = 32
_RECORD_FIELDS = frozenset({"operationName", "category", "resourceId", "time", "schemaType"})


@dataclass(frozen=True, slots=True)
class Broken:
    """A stretch of a message that says nothing certain; it stands where its record would have stood."""

    text: str


def clean(body: bytes) -> bytes:
    """Strip byte order mark, NULs and white space around a message."""
    return body.removeprefix(b"\xef\xbb\xbf").strip(b"\0 \t\r\n")


def parse(text: str) -> object:
    """Parse one JSON text, repaired where that is certain.

    Raises:
        ValueError: the text is not JSON and no certain repair makes it so.
    """
    for candidate in _candidates(text):
        try:
            return _LENIENT.decode(candidate)
        except (ValueError, RecursionError):
            continue
    raise ValueError("not JSON")


def salvage(text: str) -> Iterator[dict[str, object] | Broken]:
    """Yield the records of a message that does not parse as a whole: a broken one costs only itself.

    Several envelopes or records in a row are read too, as some senders join them with newlines.
    """
    reader = _Reader(text)
    position = 0
    while True:
        gap = _BETWEEN_RECORDS.match(text, position)
        position = gap.end() if gap else position
        if position == len(text):
            return
        element, end = reader.read(position)
        if not isinstance(element, dict):
            end = reader.next_record(position)
            element = _repaired(text[position:end])
        yield element
        position = end


class _Reader:
    """Reads JSON values out of a broken text, as long as that is worth its effort."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._effort = EFFORT * len(text)

    def read(self, start: int) -> tuple[object, int]:
        """Read the value that begins at a place, and find where it ends; None if there is none."""
        try:
            value, end = _LENIENT.raw_decode(self._text, start)
        except json.JSONDecodeError as error:
            value, end = None, error.pos
        except (ValueError, RecursionError):  # a number or a nesting without measure
            value, end = None, len(self._text)
        self._effort -= max(end - start, _LEAST_EFFORT)
        return value, end

    def next_record(self, start: int) -> int:
        """Where the next readable record begins behind a broken one; the end if that is not worth searching."""
        for gap in _NEXT_RECORD.finditer(self._text, start + 1):
            if self._effort < 0:
                break
            value, _ = self.read(gap.end())
            if isinstance(value, dict) and not _RECORD_FIELDS.isdisjoint(value):
                return gap.end()
        return len(self._text)


def _candidates(text: str) -> Iterator[str]:
    """Yield the text, then the text after more and more repairs, each made only when it is needed.

    Blob data becomes an empty list: no field that is read can hold one, so it is told from a field that is missing.
    """
    yield text
    without_blobs = _BLOB.sub(" []", text)
    yield without_blobs
    yield _QUOTED.sub(_double_quoted, without_blobs)


def _repaired(stretch: str) -> dict[str, object] | Broken:
    """Return the record in a broken stretch, if a repair of just this stretch is certain."""
    for ending in ("", "]", "]}"):
        candidate = stretch.rstrip(" \t\r\n,")
        if candidate.endswith(ending):
            try:
                value = parse(candidate.removesuffix(ending))
            except ValueError:
                continue
            if isinstance(value, dict):
                return value
    return Broken(stretch)


def _double_quoted(match: re.Match[str]) -> str:
    """Replace single quotes by double ones: outside double quotes, an apostrophe can only be a quote."""
    quoted = match[0]
    if quoted[0] == '"' or len(quoted) == 1 or quoted[-1] != "'":  # or cut off inside
        return quoted
    respelled = {"\\'": "'", '"': '\\"'}
    return '"' + _INSIDE_QUOTES.sub(lambda part: respelled.get(part[0], part[0]), quoted[1:-1]) + '"'
