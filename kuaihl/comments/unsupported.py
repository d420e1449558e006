"""Formats that are recognised so as to say why they are refused."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unread:
    """A format by what its first characters hold, and why it is refused."""

    name: str
    pattern: re.Pattern[str]
    why: str

    def sniff(self, head: str) -> bool:
        """Know the format by the first characters of a log."""
        return bool(self.pattern.search(head))


UNREAD = (
    Unread(
        "a subtitle file",
        re.compile(r"\A\s*(?:WEBVTT|\[Script Info\]|\d+\s+\d+:\d\d:\d\d,\d+ -->)"),
        "if it holds what the streamer says, give it as the transcript",
    ),
)
"""Known, and no comment logs."""
