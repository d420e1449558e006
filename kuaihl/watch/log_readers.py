"""Ways to read a growing comment log: line by line, by XML elements, or completely each time."""

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
from kuaihl.comments.source import Source, open_source
from kuaihl.comments.twitch_html import PAGE
from kuaihl.errors import CommentLogError
from kuaihl.records import Comment
from kuaihl.watch.tail import EntryTail

logger = logging.getLogger(__name__)

MAX_WHOLE_BYTES = 64 * 2**20
"""A log that is read completely each time is no longer read when it is larger."""
_SNIFF_BYTES = 8192
"""If the format is not recognised from the first bytes, it is unknown."""
_GZIP = b"\x1f\x8b"
_BLANK = b"\xef\xbb\xbf\xff\xfe\0 \t\r\n"
_LINE_END = re.compile(rb"\n")
_ELEMENT_END = re.compile(rb"</(?!i\s*>)[\w:.-]+\s*>|/>")
"""Not the end of the root element: some recorders write it after every flush, and overwrite it later."""


def has_content(path: Path) -> bool:
    """Return whether the log holds more than white space."""
    return bool(_head(path).strip(_BLANK))


def open_reader(path: Path, report: Report) -> "Reader | None":
    """Return a reader for a growing log; None while it is too short to recognise its format.

    Raises
    ------
    CommentLogError
        The format is unknown, or a log of it cannot be read.
    """
    if not has_content(path) or (recognised := _recognise(path)) is None:
        return None
    source, log_format = recognised
    is_gzip = _head(path).startswith(_GZIP)
    if is_gzip or source.encoding.startswith(("utf-16", "utf-32")) or log_format is PAGE:
        return WholeReader(path, log_format, report)
    if source.head.lstrip("\ufeff \t\r\n").startswith("<"):
        return _ElementReader(source, log_format, report)
    try:
        return _LineReader(source, log_format, report)
    except _NotLineBasedError:
        return WholeReader(path, log_format, report)


def _recognise(path: Path) -> tuple[Source, Format] | None:
    head = _head(path)
    try:
        source = open_source(path, Report())  # the last entry of a growing log may be incomplete
    except CommentLogError:
        if len(head) < _SNIFF_BYTES and _GZIP.startswith(head[: len(_GZIP)]):
            return None
        raise
    log_format = reader.recognise(source)
    if isinstance(log_format, Format):
        return source, log_format
    if log_format is not None or len(head) == _SNIFF_BYTES:
        reader.read(path)  # raises an error that explains what is wrong
    return None


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_SNIFF_BYTES)


class Reader(Protocol):
    """Reads the new comments of a log."""

    report: Report
    name: str

    def read(self, *, finished: bool) -> list[Comment] | None:
        """Return new comments; None if nothing was written. If ``finished``, the last entry may be incomplete."""

    def close(self) -> None:
        """Close the log."""


class _NotLineBasedError(Exception):
    """The parser of a log does not read lines."""


@dataclass(frozen=True, slots=True)
class _TextSource(Source):
    """An excerpt of a log, for its parser."""

    text: str = field(kw_only=True)

    def open(self) -> io.StringIO:
        return io.StringIO(self.text)


@dataclass(frozen=True, slots=True)
class _LineSource(Source):
    """A log for a parser that reads lines: ``next_line`` waits for the next line, and returns None at the end."""

    next_line: Callable[[], str | None] = field(kw_only=True)

    def open(self) -> io.StringIO:
        raise _NotLineBasedError

    def lines(self, report: Report) -> Iterator[tuple[int, str]]:  # noqa: ARG002 - `EntryTail` splits long lines
        number = 0
        while (line := self.next_line()) is not None:
            number += 1
            if line and not line.isspace():
                yield number, line


class _ElementReader:
    """XML, whose elements are independent: new ones are parsed alone."""

    def __init__(self, source: Source, log_format: Format, report: Report) -> None:
        self.report, self.name, self._format = report, log_format.name, log_format
        self._source = source
        self._tail = EntryTail(source.path, _ELEMENT_END)

    def read(self, *, finished: bool) -> list[Comment] | None:
        data = self._tail.read(finished=finished)
        if not data:
            return None
        text = data.decode(self._source.encoding, "replace")
        excerpt = _TextSource(self._source.path, self._source.encoding, self._source.head, text=text)
        return list(self._format.parse(excerpt, self.report))

    def close(self) -> None:
        self._tail.close()


class _LineReader:
    """A log of lines. Its parser asks for lines, so it runs in a thread, which pauses where they end."""

    def __init__(self, source: Source, log_format: Format, report: Report) -> None:
        self.report, self.name, self._format = report, log_format.name, log_format
        self._encoding = source.encoding
        self._lines: deque[str] = deque()
        self._comments: list[Comment] = []
        self._is_finished = self._is_parsed = False
        self._error: Exception | None = None
        self._resume, self._paused = threading.Semaphore(0), threading.Semaphore(0)
        lines = _LineSource(source.path, source.encoding, source.head, next_line=self._next_line)
        threading.Thread(target=self._parse, args=(lines,), daemon=True).start()
        self._run_parser()  # until it asks for the first line
        self._tail = EntryTail(source.path, _LINE_END)

    def read(self, *, finished: bool) -> list[Comment] | None:
        data = self._tail.read(finished=finished)
        if self._is_parsed or not (data or finished):
            return None
        text = data.decode(self._encoding, "replace").replace("\r\n", "\n").replace("\r", "\n")
        self._lines.extend(text.removesuffix("\n").split("\n"))
        self._is_finished = finished and not data
        self._run_parser()
        comments, self._comments = self._comments, []
        return comments

    def close(self) -> None:
        self._tail.close()
        if not self._is_parsed:
            self._is_finished = True
            self._run_parser()

    def _run_parser(self) -> None:
        self._resume.release()
        self._paused.acquire()
        if self._error is not None:
            raise self._error

    def _parse(self, source: Source) -> None:
        self._resume.acquire()
        try:
            for comment in self._format.parse(source, self.report):
                self._comments.append(comment)
        except Exception as error:  # noqa: BLE001 - raised again in the reading thread
            self._error = error
        self._is_parsed = True
        self._paused.release()

    def _next_line(self) -> str | None:
        while not self._lines:
            if self._is_finished:
                return None
            self._paused.release()
            self._resume.acquire()
        return self._lines.popleft()


class WholeReader:
    """A log that can only be read completely, such as one JSON document: read again whenever it changed."""

    def __init__(self, path: Path, log_format: Format, report: Report) -> None:
        self.report, self.name, self._format = report, log_format.name, log_format
        self._path = path
        self._state: tuple[int, int, int] | None = None

    def read(self, *, finished: bool) -> list[Comment] | None:  # noqa: ARG002 - incomplete entries always count
        """Return all comments if the log changed."""
        stat = self._path.stat()
        state = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if state == self._state:
            return None
        self._state = state
        if stat.st_size > MAX_WHOLE_BYTES:
            reason = f"changes of a log over {MAX_WHOLE_BYTES // 2**20} MB that can only be read completely"
            self.report.skip(reason, self._path.name)
            return None
        report = Report(self.report.start)
        try:
            source = open_source(self._path, report)
            if not self._format.sniff(source.head):
                return None  # its first bytes are being rewritten
            comments = list(self._format.parse(source, report))
        except CommentLogError as error:
            logger.info("%s is being written: %s", self._path, error)
            return None
        self.report = report
        return comments

    def close(self) -> None:
        """Do nothing: no file stays open."""
