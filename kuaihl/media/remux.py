"""Rewrap a recording as an MP4 that browsers play, without encoding anything anew."""

import logging
from collections.abc import Callable
from pathlib import Path

import av
import av.error

from kuaihl.media.containers import Faults, Kind, chosen_streams, opened, timed_packets

log = logging.getLogger(__name__)

_VIDEO = {"h264", "vp9", "av1"}
_AUDIO = {"aac", "mp3", "opus", "flac"}
_PIXELS = {"yuv420p", "yuvj420p"}
_REORDERED = 4
"""How many frames are at most decoded ahead of being shown, where the container does not tell."""
_PACKETS_PER_REPORT = 500
_PLAYED_AS_IS = {
    "MP4": ({".mp4", ".m4v", ".m4a"}, _VIDEO, _AUDIO),
    "WebM": ({".webm"}, {"vp8", "vp9", "av1"}, {"opus", "vorbis"}),
    "MP3": ({".mp3"}, set(), {"mp3"}),
    "AAC": ({".aac"}, set(), {"aac"}),
    "Ogg": ({".ogg", ".oga", ".opus"}, set(), {"opus", "vorbis", "flac"}),
    "WAV": ({".wav"}, set(), {"pcm_s16le", "pcm_u8", "pcm_f32le", "pcm_s24le"}),
    "FLAC": ({".flac"}, set(), {"flac"}),
}


def plays_as_is(path: Path, kind: Kind) -> bool:
    """Whether browsers play the file: container, codecs and the suffix by which a server names its type."""
    suffixes, videos, audios = _PLAYED_AS_IS.get(kind.name, (set(), set(), set()))
    return path.suffix.lower() in suffixes and _codecs_within(path, kind, videos, audios)


def remux(path: Path, kind: Kind, target: Path, *, progress: Callable[[float], None] | None = None) -> bool:
    """Copy pictures and sound into an MP4 at ``target``, packet by packet, its index in front.

    False, and nothing written, where browsers could not play its codecs or MP4 cannot hold them. ``progress`` reports
    which share is done; what it raises stops the work, and nothing is left of it.
    """
    if not _codecs_within(path, kind, _VIDEO, _AUDIO):
        return False
    part = target.with_suffix(".part")
    try:
        _copy(path, kind, part, progress or (lambda _: None))
        part.replace(target)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        log.warning("%s cannot be rewrapped as MP4: %s", path, error)
        return False
    finally:
        part.unlink(missing_ok=True)
    return True


def _codecs_within(path: Path, kind: Kind, videos: set[str], audios: set[str]) -> bool:
    with opened(path, kind) as container:
        video, audio = chosen_streams(container)
        return (
            video is None
            or (video.codec_context.codec.canonical_name in videos and video.codec_context.pix_fmt in _PIXELS)
        ) and (audio is None or audio.codec_context.codec.canonical_name in audios)


def _copy(path: Path, kind: Kind, part: Path, progress: Callable[[float], None]) -> None:
    with (
        opened(path, kind) as source,
        av.open(str(part.absolute()), "w", format="mp4", options={"movflags": "faststart"}) as copy,
    ):
        streams = [stream for stream in chosen_streams(source) if stream is not None]
        copies = {stream.index: copy.add_stream_from_template(stream, opaque=True) for stream in streams}
        ticks_s = {stream.index: float(stream.time_base) for stream in streams}
        latest: dict[int, int] = {}
        read, size = 0, max(source.size, 1)
        for number, (packet, offset_s) in enumerate(timed_packets(source, streams, Faults())):
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
            else:  # MKV does not store them, and the first does not follow from the order
                dts = pts - _REORDERED * (packet.duration or 0) if at not in latest else latest[at] + 1
            dts = max(dts, latest.get(at, dts - 1) + 1)
            if dts > pts:
                continue
            latest[at] = dts
            packet.pts, packet.dts, packet.stream = pts, dts, copies[at]
            copy.mux(packet)
