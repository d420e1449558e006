"""Highlights as timelines for video editors: edit decision list (CMX 3600) and OpenTimelineIO."""

import math
import os
from fractions import Fraction
from pathlib import PurePath
from urllib.parse import quote

import opentimelineio as otio
from opentimelineio.opentime import RationalTime, TimeRange, from_timecode, to_timecode

from kuaihl.export.chapters import plain, title_of
from kuaihl.plots.style import strength_and_why
from kuaihl.records import Highlight, Prediction

DROP_FRAME_HZ = (Fraction(30000, 1001), Fraction(60000, 1001))
"""Frame rates whose timecode skips numbers, so that it shows true hours."""
_EDL_TITLE_WIDTH = 70


def to_edl(prediction: Prediction, *, rate_hz: Fraction, start_timecode: str | None = None) -> str:
    """Return the highlights, in order of time, as an edit decision list (CMX 3600).

    Timecodes are drop-frame at 29.97 and 59.94 frames per second, unless that of the recording is not. All timecodes
    restart after 24 hours.

    Parameters
    ----------
    rate_hz
        Frame rate with a timecode, as from `kuaihl.media.clips.frame_rates.timecode_rate`.
    start_timecode
        Timecode of the recording's first frame, such as ``10:00:00:00``; by default 0.
    """
    name = plain(prediction.recording.name)
    rate = float(rate_hz)
    channels = {(True, True): "AA/V", (True, False): "V", (False, True): "AA"}[
        prediction.recording.video_codec is not None, prediction.recording.audio_codec is not None
    ]
    lines = [
        f"TITLE: {plain(PurePath(name).stem)[:_EDL_TITLE_WIDTH]}",
        f"FCM: {'DROP FRAME' if _drops(rate_hz, start_timecode) else 'NON-DROP FRAME'}",
        "",
    ]
    drop_frame = _drops(rate_hz, start_timecode)
    record_start = _start(rate_hz, drop_frame=drop_frame)
    first = _first_frame(rate_hz, start_timecode)
    for number, highlight in enumerate(_in_time(prediction), 1):
        source = _range(highlight, rate_hz, first=first)
        record_end = record_start + source.duration
        stamps = [source.start_time, source.end_time_exclusive(), record_start, record_end]
        codes = " ".join(to_timecode(stamp, rate, drop_frame=drop_frame) for stamp in stamps)
        lines += [
            f"{number:03}  AX       {channels:<6}C        {codes}",
            f"* FROM CLIP NAME: {name}",
            f"* COMMENT: {title_of(prediction, highlight)} ({plain(strength_and_why(highlight))})",
            "",
        ]
        record_start = record_end
    return "\n".join(lines)


def to_otio(prediction: Prediction, *, rate_hz: Fraction, start_timecode: str | None = None) -> str:
    """Return the highlights, in order of time, as OpenTimelineIO JSON: clips with a marker at each peak.

    The recording is referenced by its file name, so that the timeline can be moved to another machine.
    Parameters are those of `to_edl`.
    """
    recording = prediction.recording
    rate = float(rate_hz)
    start = _start(rate_hz, drop_frame=_drops(rate_hz, start_timecode))
    timeline = otio.schema.Timeline(plain(recording.name), global_start_time=start)
    first = _first_frame(rate_hz, start_timecode)
    available = TimeRange(RationalTime(first, rate), RationalTime(math.ceil(recording.duration_s * rate_hz), rate))
    kinds = [
        *([otio.schema.TrackKind.Video] if recording.video_codec else []),
        *([otio.schema.TrackKind.Audio] if recording.audio_codec else []),
    ]
    for kind in kinds:
        track = otio.schema.Track(kind, kind=kind)
        for highlight in _in_time(prediction):
            clip = otio.schema.Clip(
                title_of(prediction, highlight),
                media_reference=otio.schema.ExternalReference(quote(os.fsencode(recording.name)), available),
                source_range=_range(highlight, rate_hz, first=first),
                metadata={"kuaihl": {"rank": highlight.rank, "source": highlight.source, "score": highlight.score}},
            )
            if kind == kinds[0]:
                peak = TimeRange(RationalTime(first + int(highlight.peak_s * rate_hz), rate), RationalTime(1, rate))
                clip.markers.append(otio.schema.Marker(plain(strength_and_why(highlight)), peak, "ORANGE"))
            track.append(clip)
        timeline.tracks.append(track)
    return timeline.to_json_string(indent=1) + "\n"


def _in_time(prediction: Prediction) -> list[Highlight]:
    return sorted(prediction.highlights, key=lambda highlight: highlight.start_s)


def _drops(rate_hz: Fraction, start_timecode: str | None) -> bool:
    return rate_hz in DROP_FRAME_HZ and (start_timecode is None or ";" in start_timecode)


def _start(rate_hz: Fraction, *, drop_frame: bool) -> RationalTime:
    """Return the start of the timeline: one hour, as editors expect."""
    return from_timecode("01:00:00;00" if drop_frame else "01:00:00:00", float(rate_hz))


def _first_frame(rate_hz: Fraction, start_timecode: str | None) -> int:
    """Return the number of the recording's first frame, 0 for a damaged timecode."""
    try:
        return from_timecode(start_timecode or "00:00:00:00", float(rate_hz)).to_frames()
    except ValueError:
        return 0


def _range(highlight: Highlight, rate_hz: Fraction, *, first: int) -> TimeRange:
    """Return the frames of a highlight, including partial frames, in a recording that begins with frame ``first``."""
    rate = float(rate_hz)
    # Rounded, so that a time one ulp before a frame's start does not include the frame before it.
    start = math.floor(round(highlight.start_s * rate, 6))
    end = math.ceil(round(highlight.end_s * rate, 6))
    return TimeRange(RationalTime(first + start, rate), RationalTime(max(end - start, 1), rate))
