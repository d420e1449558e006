"""The files of a prediction in one folder, but for those that take long."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from kuaihl.atomic import check_writable, filled
from kuaihl.export.chapters import to_ffmetadata, to_srt, to_webvtt, to_youtube
from kuaihl.export.html_pages import alignment_page, curve_page
from kuaihl.export.json_csv import to_csv, to_json
from kuaihl.export.report import report_page, still
from kuaihl.export.timelines import to_edl, to_otio
from kuaihl.media.clips.frame_rates import rate_of, timecode_rate
from kuaihl.media.recording import Recording
from kuaihl.records import Prediction


def write_prediction(
    prediction: Prediction,
    out_dir: Path | str,
    *,
    recording: Recording | None = None,
    stills: Sequence[str] | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[Path]:
    """Write a prediction into a folder: all files or none.

    They are prediction.json, segments.csv, curve.html and alignment.html; with ``recording`` also report.html, chapters
    (.txt for YouTube, .ffmetadata, .vtt) and the highlights for players and editors (.srt, .edl, .otio). None of it
    takes long; clips, which may, are the work of `kuaihl.media.clips.writer`. The folder is made where it is missing. One that
    exists keeps its other files, and its earlier results until the new ones are complete.

    Parameters
    ----------
    recording
        What was predicted: pictures of it stand in the report, and timelines count its frames.
    stills
        Pictures of the highlights, as from `stills_of`; they are taken from the recording if not given.
    progress
        Told which share is done; what it raises stops the work, and nothing is written.

    Raises
    ------
    KuaiHLError
        The folder cannot be written to, or the disk is full.
    """
    out_dir = Path(out_dir)
    check_writable(out_dir)
    files: dict[str, Callable[[Prediction], str]] = {
        "prediction.json": to_json,
        "segments.csv": to_csv,
        "curve.html": curve_page,
        "alignment.html": alignment_page,
    }
    if recording is not None:
        rate_hz = timecode_rate(rate_of(recording.frames))
        stills = stills_of(recording, prediction, progress=progress) if stills is None else stills
        files |= {
            "report.html": partial(report_page, stills=stills),
            "chapters.txt": to_youtube,
            "chapters.ffmetadata": to_ffmetadata,
            "chapters.vtt": to_webvtt,
            "highlights.srt": to_srt,
            "highlights.edl": partial(to_edl, rate_hz=rate_hz),
            "highlights.otio": partial(to_otio, rate_hz=rate_hz),
        }
    with filled(out_dir) as folder:
        for number, (name, make) in enumerate(files.items()):
            if progress is not None:
                progress(0.5 + number / len(files) / 2)
            # A file name need not be Unicode, nor need words from a damaged transcript.
            (folder / name).write_bytes(make(prediction).encode("utf-8", errors="replace"))
    return [out_dir / name for name in files]


def stills_of(
    recording: Recording, prediction: Prediction, *, progress: Callable[[float], None] | None = None
) -> tuple[str, ...]:
    """Take a picture of every highlight, as data URIs; ``progress`` is told of this first half of writing."""
    found = []
    for number, highlight in enumerate(prediction.highlights):
        if progress is not None:
            progress(number / len(prediction.highlights) / 2)
        found.append(still(recording, highlight.peak_s))
    return tuple(found)
