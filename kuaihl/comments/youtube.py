"""YouTube: .live_chat.json of yt-dlp, one JSON object per line."""

from collections.abc import Iterator
from typing import Any

from kuaihl.comments import json_stream
from kuaihl.comments.diagnostics import Report
from kuaihl.comments.fields import clean, clock_s, is_bot, seconds
from kuaihl.comments.format import Format
from kuaihl.comments.source import Source
from kuaihl.records import Comment

_KINDS = {
    "liveChatTextMessageRenderer": "message",
    "liveChatPaidMessageRenderer": "paid",
    "liveChatPaidStickerRenderer": "gift",
    "liveChatMembershipItemRenderer": "message",  # with a message by the member; otherwise a notice
    "liveChatSponsorshipsGiftPurchaseAnnouncementRenderer": "gift",
    "liveChatSponsorshipsGiftRedemptionAnnouncementRenderer": "gift",
    "liveChatDonationAnnouncementRenderer": "gift",
    "giftMessageViewModel": "gift",
    "liveChatModeChangeMessageRenderer": "notice",
    "liveChatModerationMessageRenderer": "notice",
}
_WITHOUT_WORDS = {"paid": "gift", "message": "notice"}
_TEXTS = ("message", "headerSubtext", "headerPrimaryText", "primaryText", "text", "subtext")
_LEFT_OUT = {
    "liveChatPlaceholderItemRenderer": "placeholders",
    "liveChatViewerEngagementMessageRenderer": "notes by YouTube",
}


def _sniff(head: str) -> bool:
    return head.lstrip().startswith("{") and '"replayChatItemAction"' in head


def _parse(source: Source, report: Report) -> Iterator[Comment]:
    seen: set[int] = set()  # hashes, since the ids take more memory than the comments
    for where, line in json_stream.lines(source, report):
        replay = line.get("replayChatItemAction")
        actions = replay.get("actions") if isinstance(replay, dict) else None
        if not isinstance(replay, dict) or not isinstance(actions, list):
            report.skip("lines that are not chat actions", where)
            continue
        live = bool(line.get("isLive"))
        if live and not report.start:
            report.add_note("live capture: times count from its start unless the stream start is given")
        offset = replay.get("videoOffsetTimeMsec", line.get("videoOffsetTimeMsec"))
        for action in actions:
            found = _item(action, report, where)
            if not found:
                continue
            kind, item = found
            name = item.get("id")
            if isinstance(name, str):
                if hash(name) in seen:
                    report.skip("repeats of a comment", where)
                    continue
                seen.add(hash(name))
            if live and report.start:  # the capture need not start with the stream
                time_s = report.epoch(seconds(item.get("timestampUsec")), where)
            else:
                time_s = report.time(_time_s(item, offset), where)
            if time_s is not None:
                yield from _comment(time_s, kind, item, report, where)


def _item(action: object, report: Report, where: str) -> tuple[str, dict[str, Any]] | None:
    """Return the item that an action adds to the chat: renderer name and content."""
    if not isinstance(action, dict):
        report.damage("actions that are not objects", where)
        return None
    if "addLiveChatTickerItemAction" in action:
        report.skip("ticker items, which repeat what was paid for", where)
        return None
    added, replaced = action.get("addChatItemAction"), action.get("replaceChatItemAction")
    if isinstance(added, dict):
        item = added.get("item")
    elif isinstance(replaced, dict):  # a comment that was held for review
        item = replaced.get("replacementItem")
    else:
        report.skip("actions other than comments (deletions, banners, polls)", where)
        return None
    name, content = next(iter(item.items()), ("", None)) if isinstance(item, dict) else ("", None)
    if name in _LEFT_OUT:
        report.skip(_LEFT_OUT[name], where)
    elif not isinstance(content, dict):
        report.damage("items without content", where)
    elif name not in _KINDS:
        report.skip(f"items of an unknown kind ({name})", where)
    else:
        return name, content
    return None


def _time_s(item: dict[str, Any], offset_ms: object) -> float | None:
    """Return the seconds from the start of the stream.

    A replay puts everything before the stream at 0; the true time is only in ``timestampText``.
    """
    time_s = seconds(offset_ms)
    shown = item.get("timestampText")
    shown = shown.get("simpleText") if isinstance(shown, dict) else None
    told_s = clock_s(shown) if isinstance(shown, str) else None
    if told_s is not None and (time_s is None or (time_s == 0 and told_s < 0)):
        return told_s
    return None if time_s is None else time_s / 1000


def _comment(time_s: float, name: str, item: dict[str, Any], report: Report, where: str) -> Iterator[Comment]:
    kind = _KINDS[name]
    header = item.get("header")
    header = header.get("liveChatSponsorshipsHeaderRenderer") if isinstance(header, dict) else None
    parts = [item, header] if isinstance(header, dict) else [item]
    user = next((t for p in parts if (t := _text(p.get("authorName")))), None)
    text = _text(item.get("message"))
    if not text:
        kind = _WITHOUT_WORDS.get(kind, kind)
        text = next((t for p in parts for key in _TEXTS if (t := _text(p.get(key)))), "")
        text = text or _text(item.get("purchaseAmountText"))
    if not text:
        report.skip("comments without text", where)
        return
    yield Comment(time_s, text, user, "bot" if kind == "message" and is_bot(user) else kind)


def _text(value: object) -> str:
    """Return the text of a message: plain, or runs of text and emoji."""
    if not isinstance(value, dict):
        return ""
    plain = value.get("simpleText") or value.get("content")
    if plain or not isinstance(value.get("runs"), list):
        return clean(plain)
    return clean("".join(_run(run) for run in value["runs"] if isinstance(run, dict)))


def _run(run: dict[str, Any]) -> str:
    emoji = run.get("emoji")
    if not isinstance(emoji, dict):
        return run["text"] if isinstance(run.get("text"), str) else ""
    shortcuts = emoji.get("shortcuts")
    names = shortcuts if isinstance(shortcuts, list) else []
    if not emoji.get("isCustomEmoji"):
        names = [emoji.get("emojiId"), *names]  # the character itself
    return next((n for n in names if isinstance(n, str)), "")


FORMATS = (
    Format("YouTube live chat (yt-dlp)", "a line with replayChatItemAction and videoOffsetTimeMsec", _sniff, _parse),
)
