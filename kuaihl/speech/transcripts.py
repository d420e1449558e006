"""Read utterances from a transcript (SRT, WebVTT, ASS), which replaces speech recognition."""

import codecs
import html
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path

import pysubs2
from charset_normalizer import from_bytes
from pysubs2.exceptions import Pysubs2Error

from kuaihl.errors import CommentLogError
from kuaihl.records import Segment, Utterance

_MAX_BYTES = 64 * 2**20
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_SRT_TIMES = re.compile(r"^\s*\d+:\d+:\d+[,.]\d+\s*-->", re.MULTILINE)
_SRT_TORN = re.compile(r"^\d+[ \t]*\n[^\n]*-->(?!\s*\d+:\d+:\d+[,.]\d)[^\n]*$", re.MULTILINE)
_ASS_HEADER = re.compile(r"^\s*\[(Script Info|V4\+? Styles|Events)\]", re.MULTILINE | re.IGNORECASE)
_VTT_INLINE_TIME = re.compile(r"<[\d:.]+>")
_MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>")
_UNSPACED = re.compile(r"([\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])")


def read_transcript(path: str | Path, *, segments: Sequence[Segment]) -> list[Utterance]:
    """Read a transcript. A cue across segments is split, with its words distributed in proportion to time.

    Parameters
    ----------
    path
        SRT, WebVTT, ASS or SSA in any encoding; the format is detected from the content.
    segments
        Segments of the recording in order; text outside of them is left out.

    Raises
    ------
    CommentLogError
        The file cannot be read, has another format, or holds no cue.
    """
    path = Path(path)
    text = _decode(path)
    format_ = _format(text)
    if format_ is None:
        raise CommentLogError(f"{path} is not a transcript: SRT, WebVTT and ASS are supported.")
    try:
        cues = pysubs2.SSAFile.from_string(_prepare(text, format_), format_=format_)
    except (Pysubs2Error, ValueError, LookupError, TypeError) as error:
        raise CommentLogError(f"{path} is damaged: {error}. Save it again as SRT or WebVTT.") from error
    rolling = format_ == "vtt" and _VTT_INLINE_TIME.search(text) is not None
    utterances: list[Utterance] = []
    has_text = False
    before: list[str] = []
    # Layers of one line (outline, shadow) differ in style only.
    for start_ms, end_ms, plain in dict.fromkeys((cue.start, cue.end, cue.plaintext) for cue in _dialogue(cues)):
        lines = [line for raw in plain.split("\n") if (line := _clean(raw))]
        has_text = has_text or bool(lines)
        # Roll-up captions repeat the line that is still shown.
        fresh = lines[1:] if rolling and before and lines[:1] == before[-1:] else lines
        before = lines or before
        utterances.extend(_split(" ".join(fresh), start_ms / 1000, end_ms / 1000, segments))
    if not has_text:
        raise CommentLogError(f"{path} holds no cue with text and times. Is it the right file, and complete?")
    return utterances


def _decode(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise CommentLogError(f"{path} is larger than {_MAX_BYTES >> 20} MB, which no transcript is.")
        data = path.read_bytes()
    except OSError as error:
        raise CommentLogError(f"{path} cannot be read: {error.strerror}.") from error
    encoding = next((name for bom, name in _BOMS if data.startswith(bom)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        guess = from_bytes(data).best()
        if guess is None:
            raise CommentLogError(f"{path} is not a text file. SRT, WebVTT and ASS are supported.") from None
        text = str(guess)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _format(text: str) -> str | None:
    if text.lstrip().startswith("WEBVTT"):
        return "vtt"
    if _ASS_HEADER.search(text):
        return "ass"
    return "srt" if _SRT_TIMES.search(text) else None


def _prepare(text: str, format_: str) -> str:
    """Remove what pysubs2 would read as text."""
    if format_ == "vtt":
        return _plain_vtt(text)
    return _SRT_TORN.sub("", text) if format_ == "srt" else text


def _plain_vtt(text: str) -> str:
    """Keep the cues of a WebVTT file, without notes, styles, identifiers, settings and times of words."""
    cues = []
    for block in re.split(r"\n[ \t]*\n", text):
        lines = block.strip("\n").split("\n")
        at = next((i for i, line in enumerate(lines[:2]) if "-->" in line), None)
        if at is not None:
            cues.append("\n".join([lines[at], *(_VTT_INLINE_TIME.sub("", line) for line in lines[at + 1 :])]))
    return "\n\n".join(["WEBVTT", *cues, ""])


def _dialogue(cues: pysubs2.SSAFile) -> list[pysubs2.SSAEvent]:
    return sorted((cue for cue in cues if not cue.is_comment and not cue.is_drawing), key=lambda c: (c.start, c.end))


def _clean(line: str) -> str:
    return " ".join(html.unescape(_MARKUP.sub("", line)).split())


def _split(text: str, start_s: float, end_s: float, segments: Sequence[Segment]) -> Iterator[Utterance]:
    """Split a cue at segment borders; each word belongs to the segment of its middle."""
    # Spaces stay with their words, so that joining restores the text; scripts without spaces are split anywhere.
    words = [word for word in re.split(r"(?<=\s)", _UNSPACED.sub("\\1\0", text)) for word in word.split("\0") if word]
    starts = [segment.start_s for segment in segments]
    texts: dict[int, str] = {}
    letters = 0
    for word in words:
        middle_s = start_s + (end_s - start_s) * (letters + len(word) / 2) / len(text)
        letters += len(word)
        owner = bisect_right(starts, middle_s) - 1
        if owner >= 0 and middle_s < segments[owner].end_s:
            texts[owner] = texts.get(owner, "") + word
    for owner, share in texts.items():
        segment = segments[owner]
        if share.strip():
            yield Utterance(max(start_s, segment.start_s), min(max(start_s, end_s), segment.end_s), share.strip())
