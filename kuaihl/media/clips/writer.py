"""Clips of the highlights, in a folder."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kuaihl.atomic import filled
from kuaihl.media.clips.cutting import cut, suffix_of
from kuaihl.media.recording import Recording
from kuaihl.progress import SILENT, Progress
from kuaihl.records import Highlight

MAX_NAME_BYTES = 150
"""Length of the recording's name in the names of clips."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip: its file, and the part of the recording that it holds.

    It begins ``early_s`` seconds before the highlight, since copied video begins with a keyframe; 0 if it was
    ``encoded``.
    """

    rank: int
    file: str
    start_s: float
    end_s: float
    early_s: float
    encoded: bool


def cut_clips(
    recording: Recording,
    highlights: Sequence[Highlight],
    out_dir: str | Path,
    *,
    padding_s: float = 0.0,
    exact: bool = False,
    progress: Progress = SILENT,
) -> list[Clip]:
    """Cut a clip of each highlight into a folder, such as ``stream_01_0h12m30s.mp4``: all of them or none.

    Video is copied where possible: a clip then begins with the keyframe at or before the highlight.

    Parameters
    ----------
    padding_s
        Added on both sides, within the recording.
    exact
        Begin with the exact frame. Everything is re-encoded, which takes longer.

    Raises
    ------
    RecordingError
        Nothing can be read where a highlight is.
    KuaiHLError
        The folder cannot be written to, or the disk is full.
    ValueError
        ``padding_s`` is negative.
    """
    out_dir = Path(out_dir)
    if not highlights:
        return []
    with filled(out_dir) as folder:
        return list(_cut(recording, highlights, folder, padding_s=padding_s, exact=exact, progress=progress))


def _cut(
    recording: Recording,
    highlights: Sequence[Highlight],
    folder: Path,
    *,
    padding_s: float,
    exact: bool,
    progress: Progress,
) -> Iterator[Clip]:
    if not padding_s >= 0:
        raise ValueError(f"padding_s must be at least 0, not {padding_s}")
    stem = file_stem(recording.info.name)
    parts = progress.stage("cutting").split(len(highlights))
    for part, highlight in zip(parts, highlights, strict=True):
        start_s = max(highlight.start_s - padding_s, 0.0)
        end_s = min(highlight.end_s + padding_s, recording.info.duration_s)
        suffix = suffix_of(recording, start_s=start_s, end_s=end_s)
        name = f"{stem}_{highlight.rank:02}_{_format_time(highlight.start_s)}{suffix}"
        result = cut(recording, folder / name, start_s=start_s, end_s=end_s, exact=exact, progress=part)
        early_s = max(start_s - result.start_s, 0.0)
        yield Clip(highlight.rank, name, result.start_s, result.end_s, early_s, result.is_encoded)


def file_stem(name: str) -> str:
    """Return the name of a file without suffix, shortened, and without characters that some systems do not allow."""
    stem = re.sub(r'[<>:"/\\|?*\x00-\x1f\ufffd]', "_", os.fsencode(Path(name).stem).decode(errors="replace"))
    return stem.encode()[:MAX_NAME_BYTES].decode(errors="ignore").strip(" .") or "clip"


def _format_time(time_s: float) -> str:
    """Format a time for a file name, rounded down."""
    minutes, seconds = divmod(int(time_s), 60)
    return f"{minutes // 60}h{minutes % 60:02}m{seconds:02}s"
