"""Formats that are recognised so as to say why they are refused."""

import re
from dataclasses import dataclass

WALL_CLOCK = (
    "its times are by the wall clock, and when the stream started is not known, so its comments cannot be placed in the"
    " recording"
)
_NOT_YET = "KuaiHL does not read this format"


@dataclass(frozen=True, slots=True)
class Unread:
    """A format by what its first characters hold, and why it is refused."""

    name: str
    pattern: re.Pattern[str]
    why: str = _NOT_YET

    def sniff(self, head: str) -> bool:
        """Know the format by the first characters of a log."""
        return bool(self.pattern.search(head))


def _unread(name: str, pattern: str, why: str = _NOT_YET) -> Unread:
    return Unread(name, re.compile(pattern, re.MULTILINE), why)


UNREAD = (
    _unread("Twitch text with UTC times", r"\A\s*\[\d{4}-\d\d-\d\d[ T][^\]\n]*UTC\]", WALL_CLOCK),
    _unread("a justlog channel log", r"\A\s*\[\d{4}-\d\d-\d{1,2} [\d:]+\] #", WALL_CLOCK),
    _unread("a Chatterino log", r"\A\s*(?:# Start logging at|\[\d\d:\d\d:\d\d\]  \S)", WALL_CLOCK),
    _unread("raw Twitch IRC", r"^@[^\n]*tmi-sent-ts=", WALL_CLOCK),
    _unread("a Discord export", r'\A\s*\{\s*"guild"\s*:', WALL_CLOCK),
    _unread("a log with dates", r"\A\s*\[?\d{4}[-/]\d{1,2}[-/]\d{1,2}[ T]\d{1,2}:\d\d", WALL_CLOCK),
    _unread("a TikTok log", r'"create_time"\s*:', WALL_CLOCK),
    _unread("a blrec XML", r"<record_start_time>"),
    _unread("a biliLive-tools XML", r"<RecorderXmlStyle>|<video_start_time>"),
    _unread("a biliup XML", r"<[so]\s[^>]{0,300}timestamp="),
    _unread("a Niconico XML", r"<chat\s[^>]{0,300}vpos=|<NiconamaComment"),
    _unread("a TwitchDownloader HTML", r"class=[\"\']?(?:comment-root|cr)\b"),
    _unread("a chat-downloader text", r"\A\s*-?(?:\d+:)?\d+:\d\d \| "),
    _unread("a danmaku subtitle file (ASS)", r"\A\s*\[Script Info\][\s\S]*\\move\("),
    _unread(
        "a subtitle file",
        r"\A\s*(?:WEBVTT|\[Script Info\]|\d+\s+\d+:\d\d:\d\d,\d+ -->)",
        "if it holds what the streamer says, give it as the transcript",
    ),
    _unread("an HTML page", r"\A\s*<(?:!DOCTYPE html|html)"),
)
