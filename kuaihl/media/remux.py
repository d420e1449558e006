"""Remux a recording as an MP4 that browsers play, without re-encoding."""

import logging
from pathlib import Path

import av
import av.error

from kuaihl.media.containers import ContainerFormat, SkipCounter, open_container, select_streams, timed_packets
from kuaihl.media.recording import Recording
from kuaihl.progress import SILENT, Progress

log = logging.getLogger(__name__)

_VIDEO = {"h264", "vp9", "av1"}
_AUDIO = {"aac", "mp3", "opus", "flac"}
_PIXELS = {"yuv420p", "yuvj420p"}
_REORDERED = 4
"""Maximum reordering of frames, for containers without decoding timestamps."""
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


def is_playable(path: Path, format_: ContainerFormat) -> bool:
    """Return whether browsers play the file: container, codecs, and the suffix that gives its media type."""
    suffixes, videos, audios = _PLAYABLE.get(format_.name, (set(), set(), set()))
    return path.suffix.lower() in suffixes and _has_codecs(path, format_, videos, audios)


def make_playable(recording: Recording, out_dir: Path, *, progress: Progress = SILENT) -> Path | None:
    """Return a file that browsers play: the recording itself, or a copy remuxed as MP4 in ``out_dir``.

    Return None where re-encoding would be needed (HEVC, for example). ``progress`` receives the share of the copy.
    """
    path = recording.path
    if is_playable(path, recording.format):
        return path
    target = out_dir / f"{path.stem}.mp4"
    if target.resolve() == path.resolve():
        target = target.with_stem(f"{path.stem}-playable")
    return target if remux(path, recording.format, target, progress=progress) else None


def remux(path: Path, format_: ContainerFormat, target: Path, *, progress: Progress = SILENT) -> bool:
    """Copy video and audio packets into an MP4 at ``target``, with its index in front.

    Return False, and write nothing, where browsers cannot play the codecs or MP4 cannot hold them. ``progress``
    receives the share done; an exception that it raises stops the copy and removes it.
    """
    if not _has_codecs(path, format_, _VIDEO, _AUDIO):
        return False
    partial = target.with_suffix(".part")
    try:
        _copy(path, format_, partial, progress)
        partial.replace(target)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        log.warning("%s cannot be remuxed as MP4: %s", path, error)
        return False
    finally:
        partial.unlink(missing_ok=True)
    return True


def _has_codecs(path: Path, format_: ContainerFormat, videos: set[str], audios: set[str]) -> bool:
    with open_container(path, format_) as container:
        video, audio = select_streams(container)
        return (
            video is None
            or (video.codec_context.codec.canonical_name in videos and video.codec_context.pix_fmt in _PIXELS)
        ) and (audio is None or audio.codec_context.codec.canonical_name in audios)


def _copy(path: Path, format_: ContainerFormat, partial: Path, progress: Progress) -> None:
    with (
        open_container(path, format_) as source,
        av.open(str(partial.absolute()), "w", format="mp4", options={"movflags": "faststart"}) as copy,
    ):
        streams = [stream for stream in select_streams(source) if stream is not None]
        copies = {stream.index: copy.add_stream_from_template(stream, opaque=True) for stream in streams}
        ticks_s = {stream.index: float(stream.time_base) for stream in streams}
        latest: dict[int, int] = {}
        read, size = 0, max(source.size, 1)
        for number, (packet, offset_s) in enumerate(timed_packets(source, streams, SkipCounter())):
            read = max(read, packet.pos or 0)
            if number % _PACKETS_PER_REPORT == 0:
                progress(min(read / size, 1.0))
            at = packet.stream_index
            if packet.pts is None or packet.is_corrupt or (at not in latest and not packet.is_keyframe):
                continue
            shift = round(offset_s / ticks_s[at])
            pts = packet.pts + shift
            if packet.dts is not None:
                dts = packet.dts + shift
            else:  # MKV does not store them
                dts = pts - _REORDERED * (packet.duration or 0) if at not in latest else latest[at] + 1
            dts = max(dts, latest.get(at, dts - 1) + 1)
            if dts > pts:
                continue
            latest[at] = dts
            packet.pts, packet.dts, packet.stream = pts, dts, copies[at]
            copy.mux(packet)
