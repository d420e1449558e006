"""chat-downloader: JSON, JSON lines, CSV and text, with the field names of old and new versions."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kuaihl.comments import csv_table, json_stream
from kuaihl.comments.announcements import words_of
from kuaihl.comments.dated_text import most_lines
from kuaihl.comments.diagnostics import Report
from kuaihl.comments.fields import clean, clock_s, is_bot, is_date, seconds
from kuaihl.comments.format import Format
from kuaihl.comments.source import Source
from kuaihl.comments.wall_clock import DATE_TIME
from kuaihl.records import Comment

_LIST = re.compile(r"\s*\[")
_KEYS = re.compile(r'"(?:time_in_seconds|time_text|timestamp)"\s*:')
_LINE = re.compile(
    rf"\s*(?P<time>-?(?:\d[\d,]*:)?\d+:\d\d|{DATE_TIME}) \| (?:\([^()]{{1,200}}\) )?(?:\*(?P<money>[^*]{{1,40}})\* )?"
    r"(?:(?P<user>[^:]{1,100}): )?(?P<text>.*)"
)
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


def _sniff_list(head: str) -> bool:
    return head.lstrip().startswith("[") and bool(_KEYS.search(head)) and '"message"' in head


def _sniff_lines(head: str) -> bool:
    first = head.lstrip().partition("\n")[0]
    return first.startswith("{") and bool(_KEYS.search(first)) and '"message"' in first


def _sniff_csv(head: str) -> bool:
    names = csv_table.names_of(head)
    # A live capture has only epochs.
    timed = "time_in_seconds" in names or ("timestamp" in names and not {"time_text", "message_type"}.isdisjoint(names))
    return timed and "message" in names and any(name.startswith("author") for name in names)


def _parse_list(source: Source, report: Report) -> Iterator[Comment]:
    for where, row in json_stream.entries(source, report, begins=_LIST, is_entry=_is_entry):
        yield from _comment(row, report, where)


def _parse_lines(source: Source, report: Report) -> Iterator[Comment]:
    for where, row in json_stream.lines(source, report):
        yield from _comment(row, report, where)


def _parse_csv(source: Source, report: Report) -> Iterator[Comment]:
    names = csv_table.names_of(source.head)
    for where, fields in csv_table.body(source, report, last=names.index("message")):
        yield from _comment(dict(zip(names, fields, strict=True)), report, where)


def _sniff_text(head: str) -> bool:
    return most_lines(head, _LINE)


def _parse_text(source: Source, report: Report) -> Iterator[Comment]:
    for number, line in source.lines(report):
        where = f"line {number}"
        found = _LINE.fullmatch(line)
        if not found:
            report.damage("lines that do not begin with a time and a bar", where)
            continue
        clock = found["time"]
        time_s = report.date(clock, where) if is_date(clock) else report.time(clock_s(clock), where)
        if time_s is not None:
            yield from _said(time_s, found, report, where)


def _said(time_s: float, found: re.Match[str], report: Report, where: str) -> Iterator[Comment]:
    user, text, money = clean(found["user"]), clean(found["text"]), found["money"]
    if money and not found["user"]:  # paid for without a word
        user, text, kind = text, money, "gift"
    elif found["user"]:
        kind, text = words_of(user, text)
        kind = "paid" if money else kind
    else:
        kind = "notice"
    if text:
        yield Comment(time_s, text, user or None, "bot" if is_bot(user) else kind)
    else:
        report.skip("comments without text", where)


def _is_entry(row: dict[str, Any]) -> bool:
    return "message" in row and ("time_in_seconds" in row or "timestamp" in row or "time_text" in row)


def _comment(row: Mapping[str, Any], report: Report, where: str) -> Iterator[Comment]:
    event = str(row.get("message_type") or "")
    if event.startswith("ticker_"):
        report.skip("ticker items, which repeat what was paid for", where)
        return
    if event in _LEFT_OUT:
        report.skip("entries other than comments (deletions, banners, notes by the platform)", where)
        return
    time_s = _time_s(row, report, where)
    if time_s is None:
        return
    text = clean(row.get("message")) or clean(row.get("system_message"))
    user = _user(row)
    kind = _kind(row, event)
    if not text and kind in ("paid", "gift"):
        kind, text = "gift", _money(row)
    if not text:
        report.skip("comments without text", where)
        return
    yield Comment(time_s, text, user, "bot" if kind == "message" and is_bot(user) else kind)


def _time_s(row: Mapping[str, Any], report: Report, where: str) -> float | None:
    time_s = seconds(row.get("time_in_seconds"))
    shown = row.get("time_text")
    told_s = clock_s(shown) if isinstance(shown, str) else None
    if time_s is None or (time_s == 0 and told_s is not None and told_s < 0):
        # Old versions put everything before the stream at 0; the true time is only in the text.
        time_s = told_s
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


def _user(row: Mapping[str, Any]) -> str | None:
    """Return the name of the author: text in old versions, an object in new ones, flattened columns in CSV."""
    author = row.get("author")
    names = [row.get("author.display_name"), row.get("author.name"), row.get("author_name"), author]
    if isinstance(author, dict):
        names = [author.get("display_name"), author.get("name")]
    return next((name for n in names if (name := clean(n))), None)


_ENTRY = "time_in_seconds, author and message"
FORMATS = (
    Format("chat-downloader JSON", _ENTRY, _sniff_list, _parse_list),
    Format("chat-downloader JSON lines", _ENTRY, _sniff_lines, _parse_lines),
    Format("chat-downloader CSV", _ENTRY, _sniff_csv, _parse_csv),
    Format("chat-downloader text", "h:mm:ss | user: text", _sniff_text, _parse_text),
)
