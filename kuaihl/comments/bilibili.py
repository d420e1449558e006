"""XML of Bilibili, and of recorders for it and similar sites, which add names, gifts and super chats.

BililiveRecorder, blrec, biliLive-tools and biliup differ in how they write users and times, and in their errors.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice

from kuaihl.comments.diagnostics import MAX_TIME_S, Report
from kuaihl.comments.fields import clean, epoch_s, seconds, unescape
from kuaihl.comments.format import Format
from kuaihl.comments.source import Source
from kuaihl.comments.xml_stream import Element, elements, head_text
from kuaihl.records import Comment

_ENTRY = '<d p="seconds,mode,...">text</d>'
_ROOT = re.compile(r"<i[\s>]")
_BILIUP = re.compile(r"<i>\s*<[dso]\s|<[so]\s[^>]{0,300}timestamp=")  # no room information before the comments
_FIRST_TEXTS = re.compile(r"<d\s([^<>]*)>([^<]*)</d>")
_PREFIX = re.compile(r"(?P<user>[^:]{1,40}): (?P<text>.+)", re.DOTALL)
_POSITIONED, _SCRIPTED = "7", ("8", "9")
_GUARDS = {"1": "governor", "2": "admiral", "3": "captain"}
_PILE, _LARGEST_PILE, _PILE_SPREAD_S = 10, 1000, 5.0


@dataclass(frozen=True, slots=True)
class _Habits:
    """How a recorder writes comments.

    ``zero_s`` is the epoch of time 0, if known; ``is_escaped``: texts are escaped twice; ``is_prefixed``: texts begin
    with the name of the author, which is nowhere else.
    """

    zero_s: float | None = None
    is_escaped: bool = False
    is_prefixed: bool = False


def _position(element: Element) -> list[str]:
    """Return the fields of ``p``: seconds, mode, size, colour, epoch and others."""
    return element.attributes.get("p", "").split(",")


def _sent_s(element: Element) -> float | None:
    """Return the epoch at which a comment was sent."""
    fields = _position(element)
    stamp = seconds(fields[4]) if len(fields) > 4 else None
    return None if stamp is None else epoch_s(stamp)


def _text(element: Element, report: Report) -> str | None:
    """Return the text of a comment; None for scripts, which are counted."""
    mode = (*_position(element), "")[1]
    if mode in _SCRIPTED:
        report.skip("scripted comments (modes 8 and 9), which are programs", element.where)
        return None
    if mode == _POSITIONED:  # the fifth item of a JSON list
        try:
            return clean(str(json.loads(element.text)[4]))
        except (ValueError, IndexError, KeyError, TypeError, RecursionError):
            pass
    return clean(element.text)


def _comment(element: Element, time_s: float | None, report: Report, text: str | None) -> tuple[Comment, ...]:
    user = clean(element.attributes.get("user"))
    return () if text is None else report.comment(time_s, user, text, element.where)


def _parse_video(source: Source, report: Report) -> Iterator[Comment]:
    for element in elements(source, report, ("d",)):
        time_s = report.time(seconds(_position(element)[0]), element.where)
        yield from _comment(element, time_s, report, None if time_s is None else _text(element, report))


def _parse_recorder(source: Source, report: Report, habits: Callable[[str], _Habits]) -> Iterator[Comment]:
    log_habits = habits(source.head)
    report.is_sorted = log_habits.zero_s is None  # biliLive-tools sorts by kind
    for element in _without_piles(elements(source, report, ("d", "sc", "gift", "guard", "toast")), report):
        yield from _recorded(element, _time_s(element, report, log_habits), report, log_habits)


def _blrec_habits(head: str) -> _Habits:
    first = _FIRST_TEXTS.findall(head)[:40]
    is_prefixed = len(first) > 1 and all("user=" not in attributes and ": " in text for attributes, text in first)
    return _Habits(is_escaped=True, is_prefixed=is_prefixed)


def _tools_habits(head: str) -> _Habits:
    value = seconds(head_text(head, "video_start_time"))
    return _Habits(zero_s=None if value is None else epoch_s(value))


def _time_s(element: Element, report: Report, habits: _Habits) -> float | None:
    value = seconds(element.attributes.get("ts") or _position(element)[0])
    if habits.zero_s is not None and value is not None:
        stamp = seconds(element.attributes.get("timestamp"))
        if value == 0 and stamp is not None:  # biliLive-tools puts comments before the recording at 0
            sent_s = epoch_s(stamp)
            value = value if sent_s is None else min(sent_s - habits.zero_s, 0.0)
        elif abs(value) > MAX_TIME_S and (sent_s := epoch_s(value)):  # forks write gifts with epochs
            value = sent_s - habits.zero_s
    return report.time(value, element.where)


def _recorded(element: Element, time_s: float | None, report: Report, habits: _Habits) -> tuple[Comment, ...]:
    """Return a comment, super chat or gift of a recorder."""
    get = element.attributes.get
    user = get("user", "")
    if time_s is None:
        return ()
    if element.tag == "gift":
        return report.comment(
            time_s, clean(user), f"{get('giftname', '')} x{get('giftcount', '1')}", element.where, "gift"
        )
    if element.tag == "guard":
        text = f"{_GUARDS.get(get('level', ''), 'guard')} x{get('count', '1')}"
        return report.comment(time_s, clean(user), text, element.where, "gift")
    text = _text(element, report) if element.tag == "d" else clean(element.text)
    if text is None:
        return ()
    if habits.is_escaped:
        user, text = unescape(user), unescape(text)
    prefix = _PREFIX.fullmatch(text) if habits.is_prefixed and element.tag == "d" else None
    if prefix:
        user, text = prefix["user"], prefix["text"]
    elif habits.is_escaped and user:
        text = text.removeprefix(f"{user}: ")
    kind = {"d": "message", "sc": "paid"}.get(element.tag, "gift")
    return report.comment(time_s, clean(user), clean(text), element.where, kind)


def _without_piles(found: Iterable[Element], report: Report) -> Iterator[Element]:
    """Leave out comments from an interruption: all have the time at which the recording resumed."""
    for time, together in groupby(found, key=lambda element: _position(element)[0]):
        first = list(islice(together, _LARGEST_PILE))
        sent = [sent_s for element in first if (sent_s := _sent_s(element)) is not None]
        # At 0 are those sent before the recording.
        if seconds(time) != 0 and len(sent) >= _PILE and max(sent) - min(sent) >= _PILE_SPREAD_S:
            count = len(first) + sum(1 for _ in together)
            report.skip("comments from an interruption of the recording", first[0].where, count=count)
        else:
            yield from first
            yield from together  # noqa: B031 (the rest)


def _parse_biliup(source: Source, report: Report) -> Iterator[Comment]:
    """Read the XML of biliup: gifts and super chats have epochs; a comment with both times links them to the rest."""
    zero_s: float | None = None
    waiting: list[Element] = []
    report.is_sorted = False
    for element in elements(source, report, ("d", "s")):
        if element.tag == "s":
            if zero_s is None:
                waiting.append(element)
            else:
                yield from _present(element, zero_s, report)
            continue
        time_s = report.time(seconds(_position(element)[0]), element.where)
        if zero_s is None and time_s is not None and (sent_s := _sent_s(element)) is not None:
            zero_s = sent_s - time_s
            for earlier in waiting:
                yield from _present(earlier, zero_s, report)
            waiting = []
        yield from _comment(element, time_s, report, None if time_s is None else _text(element, report))
    for element in waiting:
        yield from _present(element, None, report)


def _present(element: Element, zero_s: float | None, report: Report) -> tuple[Comment, ...]:
    get = element.attributes.get
    stamp = seconds(get("timestamp"))
    sent_s = None if stamp is None else epoch_s(stamp)
    if zero_s is None or sent_s is None:
        time_s = report.epoch(stamp, element.where)
    else:
        time_s = report.time(sent_s - zero_s, element.where)
    is_paid = get("type") == "super_chat"
    text = clean(element.text)
    if not is_paid or not text:
        text = f"{clean(get('giftname')) or get('type', 'gift')} x{get('num', '1')}"
    return report.comment(time_s, clean(get("username")), text, element.where, "paid" if is_paid else "gift")


FORMATS = (
    Format(
        "BililiveRecorder XML",
        _ENTRY,
        lambda head: "<BililiveRecorderRecordInfo" in head,
        partial(_parse_recorder, habits=lambda _: _Habits()),
    ),
    Format(
        "blrec XML",
        _ENTRY,
        lambda head: "<record_start_time>" in head,
        partial(_parse_recorder, habits=_blrec_habits),
    ),
    Format(
        "biliLive-tools XML",
        _ENTRY,
        lambda head: "<video_start_time>" in head or "<RecorderXmlStyle>" in head,
        partial(_parse_recorder, habits=_tools_habits),
    ),
    Format("biliup XML", _ENTRY, lambda head: bool(_BILIUP.search(head)), _parse_biliup),
)
VIDEO = Format(
    "Bilibili XML",
    _ENTRY,
    lambda head: bool(_ROOT.search(head)) and ("<chatid>" in head or '<d p="' in head),
    _parse_video,
)
