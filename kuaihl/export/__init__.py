"""A prediction as files: tables, pages, chapters, subtitles, timelines for editors, and clips."""

from kuaihl.clips import Clip, cut_clips, zip_clips
from kuaihl.export.chapters import to_ffmetadata, to_srt, to_webvtt, to_youtube
from kuaihl.export.editors import to_edl, to_otio
from kuaihl.export.pages import alignment_page, curve_page
from kuaihl.export.report import report_page, still
from kuaihl.export.tables import SCHEMA_VERSION, to_csv, to_json
from kuaihl.export.writing import stills_of, write_prediction
from kuaihl.folders import check_writable
from kuaihl.recording import Recording, open_recording, playable, thumbnail

__all__ = [
    "SCHEMA_VERSION",
    "Clip",
    "Recording",
    "alignment_page",
    "check_writable",
    "curve_page",
    "cut_clips",
    "open_recording",
    "playable",
    "report_page",
    "still",
    "stills_of",
    "thumbnail",
    "to_csv",
    "to_edl",
    "to_ffmetadata",
    "to_json",
    "to_otio",
    "to_srt",
    "to_webvtt",
    "to_youtube",
    "write_prediction",
    "zip_clips",
]
