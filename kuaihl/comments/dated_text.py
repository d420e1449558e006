"""Text lines that begin with a date: Twitch text in UTC, justlog, and other loggers."""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import timezone, tzinfo

from kuaihl.comments.diagnostics import Report
from kuaihl.comments.format import Format
from kuaihl.comments.source import Source
from kuaihl.comments.twitch import said
from kuaihl.comments.wall_clock import DATE_TIME
from kuaihl.records import Comment

_UTC = re.compile(rf"\s*\[(?P<date>{DATE_TIME})(?<=UTC)\] ?(?P<rest>.*)")
_JUSTLOG = re.compile(rf"\s*\[(?P<date>{DATE_TIME})\] #\S+ (?P<rest>.*)")
# A tab, comma or bar after the date would make it a table.
_DATED = re.compile(rf"\s*\[?(?P<date>{DATE_TIME})\]?:?(?: +- +| +)(?![|+-])(?P<rest>.*)")
_NICK = re.compile(r"<(?P<user>[^<>]+)> (?P<text>.*)")
# As in "count:2 [channel] [user] text".
_BRACKETS = re.compile(r"(?:\S*[^\s:] )?(?P<brackets>(?:\[[^\]]*\] ?)+)")
_ACTION = re.compile("\x01ACTION (.*?)\x01?$")


def without_action(text: str) -> str:
    """Return the text of an IRC action ("/me ..."), or the text itself."""
    return _ACTION.sub(r"\1", text)


def most_lines(head: str, pattern: re.Pattern[str]) -> bool:
    """Return whether more than half of the first lines match a pattern."""
    lines = [line for line in head.splitlines()[:40] if line.strip()]
    return sum(bool(pattern.match(line)) for line in lines) * 2 > len(lines)


def _sniff_utc(head: str) -> bool:
    return most_lines(head, _UTC)


def _sniff_justlog(head: str) -> bool:
    return most_lines(head, _JUSTLOG)


def _sniff_dated(head: str) -> bool:
    return most_lines(head, _DATED)


def _parse(source: Source, report: Report, line_form: re.Pattern[str], zone: tzinfo | None) -> Iterator[Comment]:
    brackets = _brackets(source.head, line_form)
    for number, line in source.lines(report):
        where = f"line {number}"
        found = line_form.fullmatch(line)
        if not found:
            report.damage("lines that do not begin with a date and a time", where)
            continue
        time_s = report.date(found["date"], where, zone=zone)
        if time_s is None:
            continue
        user, text = _speaker(found["rest"], brackets)
        yield from said(time_s, f"{user}: {without_action(text)}" if user else without_action(text), report, where)


def _speaker(line: str, brackets: int) -> tuple[str, str]:
    """Return the author in brackets, and the rest of the line."""
    if nick := _NICK.fullmatch(line):
        return nick["user"], nick["text"]
    user, rest = "", line
    for _ in range(brackets):
        before, opening, inside = rest.partition("[")
        user, closing, text = inside.partition("]")
        if not opening or not closing or len(before.split()) > 1:
            return "", line
        rest = text.lstrip(" ")
    return user, rest


def _brackets(head: str, line_form: re.Pattern[str]) -> int:
    """Return how many brackets most lines have before the text; the last holds the author."""
    counts: Counter[int] = Counter()
    for line in head.splitlines()[:40]:
        if found := line_form.match(line):
            inside = _BRACKETS.match(found["rest"])
            counts[inside["brackets"].count("[") if inside else 0] += 1
    return counts.most_common(1)[0][0] if counts else 0


def _parse_utc(source: Source, report: Report) -> Iterator[Comment]:
    return _parse(source, report, _UTC, timezone.utc)


def _parse_justlog(source: Source, report: Report) -> Iterator[Comment]:
    report.add_note("dates are in UTC")
    return _parse(source, report, _JUSTLOG, timezone.utc)


def _parse_dated(source: Source, report: Report) -> Iterator[Comment]:
    return _parse(source, report, _DATED, None)


FORMATS = (
    Format("Twitch text in UTC", "[2024-05-01 20:00:00 UTC] user: text", _sniff_utc, _parse_utc),
    Format("justlog", "[2024-05-01 20:00:00] #channel user: text", _sniff_justlog, _parse_justlog),
    Format("text with dates", "2024-05-01 20:00:00 user: text", _sniff_dated, _parse_dated),
)
