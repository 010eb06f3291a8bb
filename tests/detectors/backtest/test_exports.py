"""Reading exports: every form in every packing, cut anywhere, broken off anywhere, and files that are none."""

import gzip
import io
import json
import pickle
import tempfile
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.backtest import codecs, exports
from detectors.backtest.codecs import Content
from detectors.backtest.exports import (
    Block,
    Captured,
    Document,
    InputChunk,
    InputFormat,
    Lines,
    ReadError,
    find,
    read,
    read_stream,
)
from detectors.backtest.formats import PEEK, UTF_8_MARK
from detectors.errors import DetectorError
from detectors.sources.decoding import decode
from tests.builders import SOURCE, chat, event, list_key, message
from tests.detectors.backtest.captures import write_capture
from tests.examples import examples


class Packer(Protocol):
    """What packs bytes part by part."""

    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


RECORDS = [list_key(caller="Zoë 日本"), chat(), list_key("aoai-test")]
RAW = [json.dumps(record, ensure_ascii=False).encode() for record in RECORDS]
EVENTS = [event(number, *RECORDS, after=timedelta(milliseconds=1500 * number)) for number in range(40)]
PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "gzip in members": lambda data: gzip.compress(data[:99]) + gzip.compress(data[99:]) + bytes(512),
    "zstd": zstd.compress,
    "zstd in frames": lambda data: b"".join(
        [b"\x5a\x2a\x4d\x18\x03\0\0\0any", zstd.compress(data[:99]), zstd.compress(data[99:])]
    ),
}
LINES = {
    "records": b"\n".join(RAW) + b"\n",
    "no last newline": b"\n".join(RAW),
    "CRLF": b"\r\n".join([*RAW, b""]),
    "blank lines": b"\n\n" + b"\n \n".join(RAW),
    "byte order mark": b"\xef\xbb\xbf" + b"\n".join(RAW),
    "messages": message(RECORDS[0]) + b"\n" + message(*RECORDS[1:]),
    "one array": json.dumps(RECORDS).encode() + b"\n",
    "an array a line": b"\n".join(b"[" + raw + b"]" for raw in RAW),
    "elements without brackets": b",\n".join(RAW) + b"\n",
    "a cut first line": RAW[0][40:] + b"\n" + b"\n".join(RAW),
    "a cut last part of the first line": RAW[0][:90] + b"\n" + b"\n".join(RAW[:2]),
    "a broken first line": b"{'a': 'it\\'s', 'b': [ 218 B blob data ]}\n" + b"\n".join(RAW),
    "deep nesting": b"[" * 100_000 + b"]" * 100_000 + b"\n" + RAW[0],
}
DOCUMENTS = {
    "pretty": json.dumps({"records": RECORDS}, indent=2).encode(),
    "pretty array": json.dumps(RECORDS, indent="\t").encode() + b"\n",
    "an element a line": b"[" + b",\n".join(RAW) + b"]",
    "an element a line, alone": b'{"records":[\n' + RAW[0] + b"\n]}",
    "leading commas": b"[\n" + RAW[0] + b"\n," + RAW[1] + b"\n]",
    "one pretty record": json.dumps(RECORDS[0], indent=1).encode(),
    "byte order mark and CRLF": b"\xef\xbb\xbf\r\n" + json.dumps(RECORDS, indent=2).replace("\n", "\r\n").encode(),
}


def _stream(data: bytes) -> list[Block]:
    return list(read_stream(io.BytesIO(data), "-"))


def _lines(blocks: Iterable[Block]) -> list[bytes]:
    """Return the lines of blocks, which must each hold whole ones."""
    data = [block.data for block in blocks if isinstance(block, Lines)]
    assert all(data)
    assert all(each.endswith(b"\n") for each in data[:-1])
    return b"".join(data).split(b"\n")


