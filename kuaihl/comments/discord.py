"""DiscordChatExporter JSON: dated messages of a channel."""

import re
from collections.abc import Iterator
from typing import Any

from kuaihl.comments import json_stream
from kuaihl.comments.diagnostics import Report
from kuaihl.comments.fields import clean, is_bot
from kuaihl.comments.format import Format
from kuaihl.comments.source import Source
from kuaihl.records import Comment

_SNIFFED = re.compile(r'\A\s*\{\s*"guild"\s*:')
_LIST = re.compile(r'"messages"\s*:\s*\[')
_SAID = ("Default", "Reply", "0", "19")


def _sniff(head: str) -> bool:
    return bool(_SNIFFED.match(head))


def _parse(source: Source, report: Report) -> Iterator[Comment]:
    for where, entry in json_stream.entries(
        source, report, begins=_LIST, is_entry=lambda e: "timestamp" in e and "content" in e
    ):
        stamp = entry.get("timestamp")
        if not isinstance(stamp, str):
            report.damage("entries without a readable time", where)
            continue
        time_s = report.date(stamp, where)
        if time_s is not None:
            yield from _comment(time_s, entry, report, where)


def _comment(time_s: float, entry: dict[str, Any], report: Report, where: str) -> Iterator[Comment]:
    author = entry.get("author")
    author = author if isinstance(author, dict) else {}
    user = clean(author.get("nickname")) or clean(author.get("name")) or None
    text = clean(entry.get("content")) or _stickers(entry.get("stickers"))
    if not text:
        report.skip("comments without text", where)
        return
    kind = "message" if str(entry.get("type", "Default")) in _SAID else "notice"
    if author.get("isBot") is True or is_bot(user):
        kind = "bot"
    yield Comment(time_s, text, user, kind)


def _stickers(found: object) -> str:
    names = [clean(s.get("name")) for s in found if isinstance(s, dict)] if isinstance(found, list) else []
    return " ".join(f":{name}:" for name in names if name)


JSON = Format("DiscordChatExporter JSON", "messages[] with timestamp, author and content", _sniff, _parse)
