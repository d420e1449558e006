"""How to predict a recording."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kuaihl.highlights import HighlightOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to predict a recording: what the options of the command mean."""

    comment_offset_s: float
    stream_start: str | None
    counted: tuple[str, ...]
    sources: tuple[str, ...]
    transcript: Path | None
    streamer: str | None
    target: str | None
    highlights: "HighlightOptions"
    clips: bool
    clip_padding_s: float
    exact_clips: bool
