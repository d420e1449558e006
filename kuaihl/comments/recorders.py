"""XML of recorders for Bilibili and similar sites, with names, gifts and super chats.

BililiveRecorder, blrec, biliLive-tools and biliup differ in how they write users, and in their errors.
"""

import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice

from kuaihl.comments.bilibili import ENTRY, words_of
from kuaihl.comments.diagnostics import MAX_TIME_S, Report
from kuaihl.comments.fields import clean, seconds
from kuaihl.comments.format import Format
from kuaihl.comments.source import Source
from kuaihl.comments.wall_clock import epoch_s
from kuaihl.comments.xml_stream import Element, elements, head_text
from kuaihl.records import Comment

_BILIUP = re.compile(r"<i>\s*<[dso]\s|<[so]\s[^>]{0,300}timestamp=")  # no room information before the comments
_FIRST_TEXTS = re.compile(r"<d\s([^>]*)>([^<]*)</d>")
_PREFIX = re.compile(r"(?P<user>[^:]{1,40}): (?P<words>.+)", re.DOTALL)
_GUARDS = {"1": "governor", "2": "admiral", "3": "captain"}
_PILE, _LARGEST_PILE, _PILE_SPREAD_S = 10, 1000, 5.0


@dataclass(frozen=True, slots=True)
class _Habits:
    """How a recorder writes comments.

    ``zero_s`` is the epoch of time 0, if known; ``escaped`` texts are escaped twice; ``prefixed`` texts begin with
    the name of the author, which is nowhere else.
    """

    zero_s: float | None = None
    escaped: bool = False
    prefixed: bool = False


def _sniff_recorder(head: str) -> bool:
    return "<BililiveRecorderRecordInfo" in head


def _sniff_blrec(head: str) -> bool:
    return "<record_start_time>" in head


def _sniff_tools(head: str) -> bool:
    return "<video_start_time>" in head or "<RecorderXmlStyle>" in head


def _sniff_biliup(head: str) -> bool:
    return bool(_BILIUP.search(head))


def _parse_recorder(source: Source, report: Report) -> Iterator[Comment]:
    return _comments(source, report, _Habits())


def _parse_blrec(source: Source, report: Report) -> Iterator[Comment]:
    first = _FIRST_TEXTS.findall(source.head)[:40]
    prefixed = len(first) > 1 and all("user=" not in attributes and ": " in text for attributes, text in first)
    return _comments(source, report, _Habits(escaped=True, prefixed=prefixed))


def _parse_tools(source: Source, report: Report) -> Iterator[Comment]:
    value = seconds(head_text(source.head, "video_start_time"))
    return _comments(source, report, _Habits(zero_s=None if value is None else epoch_s(value)))


def _comments(source: Source, report: Report, habits: _Habits) -> Iterator[Comment]:
    for element in _without_piles(elements(source, report, ("d", "sc", "gift", "guard", "toast")), report):
        time_s = _time_s(element, report, habits)
        if time_s is not None:
            yield from _comment(element, time_s, report, habits)


def _time_s(element: Element, report: Report, habits: _Habits) -> float | None:
    value = seconds(element.attributes.get("ts") or element.attributes.get("p", "").partition(",")[0])
    if habits.zero_s is not None and value is not None:
        stamp = seconds(element.attributes.get("timestamp"))
        if value == 0 and stamp is not None:  # biliLive-tools puts comments before the recording at 0
            sent_s = epoch_s(stamp)
            value = value if sent_s is None else min(sent_s - habits.zero_s, 0.0)
        elif abs(value) > MAX_TIME_S and (sent_s := epoch_s(value)):  # forks write gifts with epochs
            value = sent_s - habits.zero_s
    return report.time(value, element.where)


def _comment(element: Element, time_s: float, report: Report, habits: _Habits) -> Iterator[Comment]:
    user, words = element.attributes.get("user", ""), _words(element, report)
    if not words:
        return
    if habits.escaped:
        user, words = html.unescape(user), html.unescape(words)
    found = _PREFIX.fullmatch(words) if habits.prefixed and element.tag == "d" else None
    if found:
        user, words = found["user"], found["words"]
    elif habits.escaped and user:
        words = words.removeprefix(f"{user}: ")
    kind = {"d": "message", "sc": "paid"}.get(element.tag, "gift")
    yield Comment(time_s, clean(words), clean(user) or None, kind)


