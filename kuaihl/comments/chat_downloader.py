"""chat-downloader JSON, JSON lines and CSV of YouTube, Twitch and others, with old and new field names."""

from collections.abc import Iterator, Mapping
from typing import Any

from kuaihl.comments import csv_table
from kuaihl.comments.diagnostics import Report
from kuaihl.comments.fields import clean, clock_s, seconds
from kuaihl.comments.format import Format
from kuaihl.comments.json_exports import json_format
from kuaihl.comments.source import Source
from kuaihl.records import Comment

_LEFT_OUT = {
    "viewer_engagement_message", "placeholder_item", "ban_user", "deleted_message", "delete_message", "clear_chat",
    "banner", "banner_header", "remove_banner", "room_state", "user_state", "reconnect", "successful_login",
}  # fmt: skip
_GIFTS = {
    "paid_sticker", "donation_announcement", "purchased_product_message", "subscription_gift", "reward_gift",
    "anonymous_subscription_gift", "mystery_subscription_gift", "anonymous_mystery_subscription_gift",
    "standard_pay_forward", "community_pay_forward", "prime_community_gift_received",
    "sponsorships_gift_purchase_announcement", "sponsorships_gift_redemption_announcement",
}  # fmt: skip
_NOTICES = {
    "membership_item", "mode_change_message", "subscription", "extend_subscription", "prime_paid_upgrade",
    "gift_paid_upgrade", "anonymous_gift_paid_upgrade", "raid", "unraid", "ritual", "bits_badge_tier", "notice",
    "user_notice", "host_target", "start_host", "end_host", "charity", "crowd_chant",
}  # fmt: skip


def _is_entry(entry: Mapping[str, Any]) -> bool:
    return "message" in entry and not {"time_in_seconds", "timestamp", "time_text"}.isdisjoint(entry)


def _sniff_csv(head: str) -> bool:
    _, names = csv_table.header_of(head)
    # Live captures have only epochs.
    is_live = "timestamp" in names and not {"time_text", "message_type"}.isdisjoint(names)
    return (
        ("time_in_seconds" in names or is_live)
        and "message" in names
        and any(name.startswith("author") for name in names)
    )


def _parse_csv(source: Source, report: Report) -> Iterator[Comment]:
    _, names = csv_table.header_of(source.head)
    for where, fields in csv_table.rows(source, report, text_at=names.index("message")):
        yield from _read_entry(dict(zip(names, fields, strict=True)), report, where)


def _read_entry(row: Mapping[str, Any], report: Report, where: str) -> tuple[Comment, ...]:
    event = str(row.get("message_type") or "")
    if event.startswith("ticker_") or row.get("ticker_duration") not in (None, ""):
        report.skip("ticker items, which repeat paid messages", where)
        return ()
    if event in _LEFT_OUT:
        report.skip("entries other than comments (deletions, banners, notes by the platform)", where)
        return ()
    time_s = _time_s(row, report, where)
    text = clean(row.get("message")) or clean(row.get("system_message"))
    kind = _kind(row, event)
    if not text and kind in ("paid", "gift"):
        kind, text = "gift", _money(row)
    return report.comment(time_s, _user(row), text, where, kind)


def _time_s(row: Mapping[str, Any], report: Report, where: str) -> float | None:
    time_s = seconds(row.get("time_in_seconds"))
    shown = row.get("time_text")
    shown_s = clock_s(shown) if isinstance(shown, str) else None
    if time_s is None or (time_s == 0 and shown_s is not None and shown_s < 0):
        # Old versions put everything before the stream at 0; the true time is only in the text.
        time_s = shown_s
    stamp = row.get("timestamp")
    if time_s is None and stamp not in (None, "") and row.get("time_in_seconds") in (None, ""):
        return report.epoch(seconds(stamp), where, shown=stamp)
    return report.time(time_s, where, shown=shown)


def _kind(row: Mapping[str, Any], event: str) -> str:
    if event in _GIFTS:
        return "gift"
    if row.get("money") or row.get("money.amount") or row.get("amount") or (seconds(row.get("bits")) or 0) > 0:
        return "paid"
    return "notice" if event in _NOTICES else "message"


def _money(row: Mapping[str, Any]) -> str:
    money = row.get("money")
    return clean(money.get("text") if isinstance(money, dict) else row.get("money.text") or row.get("amount"))


def _user(row: Mapping[str, Any]) -> str:
    """Return the name of the author: text in old versions, an object in new ones, flattened columns in CSV."""
    author = row.get("author")
    names = [row.get("author.display_name"), row.get("author.name"), row.get("author_name"), author]
    if isinstance(author, dict):
        names = [author.get("display_name"), author.get("name")]
    return next((name for n in names if (name := clean(n))), "")


_ENTRY = "time_in_seconds, author and message"
FORMATS = (
    json_format("chat-downloader JSON", _ENTRY, _is_entry, _read_entry),
    Format("chat-downloader CSV", _ENTRY, _sniff_csv, _parse_csv),
)
