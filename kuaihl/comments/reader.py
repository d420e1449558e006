"""Read a comment log of any format into comments in order of time.

Each module of this package defines a family of formats; ``FORMATS`` is the sniffing order.
"""

import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from kuaihl.comments import (
    bilibili,
    chat_downloader,
    chatterino,
    csv_table,
    danmaku_ass,
    dated_text,
    discord,
    irc,
    json_rows,
    niconico,
    recorders,
    twitch,
    twitch_html,
    youtube,
)
from kuaihl.comments.diagnostics import Report
from kuaihl.comments.fields import clean
from kuaihl.comments.format import Format
from kuaihl.comments.source import Source, open_source
from kuaihl.comments.timing import batches_s
from kuaihl.comments.unsupported import UNREAD, Unread
from kuaihl.comments.wall_clock import EXAMPLE, read_start
from kuaihl.errors import CommentLogError
from kuaihl.records import Comment, CommentLog

MAX_COMMENTS = 10_000_000
"""A log with more is refused, to keep memory in bounds."""

FORMATS: tuple[Format | Unread, ...] = (
    *youtube.FORMATS,
    *chat_downloader.FORMATS,
    twitch.JSON,
    discord.JSON,
    csv_table.WITH_HEADER,
    *json_rows.FORMATS,
    irc.RAW,
    chatterino.LOG,
    *dated_text.FORMATS,
    twitch.TEXT,
    danmaku_ass.SUBTITLES,
    *UNREAD,  # before tables, which many texts resemble
    *recorders.FORMATS,
    niconico.XML,
    bilibili.XML,
    twitch_html.PAGE,
    csv_table.WITHOUT_HEADER,
)
"""The sniffing table: the first whose ``sniff`` says yes to the beginning of a log counts."""

READ_FORMATS = (
    "TwitchDownloader (JSON, HTML, text), chat-downloader (JSON, CSV, text), YouTube live chat (yt-dlp), the XML of"
    " Bilibili, BililiveRecorder, blrec, biliLive-tools, biliup and Niconico, Danmaku ASS, DiscordChatExporter JSON,"
    " Chatterino, justlog and raw Twitch IRC, and CSV, TSV, JSON or text with dates that hold time, user and text"
)
"""All of them, for messages."""


def read(
    path: str | Path,
    *,
    offset_s: float = 0.0,
    stream_start: str | datetime | None = None,
    progress: Callable[[float], None] | None = None,
) -> CommentLog:
    """Read a comment log; the format is detected from its content.

    Comments are in order of time; those before the recording have negative times. Damaged parts are left out and
    reported in ``skipped``.

    Parameters
    ----------
    path
        The log, in any of ``FORMATS`` and any encoding, also gzipped.
    offset_s
        Added to every time.
    stream_start
        Date, time and time zone of the start of the recording: required for logs with dates or clock times.
    progress
        Told, for every megabyte of the log, which share is done; what it raises stops the work.

    Raises
    ------
    CommentLogError
        The file is missing, empty, of unknown format or damaged throughout; its times are dates and ``stream_start``
        is not given; the offset is not finite, or the start has no time zone.
    """
    if not math.isfinite(offset_s):
        raise CommentLogError(f"The comment offset must be a number of seconds, not {offset_s}.")
    report = Report(None if stream_start is None else read_start(stream_start))
    source = open_source(path, report, progress)
    found = _sniff(source)
    comments: list[Comment] = []
    names: dict[str, str] = {}
    for c in found.parse(source, report):
        user = c.user and names.setdefault(c.user, c.user)  # store each name once
        comments.append(Comment(c.time_s + offset_s, c.text, user, c.kind))
        if len(comments) > MAX_COMMENTS:
            raise CommentLogError(f"{source.name}: the log has more than {MAX_COMMENTS:,} comments; cut it up.")
    if not comments and report.damaged:
        raise CommentLogError(_nothing_read(source, found, report))
    if report.start and not report.placed:
        report.add_note("times count from the start of the recording: the stream start was not needed")
    comments.sort(key=lambda c: c.time_s)
    if step_s := batches_s([c.time_s for c in comments]):
        report.add_note(f"times come in batches about {step_s:.0f} s apart, so comments may be that late")
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
            f"{source.name} ({found.name}): its times are by the wall clock (the first is {report.wall_clock_example})."
            f" To place its comments, tell when the recording starts, with the time zone, as in"
            f" --stream-start {EXAMPLE} (in Python stream_start=)."
        )
    first = report.skipped()[0]
    message = (
        f"{source.name} looks like {found.name}, but none of its comments could be read: {first.reason}"
        f" ({first.count}, the first at {first.where})."
    )
    if report.placed and report.start:
        return f"{message} Is the stream start right, {report.start.isoformat()}?"
    return f"{message} Expected: {found.entry}. Other formats that are read: {READ_FORMATS}."
