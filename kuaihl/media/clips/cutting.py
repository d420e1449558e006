"""Cut one stretch out of a recording: copied from a keyframe on where possible, encoded anew where not."""

import errno
import logging
from dataclasses import dataclass
from pathlib import Path

import av
import av.error

from kuaihl.errors import RecordingError
from kuaihl.media.clips.frame_rates import frame_rate
from kuaihl.media.clips.packets import Stretch, frames_of, stretch
from kuaihl.media.clips.tracks import CopiedPictures, CopiedSound, Track
from kuaihl.media.clips.transcode import EncodedPictures, EncodedSound
from kuaihl.media.recording import Recording
from kuaihl.progress import SILENT, Progress

log = logging.getLogger(__name__)

MAX_EARLY_S = 12.0
"""Where the keyframe lies further back than this, pictures are encoded anew; encoders set one every 2 to 10 s."""
_MUXERS = {".mp4": "mp4", ".m4a": "ipod", ".mp3": "mp3"}
_VIDEO = {"h264", "hevc", "av1", "vp9", "mpeg4"}
_AUDIO = {"mp4": {"aac", "mp3", "opus", "flac", "ac3", "eac3"}, "ipod": {"aac"}, "mp3": {"mp3"}}
"""What each muxer holds and its players know."""
_ENCODERS = {"mp4": "aac", "ipod": "aac", "mp3": "libmp3lame"}
_PIECES_PER_REPORT = 10
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG}


@dataclass(frozen=True, slots=True)
class Cut:
    """What was cut: where it truly begins and ends in the recording, and whether its pictures (or sound) are new."""

    start_s: float
    end_s: float
    encoded: bool


def suffix_of(recording: Recording, *, start_s: float, end_s: float) -> str:
    """Tell the kind of file that a stretch becomes: ``.mp4``, or of sound alone ``.m4a``, ``.mp3`` from MP3."""
    if frames_of(recording.frame_index, start_s, end_s):
        return ".mp4"
    return ".mp3" if recording.info.audio_codec == "mp3" else ".m4a"


def cut(
    recording: Recording,
    target: Path,
    *,
    start_s: float,
    end_s: float,
    exact: bool = False,
    progress: Progress = SILENT,
) -> Cut:
    """Write a stretch of a recording to ``target``, whose suffix is that of `suffix_of`, its index in front.

    Pictures are copied from the keyframe at or before ``start_s``. Those that MP4 players do not know, that have no
    keyframe near, or of which ``exact`` frames are wanted are encoded anew (H.264), and so is sound (AAC); it begins
    where the pictures do. Neither memory nor time grow with the length of the recording.

    Parameters
    ----------
    progress
        Told the share done, now and then; what it raises ends the work.

    Raises
    ------
    RecordingError
        Nothing there can be read.
    OSError
        The disk is full, or ``target`` cannot be written.
    """
    for anew in (True,) if exact else (False, True):
        try:
            found = _cut(recording, target, start_s, end_s, anew=anew, progress=progress)
        except (av.error.FFmpegError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in _DISK:
                raise
            way = "encoded" if anew else "copied"
            log.warning("%s cannot be %s at %.1f s: %s", recording.path, way, start_s, error)
            continue
        if found is not None:
            return found
    raise RecordingError(
        f"{recording.path} has nothing that can be read from {start_s:.1f} to {end_s:.1f} s: no clip can be cut there."
    )


def _cut(
    recording: Recording,
    target: Path,
    start_s: float,
    end_s: float,
    *,
    anew: bool,
    progress: Progress,
) -> Cut | None:
    muxer = _MUXERS[target.suffix]
    options = {} if muxer == "mp3" else {"movflags": "faststart"}
    span = frames_of(recording.frame_index, start_s, end_s)
    keyframe_s = float(recording.frame_index.times_s[span[0]]) if span else start_s
    with (
        stretch(recording, start_s=start_s, end_s=end_s) as source,
        av.open(str(target.absolute()), "w", format=muxer, options=options) as out,
    ):
        begin_s, tracks = start_s, {}
        if source.video is not None:
            if not anew and _codec(source.video) in _VIDEO and start_s - keyframe_s <= MAX_EARLY_S:
                begin_s = min(keyframe_s, start_s)
                track = CopiedPictures(out, source.video, begin_s=begin_s, end_s=end_s, span=span)
            else:
                track = EncodedPictures(
                    out,
                    source.video,
                    begin_s=begin_s,
                    end_s=end_s,
                    span=span,
                    size=(recording.info.width, recording.info.height),
                    turn=recording.turn,
                    rate_hz=frame_rate(recording.frame_index),
                )
            tracks[source.video.index] = track
        if source.audio is not None and recording.has_audio:
            if not anew and _codec(source.audio) in _AUDIO[muxer]:
                track = CopiedSound(out, source.audio, begin_s=begin_s, end_s=end_s)
            else:
                track = EncodedSound(out, source.audio, begin_s=begin_s, end_s=end_s, codec=_ENCODERS[muxer])
            tracks[source.audio.index] = track
        _feed(tracks, source, start_s, end_s, progress)
    if not tracks or not next(iter(tracks.values())).packets:
        return None
    return Cut(begin_s, max(track.end_s for track in tracks.values()), any(track.encodes for track in tracks.values()))


def _feed(
    tracks: dict[int, Track],
    source: Stretch,
    start_s: float,
    end_s: float,
    progress: Progress,
) -> None:
    for number, piece in enumerate(source.pieces):
        if number % _PIECES_PER_REPORT == 0:
            progress(min(max((piece.start_s - start_s) / (end_s - start_s), 0.0), 1.0))
        track = tracks.get(piece.packet.stream_index)
        if track is not None:
            track.take(piece)
    for track in tracks.values():
        track.finish()


def _codec(stream: av.stream.Stream) -> str:
    return stream.codec_context.codec.canonical_name
