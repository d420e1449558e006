"""CSV and TSV with time, user and text: columns in any order with a header, or time, user, text without one."""

import csv
import re
from collections import deque
from collections.abc import Iterator

from kuaihl.comments.announcements import words_of
from kuaihl.comments.diagnostics import Report
from kuaihl.comments.fields import clean, is_bot, is_date, seconds
from kuaihl.comments.format import Format
from kuaihl.comments.source import Source
from kuaihl.records import Comment

_DELIMITERS = ("\t", ",", ";", "|")
_MAX_ROW_LINES = 50
"""Quoted text that spans more lines is a stray quotation mark."""

_EMOTE = re.compile(r"\[emote:\d+:([^\]\s]+)\]")  # as Kick writes them

# In order of preference: times from the start before possible dates.
TIMES = (
    "time_s", "time_in_seconds", "offset_s", "offset_seconds", "content_offset_seconds", "offset", "start_s", "seconds",
    "second", "sec", "time_ms", "offset_ms", "video_offset_time_msec", "start", "stime", "video_time", "time_text",
    "timecode", "time", "timestamp", "time_stamp", "datetime", "date", "created_at", "createdat", "create_time",
    "createtime", "published_at", "publishedat", "sent_at",
)  # fmt: skip
USERS = (
    "user", "username", "user_name", "display_name", "displayname", "author.display_name", "author.name", "author",
    "author_name", "nickname", "nick", "name", "unique_id", "uniqueid", "sender", "commenter", "login",
)  # fmt: skip
MESSAGE_IDS = ("msgid", "msg_id", "message_id")
TEXTS = ("text", "message", "comment", "body", "content", "msg", "chat", "danmaku")


def names_of(head: str) -> list[str]:
    """Return the column names in lower case if the first line is a header with time and text, else nothing."""
    header = _first_line(head)
    delimiter = _delimiter_of(header)
    return _names(header, delimiter) if delimiter else []


def body(source: Source, report: Report, *, last: int) -> Iterator[tuple[str, list[str]]]:
    """Yield place and fields of every row below a header.

    ``last`` is the column of the text; if it is the last one, unquoted delimiters belong to the text.
    """
    header = _first_line(source.head)
    width = len(names_of(source.head))
    yield from _rows(source, report, _delimiter_of(header), width=width, joined=last == width - 1, header=True)


def _first_line(head: str) -> str:
    return next((line for line in head.splitlines() if line.strip()), "")


def _names(header: str, delimiter: str) -> list[str]:
    fields = next(csv.reader([header.replace("\0", "")], delimiter=delimiter))  # Python 3.10 refuses NUL
    return [re.sub(r"[\s-]+", "_", f.strip("\ufeff \t\"'#").lower()) for f in fields]


def _delimiter_of(header: str) -> str:
    """Return the delimiter of a header; empty if the line is not a header of a log."""
    for delimiter in _DELIMITERS:
        names = set(_names(header, delimiter))
        if names.intersection(TIMES) and names.intersection(TEXTS):
            return delimiter
    return ""


class _Lines:
    """Numbered lines with look-ahead."""

    def __init__(self, lines: Iterator[tuple[int, str]]) -> None:
        self._lines = lines
        self._ahead: deque[tuple[int, str]] = deque()

    def take(self) -> tuple[int, str] | None:
        return self._ahead.popleft() if self._ahead else next(self._lines, None)

    def ahead(self, index: int) -> str | None:
        """Return the line ``index`` places ahead; None after the end."""
        while len(self._ahead) <= index:
            more = next(self._lines, None)
            if not more:
                return None
            self._ahead.append(more)
        return self._ahead[index][1]


def _rows(
    source: Source, report: Report, delimiter: str, *, width: int, joined: bool, header: bool
) -> Iterator[tuple[str, list[str]]]:
    """Yield place and fields of every row with ``width`` columns; ``joined`` merges surplus ones into the last."""
    lines = _Lines(source.lines(report))
    opens = re.compile(rf'(?:^|{re.escape(delimiter)})"')
    if header:
        lines.take()
    while entry := lines.take():
        number, line = entry
        where = f"line {number}"
        fields = _quoted(line, lines, delimiter) if opens.search(line) else line.split(delimiter)
        if len(fields) > width and joined:
            fields = [*fields[: width - 1], delimiter.join(fields[width - 1 :])]
        if len(fields) == width:
            yield where, fields
        else:
            report.damage(f"rows that do not have {width} columns", where)


