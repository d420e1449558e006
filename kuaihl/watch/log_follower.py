"""Follow a comment log of any format while it grows."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from kuaihl.comments import reader
from kuaihl.comments.diagnostics import Report
from kuaihl.comments.fields import read_start
from kuaihl.errors import CommentLogError
from kuaihl.records import Comment, Segment, Skipped
from kuaihl.watch.log_readers import Reader, WholeReader, has_content, open_reader

logger = logging.getLogger(__name__)

MAX_WAITING = 1_000_000
"""The log is not read further while so many comments of later segments are held."""
POLL_S = 0.2
"""How often the log is read between segments; what a truncation removes between two reads may be lost."""
UNKNOWN_FORMAT_S = 10.0
"""How long after its first entry a log may be of unknown format before a warning."""


class LiveComments:
    """The comments of a recording in progress.

    A log that is written line by line or as XML elements is read as it grows. Others, such as a JSON document, are read
    completely whenever they changed.

    Parameters
    ----------
    path
        The log; it may be empty.
    offset_s, stream_start
        As for `kuaihl.comments.reader.read`.
    warn
        Called once if the format is unknown; there are no comments until it is recognised.

    Attributes
    ----------
    last_comment_s
        Time of the latest comment that was logged.

    Raises
    ------
    CommentLogError
        The file does not exist. `read` raises the errors of `kuaihl.comments.reader.read`; for an unknown format only
        before the first call of `take`.
    """

    def __init__(
        self,
        path: Path,
        *,
        offset_s: float = 0.0,
        stream_start: str | datetime | None = None,
        warn: Callable[[str], None] = logger.warning,
    ) -> None:
        if not path.is_file():
            raise CommentLogError(f"{path}: there is no such comment log: start its recorder first.")
        self._path, self._offset_s, self._warn = path, offset_s, warn
        self._report = Report(None if stream_start is None else read_start(stream_start))
        self._reader: Reader | None = None
        self._waiting: list[Comment] = []
        self._complete_until_s = 0.0
        self._late_count = 0
        self._has_warned = self._has_started = False
        self._first_content_s = math.inf
        self.last_comment_s = self._last_poll_s = -math.inf

    def close(self) -> None:
        """Close the log."""
        if self._reader is not None:
            self._reader.close()

    @property
    def description(self) -> str:
        """File name, and format if it is recognised."""
        return f"{self._path.name}, {self._reader.name if self._reader else 'too short to recognise its format'}"

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What was left out so far."""
        if self._reader is None:
            return (Skipped("comment logs that are empty or of unknown format", 1, self._path.name),)
        late = Skipped("comments that were logged after the end of their segment", self._late_count)
        return (*self._reader.report.skipped(), *([late] if self._late_count else []))

    @property
    def is_unreadable(self) -> bool:
        """Whether the format is unknown and the warning was given."""
        return self._reader is None and self._has_warned

    def take(self, segment: Segment) -> list[Comment]:
        """Return the comments of a segment in order of time. Comments that are logged later are left out."""
        self._has_started = True
        inside = self.between(segment.start_s, segment.end_s)
        self._waiting = [c for c in self._waiting if c.time_s >= segment.end_s]
        self._complete_until_s = segment.end_s
        return inside

    def between(self, start_s: float, end_s: float) -> list[Comment]:
        """Return the comments from ``start_s`` to ``end_s`` that are not taken yet, in order of time."""
        return sorted((c for c in self._waiting if start_s <= c.time_s < end_s), key=lambda c: c.time_s)

    def poll(self) -> None:
        """Read new comments every `POLL_S`, unless the log can only be read completely."""
        now_s = time.monotonic()
        if now_s - self._last_poll_s >= POLL_S and not isinstance(self._reader, WholeReader):
            self._last_poll_s = now_s
            self.read()

    def read(self, *, finished: bool = False) -> None:
        """Read new comments; if ``finished``, also a last entry that may be incomplete."""
        try:
            self._read(finished=finished)
        except FileNotFoundError:
            return  # the log is being replaced
        except OSError as error:
            raise CommentLogError(f"{self._path} cannot be read any further: {error.strerror or error}.") from error

    def _read(self, *, finished: bool) -> None:
        if self._reader is None:
            self._recognise(finished=finished)
        while self._reader is not None and len(self._waiting) < MAX_WAITING:
            comments = self._reader.read(finished=finished)
            if comments is None:
                break
            self._add(comments, is_complete=isinstance(self._reader, WholeReader))
        report = self._reader.report if self._reader else self._report
        if report.wall_clock_example and not report.start and self.last_comment_s == -math.inf:
            reader.read(self._path, offset_s=self._offset_s)  # raises an error that asks for stream_start

    def _recognise(self, *, finished: bool) -> None:
        """Open a reader. An unknown format is an error before the first segment, and a warning later."""
        only_warn = self._has_started or self._has_warned
        try:
            self._reader = open_reader(self._path, self._report)
            if self._reader is not None or self._has_warned or not has_content(self._path):
                return
            self._first_content_s = min(self._first_content_s, time.monotonic())
            if time.monotonic() - self._first_content_s < UNKNOWN_FORMAT_S and not finished:
                return
            only_warn = True
            reader.read(self._path)  # raises an error that explains what is wrong
        except CommentLogError as error:
            if not only_warn:
                raise
            if not self._has_warned:
                self._has_warned = True
                self._warn(f"{error} Until it can be read, predictions go on without comments.")

    def _add(self, comments: list[Comment], *, is_complete: bool) -> None:
        if is_complete:
            self._waiting.clear()
        for logged in comments:
            comment = replace(logged, time_s=logged.time_s + self._offset_s)
            self.last_comment_s = max(self.last_comment_s, comment.time_s)
            if comment.time_s >= self._complete_until_s:
                self._waiting.append(comment)
            elif comment.time_s >= 0 and not is_complete:
                self._late_count += 1
