"""What is certain about JSON that Azure broke.

The breakages seen in diagnostic logs: a byte order mark, trailing NULs, raw control characters inside strings,
single quotes for double ones, `[ 218 B blob data ]` where a value belongs, a message cut short. This is the slow
way in: `records` comes here only when the fast way refuses a message.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_RESYNCS = 200
"""How many places of one message are tried as the start of the next record: bounds the work on nonsense."""

_LENIENT = json.JSONDecoder(strict=False)  # strict=False takes raw newlines and tabs inside strings
_BLOB = re.compile(r"(?<=:)\s*\[ \d+ B blob data \]")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*+"|\'(?:[^\'\\]|\\.)*+\'', re.DOTALL)
_INSIDE_QUOTES = re.compile(r'\\.|"', re.DOTALL)
_BETWEEN_RECORDS = re.compile(r'(?:[\s,\[\]}]|\{\s*"records"\s*:\s*(?=\[))*+')
_NEXT_RECORD = re.compile(r"[\[}]\s*,?\s*(?=\{)")
_RECORD_FIELDS = frozenset({"operationName", "category", "resourceId", "time"})


@dataclass(frozen=True, slots=True)
class Broken:
    """A stretch of a message that says nothing certain; it stands where its record would have stood."""

    text: str


def clean(body: bytes) -> bytes:
    """A message without byte order mark, NULs and white space around it."""
    return body.removeprefix(b"\xef\xbb\xbf").strip(b"\0 \t\r\n")


def parse(text: str) -> object:
    """The value of one JSON text, repaired where that is certain.

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
    """The records of a message that does not parse as a whole: a broken one costs only itself.

    Several envelopes or records in a row are read too, as some senders join them with newlines.
    """
    position, resyncs = 0, 0
    while True:
        gap = _BETWEEN_RECORDS.match(text, position)
        position = gap.end() if gap else position
        if position == len(text):
            return
        try:
            element, end = _LENIENT.raw_decode(text, position)
        except (ValueError, RecursionError):
            element, end = None, position
        if not isinstance(element, dict):
            end, tries = _resync(text, position, MAX_RESYNCS - resyncs)
            resyncs += tries
            element = _repaired(text[position:end])
        yield element
        position = end


def _candidates(text: str) -> Iterator[str]:
    """The text, then the text after more and more repairs, each made only when it is needed."""
    yield text
    without_blobs = _BLOB.sub(" null", text)
    yield without_blobs
    yield _QUOTED.sub(_double_quoted, without_blobs)


def _repaired(stretch: str) -> dict[str, object] | Broken:
    """The record in a broken stretch, if a repair of just this stretch is certain."""
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


def _resync(text: str, start: int, budget: int) -> tuple[int, int]:
    """Where the next readable record begins behind a broken one, and how many places were tried to find it."""
    tries = 0
    for tries, gap in enumerate(_NEXT_RECORD.finditer(text, start + 1), start=1):
        if tries > budget:
            break
        try:
            value, _ = _LENIENT.raw_decode(text, gap.end())
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and not _RECORD_FIELDS.isdisjoint(value):
            return gap.end(), tries
    return len(text), tries


def _double_quoted(match: re.Match[str]) -> str:
    """The quoted text with double quotes: outside of those an apostrophe can only be a quote, so this is certain."""
    quoted = match[0]
    if quoted[0] == '"':
        return quoted
    respelled = {"\\'": "'", '"': '\\"'}
    return '"' + _INSIDE_QUOTES.sub(lambda part: respelled.get(part[0], part[0]), quoted[1:-1]) + '"'
