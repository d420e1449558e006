"""TwitchDownloader JSON and text, with times from the start of the VOD."""

import re
from collections.abc import Iterator
from typing import Any

from kuaihl.comments import json_stream
from kuaihl.comments.announcements import kind_of, words_of
from kuaihl.comments.diagnostics import MAX_TIME_S, Report
from kuaihl.comments.fields import as_clock, clean, clock_s, is_bot, seconds
from kuaihl.comments.format import Format
from kuaihl.comments.source import Source
from kuaihl.records import Comment

_LIST = re.compile(r'"comments"\s*:\s*\[')
_BARE_LIST = re.compile(r"\s*\[")
_BARE = re.compile(r"\s*(?=\{)")
_JSON_KEYS = re.compile(r'"(?:content_offset_seconds|FileInfo|embeddedData)"\s*:|"(?:streamer|video)"\s*:\s*\{')

_TIMED = re.compile(r"\s*\[(?P<time>-?(?:\d+:)?\d+:\d\d(?:[.,]\d+)?)\] ?(?P<rest>.*)")
_AUTHOR = re.compile(r"(?P<user>[^:!]{1,60}?): ?(?P<body>.*)")


def _sniff_json(head: str) -> bool:
    if head.lstrip().startswith("["):
        return '"content_offset_seconds"' in head
    return head.lstrip().startswith("{") and bool(_JSON_KEYS.search(head))


def _parse_json(source: Source, report: Report) -> Iterator[Comment]:
    begins = _list_of(source.head)
    # Trimmed chats and clips keep the offsets of the whole VOD.
    video = json_stream.value_of(source, "video") if begins is _LIST else None
    start_s = seconds((video or {}).get("start")) or 0.0
    start_s = start_s if 0 < start_s < MAX_TIME_S else 0.0
    if start_s:
        report.add_note(f"trimmed: times count from {as_clock(start_s)} of the VOD")
    for where, entry in json_stream.entries(
        source,
        report,
        begins=begins,
        is_entry=lambda e: "content_offset_seconds" in e,
        closed_by="" if begins is _BARE else "]",
    ):
        message = entry.get("message")
        if not isinstance(message, dict):
            report.damage("comments without a message", where)
            continue
        time_s = report.time(seconds(entry.get("content_offset_seconds")), where)
        if time_s is None:
            continue
        text = clean(message.get("body")) or clean("".join(_fragments(message)))
        if not text:
            report.skip("comments without text", where)
            continue
        yield _comment(time_s - start_s, text, entry, message)


def _list_of(head: str) -> re.Pattern[str]:
    """Return where the comments begin: in a list of a document, in a bare list, or without a list."""
    if head.lstrip().startswith("["):
        return _BARE_LIST
    time = head.find('"content_offset_seconds"')
    return _LIST if time < 0 or _LIST.search(head, 0, time) else _BARE


def _fragments(message: dict[str, Any]) -> list[str]:
    pieces = message.get("fragments")
    if not isinstance(pieces, list):
        return []
    return [p["text"] for p in pieces if isinstance(p, dict) and isinstance(p.get("text"), str)]


def _comment(time_s: float, text: str, entry: dict[str, Any], message: dict[str, Any]) -> Comment:
    author = entry.get("commenter")
    author = author if isinstance(author, dict) else {}
    user = clean(author.get("display_name")) or clean(author.get("name")) or None
    notice = message.get("user_notice_params")
    notice = notice if isinstance(notice, dict) else {}
    event = str(notice.get("msg_id") or notice.get("msg-id") or "")
    badges = message.get("user_badges")
    badges = {str(b.get("_id")) for b in badges if isinstance(b, dict)} if isinstance(badges, list) else set()
    kind, text = words_of(user, text)
    bot = is_bot(user, author.get("name")) or "bot-badge" in badges
    bits = (seconds(message.get("bits_spent")) or 0) > 0
    return Comment(time_s, text, user, kind_of(event, kind, bot=bot, bits=bits))


def _sniff_text(head: str) -> bool:
    lines = [line for line in head.splitlines()[:40] if line.strip()]
    return sum(bool(_TIMED.match(line)) for line in lines) * 2 > len(lines)


def _parse_text(source: Source, report: Report) -> Iterator[Comment]:
    for number, line in source.lines(report):
        where = f"line {number}"
        timed = _TIMED.fullmatch(line)
        if not timed:
            report.damage("lines that do not begin with [h:mm:ss]", where)
            continue
        time_s = report.time(clock_s(timed["time"]), where)
        if time_s is not None:
            yield from said(time_s, timed["rest"], report, where)


def said(time_s: float, line: str, report: Report, where: str) -> Iterator[Comment]:
    """Read ``user: text`` after the time in Twitch logs; system notices have no user."""
    author = _AUTHOR.fullmatch(line)
    user, text = (clean(author["user"]), clean(author["body"])) if author else ("", clean(line))
    if not text:
        report.skip("comments without text", where)
        return
    kind, text = words_of(user or text.partition(" ")[0], text)
    if not author and kind == "message":
        kind = "notice"
    yield Comment(time_s, text, user or None, "bot" if is_bot(user) else kind)


JSON = Format(
    "TwitchDownloader JSON", "comments[] with content_offset_seconds and message.body", _sniff_json, _parse_json
)
TEXT = Format("Twitch text", "[h:mm:ss] user: text", _sniff_text, _parse_text)
