"""Read comment logs: a log of any format in, comments in order of time out.

A family of formats is a file that offers a ``Format`` for each; ``FORMATS`` here is the sniffing table.
"""

import math
from pathlib import Path

from kuaihl.comments import bilibili, chat_downloader, table, twitch, youtube
from kuaihl.comments.fields import clean
from kuaihl.comments.format import Format
from kuaihl.comments.report import Report
from kuaihl.comments.selection import by_segment, is_text, outside, spoken
from kuaihl.comments.source import Source, open_source
from kuaihl.comments.unread import UNREAD, WALL_CLOCK, Unread
from kuaihl.errors import CommentLogError
from kuaihl.records import Comment, CommentLog

__all__ = ["FORMATS", "MAX_COMMENTS", "READ_FORMATS", "by_segment", "is_text", "outside", "read", "spoken"]

MAX_COMMENTS = 10_000_000
"""A log with more is refused, to keep memory in bounds."""

FORMATS: tuple[Format | Unread, ...] = (
    *youtube.FORMATS,
    *chat_downloader.FORMATS,
    twitch.JSON,
    table.WITH_HEADER,
    *UNREAD,  # before those that it could be taken for
    twitch.TEXT,
    *bilibili.FORMATS,
    table.WITHOUT_HEADER,  # last: much looks like a table
)
"""The sniffing table: the first whose ``sniff`` says yes to the beginning of a log counts."""

READ_FORMATS = ", ".join(f.name for f in FORMATS if isinstance(f, Format))
"""Their names, for messages."""


def read(path: str | Path, *, offset_s: float = 0.0) -> CommentLog:
    """Read a comment log; its format is found by content. ``offset_s`` is added to every time.

    Comments come in order of time; those from before the recording have a negative one. Damaged parts are left out
    and reported in ``skipped``.

    Raises
    ------
    CommentLogError
        The file is missing, empty, of an unknown format, damaged throughout, or timed by the wall clock; or the
        offset is not finite.
    """
    if not math.isfinite(offset_s):
        raise CommentLogError(f"The comment offset must be a number of seconds, not {offset_s}.")
    report = Report()
    source = open_source(path, report)
    found = _sniff(source)
    comments: list[Comment] = []
    names: dict[str, str] = {}
    for c in found.parse(source, report):
        user = c.user and names.setdefault(c.user, c.user)  # a name is kept once, however often it writes
        comments.append(Comment(c.time_s + offset_s, c.text, user, c.kind))
        if len(comments) > MAX_COMMENTS:
            raise CommentLogError(f"{source.name}: the log has more than {MAX_COMMENTS:,} comments; cut it up.")
    if not comments and report.damaged:
        raise CommentLogError(_nothing_read(source, found, report))
    comments.sort(key=lambda c: c.time_s)
    name = f"{found.name} ({report.note})" if report.note else found.name
    return CommentLog(name, tuple(comments), report.skipped())


def _sniff(source: Source) -> Format:
    found = next((f for f in FORMATS if f.sniff(source.head)), None)
    if isinstance(found, Format):
        return found
    if found:
        raise CommentLogError(f"{source.name} is {found.name}: {found.why}. Formats that are read: {READ_FORMATS}.")
    begins = clean(source.head[:80])
    raise CommentLogError(
        f"{source.name} is not a comment log of a known format: it begins with {begins!r}."
        f" Formats that are read: {READ_FORMATS}."
    )


def _nothing_read(source: Source, found: Format, report: Report) -> str:
    if report.wall_clock_example:
        return (
            f"{source.name} ({found.name}): {WALL_CLOCK} (the first is {report.wall_clock_example})."
            f" A log with times from the start of the recording is needed: {READ_FORMATS}."
        )
    first = report.skipped()[0]
    return (
        f"{source.name} looks like {found.name}, but none of its comments could be read: {first.reason}"
        f" ({first.count}, the first at {first.where}). Expected: {found.entry}."
        f" Other formats that are read: {READ_FORMATS}."
    )
