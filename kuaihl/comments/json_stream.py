"""Read JSON of any size, one entry at a time: entries of lists in a document, or one or more entries per line.

The standard decoder is faster here than an event parser, accepts NaN and control characters, and allows resuming after
a damaged entry.
"""

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, TextIO

from kuaihl.comments.diagnostics import Report
from kuaihl.comments.source import CHUNK, MAX_LINE_CHARS, Source

Entry = dict[str, Any]
IsEntry = Callable[[Entry], bool]

_DECODER = json.JSONDecoder(strict=False)
_GAP = re.compile(r"[\s,]*")
_BOUNDARY = re.compile(r"\}(?:\s*,\s*|\s+)(?=\{)")
_LIST = re.compile(r"\[\s*(?=\{)")
_LONGEST_KEY = 256
_MAX_ATTEMPTS, _MAX_WASTED_CHARS = 2000, 2**25
"""Limits of the search for the next intact entry, which can take long in a file that is made to be slow."""
_MAX_SNIFFED = 200


class _Window:
    """A window of a text that grows at its end and forgets what was read."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.text, self.at, self.wasted = stream, "", 0, 0

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
        while not (match := pattern.search(self.text, self.at)):
            self.at = max(self.at, len(self.text) - _LONGEST_KEY)
            if not self.grow():
                return False
        self.at = match.end()
        return True

    def decode(self) -> Any:
        """Return the value here and advance past it; ValueError if there is none, EOFError if it is cut off."""
        while not (decoded := self._whole()):
            if len(self.text) - self.at > MAX_LINE_CHARS or not self.grow():
                self.wasted += len(self.text) - self.at
                raise EOFError
        value, self.at = decoded
        return value

    def _whole(self) -> tuple[Any, int] | None:
        try:
            return _DECODER.raw_decode(self.text, self.at)
        except json.JSONDecodeError as error:
            if error.msg.startswith("Unterminated") or error.pos >= len(self.text) - 16:
                return None
            self.wasted += error.pos - self.at
            raise
        except RecursionError as error:
            self.wasted += len(self.text) - self.at
            raise ValueError("nested too deeply") from error


def walk(value: Any, is_entry: IsEntry) -> Iterator[Entry]:
    """Yield the entries in a value, and all objects in a list with them; what is inside an entry is not looked at."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if is_entry(value):
                yield value
            else:
                waiting.extend(reversed(value.values()))
        elif isinstance(value, list):
            objects = [item for item in value if isinstance(item, dict)]
            if any(map(is_entry, objects)):
                yield from objects
            else:
                waiting.extend(reversed(value))


@lru_cache(maxsize=1)
def _objects(head: str) -> tuple[tuple[int, Entry], ...]:
    """Return the first intact objects of a text with their places; of a document that is cut off, those inside it."""
    objects, at = [], head.find("{")
    for _ in range(_MAX_SNIFFED):
        if at < 0:
            break
        try:
            value, behind = _DECODER.raw_decode(head, at)
            objects.append((at, value))
        except (ValueError, RecursionError):
            behind = at + 1
        at = head.find("{", behind)
    return tuple(objects)


def sniffer(is_entry: IsEntry) -> Callable[[str], bool]:
    """Return a check whether a text begins like JSON and holds an entry at its beginning."""

    def sniff(head: str) -> bool:
        return head.lstrip()[:1] in ("[", "{") and any(any(walk(value, is_entry)) for _, value in _objects(head))

    return sniff


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


def entries(source: Source, report: Report, is_entry: IsEntry) -> Iterator[tuple[str, Entry]]:
    """Yield place and content of every entry, wherever it is: one or more per line, or in lists of a document."""
    head = source.head.lstrip()
    first_line, _, rest = head.partition("\n")
    if head.startswith("{") and _is_object(first_line) and (rest.strip() or is_entry(_DECODER.decode(first_line))):
        yield from _from_lines(source, report, is_entry)
    elif head.startswith("["):
        yield from entries_of_list(source, report, re.compile(r"\s*\["), is_entry)
    else:
        yield from _from_document(source, report, is_entry)


