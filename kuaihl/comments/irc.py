"""Raw Twitch IRC, as saved by bots and justlog: one message per line, with tags."""

import re
from collections.abc import Iterator

from kuaihl.comments.diagnostics import Report
from kuaihl.comments.fields import classify, clean, event_kind, is_bot, seconds
from kuaihl.comments.format import Format
from kuaihl.comments.source import Source
from kuaihl.records import Comment

_BEFORE = r"(?:\[[^\]\n]{1,40}\] ?|[<>]{1,2} ?)?"
"""What programs write before a message: their own time, or its direction."""
_SNIFFED = re.compile(rf"^{_BEFORE}@[^\n]*\btmi-sent-ts=\d", re.MULTILINE)
_MESSAGE = re.compile(
    _BEFORE + r"(?:@(?P<tags>\S*) +)?(?::(?P<nick>[^!@\s]*)(?:[!@]\S*)? +)?(?P<command>[A-Z]+|\d{3})"
    r"(?: +(?P<target>[^:\s]\S*))?(?: +:(?P<text>.*))?\s*"
)
_UNESCAPED = {r"\s": " ", r"\:": ";", r"\\": "\\", r"\r": " ", r"\n": " "}
_ESCAPE = re.compile(r"\\[s:\\rn]")


def _parse(source: Source, report: Report) -> Iterator[Comment]:
    for number, line in source.lines(report):
        where = f"line {number}"
        match = _MESSAGE.fullmatch(line)
        if not match:
            report.damage("lines that are not an IRC message", where)
        elif match["command"] not in ("PRIVMSG", "USERNOTICE"):
            report.skip("messages other than comments (deletions, joins, states)", where)
        else:
            yield from _comment(match, report, where)


def _comment(match: re.Match[str], report: Report, where: str) -> tuple[Comment, ...]:
    pairs = (part.partition("=") for part in (match["tags"] or "").split(";"))
    tags: dict[str, str] = {name: value for name, _, value in pairs}
    stamp = seconds(tags.get("tmi-sent-ts") or tags.get("rm-received-ts"))
    time_s = report.time(None, where) if stamp is None else report.epoch(stamp, where)
    login = clean(match["nick"]) if match["command"] == "PRIVMSG" else tags.get("login", "")
    user = clean(_unescape(tags.get("display-name", ""))) or login
    kind, text = classify(user, (match["text"] or "").strip())
    text = clean(text)
    if not text:
        kind, text = "notice", clean(_unescape(tags.get("system-msg", "")))
    kind = event_kind(tags.get("msg-id", ""), kind, is_paid=(seconds(tags.get("bits")) or 0) > 0)
    return report.comment(time_s, user, text, where, "bot" if is_bot(user, login) else kind)


def _unescape(value: str) -> str:
    return _ESCAPE.sub(lambda match: _UNESCAPED[match[0]], value)


RAW = Format(
    "raw Twitch IRC",
    "@...;tmi-sent-ts=... :user!... PRIVMSG #channel :text",
    lambda head: bool(_SNIFFED.search(head)),
    _parse,
)
