"""Niconico XML and JSON: comments of a broadcast or a video, timed in hundredths or thousandths of a second."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kuaihl.comments.diagnostics import Report
from kuaihl.comments.fields import clean, epoch_s, scaled, seconds
from kuaihl.comments.format import Format
from kuaihl.comments.json_exports import json_format
from kuaihl.comments.json_stream import Entry
from kuaihl.comments.source import Source
from kuaihl.comments.xml_stream import elements, head_text
from kuaihl.records import Comment

_CHAT = re.compile(r"<chat\s[^>]{0,400}vpos=")
_BROADCASTER = ("2", "3", "6", "7")
"""Values of ``premium`` of those who run the broadcast; of 3 and 7, the system, comments are commands."""
_GIFT_COMMANDS = ("/gift ", "/nicoad ")


def _sniff(head: str) -> bool:
    return "<NiconamaComment" in head or bool(_CHAT.search(head))


def _parse(source: Source, report: Report) -> Iterator[Comment]:
    early_s = _waiting_s(source.head)
    if early_s:
        report.add_note(f"times count from the start of the broadcast, {early_s:.0f} s after its opening")
    for element in elements(source, report, ("chat",)):
        yield from _read(element.attributes, element.text, report, element.where, early_s)


def _waiting_s(head: str) -> float | None:
    """Return the seconds from the opening of a broadcast, where times are 0, to its start; None if unknown."""
    opened, started = (epoch_s(seconds(head_text(head, tag)) or 0.0) for tag in ("BaseTime", "StartTime"))
    return None if opened is None or started is None else max(started - opened, 0.0)


def _read(
    chat: Mapping[str, Any], text: object, report: Report, where: str, early_s: float | None
) -> tuple[Comment, ...]:
    """Read a comment; without the start of the broadcast in the log, its date is used if the stream start is given."""
    sent = seconds(chat.get("date"))
    if report.start and early_s is None and sent is not None:
        time_s = report.epoch(sent + (scaled(chat.get("date_usec"), 1e-6) or 0.0), where)
    else:
        if early_s is None and not report.start:
            report.add_note("times count from the opening of the broadcast unless the stream start is given")
        hundredths = scaled(chat.get("vpos"), 0.01)
        time_s = report.time(None if hundredths is None else hundredths - (early_s or 0.0), where)
    words = clean(text)
    if time_s is not None and (not words or str(chat.get("deleted") or "0") != "0"):
        report.skip("deleted comments and comments without text", where)
        return ()
    kind = "message"
    if str(chat.get("premium")) in _BROADCASTER and words.startswith("/"):
        kind = "gift" if words.startswith(_GIFT_COMMANDS) else "notice"
    return report.comment(time_s, clean(chat.get("user_id")), words, where, kind)


def _read_old(entry: Entry, report: Report, where: str) -> tuple[Comment, ...]:
    report.is_sorted = False  # comments of the uploader, of viewers and of a short form are separate lists
    return _read(entry, entry.get("content"), report, where, None)


def _read_new(entry: Entry, report: Report, where: str) -> tuple[Comment, ...]:
    report.is_sorted = False
    time_s = report.time(scaled(entry.get("vposMs"), 1e-3), where)
    return report.comment(time_s, clean(entry.get("userId")), clean(entry.get("body")), where)


FORMATS = (
    Format("Niconico XML", '<chat vpos="hundredths of a second" user_id="...">text</chat>', _sniff, _parse),
    json_format(
        "Niconico JSON", "objects with vposMs, userId and body", lambda e: "vposMs" in e and "body" in e, _read_new
    ),
    json_format(
        "Niconico chat JSON",
        "objects with vpos and content",
        lambda e: "vpos" in e and "content" in e,
        _read_old,
    ),
)
