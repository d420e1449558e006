"""Danmaku ASS: comments that move over the picture as subtitles, by Danmaku2ASS, DanmakuFactory and similar tools."""

import re
from collections.abc import Iterator

from kuaihl.comments.diagnostics import Report
from kuaihl.comments.fields import clean, clock_s
from kuaihl.comments.format import Format
from kuaihl.comments.source import Source
from kuaihl.records import Comment

_HEADER = re.compile(r"\s*\[Script Info\]", re.IGNORECASE)
DRAWING = re.compile(r"\\p[1-9]")
"""In the tags of an event: its words are a drawing."""
_COLUMNS = ("layer", "start", "end", "style", "name", "marginl", "marginr", "marginv", "effect", "text")


def _sniff(head: str) -> bool:
    """Check that most subtitles move or have a place of their own, and some move: transcripts do not."""
    events = [line for line in head.splitlines() if line.startswith("Dialogue:")]
    moving = sum("\\move(" in line for line in events)
    placed = sum("\\move(" in line or "\\pos(" in line for line in events)
    return bool(_HEADER.match(head)) and moving > 0 and placed * 2 >= len(events)


def _parse(source: Source, report: Report) -> Iterator[Comment]:
    columns, is_inside = _COLUMNS, False
    for number, line in source.lines(report):
        where = f"line {number}"
        if line.lstrip().startswith("["):
            is_inside = line.strip().lower() == "[events]"
        name, _, content = line.partition(":")
        if not is_inside or name not in ("Format", "Dialogue"):
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
        text, tags = split_tags(fields[-1])
        if time_s is not None and DRAWING.search(tags):
            report.skip("drawings", where)
        else:
            yield from report.comment(time_s, "", clean(text), where)


def split_tags(text: str) -> tuple[str, str]:
    """Return the words and the tags of an ASS event, in time linear in its length."""
    words, tags = [], []
    *blocks, rest = text.split("}")
    for block in blocks:
        before, opening, inside = block.partition("{")
        words.append(before if opening else f"{block}}}")
        tags.append(inside)
    words.append(rest)  # an opening brace that is never closed is part of the words
    joined = "".join(words).replace("\\h", " ").replace("\\N", "\n").replace("\\n", "\n")
    return joined, "\\".join(tags)


SUBTITLES = Format("Danmaku ASS", "Dialogue: ...,h:mm:ss.cc,...,{\\move(...)}text", _sniff, _parse)
