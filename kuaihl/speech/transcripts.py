"""Subtitle files (SRT, VTT, ASS) -> utterances, instead of speech recognition."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pysubs2
from pysubs2.exceptions import Pysubs2Error

from kuaihl.comments.danmaku_ass import DRAWING, split_tags
from kuaihl.comments.fields import unescape
from kuaihl.comments.source import BOMS, guess_encoding
from kuaihl.errors import CommentLogError
from kuaihl.records import Segment, Utterance

_MAX_BYTES = 64 * 2**20
_WINDOW = 2**15
"""Bytes on both sides of an error of encoding that are looked at."""
_SRT_TIMES = re.compile(r"^[ \t]*\d{1,9}:\d{1,9}:\d{1,9}[,.]\d{1,9}[ \t]*-->", re.MULTILINE)
_SRT_TORN = re.compile(r"^\d{1,9}[ \t]*\n[^\n]*-->(?![ \t]*\d{1,9}:\d{1,9}:\d{1,9}[,.]\d)[^\n]*$", re.MULTILINE)
_ASS_HEADER = re.compile(r"^[ \t]*\[(Script Info|V4\+? Styles|Events)\]", re.MULTILINE | re.IGNORECASE)
_VTT_INLINE_TIME = re.compile(r"<[\d:.]+>")
_MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>")
_UNSPACED = re.compile(r"([\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])")
_LESS_THAN = "\ue000"
"""Stands for a less-than sign that is not markup, for which pysubs2 takes it."""

_PAUSE_MS = 1000
"""Captions further apart do not repeat each other."""
_MAX_REPEATED_WORDS = 200
_MIN_REPEATS = 3


@dataclass(slots=True)
class _Cue:
    """A caption: its times, its words, and the indices of the words that begin a line."""

    start_ms: int
    end_ms: int
    words: list[str]
    line_starts: set[int]

    def keys(self) -> list[str]:
        """Return the words as they are compared: captions may mark a word by capitals or signs."""
        return [re.sub(r"\W", "", word).casefold() or word for word in self.words]


def read_transcript(path: str | Path, *, segments: Sequence[Segment]) -> list[Utterance]:
    """Read a transcript; a cue that runs over a segment's end is cut there, its words shared out in proportion to time.

    Parameters
    ----------
    path
        SRT, VTT, ASS or SSA, distinguished by content, in any encoding.
    segments
        The recording's segments, in order; what lies outside them is left out.

    Raises
    ------
    CommentLogError
        Where the file cannot be read, is of another kind or holds no cue.
    """
    path = Path(path)
    text = _decode(path)
    format_ = _format(text)
    if format_ is None:
        raise CommentLogError(f"{path} is no transcript: SRT, WebVTT and ASS are read.")
    try:
        events = pysubs2.SSAFile.from_string(_prepare(text, format_), format_=format_)
    except (Pysubs2Error, ValueError, LookupError, TypeError, OverflowError) as error:
        raise CommentLogError(f"{path} is damaged: {error}. Save it again as SRT or WebVTT.") from error
    cues = list(_cues(events))
    if not cues:
        raise CommentLogError(f"{path} holds no cue with words and times. Is it the right file, and whole?")
    utterances: list[Utterance] = []
    for cue in _without_repeats(cues, has_word_times=format_ == "vtt" and bool(_VTT_INLINE_TIME.search(text))):
        utterances.extend(_cut(" ".join(cue.words), cue.start_ms / 1000, cue.end_ms / 1000, segments))
    return utterances


def _decode(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise CommentLogError(f"{path} is larger than {_MAX_BYTES >> 20} MB: this is no transcript.")
        data = path.read_bytes()
    except OSError as error:
        raise CommentLogError(f"{path} cannot be read: {error.strerror}.") from error
    encoding = next((name for bom, name in BOMS if data.startswith(bom)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        window = data[max(0, error.start - _WINDOW) : error.start + _WINDOW]
        text = data.decode((encoding == "utf-8" and guess_encoding(data, window)) or encoding, "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _format(text: str) -> str | None:
    if text.lstrip().startswith("WEBVTT"):
        return "vtt"
    if _ASS_HEADER.search(text):
        return "ass"
    return "srt" if _SRT_TIMES.search(text) else None


def _prepare(text: str, format_: str) -> str:
    """Remove what pysubs2 would read as words, and markup, for which it takes quadratic time."""
    if format_ == "ass":
        return text
    text = _plain_vtt(text) if format_ == "vtt" else _SRT_TORN.sub("", text)
    return _MARKUP.sub("", text).replace("<", _LESS_THAN)


def _plain_vtt(text: str) -> str:
    """Keep the cues of a WebVTT file: no notes, styles, identifiers, settings or times of single words."""
    cues = []
    for block in text.split("\n\n"):  # a line with a space is part of its cue
        lines = block.strip("\n").split("\n")
        times = [i for i, line in enumerate(lines) if "-->" in line]
        if not times or times[0] > 1:
            continue
        for start, stop in pairwise([*times, len(lines)]):
            cues.append(
                "\n".join([lines[start], *(_VTT_INLINE_TIME.sub("", line) for line in lines[start + 1 : stop])])
            )
    return "\n\n".join(["WEBVTT", *cues, ""])


def _cues(events: pysubs2.SSAFile) -> Iterator[_Cue]:
    """Yield the captions with words in order of time, without comments and drawings."""
    seen = set()
    for event in sorted(events, key=lambda event: (event.start, event.end)):
        plain, tags = split_tags(event.text)
        # Layers of one line (outline, shadow) differ in style only.
        key = (event.start, event.end, plain)
        if event.is_comment or DRAWING.search(tags) or key in seen:
            continue
        seen.add(key)
        words: list[str] = []
        line_starts = set()
        for line in plain.split("\n"):
            line_starts.add(len(words))
            words.extend(unescape(_MARKUP.sub("", line).replace(_LESS_THAN, "<")).split())
        if words:
            yield _Cue(event.start, event.end, words, line_starts)


def _repeated_words(before: _Cue, cue: _Cue) -> int:
    """Return how many words at the beginning of a caption are those at the end of the one before.

    They are whole lines of it, or at least half of it.
    """
    if cue.start_ms - before.end_ms > _PAUSE_MS:
        return 0
    last, first = before.keys()[-_MAX_REPEATED_WORDS:], cue.keys()[:_MAX_REPEATED_WORDS]
    length = len(before.words)
    for count in range(min(len(last), len(first)), 0, -1):
        is_part = length - count in before.line_starts or count * 2 >= length
        if is_part and last[-count] == first[0] and last[-count:] == first[:count]:
            return count
    return 0


def _without_repeats(cues: list[_Cue], *, has_word_times: bool) -> list[_Cue]:
    """Remove the words that captions repeat from the one before, if most do: they roll, grow, or mark a word."""
    repeats = [0, *(_repeated_words(before, cue) for before, cue in pairwise(cues))]
    repeating = sum(count > 0 for count in repeats)
    if not has_word_times and (repeating < _MIN_REPEATS or repeating * 2 < len(cues)):
        return cues
    fresh: list[_Cue] = []
    for cue, count in zip(cues, repeats, strict=True):
        if count < len(cue.words):
            fresh.append(_Cue(cue.start_ms, cue.end_ms, cue.words[count:], set()))
        else:  # the same words are still shown
            fresh[-1].end_ms = max(fresh[-1].end_ms, cue.end_ms)
    return fresh


def _cut(text: str, start_s: float, end_s: float, segments: Sequence[Segment]) -> Iterator[Utterance]:
    """Share a cue's words out among the segments it spans; each word belongs where its middle lies."""
    # The spaces are kept with their words, so that joining gives the text back; other scripts are cut anywhere.
    words = [word for word in re.split(r"(?<=\s)", _UNSPACED.sub("\\1\0", text)) for word in word.split("\0") if word]
    starts = [segment.start_s for segment in segments]
    share: dict[int, str] = {}
    letters = 0
    for word in words:
        middle_s = start_s + (end_s - start_s) * (letters + len(word) / 2) / len(text)
        letters += len(word)
        owner = bisect_right(starts, middle_s) - 1
        if owner >= 0 and middle_s < segments[owner].end_s:
            share[owner] = share.get(owner, "") + word
    for owner, part in share.items():
        segment = segments[owner]
        if part.strip():
            yield Utterance(max(start_s, segment.start_s), min(max(start_s, end_s), segment.end_s), part.strip())