def _words(element: Element, report: Report) -> str | None:
    if element.tag == "d":
        return words_of(element, report)
    words = clean(element.text)
    if element.tag == "gift":
        words = f"{element.attributes.get('giftname', '')} x{element.attributes.get('giftcount', '1')}"
    elif element.tag == "guard":
        words = f"{_GUARDS.get(element.attributes.get('level', ''), 'guard')} x{element.attributes.get('count', '1')}"
    if not words:
        report.skip("comments without text", element.where)
    return words


def _without_piles(found: Iterable[Element], report: Report) -> Iterator[Element]:
    """Leave out comments from an interruption: all have the time at which the recording resumed."""
    for time, together in groupby(found, key=lambda element: element.attributes.get("p", "").partition(",")[0]):
        if seconds(time) == 0:  # sent before the recording
            yield from together
        else:
            yield from _unless_piled(together, report)


def _unless_piled(together: Iterator[Element], report: Report) -> Iterator[Element]:
    first = list(islice(together, _LARGEST_PILE))
    sent = [sent_s for element in first if (sent_s := _sent_s(element)) is not None]
    if len(sent) >= _PILE and max(sent) - min(sent) >= _PILE_SPREAD_S:
        count = len(first) + sum(1 for _ in together)
        report.skip("comments from an interruption of the recording", first[0].where, count=count)
    else:
        yield from first
        yield from together


def _sent_s(element: Element) -> float | None:
    """Return the epoch at which a comment was sent."""
    fields = element.attributes.get("p", "").split(",")
    stamp = seconds(fields[4]) if len(fields) > 4 else None
    return None if stamp is None else epoch_s(stamp)


def _parse_biliup(source: Source, report: Report) -> Iterator[Comment]:
    """Read the XML of biliup: gifts and super chats have epochs; a comment with both times links them to the rest."""
    zero_s: float | None = None
    waiting: list[Element] = []
    for element in elements(source, report, ("d", "s")):
        if element.tag == "s":
            if zero_s is None:
                waiting.append(element)
            else:
                yield from _present(element, zero_s, report)
            continue
        fields = element.attributes.get("p", "").split(",")
        time_s = report.time(seconds(fields[0]), element.where)
        words = None if time_s is None else words_of(element, report)
        if zero_s is None and time_s is not None and (sent_s := _sent_s(element)) is not None:
            zero_s = sent_s - time_s
            for earlier in waiting:
                yield from _present(earlier, zero_s, report)
            waiting = []
        if time_s is not None and words:
            yield Comment(time_s, words, clean(element.attributes.get("user")) or None)
    for element in waiting:
        yield from _present(element, None, report)


def _present(element: Element, zero_s: float | None, report: Report) -> Iterator[Comment]:
    stamp = seconds(element.attributes.get("timestamp"))
    sent_s = None if stamp is None else epoch_s(stamp)
    if zero_s is None or sent_s is None:
        time_s = report.epoch(stamp, element.where)
    else:
        time_s = report.time(sent_s - zero_s, element.where)
    if time_s is None:
        return
    paid = element.attributes.get("type") == "super_chat"
    words = clean(element.text)
    if not paid or not words:
        name = clean(element.attributes.get("giftname")) or element.attributes.get("type", "gift")
        words = f"{name} x{element.attributes.get('num', '1')}"
    yield Comment(time_s, words, clean(element.attributes.get("username")) or None, "paid" if paid else "gift")


FORMATS = (
    Format("BililiveRecorder XML", ENTRY, _sniff_recorder, _parse_recorder),
    Format("blrec XML", ENTRY, _sniff_blrec, _parse_blrec),
    Format("biliLive-tools XML", ENTRY, _sniff_tools, _parse_tools),
    Format("biliup XML", ENTRY, _sniff_biliup, _parse_biliup),
)