def _troubles(blocks: Iterable[Block]) -> list[str]:
    return [block.reason for block in blocks if isinstance(block, ReadError)]


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("kind", LINES)
def test_lines_come_as_they_are_in_every_packing(kind: str, packing: str, tmp_path: Path) -> None:
    """Nothing is lost and nothing added but a byte order mark, from a file and from a stream."""
    path = tmp_path / "export"
    path.write_bytes(PACKINGS[packing](LINES[kind]))
    [chunk] = find([str(path)])
    assert (chunk.form, chunk.size, chunk.is_stream) == (InputFormat.LINES, path.stat().st_size, False)
    expected = LINES[kind].removeprefix(b"\xef\xbb\xbf").split(b"\n")
    assert _lines(read(chunk)) == _lines(_stream(path.read_bytes())) == expected
    assert _troubles(read(chunk)) == []


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("kind", DOCUMENTS)
def test_json_over_many_lines_is_one_document(kind: str, packing: str, tmp_path: Path) -> None:
    """As people export it; the detector's own decoder reads every record of it."""
    path = tmp_path / "export.json"
    path.write_bytes(PACKINGS[packing](DOCUMENTS[kind]))
    [chunk] = find([str(path)])
    assert chunk.form is InputFormat.DOCUMENT
    [block] = read(chunk)
    assert isinstance(block, Document)
    decoded = decode(block.body)
    assert [flaw.reason for flaw in decoded.flaws] == []
    names = [record["operationName"] for record in RECORDS]
    assert [record.operation_name for record in decoded.records] == names[: len(decoded.records)]
    assert len(decoded.records) == (2 if kind == "leading commas" else 1 if "one" in kind else len(RECORDS))
    assert _stream(path.read_bytes()) == [block]


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("codec", ["null", "deflate", "snappy"])
def test_captured_events_come_with_their_source_in_every_codec(codec: str, packing: str, tmp_path: Path) -> None:
    """Sequence, time to the millisecond and body are those of the hub; the source is that of the deployed detector."""
    path = write_capture(tmp_path, SOURCE, EVENTS, codec)  # type: ignore[arg-type]
    path.write_bytes(PACKINGS[packing](path.read_bytes()))
    [chunk] = find([str(tmp_path)])
    blocks = list(read(chunk))
    assert chunk.form is InputFormat.AVRO
    assert len(blocks) > 1
    assert {block.source for block in blocks if isinstance(block, Captured)} == {SOURCE}
    assert _events(blocks) == EVENTS


def _events(blocks: Iterable[Block]) -> list[object]:
    return [each for block in blocks if isinstance(block, Captured) for each in block.events]


@pytest.mark.parametrize("data", [b"", b"\n", b"\xef\xbb\xbf", gzip.compress(b"", mtime=0), zstd.compress(b"\r\n")])
def test_an_empty_or_blank_file_holds_nothing_and_is_no_trouble(data: bytes, tmp_path: Path) -> None:
    """Azure leaves such blobs behind."""
    path = tmp_path / "PT1H.json"
    path.write_bytes(data)
    [chunk] = find([str(path)])
    assert b"".join(_lines(read(chunk))).strip() == b""
    assert _troubles(read(chunk)) == []


TEXTS = st.lists(st.text(st.sampled_from("aé日\r😀"), max_size=12), max_size=12)


@settings(deadline=None)
@given(TEXTS, st.sampled_from([b"", b"\n"]), st.lists(st.integers(1, 200), max_size=6), st.integers(1, 20))
def test_every_line_is_read_once_however_a_file_is_cut(
    texts: list[str], newline: bytes, cuts: list[int], block: int
) -> None:
    """A line belongs to the chunk in which its first byte lies, also when it is longer than chunks and reads."""
    data = "\n".join(["{}", *texts]).encode() + newline
    inner = sorted({cut for cut in cuts if cut < len(data)})
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(exports, "BLOCK_BYTES", block)
        path = Path(folder) / "lines"
        path.write_bytes(data)
        starts, ends = [0, *inner], [*inner, None]
        read_back = []
        for start, end in zip(starts, ends, strict=True):
            chunk = InputChunk(str(path), InputFormat.LINES, 1, start, end)
            part = b"".join(each.data for each in read(chunk) if isinstance(each, Lines))
            first = next((at for at in _line_starts(data) if at >= start), len(data))
            assert part == data[first:][: len(part)]
            assert not part or first < (len(data) if end is None else end)
            read_back.append(part)
    assert b"".join(read_back) == data


