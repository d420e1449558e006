"""Open a comment log as a text stream: unpack gzip, detect the encoding, keep the beginning for sniffers."""

import codecs
import io
import os
import re
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from kuaihl.comments.diagnostics import Report
from kuaihl.errors import CommentLogError

MAX_UNPACKED_BYTES = 4 * 2**30
"""A gzip file that unpacks to more is refused: a log of that size is a bomb."""
MAX_LINE_CHARS = 16 * 2**20
"""A line, or an entry, longer than this is damage."""
CHUNK = 2**20
HEAD_CHARS = 2**16

_GZIP = b"\x1f\x8b"
_PACKED_CHUNK = 4096
"""Small, since the contents of a chunk with damage in it are lost."""
_NOT_LOGS = (
    (b"PK\x03\x04", "a ZIP archive: unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive: unpack it first"),
    (b"\xfd7zXZ", "an XZ archive: unpack it first"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"SQLite format 3", "a database"),
    (b"PAR1", "a Parquet table"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM recording: are recording and comment log swapped?"),
    (b"FLV\x01", "an FLV recording: are recording and comment log swapped?"),
)
BOMS = (
    # UTF-32 first: its little-endian mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
_UNMARKED = (
    (re.compile(rb"[^\0]\0\0\0[^\0]\0\0\0"), "utf-32-le"),
    (re.compile(rb"\0\0\0[^\0]\0\0\0[^\0]"), "utf-32-be"),
    (re.compile(rb"[^\0]\0[^\0]\0"), "utf-16-le"),
    (re.compile(rb"\0[^\0]\0[^\0]"), "utf-16-be"),
)
_DECLARED = re.compile(rb"<\?xml[^>]{0,80}encoding=[\"']([\w.-]+)")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


class _Chunks(io.RawIOBase):
    """A binary file object over an iterator of bytes."""

    def __init__(self, chunks: Generator[bytes, None, None]) -> None:
        self._chunks = chunks
        self._rest = b""

    def close(self) -> None:
        self._chunks.close()
        super().close()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = chunk
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


Progress = Callable[[float], None]
"""Told, at every megabyte or less, which share is done; what it raises stops the work."""


@dataclass(frozen=True, slots=True)
class Source:
    """A text comment log: its path, encoding, and first ``HEAD_CHARS`` characters.

    ``progress`` reports the fraction of the file that was read.
    """

    path: Path
    encoding: str
    head: str = field(repr=False)
    progress: Progress | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """File name, for messages."""
        return self.path.name

    def open(self) -> TextIO:
        """Open the text from the beginning; characters that cannot be decoded become U+FFFD."""
        binary = io.BufferedReader(_Chunks(_unpacked(self.path, Report(), self.progress)), CHUNK)
        return io.TextIOWrapper(binary, encoding=self.encoding, errors="replace")

    def lines(self, report: Report) -> Iterator[tuple[int, str]]:
        """Yield the number, from 1, and text of each non-blank line."""
        with self.open() as stream:
            number, long = 0, False
            while line := stream.readline(MAX_LINE_CHARS):
                whole = line.endswith("\n") or len(line) < MAX_LINE_CHARS
                number += not long
                if not whole and not long:
                    report.damage(f"lines longer than {MAX_LINE_CHARS // 2**20} MB", f"line {number}")
                if whole and not long and not line.isspace():
                    yield number, line.rstrip("\n")
                long = not whole


class Beginning(Source):
    """The first characters of a log, up to the end of a line, as a source."""

    __slots__ = ()

    def open(self) -> TextIO:
        """Open the first characters."""
        end = self.head.rfind("\n") + 1 if len(self.head) == HEAD_CHARS else 0
        return io.StringIO(self.head[: end or None])


def open_source(path: str | Path, report: Report, progress: Progress | None = None) -> Source:
    """Check that a file is text and detect its encoding; what cannot be decoded goes into ``report``.

    ``progress`` covers this first half of reading a log; the source reports the second.

    Raises
    ------
    CommentLogError
        The file is missing, empty, not text, or unpacks to more than ``MAX_UNPACKED_BYTES``.
    """
    path = Path(path)
    try:
        encoding = _find_encoding(path, report, progress and (lambda share: progress(share / 2)))
        with Source(path, encoding, "").open() as stream:
            head = stream.read(HEAD_CHARS)
    except OSError as error:
        reason = error.strerror or str(error)
        raise CommentLogError(f"{path}: the comment log cannot be opened: {reason}.") from error
    if not head.strip():
        why = "".join(f" ({found.reason})" for found in report.skipped())
        raise CommentLogError(f"{path.name}: the comment log is empty{why}.")
    return Source(path, encoding, head, progress and (lambda share: progress(0.5 + share / 2)))


def _unpacked(path: Path, report: Report, progress: Progress | None) -> Generator[bytes, None, None]:
    """Yield the bytes of a file, decompressed if it is gzipped."""
    with path.open("rb") as file:
        size = max(os.fstat(file.fileno()).st_size, 1)
        packed = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
        for chunk in _gunzip(file, path.name, report) if packed else iter(lambda: file.read(CHUNK), b""):
            if progress is not None:
                progress(min(file.tell() / size, 1.0))
            yield chunk


def _gunzip(file: BinaryIO, name: str, report: Report) -> Iterator[bytes]:
    """Yield the contents of all members; unlike the gzip module, keep what lies before damage."""
    size, packed = 0, file.read(_PACKED_CHUNK)
    member = zlib.decompressobj(wbits=31)
    while True:
        try:
            chunk = member.decompress(packed, CHUNK)
        except zlib.error as error:
            report.flaw(f"damaged gzip data, the rest is lost ({error})", f"byte {size} of the text")
            return
        size += len(chunk)
        if size > MAX_UNPACKED_BYTES:
            limit = f"{MAX_UNPACKED_BYTES / 2**30:g} GB"
            raise CommentLogError(f"{name}: the gzip file unpacks to more than {limit}; cut the log up.")
        if chunk:
            yield chunk
        if member.eof:
            packed = member.unused_data + file.read(_PACKED_CHUNK)
            if not packed.startswith(_GZIP):
                return
            member = zlib.decompressobj(wbits=31)
            continue
        packed = member.unconsumed_tail
        if not packed and not chunk:
            packed = file.read(_PACKED_CHUNK)
            if not packed:
                report.flaw("the gzip file is cut off, its end is missing", f"byte {size} of the text")
                return


def _find_encoding(path: Path, report: Report, progress: Progress | None) -> str:
    chunks = _unpacked(path, report, progress)
    first = next(chunks, b"")
    for magic, what in _NOT_LOGS:
        if first.startswith(magic):
            raise CommentLogError(f"{path.name}: not a comment log, but {what}.")
    if first[4:8] == b"ftyp":
        raise CommentLogError(
            f"{path.name}: not a comment log, but an MP4 recording: are recording and comment log swapped?"
        )
    encoding = next((name for mark, name in BOMS if first.startswith(mark)), None)
    encoding = encoding or next((name for zeros, name in _UNMARKED if zeros.match(first)), "utf-8")
    if encoding == "utf-8" and len(_CONTROL.findall(first[:HEAD_CHARS])) > len(first[:HEAD_CHARS]) // 20:
        raise CommentLogError(f"{path.name}: not a comment log, but binary data.")
    position, bad, where, window = 0, 0, "", b""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    for chunk in chain([first], chunks, [b""]):
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            where = f"byte {position + error.start}"
            window = chunk[max(0, error.start - CHUNK // 32) : error.start + CHUNK // 32]
            decoder.errors = "replace"
            text = decoder.decode(chunk, final=not chunk)
        bad += text.count("\ufffd") if where else 0
        position += len(chunk)
    if not where:
        return encoding
    if encoding == "utf-8" and (other := guess_encoding(first, window)):
        report.add_note(f"read as {other}")
        return other
    report.flaw(f"characters that are not {encoding.upper()}, shown as \ufffd", where, count=bad)
    return encoding


def guess_encoding(first: bytes, window: bytes) -> str | None:
    """Guess the encoding of text that is not UTF-8; None if it is UTF-8 with a few errors.

    ``first`` are the first bytes, which may declare it; ``window`` are bytes around the first error.
    """
    text = window.decode("utf-8", "replace")
    foreign = len(re.findall("[^\x00-\x7f]", text))
    bad = text.count("\ufffd")
    if bad < 3 or bad * 5 < foreign:
        return None
    if declared := _DECLARED.match(first):
        try:
            name = codecs.lookup(declared[1].decode()).name
            window.decode(name, "replace")
        except (LookupError, ValueError):
            pass  # none, or one of bytes such as hex
        else:
            return name
    from charset_normalizer import from_bytes

    best = from_bytes(window).best()
    return best.encoding if best else None
