"""YouTube live chat: the .live_chat.json of yt-dlp, and responses of YouTube as other programs save them."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from kuaihl.comments import json_stream
from kuaihl.comments.diagnostics import Report
from kuaihl.comments.fields import clean, clock_s, scaled, seconds
from kuaihl.comments.format import Format
from kuaihl.comments.json_exports import inner
from kuaihl.comments.json_stream import Entry
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
_ACTIONS = {"addChatItemAction", "replaceChatItemAction", "addLiveChatTickerItemAction"}


def _is_replay(entry: Entry) -> bool:
    return "replayChatItemAction" in entry


def _is_entry(entry: Entry) -> bool:
    return _is_replay(entry) or not _ACTIONS.isdisjoint(entry)


def _sniff_lines(head: str) -> bool:
    return head.lstrip().startswith("{") and '"replayChatItemAction"' in head.lstrip().partition("\n")[0]


def _parse(source: Source, report: Report) -> Iterator[Comment]:
    seen: set[int] = set()  # hashes, since the ids take more memory than the comments
    for where, entry in json_stream.entries(source, report, _is_entry):
        replay = inner(entry, "replayChatItemAction")
        actions = replay.get("actions") if replay else [entry] if _is_entry(entry) else None
        if not isinstance(actions, list):
            report.skip("lines other than chat actions", where)
            continue
        is_live = bool(entry.get("isLive")) or not replay
        if is_live and not report.start and replay:
            report.add_note("live capture: times count from the start of the capture unless the stream start is given")
        offset = replay.get("videoOffsetTimeMsec", entry.get("videoOffsetTimeMsec"))
        for name, item in filter(None, map(partial(_item, report=report, where=where), actions)):
            if isinstance(item.get("id"), str):
                if hash(item["id"]) in seen:
                    report.skip("repeats of a comment", where)
                    continue
                seen.add(hash(item["id"]))
            # Live, only the epoch does not depend on when the capture started.
            if is_live and (report.start or not replay):
                time_s = report.epoch(seconds(item.get("timestampUsec")), where)
            else:
                time_s = report.time(_time_s(item, offset), where)
            yield from _comment(time_s, name, item, report, where)


def _item(action: object, report: Report, where: str) -> tuple[str, Entry] | None:
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


def _time_s(item: Entry, offset_ms: object) -> float | None:
    """Return the seconds from the start of the stream.

    A replay puts everything before the stream at 0; the true time is only in ``timestampText``.
    """
    time_s = scaled(offset_ms, 1e-3)
    shown = inner(item, "timestampText").get("simpleText")
    shown_s = clock_s(shown) if isinstance(shown, str) else None
    return shown_s if shown_s is not None and (time_s is None or (time_s == 0 and shown_s < 0)) else time_s


def _comment(time_s: float | None, name: str, item: Entry, report: Report, where: str) -> tuple[Comment, ...]:
    kind = _KINDS[name]
    parts = [item, inner(inner(item, "header"), "liveChatSponsorshipsHeaderRenderer")]
    user = next((t for p in parts if (t := _text(p.get("authorName")))), "")
    text = _text(item.get("message"))
    if not text:
        kind = _WITHOUT_WORDS.get(kind, kind)
        text = next((t for p in parts for key in _TEXTS if (t := _text(p.get(key)))), "")
        text = text or _text(item.get("purchaseAmountText"))
    return report.comment(time_s, user, text, where, kind)


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
    Format("YouTube live chat (yt-dlp)", "a line with replayChatItemAction", _sniff_lines, _parse),
    Format(
        "YouTube live chat",
        "actions such as addChatItemAction",
        json_stream.sniffer(_is_entry),
        _parse,
    ),
)
