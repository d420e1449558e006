"""Read XML of any size, one element at a time.

The file is read in pieces of whole elements, each with a strict parser: recorders leave files without an end or with
broken elements, after which a recovering parser over the whole file would lose the rest.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lxml import etree

from kuaihl.comments.diagnostics import Report
from kuaihl.comments.fields import unescape
from kuaihl.comments.source import CHUNK, MAX_LINE_CHARS, Source

_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|&#(?:x0*(?:[0-8bcef]|1[0-9a-f])|0*(?:[0-8]|1[124-9]|2[0-9]|3[01]));",
    re.IGNORECASE,
)
_ATTRIBUTE = re.compile(r"([\w:.-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")


@dataclass(frozen=True, slots=True)
class Element:
    """An element, and its place for messages."""

    tag: str
    attributes: Mapping[str, str]
    text: str
    where: str


def elements(source: Source, report: Report, tags: tuple[str, ...]) -> Iterator[Element]:
    """Yield every element with one of these tags at any depth; broken ones are counted."""
    for number, (tag, attributes, text) in enumerate(_contents(source, report, tags), 1):
        yield Element(tag, attributes, text, f"element {number} (<{tag}>)")


def head_text(head: str, tag: str) -> str:
    """Return the text of the first element with this name at the beginning of a log; empty if there is none."""
    found = re.search(rf"<{tag}>([^<]{{0,200}})</{tag}>", head)
    return unescape(found[1]).strip() if found else ""


def _contents(source: Source, report: Report, tags: tuple[str, ...]) -> Iterator[tuple[str, Mapping[str, str], str]]:
    opening = re.compile(rf"<(?:{'|'.join(tags)})\s")
    whole = re.compile(
        rf"<(?P<tag>{'|'.join(tags)})(?P<attributes>(?:\s+[\w:.-]+\s*=\s*(?:\"[^\"]*\"|'[^']*'))*)\s*"
        r"(?:/>|>(?P<text>.*?)</(?P=tag)\s*>)",
        re.DOTALL,
    )
    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True)
    for piece, line in _pieces(source, report, opening):
        try:
            root = etree.fromstring(f"<i>{piece}</i>", parser)
        except etree.XMLSyntaxError:
            yield from _repaired(piece, line, report, opening, whole)
            continue
        for element in root.iter(*tags):
            yield str(element.tag), {str(k): str(v) for k, v in element.attrib.items()}, str(element.text or "")


def _pieces(source: Source, report: Report, opening: re.Pattern[str]) -> Iterator[tuple[str, int]]:
    """Cut the document into pieces of about ``CHUNK`` characters that begin with an element; yield line and piece."""
    buffer, line = "", 1
    with source.open() as stream:
        while chunk := stream.read(CHUNK):
            sound, removed = _CONTROL.subn("", chunk)
            if removed:
                report.flaw("control characters, removed", f"line {line}", count=removed)
            buffer += sound
            starts = [found.start() for found in opening.finditer(buffer)]
            if starts and starts[-1]:
                yield buffer[starts[0] : starts[-1]], line + buffer.count("\n", 0, starts[0])
                line += buffer.count("\n", 0, starts[-1])
                buffer = buffer[starts[-1] :]
            elif len(buffer) > MAX_LINE_CHARS:
                report.damage(f"elements longer than {MAX_LINE_CHARS // 2**20} MB", f"line {line}")
                line += buffer.count("\n")
                buffer = ""
    if opening.match(buffer):
        yield buffer, line


def _repaired(
    piece: str, line: int, report: Report, opening: re.Pattern[str], whole: re.Pattern[str]
) -> Iterator[tuple[str, Mapping[str, str], str]]:
    """Parse a malformed piece element by element."""
    starts = [found.start() for found in opening.finditer(piece)]
    for start, end in zip(starts, [*starts[1:], len(piece)], strict=True):
        found = whole.match(piece[start:end])
        if found:
            names = ((name, double or single) for name, double, single in _ATTRIBUTE.findall(found["attributes"]))
            attributes = {name: unescape(value) for name, value in names}
            yield found["tag"], attributes, unescape(found["text"] or "")
        else:
            report.damage("broken elements", f"line {line}")
        line += piece.count("\n", start, end)
