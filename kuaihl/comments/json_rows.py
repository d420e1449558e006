"""JSON of flat entries with time, user and text under common names: exports of Kick and TikTok, and custom logs."""

import re
from collections.abc import Iterator
from typing import Any

from kuaihl.comments import json_stream
from kuaihl.comments.csv_table import MESSAGE_IDS, TEXTS, TIMES, USERS, Repeats, comment
from kuaihl.comments.diagnostics import Report
from kuaihl.comments.fields import clean
from kuaihl.comments.format import Format
from kuaihl.comments.source import Source
from kuaihl.records import Comment

_BARE_LIST = re.compile(r"\s*\[")
_LIST = re.compile(r'"(?:messages|comments|chat|data|items)"\s*:\s*\[')
_ENVELOPES = ("event", "common", "base_message", "basemessage", "data")
"""Where libraries for TikTok keep a message's id and time, and sometimes all of it."""


def _sniff_list(head: str) -> bool:
    if head.lstrip().startswith("["):
        return _is_log(head)
    found = _LIST.search(head) if head.lstrip().startswith("{") else None
    return bool(found) and _is_log(head[found.end() :])


def _sniff_lines(head: str) -> bool:
    first = head.lstrip().partition("\n")[0].rstrip()
    return first.startswith("{") and first.endswith("}") and _is_log(first)


def _is_log(text: str) -> bool:
    """Return whether one of the first entries has a time and a text."""
    return any(map(_is_entry, json_stream.first_objects(text)))


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
    names = set(_fields(entry))
    return bool(names & set(TIMES)) and bool(names & set(TEXTS))


def _fields(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of an entry by lower-case name, including those of nested envelopes."""
    fields = {name.lower(): value for name, value in entry.items()}
    inner = (fields[name] for name in _ENVELOPES if isinstance(fields.get(name), dict))
    return {**{name.lower(): value for one in inner for name, value in one.items()}, **fields}


def _comment(entry: dict[str, Any], repeats: Repeats, report: Report, where: str) -> Iterator[Comment]:
    fields = _fields(entry)
    time_key = next((name for name in TIMES if isinstance(fields.get(name), str | int | float)), None)
    if time_key is None:
        report.damage("entries without a readable time", where)
        return
    text_key = next((name for name in TEXTS if isinstance(fields.get(name), str)), "")
    user = next((n for name in USERS if name != text_key and (n := _name(fields.get(name)))), "")
    time, text = str(fields[time_key]), fields.get(text_key, "")
    name = next((fields[name] for name in ("id", *MESSAGE_IDS) if fields.get(name)), None)
    if repeats.seen(time_key, time, user, text, name=name):
        report.skip("repeats of a comment", where)
        return
    yield from comment(time, user, text, report, where, name=time_key)


def _name(value: object) -> str:
    """Return the name of an author: text, or an object with it under one of the common names."""
    if isinstance(value, dict):
        inner = {str(key).lower(): content for key, content in value.items()}
        return next((n for name in USERS if (n := clean(inner.get(name)))), "")
    return clean(value)


_ENTRY = "objects with time, user and text (Kick: createdAt, username, content; TikTok: create_time, nickname, comment)"
FORMATS = (
    Format("JSON list of comments", _ENTRY, _sniff_list, _parse_list),
    Format("JSON lines of comments", _ENTRY, _sniff_lines, _parse_lines),
)
