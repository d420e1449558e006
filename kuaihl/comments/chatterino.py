"""Chatterino logs: times of the local clock, with the date in a separate line or in the file name."""

import re
from collections.abc import Iterator
from datetime import datetime, time, timedelta, timezone, tzinfo

from kuaihl.comments.announcements import words_of
from kuaihl.comments.diagnostics import Report
from kuaihl.comments.fields import clean
from kuaihl.comments.format import Format
from kuaihl.comments.source import Source
from kuaihl.comments.twitch import said
from kuaihl.comments.wall_clock import LIVE_YEARS, read_date
from kuaihl.records import Comment

_OPENED = re.compile(r"\s*# Start logging at (?P<date>\d{4}-\d\d-\d\d) (?P<time>\d\d:\d\d:\d\d) ?(?P<zone>.*)")
# Chatterino's settings offer times without seconds, with milliseconds, and of twelve hours.
_TIME = r"(?P<hour>\d{1,2}):(?P<minutes>\d\d(?::\d\d(?:\.\d{1,3})?)?)(?: (?P<half>[AaPp])[Mm])?"
_LINE = re.compile(rf"\[(?P<time>{_TIME})\](?P<gap> {{1,2}})(?P<said>.*)")
_SNIFFED = re.compile(r"\s*(?:# Start logging at|\[\d\d:\d\d:\d\d\]  \S)")
_NAMED = re.compile(r"(\d{4}-\d\d-\d\d)(?=\.\w+$|$)")
_UTC_NAMES = {"UTC", "GMT", "Coordinated Universal Time"}
_DAY = timedelta(days=1)


def _sniff(head: str) -> bool:
    return bool(_SNIFFED.match(head))


def _parse(source: Source, report: Report) -> Iterator[Comment]:
    zone: tzinfo | None = None
    named = _NAMED.search(source.name)
    now = _moment(named[1], "00:00:00") if named else None
    for number, line in source.lines(report):
        where = f"line {number}"
        if opened := _OPENED.match(line):
            zone = timezone.utc if opened["zone"].strip() in _UTC_NAMES else None
            # An opening line within the file is a restart, maybe on another day.
            now = _moment(opened["date"], opened["time"]) or now
            continue
        found = _LINE.fullmatch(line)
        # The day of a log without a date.
        then = _moment("2000-01-01", _clock(found)) if found else None
        if not found or not then:
            if not line.startswith("#"):
                report.damage("lines that do not begin with a time in brackets", where)
            continue
        if now:
            now = _next(now, then.time())
        elif report.start:
            report.add_note("no date in the log: that of the stream start is used")
            now = _nearest(report.start.replace(tzinfo=None), then.time())
        time_s = report.moment(now or then, where, shown=found["time"], zone=zone)
        if time_s is not None:
            yield from _comment(time_s, found, report, where)


def _comment(time_s: float, found: re.Match[str], report: Report, where: str) -> Iterator[Comment]:
    if len(found["gap"]) == 2:
        yield from said(time_s, found["said"], report, where)
        return
    # One space marks a message of Chatterino itself, such as a timeout or a redemption.
    text = clean(found["said"])
    if text:
        kind, _ = words_of(text.partition(" ")[0], text)
        yield Comment(time_s, text, None, "gift" if kind == "gift" else "notice")


def _clock(found: re.Match[str]) -> str:
    """Return the time of a line on a 24-hour clock."""
    half, hour = (found["half"] or "").lower(), int(found["hour"])
    return f"{hour % 12 + 12 * (half == 'p') if half else hour}:{found['minutes']}"


def _moment(day: str, at: str) -> datetime | None:
    found = read_date(f"{day} {at}")
    return found if found and found.year in LIVE_YEARS else None


def _next(now: datetime, at: time) -> datetime:
    """Return the next moment with clock time ``at``: on the next day if the clock went far back."""
    found = datetime.combine(now.date(), at)
    return found + _DAY if found < now - _DAY / 2 else found


def _nearest(now: datetime, at: time) -> datetime:
    found = datetime.combine(now.date(), at)
    return found + _DAY * round((now - found) / _DAY)


LOG = Format("Chatterino log", "[hh:mm:ss]  user: text", _sniff, _parse)
