"""Read JSON of any size, one entry at a time: entries of a list in a document, or one entry per line.

The standard decoder is faster here than an event parser, accepts NaN and control characters, and allows resuming after
a damaged entry.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from kuaihl.comments.diagnostics import Report
from kuaihl.comments.source import CHUNK, MAX_LINE_CHARS, Source

_DECODER = json.JSONDecoder(strict=False)
_GAP = re.compile(r"[\s,]*")
_BOUNDARY = re.compile(r"\}(?:\s*,\s*|\s+)(?=\{)")
_LONGEST_KEY = 256
_MAX_ATTEMPTS = 2000
"""How often to look for the next sound entry: each look may take long in a file that is made to be slow."""

_MOST_SNIFFED = 20


class _Window:
    """A window of a text that grows at its end and forgets what was read."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.text, self.at = stream, "", 0

    def grow(self) -> bool:
        """Double the window, so that an entry of any length takes linear time."""
        self.text = self.text[self.at :]
        self.at = 0
        more = self.stream.read(max(CHUNK, len(self.text)))
        self.text += more
        return bool(more)

    def pass_gap(self) -> str:
        """Advance to the next character other than space and comma and return it; empty at the end."""
        while True:
            gap = _GAP.match(self.text, self.at)
            self.at = gap.end() if gap else self.at
            if self.at < len(self.text) or not self.grow():
                return self.text[self.at : self.at + 1]

    def find(self, pattern: re.Pattern[str]) -> bool:
        """Advance past the next match of ``pattern``."""
        while not (found := pattern.search(self.text, self.at)):
            self.at = max(self.at, len(self.text) - _LONGEST_KEY)
            if not self.grow():
                return False
        self.at = found.end()
        return True

    def decode(self) -> Any:
        """Return the value here and advance past it; ValueError if there is none, EOFError if it is cut off."""
        while not (found := self._whole()):
            if len(self.text) - self.at > MAX_LINE_CHARS or not self.grow():
                raise EOFError
        value, self.at = found
        return value

    def _whole(self) -> tuple[Any, int] | None:
        try:
            return _DECODER.raw_decode(self.text, self.at)
        except json.JSONDecodeError as error:
            if error.msg.startswith("Unterminated") or error.pos >= len(self.text) - 16:
                return None
            raise
        except RecursionError as error:
            raise ValueError("nested too deeply") from error


def first_objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the intact objects at the beginning of a text, for sniffers."""
    at = text.find("{")
    for _ in range(_MOST_SNIFFED):
        if at < 0:
            return
        try:
            found, behind = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            behind = at + 1
        else:
            yield found
        at = text.find("{", behind)


def value_of(source: Source, key: str) -> Any:
    """Return the first object in the document with this key; None if there is none or it is damaged."""
    with source.open() as stream:
        window = _Window(stream)
        if not window.find(re.compile(rf'"{key}"\s*:\s*(?=\{{)')):
            return None
        try:
            return window.decode()
        except (ValueError, EOFError):
            return None


def entries(
    source: Source,
    report: Report,
    *,
    begins: re.Pattern[str],
    is_entry: Callable[[dict[str, Any]], bool],
    closed_by: str = "]",
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield place and content of every object in the list that opens where ``begins`` matches.

    ``is_entry`` distinguishes an entry from objects inside it, to find the next one after damage. ``closed_by`` is
    empty if the objects are not in a list and end with the file.
    """
    with source.open() as stream:
        window = _Window(stream)
        if not window.find(begins):
            report.damage("no list of comments", "the document")
            return
        number, lost, ended, attempts = 0, "", False, 0
        while (attempts < _MAX_ATTEMPTS and window.find(_BOUNDARY)) if lost else window.pass_gap() != closed_by:
            number += not lost
            try:
                entry = window.decode()
            except (ValueError, EOFError) as error:
                lost, ended = lost or f"comment {number}", isinstance(error, EOFError)
                window.at += 1
                attempts += 1
                continue
            if not isinstance(entry, dict) or (lost and not is_entry(entry)):
                if not lost:
                    report.damage("list elements that are not objects", f"comment {number}")
                continue
            if lost:
                report.damage("damaged parts of JSON", lost)
                number, lost = number + 1, ""
            yield f"comment {number}", entry
        if lost and attempts >= _MAX_ATTEMPTS:
            report.damage("too much damage, the rest of the list is left out", lost)
        elif lost:
            report.damage("the file ends in the middle of its list" if ended else "damaged parts of JSON", lost)


def lines(source: Source, report: Report) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield place and content of every line that is an object."""
    for number, line in source.lines(report):
        try:
            entry = _DECODER.decode(line)
        except (ValueError, RecursionError):
            entry = None
        if isinstance(entry, dict):
            yield f"line {number}", entry
        else:
            report.damage("lines that are not a JSON object", f"line {number}")
