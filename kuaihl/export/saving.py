"""Write the files of a prediction into one folder."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from kuaihl.atomic import check_writable, filled
from kuaihl.export.chapters import to_ffmetadata, to_srt, to_webvtt, to_youtube
from kuaihl.export.json_csv import to_csv, to_json
from kuaihl.export.report import report_page, still
from kuaihl.export.timelines import to_edl, to_otio
from kuaihl.features.embeddings import Embeddings
from kuaihl.media.clips.frame_rates import frame_rate, timecode_rate
from kuaihl.media.recording import Recording
from kuaihl.progress import SILENT, Progress
from kuaihl.records import Prediction


def save_prediction(
    prediction: Prediction,
    out_dir: Path | str,
    *,
    recording: Recording | None = None,
    stills: Sequence[str] | None = None,
    embeddings: Embeddings | None = None,
    progress: Progress = SILENT,
) -> list[Path]:
    """Write a prediction into a folder: all files or none.

    The files are prediction.json, segments.csv and report.html; with ``recording`` also
    chapters (.txt for YouTube, .ffmetadata, .vtt) and highlights for players and editors (.srt, .edl, .otio). Clips
    are cut by `kuaihl.media.clips.writer`. The folder is created if it is missing. An existing folder keeps its other
    files, and its earlier results until the new ones are complete.

    Parameters
    ----------
    recording
        The predicted recording, for the pictures of the report and the frame rate of the timelines.
    stills
        Pictures of the highlights, as from `stills_of`. By default they are taken from ``recording``.
    embeddings
        What the prediction was made from, for the chat in the report.
    progress
        Reports the fraction that is done.

    Returns
    -------
    The paths of the files.

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
    }
    if recording is not None and stills is None:
        stills = stills_of(recording, prediction, progress=progress.part(0.0, 0.5))
    files["report.html"] = partial(report_page, stills=stills or (), embeddings=embeddings)
    if recording is not None:
        rate_hz = timecode_rate(frame_rate(recording.frame_index))
        files |= {
            "chapters.txt": to_youtube,
            "chapters.ffmetadata": to_ffmetadata,
            "chapters.vtt": to_webvtt,
            "highlights.srt": to_srt,
            "highlights.edl": partial(to_edl, rate_hz=rate_hz, start_timecode=recording.start_timecode),
            "highlights.otio": partial(to_otio, rate_hz=rate_hz, start_timecode=recording.start_timecode),
        }
    with filled(out_dir) as folder:
        for (name, render), part in zip(files.items(), progress.part(0.5, 1.0).split(len(files)), strict=True):
            part(0.0)
            # File names and words of a damaged transcript may not be Unicode.
            (folder / name).write_bytes(render(prediction).encode("utf-8", errors="replace"))
    return [out_dir / name for name in files]


def stills_of(recording: Recording, prediction: Prediction, *, progress: Progress = SILENT) -> tuple[str, ...]:
    """Return a picture of every highlight as a data URI, "" if the recording has no pictures."""
    stills = []
    for highlight, part in zip(prediction.highlights, progress.split(len(prediction.highlights)), strict=True):
        part(0.0)
        stills.append(still(recording, highlight.peak_s))
    return tuple(stills)
