"""Decompresses an input while reading it forward once, with a look ahead and the reason for an early end."""

import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import BinaryIO

from detectors.errors import DetectorError, UnreadableError

FIRST_READ = 1 << 14
LARGEST_READ = 1 << 16
GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"
_GZIP_WBITS = 31
_CUT = "The compressed data ends in its middle: copy the file again."


class Content:
    """The decompressed content of an input. Never in memory as a whole.

    An input that breaks off ends like any other, and `error` then holds the reason. So the bytes before are not lost.

    Attributes:
        is_plain: whether the input is not compressed, so that offsets in the content are offsets in the file. Known
            only after a first `peek`.
        error: why the content ended early. Known only after its last byte was read.
        is_short: whether a `read` asked for more bytes than were left.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.is_plain = True
        self.error: UnreadableError | None = None
        self.is_short = False
        self._chunks = self._unpacked(stream)
        self._ahead = b""
        self._offset = 0
        self._before = 0

    def peek(self, count: int) -> bytes:
        """Look at the next `count` bytes without consuming them; fewer only at the end."""
        held = len(self._ahead) - self._offset
        if held < count:
            parts = [self._ahead[self._offset :]]
            while held < count and (chunk := next(self._chunks, b"")):
                parts.append(chunk)
                held += len(chunk)
            self._before += self._offset
            self._ahead, self._offset = b"".join(parts), 0
        return self._ahead[self._offset : self._offset + count]

    def read(self, count: int) -> bytes:
        """Read the next `count` bytes; fewer only at the end."""
        end = self._offset + count
        if end <= len(self._ahead):  # Avro asks for many a single byte
            found = self._ahead[self._offset : end]
        else:
            found = self.peek(count)
            end = self._offset + len(found)
            self.is_short |= len(found) < count
        self._offset = end
        return found

    def tell(self) -> int:
        """Return the number of bytes consumed by `read`."""
        return self._before + self._offset

    def chunks(self) -> Iterator[bytes]:
        """Yield everything that is left, in non-empty chunks as they arrive."""
        ahead, self._ahead = self._ahead[self._offset :], b""
        if ahead:
            yield ahead
        yield from self._chunks

    def _unpacked(self, stream: BinaryIO) -> Iterator[bytes]:
        packed = _read(stream)
        try:
            first = next(packed, b"")
            self.is_plain = not is_packed(first)
            yield from filter(None, _unpack(first, chain([first], packed)))
        except UnreadableError as error:
            self.error = error


def is_packed(head: bytes) -> bool:
    """Check whether an input begins as gzip or zstd does."""
    return head.startswith((GZIP, ZSTD)) or (head[1:4] == _ZSTD_SKIPPABLE and head[0] >> 4 == 5)  # noqa: PLR2004


def _read(stream: BinaryIO) -> Iterator[bytes]:
    """Read in growing steps, since many files are only looked at."""
    size = FIRST_READ
    try:
        while chunk := stream.read(size):
            yield chunk
            size = min(4 * size, LARGEST_READ)
    except OSError as error:
        raise UnreadableError("unreadable", f"Reading failed: {error.strerror or error}.") from error


def _unpack(head: bytes, chunks: Iterable[bytes]) -> Iterator[bytes]:
    if not is_packed(head):
        return iter(chunks)
    return _gunzip(chunks) if head.startswith(GZIP) else _unzstd(chunks)


def _gunzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Decompress all members in turn; zeros between and after them are padding."""
    member = zlib.decompressobj(_GZIP_WBITS)
    is_begun = False
    try:
        for chunk in chunks:
            data = chunk
            while data := data if is_begun else data.lstrip(b"\0"):
                is_begun = True
                yield member.decompress(data, LARGEST_READ)
                data = member.unused_data or member.unconsumed_tail
                if member.eof:
                    member, is_begun = zlib.decompressobj(_GZIP_WBITS), False
    except zlib.error as error:
        raise UnreadableError("damaged", f"The gzip data is damaged: {error}.") from error
    if is_begun:
        raise UnreadableError("truncated", _CUT)


def _unzstd(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Decompress all frames in turn."""
    try:
        from backports import zstd  # noqa: PLC0415  # only a backtest of packed logs needs it
    except ImportError as error:
        raise DetectorError("Reading zstd needs backports.zstd: pip install '.[backtest]'") from error
    frame, is_begun = zstd.ZstdDecompressor(), False
    try:
        for chunk in chunks:
            data = chunk
            while data or not frame.needs_input:
                is_begun = True
                yield frame.decompress(data, LARGEST_READ)
                data = b""
                if frame.eof:
                    data, frame, is_begun = frame.unused_data, zstd.ZstdDecompressor(), False
    except zstd.ZstdError as error:
        raise UnreadableError("damaged", f"The zstd data is damaged: {error}.") from error
    if is_begun:
        raise UnreadableError("truncated", _CUT)
