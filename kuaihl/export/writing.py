"""The files of a prediction in one folder, but for those that take long."""

from pathlib import Path

from kuaihl.clips import rate_of, timecode_rate
from kuaihl.export.chapters import to_ffmetadata, to_srt, to_webvtt, to_youtube
from kuaihl.export.editors import to_edl, to_otio
from kuaihl.export.pages import alignment_page, curve_page
from kuaihl.export.report import report_page, still
from kuaihl.export.tables import to_csv, to_json
from kuaihl.folders import check_writable, filled
from kuaihl.recording import Recording
from kuaihl.records import Prediction


def write_prediction(prediction: Prediction, out_dir: Path | str, *, recording: Recording | None = None) -> list[Path]:
    """Write a prediction into a folder: all files or none.

    They are prediction.json, segments.csv, curve.html and alignment.html; with ``recording`` also report.html, chapters
    (.txt for YouTube, .ffmetadata, .vtt) and the highlights for players and editors (.srt, .edl, .otio). None of it
    takes long; clips, which may, are the work of `kuaihl.clips`. The folder is made where it is missing. One that
    exists keeps its other files, and its earlier results until the new ones are complete.

    Parameters
    ----------
    recording
        What was predicted: pictures of it stand in the report, and timelines count its frames.

    Raises
    ------
    KuaiHLError
        The folder cannot be written to, or the disk is full.
    """
    out_dir = Path(out_dir)
    check_writable(out_dir)
    files = {
        "prediction.json": to_json(prediction),
        "segments.csv": to_csv(prediction),
        "curve.html": curve_page(prediction),
        "alignment.html": alignment_page(prediction),
    }
    if recording is not None:
        rate_hz = timecode_rate(rate_of(recording.frames))
        stills = [still(recording, highlight.peak_s) for highlight in prediction.highlights]
        files |= {
            "report.html": report_page(prediction, stills=stills),
            "chapters.txt": to_youtube(prediction),
            "chapters.ffmetadata": to_ffmetadata(prediction),
            "chapters.vtt": to_webvtt(prediction),
            "highlights.srt": to_srt(prediction),
            "highlights.edl": to_edl(prediction, rate_hz=rate_hz),
            "highlights.otio": to_otio(prediction, rate_hz=rate_hz),
        }
    with filled(out_dir) as folder:
        for name, text in files.items():
            # A file name need not be Unicode, nor need words from a damaged transcript.
            (folder / name).write_bytes(text.encode("utf-8", errors="replace"))
    return [out_dir / name for name in files]
