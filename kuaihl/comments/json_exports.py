"""JSON with one object per comment.

DiscordChatExporter, CHZZK and npm youtube-chat have formats of their own; Kick, TikTok and others use usual names.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

from kuaihl.comments import json_stream
from kuaihl.comments.csv_table import MESSAGE_IDS, TEXTS, TIMES, USERS, Repeats, comment
from kuaihl.comments.diagnostics import Report
from kuaihl.comments.fields import clean, seconds
from kuaihl.comments.format import Format
from kuaihl.comments.json_stream import Entry, IsEntry
from kuaihl.comments.source import Source
from kuaihl.records import Comment

ReadEntry = Callable[[Entry, Report, str], tuple[Comment, ...]]

_DISCORD_MESSAGES = ("Default", "Reply", "0", "19")
_CHZZK_KINDS = {10: "paid", 11: "gift", 12: "gift", 30: "notice"}
_ENVELOPES = ("event", "common", "base_message", "basemessage", "data", "snippet", "authordetails")
"""Objects inside an entry in which libraries for TikTok and YouTube's API put its fields."""


def json_format(name: str, example: str, is_entry: IsEntry, read_entry: ReadEntry) -> Format:
    """Make a format of JSON: one object per comment, which ``read_entry`` reads."""

    def parse(source: Source, report: Report) -> Iterator[Comment]:
        repeats = Repeats()
        for where, entry in json_stream.entries(source, report, is_entry):
            if repeats.seen("", identifier=entry.get("id")):
                report.skip("repeats of a comment", where)
            else:
                yield from read_entry(entry, report, where)

    return Format(name, example, json_stream.sniffer(is_entry), parse)


def inner(entry: Entry, key: str) -> dict[str, Any]:
    """Return an object of an entry, written as such or as text; an empty one if there is none."""
    value = entry.get(key)
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}


def items(entry: Entry, key: str) -> list[dict[str, Any]]:
    """Return the objects in a list of an entry; none if there is no list."""
    value = entry.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _is_discord(entry: Entry) -> bool:
    return {"type", "timestamp", "content", "author"} <= entry.keys() and isinstance(entry["author"], dict)


def _read_discord(entry: Entry, report: Report, where: str) -> tuple[Comment, ...]:
    author, stamp = inner(entry, "author"), entry.get("timestamp")
    time_s = report.date(stamp, where) if isinstance(stamp, str) else report.time(None, where)
    stickers = " ".join(f":{name}:" for sticker in items(entry, "stickers") if (name := clean(sticker.get("name"))))
    user = clean(author.get("nickname")) or clean(author.get("name"))
    kind = "message" if str(entry.get("type", "Default")) in _DISCORD_MESSAGES else "notice"
    kind = "bot" if author.get("isBot") is True else kind
    return report.comment(time_s, user, clean(entry.get("content")) or stickers, where, kind)


def _is_chzzk(entry: Entry) -> bool:
    return not {"playerMessageTime", "messageTime", "msgTime"}.isdisjoint(entry) and "profile" in entry


def _read_chzzk(entry: Entry, report: Report, where: str) -> tuple[Comment, ...]:
    """Read a comment of a recording, with its time in ms, or of a live chat, with its epoch."""
    played_ms = seconds(entry.get("playerMessageTime"))
    sent = seconds(entry.get("messageTime", entry.get("msgTime")))
    time_s = report.epoch(sent, where) if played_ms is None else report.time(played_ms / 1000, where)
    code = entry.get("messageTypeCode", entry.get("msgTypeCode"))
    kind = _CHZZK_KINDS.get(code, "message") if isinstance(code, int) else "message"
    text = clean(entry.get("content", entry.get("msg")))
    if kind == "paid" and not text:
        kind, text = "gift", str(inner(entry, "extras").get("payAmount") or "")
    return report.comment(time_s, clean(inner(entry, "profile").get("nickname")), text, where, kind)


def _is_youtube_chat(entry: Entry) -> bool:
    return isinstance(entry.get("message"), list) and isinstance(entry.get("author"), dict) and "timestamp" in entry


def _read_youtube_chat(entry: Entry, report: Report, where: str) -> tuple[Comment, ...]:
    stamp = entry.get("timestamp")
    time_s = report.date(stamp, where) if isinstance(stamp, str) else report.epoch(seconds(stamp), where)
    parts = [part.get("text") or part.get("emojiText") or part.get("alt") for part in items(entry, "message")]
    text = clean("".join(part for part in parts if isinstance(part, str)))
    paid = inner(entry, "superchat")
    kind = "paid" if paid else "message"
    if not text and paid:
        kind, text = "gift", clean(paid.get("amount"))
    return report.comment(time_s, clean(inner(entry, "author").get("name")), text, where, kind)


def _fields(entry: Entry) -> dict[str, Any]:
    """Return the fields of an entry and of its envelopes, by their names in lower case."""
    fields = {name.lower(): value for name, value in entry.items()}
    envelopes = [value for name in _ENVELOPES if isinstance(value := fields.get(name), dict)]
    return {**{name.lower(): value for envelope in envelopes for name, value in envelope.items()}, **fields}


def _is_usual(entry: Entry) -> bool:
    fields = _fields(entry)
    return not fields.keys().isdisjoint(TIMES) and any(isinstance(fields.get(name), str) for name in TEXTS)


def _parse_usual(source: Source, report: Report) -> Iterator[Comment]:
    repeats = Repeats()
    for where, entry in json_stream.entries(source, report, _is_usual):
        fields = _fields(entry)
        column = next((name for name in TIMES if isinstance(fields.get(name), str | int | float)), None)
        if column is None:
            report.damage("entries without a readable time", where)
            continue
        text_name = next((name for name in TEXTS if isinstance(fields.get(name), str)), "")
        time, text = str(fields[column]), fields.get(text_name, "")
        user = next((n for name in USERS if name != text_name and (n := _name(fields.get(name)))), "")
        identifier = next((fields[name] for name in ("id", *MESSAGE_IDS) if fields.get(name)), None)
        if repeats.seen(column, time, user, text, identifier=identifier):
            report.skip("repeats of a comment", where)
        else:
            yield from comment(time, user, text, report, where, column=column)


def _name(value: object) -> str:
    """Return the name of an author: text, or an object with the name under a usual key."""
    if isinstance(value, dict):
        names = {str(key).lower(): content for key, content in value.items()}
        return next((n for name in USERS if (n := clean(names.get(name)))), "")
    return clean(value)


DISCORD = json_format(
    "DiscordChatExporter JSON", "messages[] with timestamp, author and content", _is_discord, _read_discord
)
CHZZK = json_format(
    "CHZZK JSON", "objects with playerMessageTime or messageTime, profile and content", _is_chzzk, _read_chzzk
)
YOUTUBE_CHAT = json_format(
    "youtube-chat JSON", "objects with timestamp, author.name and message[]", _is_youtube_chat, _read_youtube_chat
)
USUAL = Format(
    "JSON of comments",
    "objects with time, user and text (Kick: createdAt, username, content; TikTok: create_time, nickname, comment)",
    json_stream.sniffer(_is_usual),
    _parse_usual,
)
