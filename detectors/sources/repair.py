"""What is certain about JSON that Azure broke.

The breakages seen in diagnostic logs: a byte order mark, trailing NULs, raw control characters inside strings,
single quotes for double ones, `[ 218 B blob data ]` where a value belongs, a message cut short. This is the slow
way in, for messages that the fast way refuses. It costs time in proportion to the text, and decodes nothing that
nobody asks for.
"""

import json
import math
import re
from collections.abc import Collection, Iterator

import msgspec

from detectors.sources.structure import BLOB, Structure

MAX_DEPTH = 100
"""How deep values are read; what lies deeper is nothing that a rule reads, and counts as an empty list."""


_LONG = 300
"""Digits of a number that is as good as infinite; Python refuses to read some thousands."""


def _whole_number(digits: str) -> float:
    return int(digits) if len(digits) < _LONG else math.inf


_LENIENT = json.JSONDecoder(strict=False, parse_int=_whole_number)  # takes raw newlines and tabs inside strings
# Possessive throughout, and each search goes on where the last one ended, or takes all that is left: a message that
# is cut inside a string must not cost the square of its length.
_DOUBLE_QUOTED = r'"(?:[^"\\]++|\\.)*+"'
_BLOB = re.compile(rf"(?<=:)\s*+{BLOB}")
_BLOB_MARK = " B blob data ]"
_SINGLE_QUOTED = re.compile(rf"""((?:[^"']++|{_DOUBLE_QUOTED})*+)(?:'((?:[^'\\]++|\\.)*+)'|["'].*+|\Z)""", re.DOTALL)
_INSIDE_QUOTES = re.compile(r'\\.|"', re.DOTALL)
_BRACKETS = re.compile(rf"""(?:[^"\[\]{{}}]++|{_DOUBLE_QUOTED})*+(?:([\[{{]++)|([\]}}]++)|".*+|\Z)""", re.DOTALL)
_BETWEEN_RECORDS = re.compile(r"""(?:[\s,\[\]}]|\{[ \t\n\r]*+\}|\{\s*+(?:"records"|'records')\s*+:\s*+(?=\[))*+""")
"""Empty objects among it: they say nothing, and more of them fit into a message than of anything else."""


class Broken(msgspec.Struct, frozen=True):
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
    try:
        return _decoded(text)
    except RecursionError:
        pass
    try:
        return _decoded(_shallow(text))
    except RecursionError:
        raise ValueError("not JSON that can be read") from None


def is_sound(text: str) -> bool:
    """Tell whether a text is one value."""
    return 0 < len(text) == Structure(text).end(0)


def elements(text: str, marks: re.Pattern[str]) -> Iterator[str | Broken]:
    """Yield what stands in a message, each as it is written: its records, or whatever stands where records belong.

    A message that is no JSON as a whole is read too: a broken record costs only itself, and behind it an object with
    one of the `marks` among its members is the next record. Several envelopes or records in a row are read as well, as
    some senders join them with newlines.
    """
    structure = Structure(text, marks)
    if structure.end(0) < max(len(text), 1):
        yield from _salvaged(text, structure)
        return
    spans = [(0, len(text))]
    if text[0] == "{":
        spans = [span for name, span in structure.members(0) if _text(name) == "records"][-1:] or spans
    ((start, end),) = spans
    if text[start] == "[":
        for first, last in structure.elements(start):
            yield text[first:last]
    elif text[start:end] != "null":
        yield text[start:end]


def respelled(text: str) -> str:
    """Return a text with double quotes for single ones, which outside of double ones an apostrophe can only be.

    Blob data becomes an empty list: no field that is read can hold one, so it is told from a field that is missing.
    """
    if _BLOB_MARK in text:
        text = _BLOB.sub(" []", text)
    return _SINGLE_QUOTED.sub(_double_quoted, text) if "'" in text else text


def members(text: str, names: Collection[str]) -> dict[str, str]:
    """Return the values of some members of an object, as they are written. Of several of one name the last counts."""
    found = ((_text(name), span) for name, span in Structure(text).members(0))
    return {str(name): text[start:end] for name, (start, end) in found if name in names}


def _salvaged(text: str, structure: Structure) -> Iterator[str | Broken]:
    """Yield the records of a broken text, and what lies between them; only the text if it holds none."""
    broken: list[Broken] = []
    found = _records(text, structure)
    for one in found:
        if not isinstance(one, Broken):
            yield from broken
            yield one
            yield from found
            return
        broken.append(one)
    yield Broken(text)


def _records(text: str, structure: Structure) -> Iterator[str | Broken]:
    position = 0
    while gap := _BETWEEN_RECORDS.match(text, position):
        start = gap.end()
        if start == len(text):
            return
        position = structure.end(start) if text[start] == "{" else 0
        if position:
            yield text[start:position]
        else:
            position = structure.next_record(start)
            yield Broken(text[start:position])


def _decoded(text: str) -> object:
    try:
        return _LENIENT.decode(text)
    except ValueError:
        repaired = respelled(text)
        if repaired == text:
            raise
    return _LENIENT.decode(repaired)


def _shallow(text: str) -> str:
    """Return the text without what lies deeper than is read."""
    kept, depth, position = [], 0, 0
    for brackets in _BRACKETS.finditer(text):
        opening, closing = brackets.span(1), brackets.span(2)
        deeper = depth + opening[1] - opening[0]
        if depth <= MAX_DEPTH < deeper:
            kept += [text[position : opening[0] + MAX_DEPTH - depth], "[]"]
            position = len(text)
        depth = deeper - closing[1] + closing[0]
        if depth <= MAX_DEPTH < deeper:
            position = closing[0] + deeper - MAX_DEPTH
    return "".join([*kept, text[position:]])


def _text(quoted: str) -> object:
    """Return a string as JSON has it, without its quotes."""
    return parse(quoted) if "\\" in quoted else quoted[1:-1]


def _double_quoted(match: re.Match[str]) -> str:
    """Replace single quotes by double ones: outside double quotes, an apostrophe can only be a quote."""
    before, quoted = match.groups()
    if quoted is None:  # or cut off inside
        return match[0]
    if "\\" not in quoted and '"' not in quoted:
        return f'{before}"{quoted}"'
    respelled = {"\\'": "'", '"': '\\"'}
    return f'{before}"{_INSIDE_QUOTES.sub(lambda part: respelled.get(part[0], part[0]), quoted)}"'
