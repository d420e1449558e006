"""Remux a recording as an MP4 that browsers play, without re-encoding."""

import logging
from collections.abc import Iterator
from pathlib import Path

import av
import av.error

from kuaihl.errors import RecordingError
from kuaihl.media.clips.tracks import CopiedAudio, CopiedVideo
from kuaihl.media.recording import Recording, run_apart
from kuaihl.progress import SILENT, Progress

log = logging.getLogger(__name__)

_VIDEO = {"h264", "vp9", "av1"}
_AUDIO = {"aac", "mp3", "opus", "flac"}
_PIXELS = {"yuv420p", "yuvj420p"}
_PACKETS_PER_REPORT = 500
_PLAYABLE = {
    "MP4": ({".mp4", ".m4v", ".m4a"}, _VIDEO, _AUDIO),
    "WebM": ({".webm"}, {"vp8", "vp9", "av1"}, {"opus", "vorbis"}),
    "MP3": ({".mp3"}, set(), {"mp3"}),
    "AAC": ({".aac"}, set(), {"aac"}),
    "Ogg": ({".ogg", ".oga", ".opus"}, set(), {"opus", "vorbis", "flac"}),
    "WAV": ({".wav"}, set(), {"pcm_s16le", "pcm_u8", "pcm_f32le", "pcm_s24le"}),
    "FLAC": ({".flac"}, set(), {"flac"}),
}


def is_playable(recording: Recording) -> bool:
    """Return whether browsers play the file as it is, by container, codecs and suffix."""
    suffixes, videos, audios = _PLAYABLE.get(recording.info.container, (set(), set(), set()))
    return recording.path.suffix.lower() in suffixes and _has_codecs(recording, videos, audios)


def make_playable(recording: Recording, out_dir: Path, *, progress: Progress = SILENT) -> Path | None:
    """Return a file that browsers play: the recording itself, or a copy remuxed as MP4 in ``out_dir``.

    Return None where re-encoding would be needed: for HEVC, or if the headers of the video change. An exception that
    ``progress`` raises stops the copy and removes it.
    """
    path = recording.path
    if is_playable(recording):
        return path
    if not _has_codecs(recording, _VIDEO, _AUDIO):
        return None
    target = out_dir / f"{path.stem}.mp4"
    if target.resolve() == path.resolve():
        target = target.with_stem(f"{path.stem}-playable")
    partial = target.with_suffix(".part").absolute()
    try:
        for share in run_apart(path, _copy, recording, partial):
            progress(share)
        partial.replace(target)
    except (av.error.FFmpegError, OSError, ValueError, RecordingError) as error:
        log.warning("%s cannot be remuxed as MP4: %s", path, error)
        return None
    finally:
        partial.unlink(missing_ok=True)
    return target


def _has_codecs(recording: Recording, videos: set[str], audios: set[str]) -> bool:
    """Return whether a player that knows these codecs plays the default tracks."""
    video, audio = recording.video, recording.audio[0] if recording.audio else None
    return (
        video is None or (video.codec in videos and video.pixel_format in _PIXELS and len(video.index.epochs) == 1)
    ) and (audio is None or (audio.codec in audios and len(audio.index.epochs) == 1))


def _copy(recording: Recording, partial: Path) -> Iterator[float]:
    """Copy the default tracks: yield shares done."""
    indexes = [track.index for track in (recording.video, *recording.audio[:1]) if track is not None]
    end_s = recording.info.duration_s + 1
    with (
        recording.source.open() as templates,
        av.open(str(partial), "w", format="mp4", options={"movflags": "faststart"}) as out,
    ):
        tracks = []
        for index in indexes:
            template = templates.streams[index.epochs[0].stream]
            if isinstance(template, av.VideoStream):
                span = (0, len(index.stamps))
                tracks.append(CopiedVideo(out, index, template=template, begin_s=0.0, stop_s=end_s, span=span))
            elif isinstance(template, av.AudioStream):
                tracks.append(CopiedAudio(out, index, template=template, begin_s=0.0, stop_s=end_s))
        for count, (track, number, packet) in enumerate(recording.source.read(indexes)):
            tracks[track].add(number, packet)
            if count % _PACKETS_PER_REPORT == 0:
                yield min(float(indexes[track].times_s[number]) / end_s, 1.0)
        for track in tracks:
            track.finish()
