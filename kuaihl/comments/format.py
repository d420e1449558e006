"""The interface of a log format."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kuaihl.comments.diagnostics import Report
from kuaihl.comments.source import Source
from kuaihl.records import Comment


@dataclass(frozen=True, slots=True)
class Format:
    """A format: ``sniff`` checks the first characters of a log, ``parse`` yields its comments in any order.

    ``entry`` shows what one entry looks like, for messages.
    """

    name: str
    entry: str
    sniff: Callable[[str], bool]
    parse: Callable[[Source, Report], Iterator[Comment]]


@dataclass(frozen=True, slots=True)
class Refused:
    """A known format that is not a comment log, by the pattern of its beginning, and what to do with it."""

    name: str
    pattern: re.Pattern[str]
    advice: str

    def sniff(self, head: str) -> bool:
        """Check the first characters of a file."""
        return bool(self.pattern.search(head))


SUBTITLES = Refused(
    "a subtitle file",
    re.compile(r"\A\s*(?:WEBVTT|\[Script Info\]|\d{1,9}\s{1,9}\d{1,9}:\d\d:\d\d,\d{1,9} -->)"),
    "if it contains what the streamer says, use it as the transcript",
)
