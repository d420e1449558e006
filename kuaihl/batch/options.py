"""How to predict a recording."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to predict a recording: what the options of the command mean."""

    comment_offset_s: float
    stream_start: str | None
    transcript: Path | None
    streamer: str | None
    target: str | None
    top: int
    clips: bool
    clip_padding_s: float
    exact_clips: bool