def _line_starts(data: bytes) -> Iterator[int]:
    yield 0
    yield from (at + 1 for at, byte in enumerate(data) if byte == ord("\n"))


def test_a_large_plain_file_is_cut_into_pieces_that_workers_can_be_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sizes add up to the file, and the lines of all chunks are its lines; a packed one stays whole."""
    monkeypatch.setattr("detectors.backtest.inputs.CHUNK_BYTES", 500)
    path = tmp_path / "large.ndjson"
    lines = LINES["records"] * 10
    path.write_bytes(b"\xef\xbb\xbf" + lines)
    chunks = find([str(path)])
    assert len(chunks) == path.stat().st_size // 500 + 1
    assert sum(chunk.size for chunk in chunks) == path.stat().st_size
    assert pickle.loads(pickle.dumps(chunks)) == chunks  # noqa: S301  # written in the same line
    assert b"".join(each.data for chunk in chunks for each in read(chunk) if isinstance(each, Lines)) == lines
    path.write_bytes(zlib.compress(path.read_bytes(), level=0, wbits=31))
    assert len(find([str(path)])) == 1


def test_lines_come_in_bounded_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one by one, which would be slow, nor all at once; a line longer than a block is a block."""
    data = LINES["records"] * 40_000
    sizes = [len(block.data) for block in _stream(data) if isinstance(block, Lines)]
    assert len(sizes) > 2
    assert min(sizes[:-1]) >= exports.BLOCK_BYTES // 2
    assert max(sizes) < PEEK + 2 * exports.BLOCK_BYTES  # the first is what was looked at
    monkeypatch.setattr(exports, "BLOCK_BYTES", 10)
    long = b'{"a":"' + b"x" * 3_000_000 + b'"}\n'
    assert _lines(_stream(RAW[0] + b"\n" + long + RAW[1])) == [RAW[0], long.rstrip(), RAW[1]]


@pytest.mark.parametrize("packer", [lambda: zlib.compressobj(wbits=31), zstd.ZstdCompressor])
def test_memory_does_not_grow_with_the_file(packer: Callable[[], Packer]) -> None:
    """A packed file of 256 MB, nearly all of it the same, takes a small part of that."""
    packing = packer()
    part = LINES["records"] * 8000
    stream = io.BytesIO(b"".join([*(packing.compress(part) for _ in range(40)), packing.flush()]))
    tracemalloc.start()
    try:
        size = sum(len(block.data) for block in read_stream(stream, "-") if isinstance(block, Lines))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size == len(part) * 40 > 2**28
    assert peak < 2**25


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=30), st.sampled_from(list(PACKINGS.values())))
def test_content_is_read_and_looked_at_like_a_file(
    steps: list[tuple[bool, int]], pack: Callable[[bytes], bytes]
) -> None:
    """A look moves nothing, a place is that within the unpacked bytes, and the rest comes as the rest."""
    data = b"".join(LINES.values())[:500]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codecs, "FIRST_READ", 7)
        patch.setattr(codecs, "LARGEST_READ", 11)
        content, file = Content(io.BytesIO(pack(data))), io.BytesIO(data)
        for is_look, count in steps:
            ahead = content.peek(count)
            assert data[file.tell() :].startswith(ahead)
            assert is_look or content.read(count) == file.read(count) == ahead
            assert content.tell() == file.tell()
        assert b"".join(content.chunks()) == file.read()
        assert content.error is None


