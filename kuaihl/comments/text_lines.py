"""Text with one comment per line: a time or a date, then the author and the text.

Times are from the start of the recording, as TwitchDownloader and chat-downloader write them, or of the wall clock, as
chat programs write them below a line with the date.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone, tzinfo
from functools import partial

from kuaihl.comments.diagnostics import Report
from kuaihl.comments.fields import (
    DATE_TIME,
    LIVE_YEARS,
    as_clock,
    classify,
    clean,
    clock_s,
    has_date,
    parse_zone,
    read_date,
    without_action,
)
from kuaihl.comments.format import Format
from kuaihl.comments.source import Source
from kuaihl.records import Comment

Speaker = Callable[[str], tuple[str, str]]
"""Splits a line after its time into author and text; the author of a notice is empty."""

_CLOCK = r"-?(?:\d+:)?\d+:\d\d(?:[.,]\d+)?(?: ?[AaPp][Mm])?"
# IRC clients such as irssi write no brackets.
_TIMED = re.compile(
    rf"\s*(?:\[(?P<time>{_CLOCK})\]|(?P<bare>\d?\d:\d\d(?::\d\d)?)(?= [<*-]))(?P<gap> {{0,2}})(?P<rest>.*)"
)
_JUSTLOG = re.compile(rf"\s*\[(?P<time>{DATE_TIME})\] #\S+ (?P<rest>.*)")
# A tab, comma or bar after the date would make it a table.
_DATED = re.compile(rf"\s*\[?(?P<time>{DATE_TIME})\]?:?(?: +- +| +)(?![|+-])(?P<rest>.*)")
_BARRED = re.compile(
    rf"\s*(?P<time>-?(?:\d[\d,]*:)?\d+:\d\d|{DATE_TIME}) \| (?P<rest>(?:\([^()]{{1,200}}\) )?"
    r"(?:\*(?P<money>[^*]{1,40})\* )?(?:(?P<user>[^:]{1,100}): )?(?P<text>.*))"
)

# Chatty and Twitch-Chat-Downloader put a mark of the role before the name, and a star behind the name of an action.
_ANGLE = re.compile(r"<[~&@%+!$*^]{0,5}(?P<user>[^<>]{1,100})>\*?(?: (?P<text>.*))?")
_ACTION = re.compile(r"\* ?(?P<user>[^\s:*]{1,60}) (?P<text>.*)")
_COLON = re.compile(r"(?P<user>[^:!]{1,60}?): ?(?P<text>.*)")
# As in "count:2 [channel] [user] text".
_BRACKETS = re.compile(r"(?:\S*[^\s:] )?(?P<brackets>(?:\[[^\]]*\] ?)+)")

_LOG_OPENING = re.compile(
    r"[#*-]*\s*(?:(?:start|begin) logging at|log (?:started|opened)|session (?:start|ident)|day changed)\b\W{0,5}"
    r"(?:(?P<iso>\d{4}-\d\d-\d\d)|(?:[A-Z][a-z]{2},? )?(?P<month>[A-Z][a-z]{2}) +(?P<day>\d{1,2}))"
    r"(?:[ T](?P<clock>\d\d:\d\d(?::\d\d)?))?(?: (?P<year>\d{4}))?\s*(?P<zone>.*)",
    re.IGNORECASE,
)
_CHATTERINO = re.compile(r"\s*# Start logging at|\s*\[\d\d:\d\d:\d\d\]  \S")
_CHAT_PROGRAM = re.compile(
    r"^[#*-]*[ \t]*(?:log (?:started|opened)|begin logging at|session start)\b", re.IGNORECASE | re.MULTILINE
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAY_S = 86_400
_LONG_S = 3 * 3600.0
"""A log whose times begin so late may have times of the day."""


def _words(text: str | None) -> str:
    return clean(without_action(text or ""))


def by_colon(line: str) -> tuple[str, str]:
    """Split ``user: text``; an action is ``* user text``."""
    match = _COLON.fullmatch(line) or (_ACTION.fullmatch(line) if line.startswith("* ") else None)
    return (clean(match["user"]), _words(match["text"])) if match else ("", clean(line))


def _by_angle(line: str) -> tuple[str, str]:
    """Split ``<user> text``; an action is ``<user>* text``, ``* user text`` or ``*user text``."""
    match = _ANGLE.fullmatch(line) or _ACTION.fullmatch(line)
    return (clean(match["user"]), _words(match["text"])) if match else ("", clean(line))


def _by_brackets(line: str, *, brackets: int) -> tuple[str, str]:
    """Split ``[...] [user] text`` with so many brackets."""
    user, rest = "", line
    for _ in range(brackets):
        before, opening, inside = rest.partition("[")
        user, closing, text = inside.partition("]")
        if not opening or not closing or len(before.split()) > 1:
            return "", clean(line)
        rest = text.lstrip(" ")
    return clean(user), _words(rest)


def _speaker(head: str, pattern: re.Pattern[str]) -> Speaker:
    """Choose how most lines name their author."""
    counts: Counter[int] = Counter()
    for line in head.splitlines()[:40]:
        if match := pattern.match(line):
            inside = _BRACKETS.match(match["rest"])
            is_angle = match["rest"].lstrip(" ").startswith("<") and _ANGLE.match(match["rest"].lstrip(" "))
            counts[-1 if is_angle else inside["brackets"].count("[") if inside else 0] += 1
    brackets = counts.most_common(1)[0][0] if counts else 0
    if brackets < 0:
        return _by_angle
    return partial(_by_brackets, brackets=brackets) if brackets else by_colon


def said(time_s: float | None, user: str, text: str, report: Report, where: str) -> tuple[Comment, ...]:
    """Return a comment of Twitch; without a user it is a notice, or an announcement of Twitch."""
    kind, text = classify(user or text.partition(" ")[0], text)
    return report.comment(time_s, user, text, where, "notice" if kind == "message" and not user else kind)


class _Calendar:
    """Finds the day of times of the day: from lines with a date, from the file name, or from the stream start."""

    def __init__(self, name: str, report: Report) -> None:
        self._report = report
        self._zone: tzinfo | None = None
        named = re.search(r"(\d{4}-\d\d-\d\d)(?=\.\w{1,9}$|$)", name)
        self._now = _live(read_date(f"{named[1]} 00:00")) if named else None

    def read_opening(self, line: str) -> bool:
        """Read a line with which a log, its continuation or a new day begins; return whether it is one."""
        match = _LOG_OPENING.match(line)
        if not match:
            return False
        date = match["iso"]
        if not date and match["year"] and match["month"].lower() in _MONTHS:
            date = f"{match['year']}-{_MONTHS.index(match['month'].lower()) + 1:02}-{int(match['day']):02}"
        moment = _live(read_date(f"{date} {match['clock'] or '00:00'}")) if date else None
        if moment:
            self._now = moment
            if match["clock"]:
                try:
                    self._zone = parse_zone(match["zone"].strip())
                except ValueError:
                    self._zone = None
        return True

    def time_s(self, clock: str, where: str) -> float | None:
        """Return the time from the start of the recording of a time of the day."""
        at_s = _of_day_s(clock)
        if at_s is None:
            self._report.damage("entries without a readable time", where)
            return None
        at = timedelta(seconds=at_s)
        start = self._report.start
        if start is None:
            return self._report.date(clock, where)
        if self._now:
            then = datetime.combine(self._now, datetime.min.time()) + at
            if then < self._now - timedelta(hours=12):  # past midnight
                then += timedelta(days=1)
            self._now = then
        else:
            self._report.add_note("no date in the log: that of the stream start is used")
            then = datetime.combine(start, datetime.min.time()) + at
            self._now = then + timedelta(days=round((start.replace(tzinfo=None) - then) / timedelta(days=1)))
        return self._report.moment(self._now, where, shown=clock, zone=self._zone)


def _live(moment: datetime | None) -> datetime | None:
    return moment if moment and moment.year in LIVE_YEARS else None


def _of_day_s(clock: str) -> float | None:
    """Return the seconds since midnight of a time of the day, on a clock of 12 or 24 hours."""
    digits = clock.rstrip(" AaPpMm")
    at_s = clock_s(digits if digits.count(":") > 1 else f"{digits}:00")
    if at_s is None or not 0 <= at_s < _DAY_S:
        return None
    if half := clock[len(digits) :].strip().lower():
        at_s = at_s % (_DAY_S / 2) + (_DAY_S / 2 if half == "pm" else 0)
    return at_s


def _parse_clock(source: Source, report: Report, *, by_wall_clock: bool) -> Iterator[Comment]:
    """Read lines that begin with a clock."""
    speaker = _speaker(source.head, _TIMED)
    calendar = _Calendar(source.name, report)
    is_chatterino = bool(_CHATTERINO.match(source.head))
    by_wall_clock = by_wall_clock or _has_times_of_day(source.head, report)
    for number, line in source.lines(report):
        where = f"line {number}"
        timed = _TIMED.fullmatch(line)
        if not timed:
            if not calendar.read_opening(line) and not line.startswith(("#", "***", "---")) and line != "-":
                report.damage("lines that do not begin with [h:mm:ss]", where)
            continue
        clock = timed["time"] or timed["bare"]
        time_s = calendar.time_s(clock, where) if by_wall_clock else report.time(clock_s(clock), where)
        if is_chatterino and len(timed["gap"]) < 2:  # a message of Chatterino itself, such as a timeout
            yield from said(time_s, "", clean(timed["rest"]), report, where)
        else:
            yield from said(time_s, *speaker(timed["rest"]), report, where)


def _has_times_of_day(head: str, report: Report) -> bool:
    """Return whether times such as 20:00:05 fit the time of day of the stream start better than its beginning."""
    match = next((match for line in head.splitlines() if (match := _TIMED.match(line))), None)
    clock = (match["time"] or match["bare"]) if match else ""
    at_s = _of_day_s(clock) if match and (match["bare"] or re.match(r"\d\d:\d\d:\d\d|.*[Mm]$", clock)) else None
    if at_s is None:
        return False
    if not report.start:
        if at_s > _LONG_S:
            report.add_note(f"times begin at {as_clock(at_s)}; if that is a time of the day, give the stream start")
        return False
    start = report.start
    distance_s = abs(at_s - (start.hour * 3600 + start.minute * 60 + start.second))
    return min(distance_s, _DAY_S - distance_s) < at_s


def _parse_dates(source: Source, report: Report, *, pattern: re.Pattern[str], zone: tzinfo | None) -> Iterator[Comment]:
    """Read lines that begin with a date; a date without a zone is in ``zone``, or in that of the stream start."""
    speaker = _speaker(source.head, pattern)
    if zone:
        report.add_note("dates are in UTC")
    for number, line in source.lines(report):
        where = f"line {number}"
        if match := pattern.fullmatch(line):
            yield from said(report.date(match["time"], where, zone=zone), *speaker(match["rest"]), report, where)
        elif not line.startswith(("#", "***", "---")) and line != "-":
            report.damage("lines that do not begin with a date and a time", where)


def _parse_barred(source: Source, report: Report) -> Iterator[Comment]:
    """Read the text of chat-downloader."""
    for number, line in source.lines(report):
        where = f"line {number}"
        match = _BARRED.fullmatch(line)
        if not match:
            report.damage("lines that do not begin with a time and a bar", where)
            continue
        clock, user, text = match["time"], clean(match["user"]), clean(match["text"])
        time_s = report.date(clock, where) if has_date(clock) else report.time(clock_s(clock), where)
        if not match["money"]:
            yield from said(time_s, user, text, report, where)
        elif user:
            yield from report.comment(time_s, user, text, where, "paid")
        else:  # paid for without a word
            yield from report.comment(time_s, text, match["money"], where, "gift")


def _sniffer(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    """Return a check whether one of the first lines matches; how many do is checked by reading them."""
    return lambda head: any(pattern.fullmatch(line) for line in head.splitlines()[:40])


FORMATS = (
    Format("chat-downloader text", "h:mm:ss | user: text", _sniffer(_BARRED), _parse_barred),
    Format(
        "Chatterino log",
        "[hh:mm:ss]  user: text",
        lambda head: bool(_CHATTERINO.match(head)),
        partial(_parse_clock, by_wall_clock=True),
    ),
    Format(
        "chat log by the wall clock",
        "[hh:mm:ss] <user> text, below a line such as # Log started: 2024-05-01 20:00:00 +0200",
        lambda head: bool(_CHAT_PROGRAM.search(head)) and _sniffer(_TIMED)(head),
        partial(_parse_clock, by_wall_clock=True),
    ),
    Format(
        "justlog",
        "[2024-05-01 20:00:00] #channel user: text",
        _sniffer(_JUSTLOG),
        partial(_parse_dates, pattern=_JUSTLOG, zone=timezone.utc),
    ),
    Format(
        "text with dates",
        "2024-05-01 20:00:00 user: text",
        _sniffer(_DATED),
        partial(_parse_dates, pattern=_DATED, zone=None),
    ),
    Format("Twitch text", "[h:mm:ss] user: text", _sniffer(_TIMED), partial(_parse_clock, by_wall_clock=False)),
)
