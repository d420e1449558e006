"""Raw Twitch IRC, as saved by bots and justlog: one message per line, with tags."""

import re
from collections.abc import Iterator

from kuaihl.comments.announcements import kind_of, words_of
from kuaihl.comments.dated_text import without_action
from kuaihl.comments.diagnostics import Report
from kuaihl.comments.fields import clean, is_bot, seconds
from kuaihl.comments.format import Format
from kuaihl.comments.source import Source
from kuaihl.records import Comment

_BEFORE = r"(?:\[[^\]\n]{1,40}\] ?|[<>]{1,2} ?)?"
"""What programs write before a message: their own time, or its direction."""
_SNIFFED = re.compile(rf"^{_BEFORE}@[^\n]*\btmi-sent-ts=\d", re.MULTILINE)
_MESSAGE = re.compile(
    _BEFORE + r"(?:@(?P<tags>\S*) +)?(?::(?P<nick>[^!@\s]*)\S* +)?(?P<command>[A-Z]+|\d{3})(?: +(?P<target>[^:\s]\S*))?"
    r"(?: +:(?P<text>.*))?\s*"
)
_UNESCAPED = {r"\s": " ", r"\:": ";", r"\\": "\\", r"\r": " ", r"\n": " "}
_ESCAPE = re.compile(r"\\[s:\\rn]")


def _sniff(head: str) -> bool:
    return bool(_SNIFFED.search(head))


def _parse(source: Source, report: Report) -> Iterator[Comment]:
    for number, line in source.lines(report):
        where = f"line {number}"
        found = _MESSAGE.fullmatch(line)
        if not found:
            report.damage("lines that are not an IRC message", where)
        elif found["command"] not in ("PRIVMSG", "USERNOTICE"):
            report.skip("messages other than comments (deletions, joins, states)", where)
        else:
            yield from _comment(found, report, where)


def _comment(found: re.Match[str], report: Report, where: str) -> Iterator[Comment]:
    pairs = (part.partition("=") for part in (found["tags"] or "").split(";"))
    tags: dict[str, str] = {name: value for name, _, value in pairs}
    stamp = seconds(tags.get("tmi-sent-ts") or tags.get("rm-received-ts"))
    if stamp is None:
        report.damage("entries without a readable time", where)
        return
    time_s = report.epoch(stamp, where)
    if time_s is None:
        return
    login = clean(found["nick"]) if found["command"] == "PRIVMSG" else tags.get("login", "")
    user = clean(_unescaped(tags.get("display-name", ""))) or login or None
    written = clean(without_action(found["text"] or ""))
    event = tags.get("msg-id", "")
    if written:
        kind, text = words_of(user, written)
    else:
        kind, text = "notice", clean(_unescaped(tags.get("system-msg", "")))
    if not text:
        report.skip("comments without text", where)
        return
    bits = (seconds(tags.get("bits")) or 0) > 0
    yield Comment(time_s, text, user, kind_of(event, kind, bot=is_bot(user, login), bits=bits))


def _unescaped(value: str) -> str:
    return _ESCAPE.sub(lambda found: _UNESCAPED[found[0]], value)


RAW = Format("raw Twitch IRC", "@...;tmi-sent-ts=... :user!... PRIVMSG #channel :text", _sniff, _parse)
