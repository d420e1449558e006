"""Bilibili's XML, and BililiveRecorder's, which adds names, gifts and super chats to it.

The file is read in pieces of whole elements, and each piece by a strict parser: recorders leave files without an end,
or with broken elements, behind which a recovering parser over the whole file loses the rest.
"""

import html
import json
import re
from collections.abc import Iterator, Mapping

from lxml import etree

from kuaihl.comments.fields import clean, seconds
from kuaihl.comments.format import Format
from kuaihl.comments.report import Report
from kuaihl.comments.source import CHUNK, MAX_LINE_CHARS, Source
from kuaihl.records import Comment

_ROOT = re.compile(r"<i[\s>]")
_RECORDER = "<BililiveRecorderRecordInfo"
_ELEMENT = re.compile(r"<(?:d|sc|gift|guard)\s")
_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|&#(?:x0*(?:[0-8bcef]|1[0-9a-f])|0*(?:[0-8]|1[124-9]|2[0-9]|3[01]));",
    re.IGNORECASE,
)
_WHOLE = re.compile(
    r"<(?P<tag>d|sc|gift|guard)(?P<attributes>(?:\s+[\w:.-]+\s*=\s*(?:\"[^\"]*\"|'[^']*'))*)\s*"
    r"(?:/>|>(?P<text>.*?)</(?P=tag)\s*>)",
    re.DOTALL,
)
_ATTRIBUTE = re.compile(r"([\w:.-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_GUARDS = {"1": "governor", "2": "admiral", "3": "captain"}
_POSITIONED, _SCRIPTED = "7", ("8", "9")


def _sniff_bilibili(head: str) -> bool:
    return bool(_ROOT.search(head)) and ("<chatid>" in head or '<d p="' in head)


def _sniff_recorder(head: str) -> bool:
    return _RECORDER in head


def _parse(source: Source, report: Report) -> Iterator[Comment]:
    for number, (tag, attributes, text) in enumerate(_elements(source, report), 1):
        where = f"element {number} (<{tag}>)"
        fields = attributes.get("p", "").split(",")
        time_s = report.time(seconds(attributes.get("ts", fields[0])), where)
        if time_s is None:
            continue
        kind = {"d": "message", "sc": "paid"}.get(tag, "gift")
        mode = fields[1] if len(fields) > 1 else ""
        if tag == "d" and mode in _SCRIPTED:
            report.skip("scripted comments (modes 8 and 9), which are programs", where)
            continue
        words = clean(_words(tag, attributes, _positioned(text) if mode == _POSITIONED else text))
        if words:
            yield Comment(time_s, words, clean(attributes.get("user")) or None, kind)
        else:
            report.skip("comments without text", where)


def _words(tag: str, attributes: Mapping[str, str], text: str) -> str:
    if tag == "gift":
        return f"{attributes.get('giftname', '')} x{attributes.get('giftcount', '1')}"
    if tag == "guard":
        return f"{_GUARDS.get(attributes.get('level', ''), 'guard')} x{attributes.get('count', '1')}"
    return text


def _positioned(text: str) -> str:
    """Return the words of a comment of mode 7: the fifth item of a JSON list."""
    try:
        return str(json.loads(text)[4])
    except (ValueError, IndexError, KeyError, TypeError):
        return text


def _elements(source: Source, report: Report) -> Iterator[tuple[str, Mapping[str, str], str]]:
    """Yield tag, attributes and text of every element that is a comment."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True)
    for piece, line in _pieces(source, report):
        try:
            root = etree.fromstring(f"<i>{piece}</i>", parser)
        except etree.XMLSyntaxError:
            yield from _repaired(piece, line, report)
            continue
        for element in root.iter("d", "sc", "gift", "guard"):
            yield element.tag, element.attrib, element.text or ""


def _pieces(source: Source, report: Report) -> Iterator[tuple[str, int]]:
    """Cut the document into pieces of about ``CHUNK`` characters that begin with an element; yield them by line."""
    buffer, line = "", 1
    with source.open() as stream:
        while chunk := stream.read(CHUNK):
            sound, removed = _CONTROL.subn("", chunk)
            if removed:
                report.damage("control characters, taken out", f"line {line}", count=removed)
            buffer += sound
            starts = [found.start() for found in _ELEMENT.finditer(buffer)]
            if starts and starts[-1]:
                yield buffer[starts[0] : starts[-1]], line + buffer.count("\n", 0, starts[0])
                line += buffer.count("\n", 0, starts[-1])
                buffer = buffer[starts[-1] :]
            elif len(buffer) > MAX_LINE_CHARS:
                report.damage(f"elements longer than {MAX_LINE_CHARS // 2**20} MB", f"line {line}")
                line += buffer.count("\n")
                buffer = ""
    if _ELEMENT.match(buffer):
        yield buffer.rstrip().removesuffix("</i>"), line


def _repaired(piece: str, line: int, report: Report) -> Iterator[tuple[str, Mapping[str, str], str]]:
    """Take a piece that is no good XML apart, element by element."""
    starts = [found.start() for found in _ELEMENT.finditer(piece)]
    for start, end in zip(starts, [*starts[1:], len(piece)], strict=True):
        found = _WHOLE.match(piece[start:end])
        if found:
            names = ((name, double or single) for name, double, single in _ATTRIBUTE.findall(found["attributes"]))
            attributes = {name: html.unescape(value) for name, value in names}
            yield found["tag"], attributes, html.unescape(found["text"] or "")
        else:
            report.damage("broken elements", f"line {line}")
        line += piece.count("\n", start, end)


FORMATS = (
    Format("BililiveRecorder XML", '<d p="seconds,mode,...">text</d>', _sniff_recorder, _parse),
    Format("Bilibili XML", '<d p="seconds,mode,...">text</d>', _sniff_bilibili, _parse),
)
