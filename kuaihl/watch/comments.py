"""Comments as they are written: a log of any format, followed while it grows."""

import io
import logging
import math
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from kuaihl import comments as comment_logs
from kuaihl.comments import FORMATS, Format, Report, Source, open_source, read_start
from kuaihl.comments.twitch_html import PAGE
from kuaihl.errors import CommentLogError
from kuaihl.records import Comment, Segment, Skipped
from kuaihl.watch.tail import EntryTail

log = logging.getLogger(__name__)

MAX_WHOLE_BYTES = 64 * 2**20
"""A log that must be read anew whenever it changed is not read any further when it is larger."""
MAX_WAITING = 1_000_000
"""As long as so many comments of later segments are held, the log is not read any further."""
GLANCE_S = 0.2
"""How often a log is looked at between segments: what a log that is cut to nothing held until then is lost."""
_SNIFF_BYTES = 8192
"""A log whose format cannot be told from so much of it has none."""
_GZIP = b"\x1f\x8b"
_BLANK = b"\xef\xbb\xbf\xff\xfe\0 \t\r\n"
_LINE_END = re.compile(rb"\n")
_ELEMENT_END = re.compile(rb"</(?!i\s*>)[\w:.-]+\s*>|/>")
"""Not of the root element: some recorders write its end behind every flush, and over it later."""


class LiveComments:
    """The comments of a recording under way.

    A log that is written line by line, or element by element as XML, is read as it grows; others, such as one JSON
    document, anew as a whole whenever they changed.

    Parameters
    ----------
    path
        The log, which may still be empty.
    offset_s, stream_start
        As for `kuaihl.comments.read`.
    from_s
        Earlier comments are not wanted.

    Raises
    ------
    CommentLogError
        The file is missing. Reading it raises what `kuaihl.comments.read` would, once that can be told.
    """

    def __init__(
        self, path: Path, *, offset_s: float = 0.0, stream_start: str | datetime | None = None, from_s: float = 0.0
    ) -> None:
        if not path.is_file():
            raise CommentLogError(f"{path}: there is no such comment log yet: start its recorder first.")
        self._path, self._offset_s = path, offset_s
        self._report = Report(None if stream_start is None else read_start(stream_start))
        self._reader: _Reader | None = None
        self._waiting: list[Comment] = []
        self._from_s = self._done_s = from_s
        self._late = 0
        self._last_s = -math.inf
        self._glanced_s = -math.inf

    def close(self) -> None:
        """Close the log."""
        if self._reader is not None:
            self._reader.close()

    @property
    def told(self) -> str:
        """Which log it is, and its format, if that can be told yet."""
        return f"{self._path.name}, {self._reader.name if self._reader else 'too short yet to tell its format'}"

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What was left out so far."""
        if self._reader is None:
            return (Skipped("comment logs that are empty or of no known format", 1, self._path.name),)
        late = Skipped("comments that came to the log when their segment was over", self._late)
        return (*self._reader.report.skipped(), *([late] if self._late else []))

    def take(self, segment: Segment) -> list[Comment]:
        """Hand out the comments of a segment that have come, in order of time; what comes for it later is left out."""
        inside = [c for c in self._waiting if segment.start_s <= c.time_s < segment.end_s]
        self._waiting = [c for c in self._waiting if c.time_s >= segment.end_s]
        self._done_s = segment.end_s
        return sorted(inside, key=lambda c: c.time_s)

    def has_passed(self, time_s: float) -> bool:
        """Whether a comment of ``time_s`` or later has come."""
        return self._last_s >= time_s

    def glance(self) -> None:
        """Read what is new every `GLANCE_S`, unless all would have to be read anew for it."""
        now_s = time.monotonic()
        if now_s - self._glanced_s >= GLANCE_S and not isinstance(self._reader, _Whole):
            self._glanced_s = now_s
            self.read()

    def read(self, *, finished: bool = False) -> None:
        """Read what is new in the log; if it is ``finished``, a last entry counts even if it does not look complete."""
        try:
            self._read(finished=finished)
        except FileNotFoundError:
            return  # between the old and the new one
        except OSError as error:
            raise CommentLogError(f"{self._path} cannot be read any further: {error.strerror or error}.") from error

    def _read(self, *, finished: bool) -> None:
        if self._reader is None and (recognised := _recognised(self._path)):
            self._reader = _reader_of(*recognised, self._report)
        while self._reader is not None and len(self._waiting) < MAX_WAITING:
            found = self._reader.read(finished=finished)
            if found is None:
                break
            self._add(found, anew=isinstance(self._reader, _Whole))
        report = self._reader.report if self._reader else self._report
        if report.wall_clock_example and not report.start and self._last_s == -math.inf:
            comment_logs.read(self._path, offset_s=self._offset_s)  # it says how to place such a log

    def _add(self, found: list[Comment], *, anew: bool) -> None:
        if anew:
            self._waiting.clear()
        for comment in found:
            time_s = comment.time_s + self._offset_s
            self._last_s = max(self._last_s, time_s)
            if time_s >= self._done_s:
                self._waiting.append(Comment(time_s, comment.text, comment.user, comment.kind))
            elif time_s >= self._from_s and not anew:
                self._late += 1


def _recognised(path: Path) -> tuple[Source, Format] | None:
    """Find out the format of a log; None as long as too little is written."""
    with path.open("rb") as file:
        head = file.read(_SNIFF_BYTES)
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
        comment_logs.read(path)  # raises what is wrong with it
    return None


def _reader_of(source: Source, found: Format, report: Report) -> "_Reader":
    """Choose how to follow a log."""
    with source.path.open("rb") as file:
        packed = file.read(len(_GZIP)) == _GZIP
    if packed or source.encoding.startswith(("utf-16", "utf-32")) or found is PAGE:
        return _Whole(source.path, found, report)
    if source.head.lstrip("\ufeff \t\r\n").startswith("<"):
        return _Elements(source, found, report)
    try:
        return _Lines(source, found, report)
    except _IsDocumentError:
        return _Whole(source.path, found, report)


class _Reader(Protocol):
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


class _Whole:
    """A log that makes sense only as a whole: all of it, whenever it changed."""

    def __init__(self, path: Path, found: Format, report: Report) -> None:
        self.report, self.name, self._format = report, found.name, found
        self._path = path
        self._seen: tuple[int, int, int] | None = None

    def read(self, *, finished: bool) -> list[Comment] | None:  # noqa: ARG002 (what is incomplete always counts)
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
