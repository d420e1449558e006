"""Comments as they are written: a log of any format, followed while it grows."""

import logging
import math
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from kuaihl.comments import reader
from kuaihl.comments.diagnostics import Report
from kuaihl.comments.wall_clock import read_start
from kuaihl.errors import CommentLogError
from kuaihl.records import Comment, Segment, Skipped
from kuaihl.watch.log_readers import Reader, Whole, has_begun, reader_of

log = logging.getLogger(__name__)

MAX_WAITING = 1_000_000
"""As long as so many comments of later segments are held, the log is not read any further."""
GLANCE_S = 0.2
"""How often a log is looked at between segments; if it was cut to nothing, only a copy tells what it held."""
PUZZLED_S = 10.0
"""A log whose format cannot be told for so long after its beginning is complained of."""


class LiveComments:
    """The comments of a recording under way.

    A log that is written line by line, or element by element as XML, is read as it grows; others, such as one JSON
    document, anew as a whole whenever they changed.

    Parameters
    ----------
    path
        The log, which may still be empty.
    offset_s, stream_start
        As for `kuaihl.comments.reader.read`.
    from_s
        Earlier comments are not wanted.
    complain
        Told once, in a sentence, if no format fits what is written: from then on there are no comments until one does.

    Raises
    ------
    CommentLogError
        The file is missing. Reading it raises what `kuaihl.comments.reader.read` would, once that can be told; for a format
        that is not known only before comments have been handed out.
    """

    def __init__(
        self,
        path: Path,
        *,
        offset_s: float = 0.0,
        stream_start: str | datetime | None = None,
        from_s: float = 0.0,
        complain: Callable[[str], None] = log.warning,
    ) -> None:
        if not path.is_file():
            raise CommentLogError(f"{path}: there is no such comment log yet: start its recorder first.")
        self._path, self._offset_s = path, offset_s
        self._report = Report(None if stream_start is None else read_start(stream_start))
        self._reader: Reader | None = None
        self._waiting: list[Comment] = []
        self._from_s = self._done_s = from_s
        self._late = 0
        self._complain, self._has_complained, self._is_under_way = complain, False, False
        self._begun_s = math.inf
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

    @property
    def is_unreadable(self) -> bool:
        """Whether no format fits what is written, which has been complained of."""
        return self._reader is None and self._has_complained

    def take(self, segment: Segment) -> list[Comment]:
        """Hand out the comments of a segment that have come, in order of time; what comes for it later is left out."""
        self._is_under_way = True
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
        if now_s - self._glanced_s >= GLANCE_S and not isinstance(self._reader, Whole):
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
        if self._reader is None:
            self._recognise(finished=finished)
        while self._reader is not None and len(self._waiting) < MAX_WAITING:
            found = self._reader.read(finished=finished)
            if found is None:
                break
            self._add(found, anew=isinstance(self._reader, Whole))
        report = self._reader.report if self._reader else self._report
        if report.wall_clock_example and not report.start and self._last_s == -math.inf:
            reader.read(self._path, offset_s=self._offset_s)  # it says how to place such a log

    def _recognise(self, *, finished: bool) -> None:
        """Find a reader for what is written; what none can read is refused, or under way complained of once."""
        goes_on = self._is_under_way or self._has_complained
        try:
            self._reader = reader_of(self._path, self._report)
            if self._reader is not None or self._has_complained or not has_begun(self._path):
                return
            self._begun_s = min(self._begun_s, time.monotonic())
            if time.monotonic() - self._begun_s < PUZZLED_S and not finished:
                return
            goes_on = True
            reader.read(self._path)  # says what is wrong with it
        except CommentLogError as error:
            if not goes_on:
                raise
            if not self._has_complained:
                self._has_complained = True
                self._complain(f"{error} Until it can be read, predictions go on without comments.")

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
