"""TwitchDownloader HTML: a page with a <pre> for each comment, or a minified version of it."""

import re
from collections.abc import Iterator

from lxml import etree, html

from kuaihl.comments.diagnostics import Report
from kuaihl.comments.fields import clean, clock_s, has_date
from kuaihl.comments.format import Format
from kuaihl.comments.source import CHUNK, MAX_LINE_CHARS, Source
from kuaihl.comments.text_lines import by_colon, said
from kuaihl.records import Comment

# The style sheet with its emotes may be longer than what a sniffer sees.
_PAGE = re.compile(r"\s*<(?:!doctype html|html)\b", re.IGNORECASE)
_OPENING = re.compile(r"<pre\b[^>]{0,200}\bclass\s*=\s*[\"']?(?:comment-root|cr)\b")
_END = "</pre>"
_TIME = re.compile(r"\s*\[([^\]]{4,40})\]")
_AUTHOR = ("comment-author", "ca")
_UNSEEN = ("invis-text", "text-hide", "th")
"""Classes of an emote's name in letters, for copying; the picture's title tells it as well."""
_HERE = "\ue000"
"""Stands for the author; a character that no text has."""


def _sniff(head: str) -> bool:
    return bool(_PAGE.match(head)) or (head.lstrip().startswith("<") and bool(_OPENING.search(head)))


def _parse(source: Source, report: Report) -> Iterator[Comment]:
    number = 0
    for number, piece in enumerate(_pieces(source, report), 1):
        yield from _comment(piece, report, f"comment {number}")
    if not number:
        report.damage('a page without comments (<pre class="comment-root">)', "the document")


def _pieces(source: Source, report: Report) -> Iterator[str]:
    """Yield the HTML of every comment."""
    buffer = ""
    with source.open() as stream:
        while chunk := stream.read(CHUNK):
            *whole, buffer = (buffer + chunk).split(_END)
            for piece in whole:
                found = _OPENING.search(piece)
                if found:
                    yield piece[found.start() :]
            opening = buffer.rfind("<pre")
            if opening < 0:
                buffer = buffer[-len(_END) :]
            elif len(buffer) - opening > MAX_LINE_CHARS:
                report.damage(f"elements longer than {MAX_LINE_CHARS // 2**20} MB", "the document")
                buffer = ""
            else:
                buffer = buffer[opening:]
    if _OPENING.match(buffer):
        report.flaw("the file ends in the middle of a comment", "the end")


def _comment(piece: str, report: Report, where: str) -> tuple[Comment, ...]:
    try:
        root = html.fragment_fromstring(piece)
    except (etree.LxmlError, ValueError, AssertionError):
        report.damage("broken elements", where)
        return ()
    before, user, after = _parts(root)
    time = _TIME.match(before)
    if not time:
        report.damage("comments that do not begin with [h:mm:ss]", where)
        return ()
    time_s = report.date(time[1], where) if has_date(time[1]) else report.time(clock_s(time[1]), where)
    if not user:
        return said(time_s, *by_colon(before[time.end() :].strip()), report, where)
    shown, _, login = user.rpartition(" (")
    name = shown if shown and login.endswith(")") else user
    return said(time_s, clean(name), clean(after.removeprefix(":")), report, where)


def _parts(root: html.HtmlElement) -> tuple[str, str, str]:
    """Return the text before the author, the author, and the text after, with emotes as their titles."""
    user = ""
    for element in list(root.iter(etree.Element)):
        classes = (element.get("class") or "").split()
        if any(name in classes for name in _AUTHOR) and not user:
            user = clean(element.text_content())
            element.clear(keep_tail=True)
            element.text = _HERE
        elif element.tag == "img":
            element.text = f" {element.get('title') or element.get('alt') or ''} "
        elif any(name in classes for name in _UNSEEN):
            element.text = ""
    before, _, after = root.text_content().partition(_HERE)
    return before, user, " ".join(after.split())


PAGE = Format("TwitchDownloader HTML", '<pre class="comment-root">[h:mm:ss] user: text</pre>', _sniff, _parse)
