"""Highlights as chapters and as subtitles: text for YouTube, FFmetadata, WebVTT, SRT."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from kuaihl.plots.style import clock, strength_and_why, wrap
from kuaihl.records import Highlight, Prediction

MIN_CHAPTER_S, MIN_CHAPTERS = 10, 3
"""YouTube's rules. The first chapter starts at 0:00."""
_TITLE_WIDTH = 60
_UNSAFE = str.maketrans({"<": "‹", ">": "›", "{": "(", "}": ")", "\\": "/"})
"""Letters of tags in subtitles, which cannot be escaped. YouTube refuses the first two."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """A part of a recording, in whole seconds except for the end of the recording."""

    start_s: float
    end_s: float
    title: str


def title_of(prediction: Prediction, highlight: Highlight) -> str:
    """Return the rank of a highlight and the first words said in it: one line, no tags."""
    words = wrap(plain(speech_in(prediction, highlight)), _TITLE_WIDTH, max_lines=1)
    return f"Highlight {highlight.rank}" + (f": {words[0]}" if words else "")


def speech_in(prediction: Prediction, highlight: Highlight) -> str:
    """Return the speech in the segments of a highlight."""
    return " ".join(
        segment.speech
        for segment in prediction.segments
        if segment.segment.start_s < highlight.end_s and segment.segment.end_s > highlight.start_s
    )


def plain(text: str) -> str:
    """Return a text as one line, without tags."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).translate(_UNSAFE).split())


def chapters(prediction: Prediction) -> list[Chapter]:
    """Divide a recording into its highlights and the parts between them, each at least 10 s long, without gaps.

    Chapters start and end on full seconds around the highlight. A highlight for which those ranked above it leave no
    room is left out.
    """
    duration_s = prediction.recording.duration_s
    spans: list[tuple[float, float, str]] = []
    for highlight in sorted(prediction.highlights, key=lambda highlight: highlight.rank):
        start_s = float(max(min(math.floor(highlight.start_s), math.floor(duration_s - MIN_CHAPTER_S)), 0))
        end_s = min(float(max(math.ceil(highlight.end_s), start_s + MIN_CHAPTER_S)), duration_s)
        # Neighbours may share the second in which one ends and the other starts.
        start_s = max([start_s, *(end for begin, end, _ in spans if begin <= start_s < end <= start_s + 1)])
        end_s = min([end_s, *(begin for begin, end, _ in spans if end_s - 1 <= begin < end_s <= end)])
        if end_s - start_s >= MIN_CHAPTER_S and all(end <= start_s or begin >= end_s for begin, end, _ in spans):
            spans.append((start_s, end_s, title_of(prediction, highlight)))
    starts: list[tuple[float, str]] = []
    until_s = 0.0
    for start_s, end_s, title in [*sorted(spans), (duration_s, duration_s, "")]:
        between = start_s - until_s >= MIN_CHAPTER_S
        if between or not (starts or title):
            starts.append((until_s, "Stream continues" if starts else "Start"))
        if title:
            starts.append((start_s if starts else 0.0, title))
        until_s = end_s
    ends = [start_s for start_s, _ in starts[1:]] + [duration_s]
    return [Chapter(start_s, end_s, title) for (start_s, title), end_s in zip(starts, ends, strict=True)]


def to_youtube(prediction: Prediction) -> str:
    """Return chapters as lines for the description of a YouTube video, or a sentence if its rules cannot be met."""
    parts = chapters(prediction)
    if len(parts) < MIN_CHAPTERS or parts[-1].end_s - parts[-1].start_s < MIN_CHAPTER_S:
        return (
            f"No chapters: YouTube requires at least {MIN_CHAPTERS} of at least {MIN_CHAPTER_S} s each; the highlights "
            f"of this recording of {clock(prediction.recording.duration_s)} make {len(parts)}.\n"
        )
    return "".join(f"{_short_clock(chapter.start_s)} {chapter.title}\n" for chapter in parts)


def to_ffmetadata(prediction: Prediction) -> str:
    """Return chapters as FFmetadata, for ``ffmpeg -i RECORDING -i FILE -map_metadata 1 -codec copy``."""
    lines = [";FFMETADATA1", f"title={_escaped(prediction.recording.name)}"]
    for chapter in chapters(prediction):
        start, end = round(chapter.start_s * 1000), round(chapter.end_s * 1000)
        lines += ["[CHAPTER]", "TIMEBASE=1/1000", f"START={start}", f"END={end}", f"title={_escaped(chapter.title)}"]
    return "\n".join(lines) + "\n"


def to_webvtt(prediction: Prediction) -> str:
    """Return chapters as WebVTT, for a player's ``<track kind="chapters">``."""
    cues = ((chapter.start_s, chapter.end_s, chapter.title.replace("&", "&amp;")) for chapter in chapters(prediction))
    return "WEBVTT\n\n" + _cues(cues, ".")


def to_srt(prediction: Prediction) -> str:
    """Return the highlights as subtitles in order of time: title, strength and evidence."""
    return _cues(
        (
            (h.start_s, h.end_s, f"{title_of(prediction, h)}\n{plain(strength_and_why(h))}")
            for h in sorted(prediction.highlights, key=lambda h: h.start_s)
        ),
        ",",
    )


def to_cues(said: Iterable[tuple[float, float, str]]) -> str:
    """Return speech, as (start_s, end_s, text), as SRT."""
    return _cues(((start_s, end_s, plain(text)) for start_s, end_s, text in said), ",")


def _cues(cues: Iterable[tuple[float, float, str]], point: str) -> str:
    return "".join(
        f"{number}\n{_stamp(start_s, point)} --> {_stamp(end_s, point)}\n{text}\n\n"
        for number, (start_s, end_s, text) in enumerate(cues, 1)
    )


def _stamp(time_s: float, point: str) -> str:
    seconds, milliseconds = divmod(round(time_s * 1000), 1000)
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}{point}{milliseconds:03}"


def _short_clock(time_s: float) -> str:
    """Format a full second as YouTube does: m:ss, and h:mm:ss from an hour on."""
    minutes, seconds = divmod(int(time_s), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}" if minutes >= 60 else f"{minutes}:{seconds:02}"


def _escaped(text: str) -> str:
    # Not even an escaped backslash may be last: FFmpeg would take the line break as escaped.
    return "".join(f"\\{letter}" if letter in "=;#\\\n" else letter for letter in text.rstrip("\\"))
