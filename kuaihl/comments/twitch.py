"""Twitch JSON: TwitchDownloader's, and Twitch's own (API v5 and GraphQL), with times from the start of the VOD."""

import re
from collections.abc import Iterator

from kuaihl.comments import json_stream
from kuaihl.comments.diagnostics import MAX_TIME_S, Report
from kuaihl.comments.fields import as_clock, classify, clean, event_kind, is_bot, seconds
from kuaihl.comments.format import Format
from kuaihl.comments.json_exports import inner, items, json_format
from kuaihl.comments.json_stream import Entry
from kuaihl.comments.source import Source
from kuaihl.records import Comment

_LIST = re.compile(r'"comments"\s*:\s*\[')
_KEYS = re.compile(r'"(?:content_offset_seconds|FileInfo|embeddedData)"\s*:|"(?:streamer|video)"\s*:\s*\{')


def _is_entry(entry: Entry) -> bool:
    return "content_offset_seconds" in entry


def _is_graphql(entry: Entry) -> bool:
    return "contentOffsetSeconds" in entry and "message" in entry


def _sniff(head: str) -> bool:
    if head.lstrip().startswith("["):
        return json_stream.sniffer(_is_entry)(head)
    return head.lstrip().startswith("{") and bool(_KEYS.search(head))


def _parse(source: Source, report: Report) -> Iterator[Comment]:
    head = source.head
    first = head.find('"content_offset_seconds"')
    start_s = 0.0
    # In a document, as opposed to a list or comments in a row, the list may come after much else.
    if not head.lstrip().startswith("[") and (first < 0 or _LIST.search(head, 0, first)):
        # Trimmed chats and clips keep the offsets of the whole VOD.
        video = json_stream.value_of(source, "video")
        value_s = seconds((video or {}).get("start")) or 0.0
        start_s = value_s if 0 < value_s < MAX_TIME_S else 0.0
        found = json_stream.entries_of_list(source, report, _LIST, _is_entry)
    else:
        found = json_stream.entries(source, report, _is_entry)
    if start_s:
        report.add_note(f"trimmed: times count from {as_clock(start_s)} of the VOD")
    for where, entry in found:
        yield from _read(entry, report, where, start_s)


def _read(entry: Entry, report: Report, where: str, start_s: float = 0.0) -> tuple[Comment, ...]:
    message = inner(entry, "message")
    if not message:
        report.damage("comments without a message", where)
        return ()
    time_s = report.time(seconds(entry.get("content_offset_seconds", entry.get("contentOffsetSeconds"))), where)
    if time_s is None:
        return ()
    fragments = [part["text"] for part in items(message, "fragments") if isinstance(part.get("text"), str)]
    author = inner(entry, "commenter")
    login = author.get("name") or author.get("login")
    user = clean(author.get("display_name") or author.get("displayName")) or clean(login)
    kind, text = classify(user, clean(message.get("body")) or clean("".join(fragments)))
    notice = inner(message, "user_notice_params")
    event = str(notice.get("msg_id") or notice.get("msg-id") or "")
    kind = event_kind(event, kind, is_paid=(seconds(message.get("bits_spent")) or 0) > 0)
    badges = items(message, "user_badges") + items(message, "userBadges")
    is_program = is_bot(user, login) or any("bot-badge" in (b.get("_id"), b.get("setID")) for b in badges)
    return report.comment(time_s - start_s, user, text, where, "bot" if is_program else kind)


JSON = Format("TwitchDownloader JSON", "comments[] with content_offset_seconds and message.body", _sniff, _parse)
GRAPHQL = json_format(
    "Twitch GraphQL JSON", "nodes with contentOffsetSeconds, commenter and message.fragments", _is_graphql, _read
)
