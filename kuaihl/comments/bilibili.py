"""Bilibili XML: the comments of a video."""

import json
import re
from collections.abc import Iterator

from kuaihl.comments.diagnostics import Report
from kuaihl.comments.fields import clean, seconds
from kuaihl.comments.format import Format
from kuaihl.comments.source import Source
from kuaihl.comments.xml_stream import Element, elements
from kuaihl.records import Comment

ENTRY = '<d p="seconds,mode,...">text</d>'
_ROOT = re.compile(r"<i[\s>]")
_POSITIONED, _SCRIPTED = "7", ("8", "9")


def words_of(element: Element, report: Report) -> str | None:
    """Return the text of a comment; None for scripts and empty comments, which are counted."""
    fields = element.attributes.get("p", "").split(",")
    mode = fields[1] if len(fields) > 1 else ""
    if mode in _SCRIPTED:
        report.skip("scripted comments (modes 8 and 9), which are programs", element.where)
        return None
    words = clean(_positioned(element.text) if mode == _POSITIONED else element.text)
    if not words:
        report.skip("comments without text", element.where)
    return words or None


def _positioned(text: str) -> str:
    """Return the text of a comment of mode 7: the fifth item of a JSON list."""
    try:
        return str(json.loads(text)[4])
    except (ValueError, IndexError, KeyError, TypeError, RecursionError):
        return text


def _sniff(head: str) -> bool:
    return bool(_ROOT.search(head)) and ("<chatid>" in head or '<d p="' in head)


def _parse(source: Source, report: Report) -> Iterator[Comment]:
    for element in elements(source, report, ("d",)):
        time_s = report.time(seconds(element.attributes.get("p", "").partition(",")[0]), element.where)
        words = None if time_s is None else words_of(element, report)
        if time_s is not None and words:
            yield Comment(time_s, words, clean(element.attributes.get("user")) or None)


XML = Format("Bilibili XML", ENTRY, _sniff, _parse)