def test_a_line_beyond_the_limit_is_left_out_and_told_and_reading_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A blank line stands for it, so that the lines behind keep their numbers."""
    monkeypatch.setattr(exports, "MAX_LINE_BYTES", 5_000_000)
    long = b'{"a":"' + b"x" * 9_000_000 + b'"}'
    blocks = _stream(b"\n".join([RAW[0], long, RAW[1], long]))
    assert _lines(blocks) == [RAW[0], b"", RAW[1], b""]
    assert _troubles(blocks) == ["line_too_long"] * 2


def test_a_document_beyond_the_limit_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would have to be held as a whole."""
    monkeypatch.setattr(exports, "MAX_DOCUMENT_BYTES", 100)
    assert _troubles(_stream(DOCUMENTS["pretty"])) == ["document_too_long"]


@pytest.mark.parametrize("packing", ["gzip", "gzip in members", "zstd", "zstd in frames"])
def test_a_packed_file_that_breaks_off_gives_the_whole_lines_before(packing: str) -> None:
    """At any byte: what comes is a beginning of the file, no line is half, and the break is told."""
    data = b"".join(b'{"number":%d,"x":"%s"}\n' % (number, _noise(number)) for number in range(9000))
    packed = PACKINGS[packing](data)
    end = len(packed.rstrip(b"\0"))
    longest = 0
    for cut in [*range(5, end, end // 80), *range(end - 9, end)]:
        blocks = _stream(packed[:cut])
        lines = [line for line in _lines(blocks) if line]
        assert lines == data.splitlines()[: len(lines)]
        is_between = _is_whole(packed[:cut])
        assert _troubles(blocks) == ([] if is_between else ["truncated"])
        longest = max(longest, len(lines))
    assert longest > 4000


def _noise(number: int) -> bytes:
    return zlib.crc32(number.to_bytes(4)).to_bytes(4).hex().encode() * 4


def _is_whole(packed: bytes) -> bool:
    """Whether a cut fell between two members, where nobody can tell."""
    try:
        gzip.decompress(packed) if packed.startswith(b"\x1f") else zstd.decompress(packed)
    except (EOFError, zstd.ZstdError):
        return False
    return True


def test_the_last_line_before_a_break_counts_if_it_is_whole() -> None:
    """Its newline may be what is missing."""
    packer = zlib.compressobj(wbits=31)
    cut_behind = packer.compress(b"\n".join(RAW)) + packer.flush(zlib.Z_SYNC_FLUSH)
    assert _lines(_stream(cut_behind)) == RAW
    packer = zlib.compressobj(wbits=31)
    cut_within = packer.compress(b"\n".join(RAW)[:-1]) + packer.flush(zlib.Z_SYNC_FLUSH)
    assert _lines(_stream(cut_within)) == [*RAW[:-1], b""]
    assert _troubles(_stream(cut_within)) == _troubles(_stream(cut_behind)) == ["truncated"]


def test_a_document_that_breaks_off_is_given_as_far_as_it_goes() -> None:
    """Its first records may still be readable."""
    packed = zstd.compress(DOCUMENTS["pretty"] + b" " * 300)
    blocks = _stream(packed[:-3])
    assert _troubles(blocks) == ["truncated"]
    assert all(DOCUMENTS["pretty"].startswith(block.body) for block in blocks if isinstance(block, Document))


def test_a_packed_capture_that_breaks_off_is_told_as_such(tmp_path: Path) -> None:
    """Wherever the break is, also before the file can be known as Avro."""
    packer = zlib.compressobj(level=0, wbits=31)
    data = write_capture(tmp_path, SOURCE, EVENTS).read_bytes()
    packed = packer.compress(data[:2]) + packer.flush(zlib.Z_SYNC_FLUSH)
    assert _troubles(_stream(packed)) == ["truncated"]
    packed += packer.compress(data[2:]) + packer.flush()
    assert {tuple(_troubles(_stream(packed[:cut]))) for cut in range(11, len(packed), 211)} == {("truncated",)}
    assert _troubles(_stream(packed[:2000] + b"\xff" * 70_000)) == ["damaged"]


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
def test_damaged_data_is_told_apart_from_a_break(pack: Callable[[bytes], bytes]) -> None:
    """To copy the file again does not help if its source is damaged."""
    packed = pack(b"".join(b'{"x":"%s"}\n' % _noise(number) for number in range(200)))
    assert _troubles(_stream(packed + b"rubbish")) == ["damaged"]
    middle = len(packed) // 2
    assert set(_troubles(_stream(packed[:middle] + bytes(40) + packed[middle + 40 :]))) == {"damaged"}


OTHERS = {
    "utf_16 little": (json.dumps(RECORDS).encode("utf-16"), "utf_16", "iconv"),
    "utf_16 big": (json.dumps(RECORDS).encode("utf-16-be"), "utf_16", "iconv"),
    "utf_16 without mark": (json.dumps(RECORDS).encode("utf-16-le"), "utf_16", "iconv"),
    "zip": (b"PK\x03\x04\x14\0\0\0", "unknown_form", "zip archive: unpack"),
    "parquet": (b"PAR1\x15\x04\x15", "damaged", "Parquet"),
    "packed parquet": (gzip.compress(b"PAR1\x15\x04\x15"), "unknown_form", "unpack it"),
    "xz": (b"\xfd7zXZ\0\0\x04", "unknown_form", "unxz"),
    "tar": (b"PT1H.json".ljust(257, b"\0") + b"ustar\x0000" + bytes(248), "unknown_form", "tar archive"),
    "error page": (b'\xef\xbb\xbf<?xml version="1.0"?><Error>', "unknown_form", "download it again"),
    "twice": (gzip.compress(gzip.compress(LINES["records"])), "unknown_form", "packed twice"),
    "CSV": (b"time,category\n2026-11-23,Audit\n", "unknown_form", "it begins with b'time,category"),
    "random": (b"\x93\x02\x00{\n{\x01\x08" * 99, "unknown_form", "Neither JSON nor Avro"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_file_that_is_no_export_is_told_with_what_to_do(kind: str, tmp_path: Path) -> None:
    """It has a chunk, so that the report can name it, and does not stop the other files."""
    data, reason, advice = OTHERS[kind]
    path = tmp_path / "export.json"
    path.write_bytes(data)
    [chunk] = find([str(path)])
    [error] = read(chunk)
    assert isinstance(error, ReadError)
    assert error.reason == reason
    assert advice in error.detail


@examples(300)
@given(
    st.sampled_from([b"", b"{", b"Obj\x01", b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd", b"\x5a\x2a\x4d\x18"]), st.binary()
)
def test_no_bytes_make_reading_raise(beginning: bytes, rest: bytes) -> None:
    """An upload may hold anything."""
    blocks = _stream(beginning + rest)
    assert len(_troubles(blocks)) <= 1
    assert blocks or not (beginning + rest).removeprefix(UTF_8_MARK).strip()


class _Failing(io.RawIOBase):
    """A stream that breaks after some bytes, as a network folder does."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        if data := self._data.read(size):
            return data
        raise OSError(5, "Input/output error")


def test_a_failing_disk_is_told_after_what_was_read() -> None:
    """An error of the system is no reason to lose the lines before it, or the other files."""
    blocks = list(read_stream(_Failing(LINES["records"]), "-"))  # type: ignore[arg-type]
    assert _lines(blocks) == LINES["records"].split(b"\n")
    assert blocks[-1] == ReadError("unreadable", "Reading failed: Input/output error.")


@pytest.mark.parametrize("start", [0, 10])
def test_a_file_that_is_gone_by_now_is_told(start: int, tmp_path: Path) -> None:
    """Between finding and reading there may be an hour."""
    blocks = list(read(InputChunk(str(tmp_path / "gone"), InputFormat.LINES, 9, start)))
    assert blocks == [ReadError("unreadable", "Reading failed: No such file or directory.")]


def test_a_missing_package_is_told_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is installed in Azure."""
    monkeypatch.setitem(__import__("sys").modules, "backports.zstd", None)
    monkeypatch.delattr("backports.zstd", raising=False)
    with pytest.raises(DetectorError, match=r"zstd needs backports\.zstd: pip install"):
        _stream(zstd.compress(b"{}"))
