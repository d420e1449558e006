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
    csv_table,
    danmaku_ass,
    irc,
    json_exports,
    niconico,
    text_lines,
    twitch,
    twitch_html,
    youtube,
)
from kuaihl.comments.diagnostics import Report
from kuaihl.comments.fields import START_EXAMPLE, clean, read_start
from kuaihl.comments.format import SUBTITLES, Format, Refused
from kuaihl.comments.source import HEAD_CHARS, Beginning, Source, open_source
from kuaihl.comments.timing import batches_s
from kuaihl.errors import CommentLogError
from kuaihl.records import Comment, CommentLog

MAX_COMMENTS = 10_000_000
"""A log with more is refused, to keep memory in bounds."""

FORMATS: tuple[Format | Refused, ...] = (
    *youtube.FORMATS,
    json_exports.YOUTUBE_CHAT,
    *chat_downloader.FORMATS,
    twitch.JSON,
    twitch.GRAPHQL,
    json_exports.DISCORD,
    json_exports.CHZZK,
    csv_table.WITH_HEADER,
    *niconico.FORMATS,
    json_exports.USUAL,
    irc.RAW,
    *text_lines.FORMATS,
    danmaku_ass.SUBTITLES,
    SUBTITLES,  # before tables, which many texts resemble
    *bilibili.FORMATS,
    bilibili.VIDEO,
    twitch_html.PAGE,
    csv_table.WITHOUT_HEADER,
)
"""The sniffing order: the first format that explains most of the beginning of a log counts."""

READ_FORMATS = (
    "TwitchDownloader (JSON, HTML, text), Twitch GraphQL, chat-downloader (JSON, CSV, text), YouTube live chat (yt-dlp"
    " and others), youtube-chat, CHZZK and Niconico JSON, the XML of Bilibili, BililiveRecorder, blrec, biliLive-tools,"
    " biliup and Niconico, Danmaku ASS, DiscordChatExporter JSON, Chatterino, Chatty, justlog and raw Twitch IRC, and"
    " CSV, TSV, JSON or text lines that hold time, user and text"
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
    log_format = recognise(source)
    if log_format is None:
        raise CommentLogError(_unknown(source))
    if isinstance(log_format, Refused):
        raise CommentLogError(f"{source.name} is {log_format.name}: {log_format.advice}. Formats read: {READ_FORMATS}.")
    comments: list[Comment] = []
    names: dict[str, str] = {}
    for c in log_format.parse(source, report):
        user = c.user and names.setdefault(c.user, c.user)  # store each name once
        comments.append(Comment(c.time_s + offset_s, c.text, user, c.kind))
        if len(comments) > MAX_COMMENTS:
            raise CommentLogError(f"{source.name}: the log has more than {MAX_COMMENTS:,} comments; split it.")
    if not comments and report.wall_clock_example:
        raise CommentLogError(
            f"{source.name} ({log_format.name}): its times are by the wall clock (the first is"
            f" {report.wall_clock_example}). State when the recording starts, with the time zone, as in"
            f" --stream-start {START_EXAMPLE} (in Python stream_start=)."
        )
    if report.damaged > report.understood:
        raise CommentLogError(_unreadable(source, log_format, report))
    if report.start and not report.placed:
        report.add_note("times count from the start of the recording: the stream start was not needed")
    is_joined = report.note_restarts(len(comments))
    comments.sort(key=lambda c: c.time_s)
    if not is_joined and (step_s := batches_s([c.time_s for c in comments])):
        report.add_note(f"times come in batches about {step_s:.0f} s apart, so comments may be that late")
    name = f"{log_format.name} ({report.note})" if report.note else log_format.name
    return CommentLog(name, tuple(comments), report.skipped())


def recognise(source: Source) -> Format | Refused | None:
    """Return the format of a log: the first that explains most of its beginning; None if none does."""
    return next(
        (f for f in FORMATS if f.sniff(source.head) and (isinstance(f, Refused) or not _misses(source, f))), None
    )


def _misses(source: Source, log_format: Format) -> Report | None:
    """Parse the beginning of a log; return the report if more of it is damaged than understood."""
    report = Report()
    for _ in log_format.parse(Beginning(source.path, source.encoding, source.head), report):
        pass
    allowance = 1 if len(source.head) == HEAD_CHARS else 0  # an entry that is cut off
    return report if report.damaged > report.understood + allowance else None


def _unknown(source: Source) -> str:
    """Say why no format fits: the nearest one fits too little, or there is none."""
    for log_format in FORMATS:
        if isinstance(log_format, Format) and log_format.sniff(source.head) and (report := _misses(source, log_format)):
            return _unreadable(source, log_format, report)
    return (
        f"{source.name} is not a comment log of a known format: it begins with {clean(source.head[:80])!r}."
        f" Formats read: {READ_FORMATS}."
    )


def _unreadable(source: Source, log_format: Format, report: Report) -> str:
    first = report.main_damage()
    share = f"only {report.understood:,} of {report.understood + report.damaged:,}" if report.understood else "none"
    message = (
        f"{source.name} looks like {log_format.name}, but {share} of its entries could be read: {first.reason}"
        f" ({first.count}, the first at {first.where})."
    )
    if report.placed and report.start:
        return f"{message} Is the stream start right, {report.start.isoformat()}?"
    return f"{message} Expected: {log_format.entry}. Other formats read: {READ_FORMATS}."
