"""How a log is followed while it is written: by lines, by the elements of XML, or anew as a whole."""

import io
import logging
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from kuaihl.comments import reader
from kuaihl.comments.diagnostics import Report
from kuaihl.comments.format import Format
from kuaihl.comments.reader import FORMATS
from kuaihl.comments.source import Source, open_source
from kuaihl.comments.twitch_html import PAGE
from kuaihl.errors import CommentLogError
from kuaihl.records import Comment
from kuaihl.watch.tail import EntryTail

log = logging.getLogger(__name__)

MAX_WHOLE_BYTES = 64 * 2**20
"""A log that must be read anew whenever it changed is not read any further when it is larger."""
_SNIFF_BYTES = 8192
"""A log whose format cannot be told from so much of it has none."""
_GZIP = b"\x1f\x8b"
_BLANK = b"\xef\xbb\xbf\xff\xfe\0 \t\r\n"
_LINE_END = re.compile(rb"\n")
_ELEMENT_END = re.compile(rb"</(?!i\s*>)[\w:.-]+\s*>|/>")
"""Not of the root element: some recorders write its end behind every flush, and over it later."""


def has_begun(path: Path) -> bool:
    """Whether anything is written."""
    return bool(_head(path).strip(_BLANK))


def _recognised(path: Path) -> tuple[Source, Format] | None:
    """Find out the format of a log; None as long as too little is written."""
    head = _head(path)
    if not head.strip(_BLANK):
        return None
    try:
        source = open_source(path, Report())  # damage at the end of a log that is being written says nothing
    except CommentLogError:
        if len(head) < _SNIFF_BYTES and _GZIP.startswith(head[: len(_GZIP)]):
            return None  # nor does the beginning of a packed one
        raise
    found = next((one for one in FORMATS if one.sniff(source.head)), None)
    if isinstance(found, Format):
        return source, found
    if found is not None or len(head) == _SNIFF_BYTES:
        reader.read(path)  # raises what is wrong with it
    return None


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_SNIFF_BYTES)


def reader_of(path: Path, report: Report) -> "Reader | None":
    """Choose how to follow a log; None as long as too little of it is written to tell its format.

    Raises
    ------
    CommentLogError
        It has no known format, or one that is refused.
    """
    if (recognised := _recognised(path)) is None:
        return None
    source, found = recognised
    packed = _head(path).startswith(_GZIP)
    if packed or source.encoding.startswith(("utf-16", "utf-32")) or found is PAGE:
        return Whole(path, found, report)
    if source.head.lstrip("\ufeff \t\r\n").startswith("<"):
        return _Elements(source, found, report)
    try:
        return _Lines(source, found, report)
    except _IsDocumentError:
        return Whole(path, found, report)


class Reader(Protocol):
    """Reads a log piece by piece."""

    report: Report
    name: str

    def read(self, *, finished: bool) -> list[Comment] | None:
        """Return new comments, None where nothing was written; if ``finished``, of a last incomplete entry as well."""

    def close(self) -> None:
        """Close the log."""


class _IsDocumentError(Exception):
    """A log's parser does not go by lines."""


@dataclass(frozen=True, slots=True)
class _Text(Source):
    """A part of a log, in place of the whole, for its parser."""

    text: str = field(kw_only=True)

    def open(self) -> io.StringIO:
        return io.StringIO(self.text)


@dataclass(frozen=True, slots=True)
class _Arriving(Source):
    """A log for its parser, whose lines come when they are written: until then ``next_line`` does not return."""

    next_line: Callable[[], str | None] = field(kw_only=True)

    def open(self) -> io.StringIO:
        raise _IsDocumentError

    def lines(self, report: Report) -> Iterator[tuple[int, str]]:  # noqa: ARG002 (too long lines come broken up)
        number = 0
        while (line := self.next_line()) is not None:
            number += 1
            if line and not line.isspace():
                yield number, line


class _Elements:
    """XML, whose elements do not depend on each other: what is new is parsed by itself."""

    def __init__(self, source: Source, found: Format, report: Report) -> None:
        self.report, self.name, self._format = report, found.name, found
        self._source = source
        self._tail = EntryTail(source.path, _ELEMENT_END)

    def read(self, *, finished: bool) -> list[Comment] | None:
        data = self._tail.read(finished=finished)
        if not data:
            return None
        text = data.decode(self._source.encoding, "replace")
        part = _Text(self._source.path, self._source.encoding, self._source.head, text=text)
        return list(self._format.parse(part, self.report))

    def close(self) -> None:
        self._tail.close()


class _Lines:
    """A log of lines. Its parser pulls them, so it has a thread of its own, which stands still where they end."""

    def __init__(self, source: Source, found: Format, report: Report) -> None:
        self.report, self.name, self._format = report, found.name, found
        self._encoding = source.encoding
        self._lines: deque[str] = deque()
        self._comments: list[Comment] = []
        self._is_finished = self._is_over = False
        self._error: Exception | None = None
        self._more, self._paused = threading.Semaphore(0), threading.Semaphore(0)
        arriving = _Arriving(source.path, source.encoding, source.head, next_line=self._next_line)
        threading.Thread(target=self._run, args=(arriving,), daemon=True).start()
        self._go_on()  # to where it wants a line
        self._tail = EntryTail(source.path, _LINE_END)

    def read(self, *, finished: bool) -> list[Comment] | None:
        data = self._tail.read(finished=finished)
        if self._is_over or not (data or finished):
            return None
        text = data.decode(self._encoding, "replace").replace("\r\n", "\n").replace("\r", "\n")
        self._lines.extend(text.removesuffix("\n").split("\n"))
        self._is_finished = finished and not data
        self._go_on()
        found, self._comments = self._comments, []
        return found

    def close(self) -> None:
        self._tail.close()
        if not self._is_over:
            self._is_finished = True
            self._go_on()

    def _go_on(self) -> None:
        self._more.release()
        self._paused.acquire()
        if self._error is not None:
            raise self._error

    def _run(self, source: Source) -> None:
        self._more.acquire()
        try:
            for comment in self._format.parse(source, self.report):
                self._comments.append(comment)
        except Exception as error:  # noqa: BLE001 (raised where the lines come from)
            self._error = error
        self._is_over = True
        self._paused.release()

    def _next_line(self) -> str | None:
        while not self._lines:
            if self._is_finished:
                return None
            self._paused.release()
            self._more.acquire()
        return self._lines.popleft()


class Whole:
    """A log that makes sense only as a whole: all of it, whenever it changed."""

    def __init__(self, path: Path, found: Format, report: Report) -> None:
        self.report, self.name, self._format = report, found.name, found
        self._path = path
        self._seen: tuple[int, int, int] | None = None

    def read(self, *, finished: bool) -> list[Comment] | None:  # noqa: ARG002 (what is incomplete always counts)
        """Return all comments if the log has changed since."""
        now = self._path.stat()
        state = (now.st_ino, now.st_size, now.st_mtime_ns)
        if state == self._seen:
            return None
        if now.st_size > MAX_WHOLE_BYTES:
            limit = f"{MAX_WHOLE_BYTES // 2**20} MB"
            reason = f"changes of a log over {limit} that must be read as a whole"
            self._seen = state
            self.report.skip(reason, self._path.name)
            return None
        self._seen = state
        report = Report(self.report.start)
        try:
            source = open_source(self._path, report)
            if not self._format.sniff(source.head):
                return None  # its beginning is being written
            found = list(self._format.parse(source, report))
        except CommentLogError as error:
            log.info("%s, while it is written: %s", self._path, error)
            return None
        self.report = report
        return found

    def close(self) -> None:
        """Nothing is left open."""