def _quoted(line: str, lines: _Lines, delimiter: str) -> list[str]:
    """Return the fields of a row with quotes, which may continue on the next lines.

    Quotation marks that cannot be quotes are part of the text.
    """
    row = [line]
    while sum(part.count('"') for part in row) % 2 and len(row) < _MAX_ROW_LINES:
        more = lines.ahead(len(row) - 1)
        if more is None:
            break
        row.append(more)
    reader = csv.reader([part + "\n" for part in row], delimiter=delimiter, strict=True)
    try:
        fields = next(reader)
    except csv.Error:
        return line.split(delimiter)
    for _ in range(reader.line_num - 1):
        lines.take()
    return fields


def _sniff_header(head: str) -> bool:
    return bool(names_of(head))


def _parse_header(source: Source, report: Report) -> Iterator[Comment]:
    names = names_of(source.head)
    time_at, text_at = _column(names, TIMES), _column(names, TEXTS)
    if time_at is None or text_at is None:
        raise ValueError("not a header of a log")
    user_at = _column(names, [n for n in USERS if n not in (names[time_at], names[text_at])])
    id_at = _column(names, MESSAGE_IDS)
    repeats = Repeats()
    for where, fields in body(source, report, last=text_at):
        time, text = fields[time_at], fields[text_at]
        user = fields[user_at] if user_at is not None else ""
        if repeats.seen(names[time_at], time, user, text, name=None if id_at is None else fields[id_at]):
            report.skip("repeats of a comment", where)
        else:
            yield from comment(time, user, text, report, where, name=names[time_at])


def _column(names: list[str], wanted: tuple[str, ...] | list[str]) -> int | None:
    return next((names.index(w) for w in wanted if w in names), None)


def _shape(head: str) -> tuple[str, int]:
    """Return delimiter and number of columns (2 or 3) of a table without a header; an empty delimiter if none."""
    lines = [line for line in head.splitlines()[:40] if line.strip()]
    for delimiter in _DELIMITERS:
        rows = [fields for line in lines if len(fields := line.split(delimiter)) > 1]
        timed = [f for f in rows if is_date(f[0]) or seconds(f[0].strip(' "')) is not None]
        if timed and len(timed) * 2 > len(lines):
            # With a user, most rows have at least three columns; two columns are time and text.
            return delimiter, 3 if sum(len(f) > 2 for f in timed) * 2 > len(timed) else 2
    return "", 0


def _sniff_plain(head: str) -> bool:
    return bool(_shape(head)[0])


def _parse_plain(source: Source, report: Report) -> Iterator[Comment]:
    delimiter, width = _shape(source.head)
    for where, fields in _rows(source, report, delimiter, width=width, joined=True, header=False):
        yield from comment(fields[0], fields[1] if width == 3 else "", fields[-1], report, where, name="time")


class Repeats:
    """Detects repeated comments: TikTok sends the last ones again after a reconnect.

    Compares ids (``name``), or all fields if the time is TikTok's ``create_time`` in ms.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()  # hashes, since ids and texts take more memory than the comments

    def seen(self, column: str, *said: str, name: object = None) -> bool:
        """Return whether the same comment came before, and remember it."""
        if isinstance(name, str | int) and name:
            key = hash(str(name))
        elif column in ("create_time", "createtime"):
            key = hash(said)
        else:
            return False
        known = key in self._seen
        self._seen.add(key)
        return known


def comment(time: str, user: str, text: str, report: Report, where: str, *, name: str) -> Iterator[Comment]:
    """Read a comment with its time (seconds, a clock, an epoch or a date) in the named column."""
    if is_date(time):
        time_s = report.date(time, where)
    else:
        time_s = seconds(time.strip())
        scale = 1e-3 if name.endswith(("_ms", "_msec")) else 1.0
        time_s = report.time(None if time_s is None else time_s * scale, where, shown=time)
    if time_s is None:
        return
    text = _EMOTE.sub(r"\1", clean(text))
    if not text:
        report.skip("comments without text", where)
        return
    author = clean(user) or None
    kind, text = words_of(author, text)
    yield Comment(time_s, text, author, "bot" if is_bot(author) else kind)


WITH_HEADER = Format("CSV or TSV", "a header with time, user and text", _sniff_header, _parse_header)
WITHOUT_HEADER = Format("CSV or TSV without header", "time, user, text", _sniff_plain, _parse_plain)
