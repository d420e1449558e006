"""Niconico XML: comments of a broadcast or a video, timed in hundredths of a second."""

import re
from collections.abc import Iterator

from kuaihl.comments.diagnostics import Report
from kuaihl.comments.fields import clean, seconds
from kuaihl.comments.format import Format
from kuaihl.comments.source import Source
from kuaihl.comments.wall_clock import epoch_s
from kuaihl.comments.xml_stream import Element, elements, head_text
from kuaihl.records import Comment

_CHAT = re.compile(r"<chat\s[^>]{0,400}vpos=")
_BROADCASTER = ("2", "3", "6", "7")
"""Values of ``premium`` of those who run the broadcast; of 3 and 7, the system, comments are commands."""
_GIFT_COMMANDS = ("/gift ", "/nicoad ")


def _sniff(head: str) -> bool:
    return "<NiconamaComment" in head or bool(_CHAT.search(head))


def _parse(source: Source, report: Report) -> Iterator[Comment]:
    early_s = _waiting_s(source.head)
    if early_s is None and not report.start:
        report.add_note("times count from the opening of the broadcast unless the stream start is given")
    elif early_s:
        report.add_note(f"times count from the start of the broadcast, {early_s:.0f} s after its opening")
    for element in elements(source, report, ("chat",)):
        sent = seconds(element.attributes.get("date"))
        if report.start and early_s is None and sent is not None:
            fraction = seconds(element.attributes.get("date_usec")) or 0.0
            time_s = report.epoch(sent + fraction * 1e-6, element.where)
        else:
            hundredths = seconds(element.attributes.get("vpos"))
            time_s = report.time(None if hundredths is None else hundredths / 100 - (early_s or 0.0), element.where)
        if time_s is not None:
            yield from _comment(element, time_s, report)


def _waiting_s(head: str) -> float | None:
    """Return the seconds from the opening of a broadcast, where times are 0, to its start; None if unknown."""
    opened, started = (epoch_s(seconds(head_text(head, tag)) or 0.0) for tag in ("BaseTime", "StartTime"))
    return None if opened is None or started is None else max(started - opened, 0.0)


def _comment(element: Element, time_s: float, report: Report) -> Iterator[Comment]:
    text = clean(element.text)
    if not text or element.attributes.get("deleted", "0") not in ("", "0"):
        report.skip("deleted comments and comments without text", element.where)
        return
    kind = "message"
    if element.attributes.get("premium") in _BROADCASTER and text.startswith("/"):
        kind = "gift" if text.startswith(_GIFT_COMMANDS) else "notice"
    yield Comment(time_s, text, clean(element.attributes.get("user_id")) or None, kind)


XML = Format("Niconico XML", '<chat vpos="hundredths of a second" user_id="...">text</chat>', _sniff, _parse)
