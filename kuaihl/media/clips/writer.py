"""Clips of the highlights, in a folder or in a zip."""

import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kuaihl.atomic import filled
from kuaihl.errors import KuaiHLError
from kuaihl.media.clips.cutting import cut, suffix_of
from kuaihl.media.clips.frame_rates import frame_rate, timecode_rate
from kuaihl.media.recording import Recording
from kuaihl.progress import SILENT, Progress
from kuaihl.records import Highlight

__all__ = ["Clip", "cut_clips", "frame_rate", "timecode_rate", "zip_clips"]


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip that was cut: its file, and the stretch of the recording that it truly holds.

    It begins ``early_s`` seconds before what was asked for, since copied pictures begin with a keyframe; 0 where it was
    ``encoded`` anew.
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
    """Cut a clip of each highlight into a folder, such as ``01_0h12m30s.mp4``: all of them or none.

    Nothing is encoded anew where that can be avoided: a clip then begins with the keyframe at or before the highlight.

    Parameters
    ----------
    padding_s
        Added on both sides, within the recording.
    exact
        Begin with the very frame; all is encoded anew, which takes a while.

    Raises
    ------
    RecordingError
        There is nothing that can be read where a highlight is.
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


def zip_clips(
    recording: Recording,
    highlights: Sequence[Highlight],
    target: str | Path,
    *,
    padding_s: float = 0.0,
    exact: bool = False,
    progress: Progress = SILENT,
) -> list[Clip]:
    """Cut a clip of each highlight into one zip, of which one clip at a time lies beside it on the disk.

    Parameters and errors are those of `cut_clips`. The zip is there whole or not at all.
    """
    target = Path(target)
    if target.is_dir():
        raise KuaiHLError(f"{target} is a folder where a file is to be written: name another one")
    found = []
    with (
        filled(target.parent) as folder,
        tempfile.TemporaryDirectory(dir=folder.parent) as scratch,
        zipfile.ZipFile(folder / target.name, "w", zipfile.ZIP_STORED) as archive,
    ):
        for clip in _cut(recording, highlights, Path(scratch), padding_s=padding_s, exact=exact, progress=progress):
            archive.write(Path(scratch, clip.file), clip.file)
            Path(scratch, clip.file).unlink()
            found.append(clip)
    return found


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
        raise ValueError(f"padding_s must be a number from 0 up, not {padding_s}")

    parts = progress.stage("cutting").split(len(highlights))
    for part, highlight in zip(parts, highlights, strict=True):
        start_s = max(highlight.start_s - padding_s, 0.0)
        end_s = min(highlight.end_s + padding_s, recording.info.duration_s)
        name = f"{highlight.rank:02}_{_clock(highlight.start_s)}{suffix_of(recording, start_s=start_s, end_s=end_s)}"
        found = cut(
            recording,
            folder / name,
            start_s=start_s,
            end_s=end_s,
            exact=exact,
            progress=part,
        )
        early_s = max(start_s - found.start_s, 0.0)
        yield Clip(highlight.rank, name, found.start_s, found.end_s, early_s, found.encoded)


def _clock(time_s: float) -> str:
    """Write a time for the name of a file, rounded down."""
    minutes, seconds = divmod(int(time_s), 60)
    return f"{minutes // 60}h{minutes % 60:02}m{seconds:02}s"
