"""JSON of flat entries with time, user and text under the usual names: exports of Kick and TikTok, and one's own."""

import re
from collections.abc import Iterator
from typing import Any

from kuaihl.comments import json_stream
from kuaihl.comments.fields import clean
from kuaihl.comments.format import Format
from kuaihl.comments.report import Report
from kuaihl.comments.source import Source
from kuaihl.comments.table import TEXTS, TIMES, USERS, Repeats, comment
from kuaihl.records import Comment

_BARE_LIST = re.compile(r"\s*\[")
_LIST = re.compile(r'"(?:messages|comments|chat|data|items)"\s*:\s*\[')
_FIRST_ENTRY = re.compile(r"\{[^{}\[\]]*(?:[{\[][^{}\[\]]*[}\]][^{}\[\]]*){0,20}")
_KEY = re.compile(r'"(\w{2,40})"\s*:')


def _sniff_list(head: str) -> bool:
    if head.lstrip().startswith("["):
        return _is_log(head)
    found = _LIST.search(head) if head.lstrip().startswith("{") else None
    return bool(found) and _is_log(head[found.end() :])


def _sniff_lines(head: str) -> bool:
    first = head.lstrip().partition("\n")[0].rstrip()
    return first.startswith("{") and first.endswith("}") and _is_log(first)


def _is_log(text: str) -> bool:
    """Whether the first entry has a time and a text."""
    found = _FIRST_ENTRY.search(text)
    keys = {key.lower() for key in _KEY.findall(found[0])} if found else set()
    return bool(keys & set(TIMES)) and bool(keys & set(TEXTS))


def _parse_list(source: Source, report: Report) -> Iterator[Comment]:
    begins = _BARE_LIST if source.head.lstrip().startswith("[") else _LIST
    repeats = Repeats()
    for where, entry in json_stream.entries(source, report, begins=begins, is_entry=_is_entry):
        yield from _comment(entry, repeats, report, where)


def _parse_lines(source: Source, report: Report) -> Iterator[Comment]:
    repeats = Repeats()
    for where, entry in json_stream.lines(source, report):
        yield from _comment(entry, repeats, report, where)


def _is_entry(entry: dict[str, Any]) -> bool:
    names = {name.lower() for name in entry}
    return bool(names & set(TIMES)) and bool(names & set(TEXTS))


def _comment(entry: dict[str, Any], repeats: Repeats, report: Report, where: str) -> Iterator[Comment]:
    fields = {name.lower(): value for name, value in entry.items()}
    time_key = next((name for name in TIMES if isinstance(fields.get(name), str | int | float)), None)
    if time_key is None:
        report.damage("entries without a readable time", where)
        return
    text_key = next((name for name in TEXTS if isinstance(fields.get(name), str)), "")
    user = next((n for name in USERS if name != text_key and (n := _name(fields.get(name)))), "")
    time, text = str(fields[time_key]), fields.get(text_key, "")
    if repeats.seen(time_key, time, user, text, name=fields.get("id")):
        report.skip("repeats of a comment", where)
        return
    yield from comment(time, user, text, report, where, name=time_key)


def _name(value: object) -> str:
    """Return an author's name: text, or an object that holds it under one of the usual names."""
    if isinstance(value, dict):
        inner = {str(key).lower(): content for key, content in value.items()}
        return next((n for name in USERS if (n := clean(inner.get(name)))), "")
    return clean(value)


_ENTRY = "objects with time, user and text (Kick: createdAt, username, content; TikTok: create_time, nickname, comment)"
FORMATS = (
    Format("JSON list of comments", _ENTRY, _sniff_list, _parse_list),
    Format("JSON lines of comments", _ENTRY, _sniff_lines, _parse_lines),
)
