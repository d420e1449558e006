"""CSV and TSV with time, user and text: columns in any order with a header, or time, user, text without one."""

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator

from kuaihl.comments.diagnostics import Report
from kuaihl.comments.fields import classify, clean, has_date, scaled, seconds
from kuaihl.comments.format import Format
from kuaihl.comments.source import Source
from kuaihl.records import Comment

_DELIMITERS = ("\t", ",", ";", "|")
_MAX_ROW_LINES, _MAX_ROW_CHARS = 50, 2**20
"""Quoted text that spans more is a stray quotation mark."""

_EMOTE = re.compile(r"\[emote:\d+:([^\[\]\s]+)\]")  # as Kick writes them

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
TEXTS = ("text", "message", "displaymessage", "comment", "body", "content", "msg", "chat", "danmaku")


def header_of(head: str) -> tuple[str, list[str]]:
    """Return delimiter and column names in lower case if the first line names time and text, else nothing."""
    first = next((line for line in head.splitlines() if line.strip()), "").replace("\0", "")  # Python 3.10 refuses NUL
    for delimiter in _DELIMITERS:
        columns = next(csv.reader([first], delimiter=delimiter))
        names = [re.sub(r"[\s-]+", "_", name.strip("\ufeff \t\"'#").lower()) for name in columns]
        if not {*TIMES}.isdisjoint(names) and not {*TEXTS}.isdisjoint(names):
            return delimiter, names
    return "", []


def rows(source: Source, report: Report, *, text_at: int) -> Iterator[tuple[str, list[str]]]:
    """Yield place and fields of every row below a header.

    If the column of the text is the last one, unquoted delimiters belong to it.
    """
    delimiter, names = header_of(source.head)
    lines = _Lines(source.lines(report))
    lines.take()
    yield from _rows(lines, report, delimiter, width=len(names), is_joined=text_at == len(names) - 1)


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
            line = next(self._lines, None)
            if not line:
                return None
            self._ahead.append(line)
        return self._ahead[index][1]


def _rows(
    lines: _Lines, report: Report, delimiter: str, *, width: int, is_joined: bool
) -> Iterator[tuple[str, list[str]]]:
    """Yield place and fields of every row with ``width`` columns; ``is_joined`` merges surplus ones into the last."""
    opening = f'{delimiter}"'
    while numbered := lines.take():
        number, line = numbered
        where = f"line {number}"
        is_quoted = line.startswith('"') or opening in line
        fields = _quoted(line, lines, delimiter) if is_quoted else line.split(delimiter)
        if len(fields) > width and is_joined:
            fields = [*fields[: width - 1], delimiter.join(fields[width - 1 :])]
        if len(fields) == width:
            yield where, fields
        else:
            report.damage(f"rows that do not have {width} columns", where)


def _quoted(line: str, lines: _Lines, delimiter: str) -> list[str]:
    """Return the fields of a row with quotes, which may continue on the next lines.

    Quotation marks that cannot be quotes are part of the text.
    """
    row, size, is_open = [line], len(line), line.count('"') % 2 == 1
    while is_open and len(row) < _MAX_ROW_LINES and size < _MAX_ROW_CHARS:
        following = lines.ahead(len(row) - 1)
        if following is None:
            break
        row.append(following)
        size += len(following)
        is_open ^= following.count('"') % 2 == 1
    reader = csv.reader([part + "\n" for part in row], delimiter=delimiter, strict=True)
    try:
        fields = next(reader)
    except csv.Error:
        return line.split(delimiter)
    for _ in range(reader.line_num - 1):
        lines.take()
    return fields


def _parse_header(source: Source, report: Report) -> Iterator[Comment]:
    _, names = header_of(source.head)
    time_at, text_at = _column(names, TIMES), _column(names, TEXTS)
    user_at = _column(["" if i in (time_at, text_at) else name for i, name in enumerate(names)], USERS)
    id_at = _column(names, MESSAGE_IDS)
    repeats = Repeats()
    for where, fields in rows(source, report, text_at=text_at):
        time, text = fields[time_at], fields[text_at]
        user = fields[user_at] if user_at >= 0 else ""
        if repeats.seen(names[time_at], time, user, text, identifier=fields[id_at] if id_at >= 0 else None):
            report.skip("repeats of a comment", where)
        else:
            yield from comment(time, user, text, report, where, column=names[time_at])


def _column(names: list[str], wanted: Iterable[str]) -> int:
    """Return the index of the first wanted column, -1 if there is none."""
    return next((names.index(name) for name in wanted if name in names), -1)


def _shape(head: str) -> tuple[str, int]:
    """Return delimiter and number of columns (2 or 3) of a table without a header; an empty delimiter if none."""
    lines = [line for line in head.splitlines()[:40] if line.strip()]
    for delimiter in _DELIMITERS:
        table = [fields for line in lines if len(fields := line.split(delimiter)) > 1]
        timed = [f for f in table if has_date(f[0][:40]) or seconds(f[0].strip(' "')) is not None]
        if len(timed) * 2 > len(lines):
            # With a user, most rows have at least three columns; two columns are time and text.
            return delimiter, 3 if sum(len(f) > 2 for f in timed) * 2 > len(timed) else 2
    return "", 0


def _parse_plain(source: Source, report: Report) -> Iterator[Comment]:
    delimiter, width = _shape(source.head)
    for where, fields in _rows(_Lines(source.lines(report)), report, delimiter, width=width, is_joined=True):
        yield from comment(fields[0], fields[1] if width == 3 else "", fields[-1], report, where, column="time")


class Repeats:
    """Detects repeated comments: TikTok sends the last ones again after a reconnect.

    Compares ids, or all fields if the time is TikTok's ``create_time`` in ms.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()  # hashes, since ids and texts take more memory than the comments

    def seen(self, column: str, *fields: str, identifier: object = None) -> bool:
        """Return whether the same comment came before, and remember it."""
        if isinstance(identifier, str | int) and identifier:
            key = hash(str(identifier))
        elif column in ("create_time", "createtime"):
            key = hash(fields)
        else:
            return False
        is_known = key in self._seen
        self._seen.add(key)
        return is_known


def comment(time: str, user: str, text: str, report: Report, where: str, *, column: str) -> tuple[Comment, ...]:
    """Read a comment with its time (seconds, a clock, an epoch or a date) in the named column."""
    if has_date(time[:40]):
        time_s = report.date(time, where)
    else:
        time_s = report.time(scaled(time, 1e-3 if column.endswith(("_ms", "_msec")) else 1.0), where, shown=time)
    author = clean(user)
    kind, text = classify(author, _EMOTE.sub(r"\1", clean(text)))
    return report.comment(time_s, author, text, where, kind)


WITH_HEADER = Format(
    "CSV or TSV", "a header with time, user and text", lambda head: bool(header_of(head)[0]), _parse_header
)
WITHOUT_HEADER = Format(
    "CSV or TSV without header", "time, user, text", lambda head: bool(_shape(head)[0]), _parse_plain
)
