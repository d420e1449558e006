"""Danmaku ASS: comments that move over the picture as subtitles, by Danmaku2ASS, DanmakuFactory and similar tools."""

import re
from collections.abc import Iterator

import pysubs2

from kuaihl.comments.diagnostics import Report
from kuaihl.comments.fields import clean, clock_s
from kuaihl.comments.format import Format
from kuaihl.comments.source import Source
from kuaihl.records import Comment

_HEADER = re.compile(r"\s*\[Script Info\]", re.IGNORECASE)
# Transcripts are ASS as well, but do not move.
_MOVES = re.compile(r"^Dialogue:[^\n]*\\move\(", re.MULTILINE)
_DRAWING = re.compile(r"\{[^}]*\\p[1-9]")  # faster than pysubs2, which parses all tags
_COLUMNS = ("layer", "start", "end", "style", "name", "marginl", "marginr", "marginv", "effect", "text")


def _sniff(head: str) -> bool:
    return bool(_HEADER.match(head)) and bool(_MOVES.search(head))


def _parse(source: Source, report: Report) -> Iterator[Comment]:
    columns, events = _COLUMNS, False
    for number, line in source.lines(report):
        where = f"line {number}"
        if line.lstrip().startswith("["):
            events = line.strip().lower() == "[events]"
        name, _, content = line.partition(":")
        if not events or name not in ("Format", "Dialogue"):
            continue
        if name == "Format":
            names = tuple(c.strip().lower() for c in content.split(","))
            columns = names if "start" in names and names[-1] == "text" else columns
            continue
        fields = content.split(",", len(columns) - 1)
        if len(fields) < len(columns):
            report.damage(f"events that do not have {len(columns)} columns", where)
            continue
        time_s = report.time(clock_s(fields[columns.index("start")]), where)
        if time_s is not None:
            yield from _comment(time_s, fields[-1], report, where)


def _comment(time_s: float, written: str, report: Report, where: str) -> Iterator[Comment]:
    if _DRAWING.search(written):
        report.skip("drawings", where)
        return
    text = clean(pysubs2.SSAEvent(text=written).plaintext)
    if text:
        yield Comment(time_s, text)
    else:
        report.skip("comments without text", where)


SUBTITLES = Format("Danmaku ASS", "Dialogue: ...,h:mm:ss.cc,...,{\\move(...)}text", _sniff, _parse)
