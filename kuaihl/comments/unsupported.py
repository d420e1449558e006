"""Formats that are recognised in order to explain why they are refused."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unread:
    """A format, recognised by its first characters, and the reason why it is refused."""

    name: str
    pattern: re.Pattern[str]
    why: str

    def sniff(self, head: str) -> bool:
        """Return whether the first characters of a log show this format."""
        return bool(self.pattern.search(head))


UNREAD = (
    Unread(
        "a subtitle file",
        re.compile(r"\A\s*(?:WEBVTT|\[Script Info\]|\d+\s+\d+:\d\d:\d\d,\d+ -->)"),
        "if it is a transcript of the stream, use it as the transcript",
    ),
)
"""Known, and no comment logs."""