def _is_object(line: str) -> bool:
    try:
        return isinstance(_DECODER.decode(line), dict)
    except (ValueError, RecursionError):
        return False


def _from_lines(source: Source, report: Report, is_entry: IsEntry) -> Iterator[tuple[str, Entry]]:
    for number, line in source.lines(report):
        where = f"line {number}"
        try:
            value = _DECODER.decode(line)
        except (ValueError, RecursionError):
            value = None
        entries = _within(value, is_entry)
        if not entries:
            report.damage("lines that are not a JSON object", where)
        for entry in entries:
            yield where, entry


def _within(value: Any, is_entry: IsEntry) -> list[Entry]:
    """Return an entry, the entries in a page of them, or an object that is neither."""
    if isinstance(value, dict) and is_entry(value):
        return [value]
    return list(walk(value, is_entry)) or ([value] if isinstance(value, dict) else [])


def _from_document(source: Source, report: Report, is_entry: IsEntry) -> Iterator[tuple[str, Entry]]:
    """Yield the entries of every list in a document, or of a few documents in a row."""
    first = next((at for at, value in _objects(source.head) if any(walk(value, is_entry))), 0)
    before = source.head[:first].rstrip()
    if not before.endswith("["):
        yield from entries_of_list(source, report, re.compile(r"\s*(?=\{)"), is_entry, closed_by="")
        return
    with source.open() as stream:
        window, number, is_first = _Window(stream), 0, True
        window.grow()
        window.at = len(before)
        while True:
            for number, where, entry in _list(window, report, is_entry, number):  # noqa: B007, B020 (counts on)
                if is_first or is_entry(entry):
                    yield where, entry
            is_first = False
            if window.wasted > _MAX_WASTED_CHARS or not window.find(_LIST):
                return


def entries_of_list(
    source: Source, report: Report, begins: re.Pattern[str], is_entry: IsEntry, *, closed_by: str = "]"
) -> Iterator[tuple[str, Entry]]:
    """Yield place and content of every entry in the list that opens where ``begins`` matches.

    ``is_entry`` distinguishes an entry from objects inside it, to find the next one after damage. ``closed_by`` is
    empty if the objects are not in a list and end with the file.
    """
    with source.open() as stream:
        window = _Window(stream)
        if not window.find(begins):
            report.damage("no list of comments", "the document")
            return
        for _, where, entry in _list(window, report, is_entry, 0, closed_by=closed_by):
            yield where, entry


def _list(
    window: _Window, report: Report, is_entry: IsEntry, number: int, *, closed_by: str = "]"
) -> Iterator[tuple[int, str, Entry]]:
    """Yield number, place and content of every entry in the list at a window, counted on from ``number``."""
    lost, is_cut_off, attempts, wasted = "", False, 0, window.wasted

    def may_search() -> bool:
        return attempts < _MAX_ATTEMPTS and window.wasted - wasted < _MAX_WASTED_CHARS

    while (may_search() and window.find(_BOUNDARY)) if lost else window.pass_gap() != closed_by:
        number += not lost
        try:
            value = window.decode()
        except (ValueError, EOFError) as error:
            lost, is_cut_off = lost or f"comment {number}", isinstance(error, EOFError)
            window.at += 1
            attempts += 1
            continue
        if lost:
            if not isinstance(value, dict) or not is_entry(value):
                continue
            report.damage("damaged parts of JSON", lost)
            number, lost = number + 1, ""
        entries = _within(value, is_entry)
        if not entries:
            report.damage("list elements that are not objects", f"comment {number}")
        for number, entry in enumerate(entries, number):  # noqa: B020 (counts on)
            yield number, f"comment {number}", entry
    if lost and not may_search():
        report.damage("too much damage, the rest of the list is left out", lost)
    elif lost and is_cut_off:
        report.flaw("the file ends in the middle of its list", lost)
    elif lost:
        report.damage("damaged parts of JSON", lost)
