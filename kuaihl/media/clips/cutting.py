"""Cut a clip out of a recording: copied from a keyframe on where possible, re-encoded where not."""

import errno
import logging
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

from kuaihl.errors import RecordingError
from kuaihl.media.clips.frame_rates import frame_rate
from kuaihl.media.clips.tracks import ClipTrack, CopiedAudio, CopiedVideo, EncodedAudio, EncodedVideo
from kuaihl.media.containers import SkipCounter
from kuaihl.media.frames import FrameIndex, decode
from kuaihl.media.recording import Recording, run_apart
from kuaihl.progress import SILENT, Progress

log = logging.getLogger(__name__)

MAX_EARLY_S = 12.0
"""Frames are re-encoded if the keyframe is further back than this; encoders set one every 2 to 10 s."""
SKEW_S = 2.0
"""Recorders store audio and video of one time at most this far apart."""
CHECKED_FRAMES = 60
"""Frames of a copied clip that are decoded to check it, if its recording has no fault."""
CPU_PER_S, MEMORY_BYTES = 60.0, 2**32
"""Limits of cutting: CPU time per second of the clip, and memory."""
_MUXERS = {".mp4": "mp4", ".m4a": "ipod", ".mp3": "mp3"}
_VIDEO = {"h264", "hevc", "av1", "vp9", "mpeg4"}
_AUDIO = {"mp4": {"aac", "mp3", "opus", "flac", "ac3", "eac3"}, "ipod": {"aac"}, "mp3": {"mp3"}}
"""What each muxer supports and its players know."""
_ENCODERS = {"mp4": "aac", "ipod": "aac", "mp3": "libmp3lame"}
_PACKETS_PER_REPORT = 100
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG}
_NOW_S = 1e-6


@dataclass(frozen=True, slots=True)
class Cut:
    """What was cut: where it begins and ends in the recording, and whether anything was re-encoded."""

    start_s: float
    end_s: float
    is_encoded: bool


def suffix_of(recording: Recording, *, start_s: float, end_s: float) -> str:
    """Return the suffix of a clip: ``.mp4``, or for audio alone ``.m4a``, from MP3 ``.mp3``."""
    if _span(recording.frame_index, start_s, end_s):
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
    """Write a part of a recording to ``target``, whose suffix is that of `suffix_of`, with its index in front.

    Video is copied from the keyframe at or before ``start_s``. It is re-encoded as H.264 if MP4 players do not know its
    codec, if it has no keyframe near, if its headers change, or if ``exact`` frames are wanted; audio as AAC. All audio
    tracks are kept. The result is checked by decoding it.

    Raises
    ------
    RecordingError
        Nothing there can be read.
    OSError
        The disk is full, or ``target`` cannot be written.
    """
    cpu_s = 60 + CPU_PER_S * (end_s - start_s)
    steps = run_apart(
        recording.path,
        _cut,
        recording,
        target.absolute(),
        start_s,
        end_s,
        exact,
        cpu_s=cpu_s,
        memory_bytes=MEMORY_BYTES,
    )
    result: Cut | float = 0.0
    for result in steps:
        if isinstance(result, float):
            progress(result)
    if isinstance(result, Cut):
        return result
    raise RecordingError(
        f"{recording.path} has nothing that can be read from {start_s:.1f} to {end_s:.1f} s: no clip can be cut there."
    )


def _cut(recording: Recording, target: Path, start_s: float, end_s: float, exact: bool) -> Iterator[float | Cut]:  # noqa: FBT001
    """Yield shares done, then the result, if there is one."""
    for encode in (True,) if exact else (False, True):
        try:
            result = yield from _write(recording, target, start_s, end_s, encode=encode)
        except (av.error.FFmpegError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
                raise
            log.warning("%s cannot be cut at %.1f s: %s", recording.path, start_s, error)
            continue
        if result is not None:
            yield result
            return


def _span(index: FrameIndex | None, start_s: float, end_s: float) -> tuple[int, int] | None:
    """Return the first and last frame to decode for showing ``start_s`` to ``end_s``; None if no frame begins there."""
    if index is None:
        return None
    end = int(np.searchsorted(index.shown_s, end_s))
    if not end or index.shown_s[end - 1] < start_s - _NOW_S:
        return None
    begin = max(int(np.searchsorted(index.shown_s, start_s + _NOW_S)) - 1, 0)
    shown = index.shown[begin:end]
    return index.entry(int(shown[0])), int(shown.max())


def _write(
    recording: Recording, target: Path, start_s: float, end_s: float, *, encode: bool
) -> Generator[float, None, Cut | None]:
    """Write a clip and check it; return None if there is nothing to read or it does not play."""
    muxer, source = _MUXERS[target.suffix], recording.source
    span = _span(recording.frame_index, start_s, end_s)
    video = recording.video if span else None
    begin_s = start_s
    copies_video = False
    if video is not None and span is not None:
        keyframe_s = float(video.index.times_s[span[0]])
        copies_video = (
            not encode
            and video.codec in _VIDEO
            and start_s - keyframe_s <= MAX_EARLY_S
            and _is_uniform(video.index, *span)
        )
        if copies_video:
            begin_s = min(keyframe_s, start_s)
    ranges = [np.flatnonzero((t.index.times_s >= begin_s) & (t.index.times_s < end_s)) for t in recording.audio]
    audio = [(track, inside) for track, inside in zip(recording.audio, ranges, strict=True) if len(inside)]
    indexes = [track.index for track in ([video] if video else []) + [track for track, _ in audio]]
    if not indexes:
        return None
    number = int(span[0] if span else audio[0][1][0])
    part = indexes[0].epoch(number).part
    options = {} if muxer == "mp3" else {"movflags": "faststart"}
    with source.open(part) as templates, av.open(str(target), "w", format=muxer, options=options) as out:
        tracks: list[ClipTrack] = []
        if video is not None and span is not None:
            if copies_video:
                template: Any = templates.streams[video.index.epoch(span[0]).stream]
                tracks.append(
                    CopiedVideo(out, video.index, template=template, begin_s=begin_s, stop_s=end_s, span=span)
                )
            elif (frame := _decode_typical(recording, video.index, span)) is not None:
                tracks.append(
                    EncodedVideo(
                        out,
                        video.index,
                        frame=frame,
                        pixel_aspect=video.pixel_aspect,
                        begin_s=begin_s,
                        stop_s=end_s,
                        span=span,
                        rate_hz=frame_rate(video.index),
                    )
                )
            else:
                return None
        for track, inside in audio:
            epoch = track.index.epoch(int(inside[0]))
            template = templates.streams[epoch.stream if epoch.part == part else track.index.epochs[0].stream]
            first, last = max(int(inside[0]) - 4, 0), int(inside[-1])
            shared: dict[str, Any] = {"template": template, "begin_s": begin_s, "stop_s": end_s}
            if not encode and track.codec in _AUDIO[muxer] and _is_uniform(track.index, first, last):
                tracks.append(CopiedAudio(out, track.index, **shared))
            else:
                tracks.append(EncodedAudio(out, track.index, **shared, codec=_ENCODERS[muxer]))
        yield from _feed(recording, indexes, tracks, start_s, end_s, last=span[1] if span else -1)
    if not tracks[0].packets:
        return None
    faulty = bool(recording.skipped) or source.format.demuxer not in {"mov", "matroska"}
    if span and not _plays(target, tracks[0].packets, whole=faulty or tracks[0].is_encoded):
        log.info(
            "%s: the clip at %.1f s does not play as it was %s",
            recording.path,
            start_s,
            "encoded" if encode else "copied",
        )
        return None
    return Cut(begin_s, max(track.end_s for track in tracks), any(track.is_encoded for track in tracks))


def _is_uniform(index: FrameIndex, first: int, last: int) -> bool:
    """Return whether packets share a stream, with the headers that it has at its start."""
    epoch = index.epoch(first)
    return epoch == index.epoch(last) and epoch.extradata is None


def _decode_typical(recording: Recording, index: FrameIndex, span: tuple[int, int]) -> av.VideoFrame | None:
    """Return a frame from the middle of the clip, or from its start if that one cannot be decoded."""
    middle = index.entry(sum(span) // 2)
    for first in dict.fromkeys((max(middle, span[0]), span[0])):
        packets = ((number, packet) for _, number, packet in recording.source.read([index], start=(0, first)))
        for _, frame in decode(packets, index, range(first, span[1] + 1), SkipCounter()):
            return frame
    return None


def _feed(
    recording: Recording, indexes: list[FrameIndex], tracks: list[ClipTrack], start_s: float, end_s: float, *, last: int
) -> Iterator[float]:
    """Read from a little before the clip until nothing of it can follow."""
    index, first_s = indexes[0], start_s
    if last >= 0 and (span := _span(index, start_s, end_s)):
        first_s = float(index.times_s[span[0]])
    earlier = index.entries[index.times_s[index.entries] <= first_s - SKEW_S]
    start = int(earlier[-1]) if len(earlier) else 0
    newest = -1
    for count, (track, number, packet) in enumerate(recording.source.read(indexes, start=(0, start))):
        time_s = float(indexes[track].times_s[number])
        if last >= 0 and track == 0:
            newest = max(newest, number)
        if newest >= last and time_s > end_s + SKEW_S:
            break
        tracks[track].add(number, packet)
        if count % _PACKETS_PER_REPORT == 0:
            yield min(max((time_s - start_s) / (end_s - start_s), 0.0), 1.0)
    for track in tracks:
        track.finish()


def _plays(target: Path, packets: int, *, whole: bool) -> bool:
    """Return whether all frames of a clip, or its first ones, can be decoded and have the size of its stream."""
    frames = 0
    with av.open(str(target)) as clip:
        stream = clip.streams.video[0]
        stream.thread_type = "AUTO"
        size = (stream.width, stream.height)
        for packet in clip.demux(stream):
            try:
                decoded = packet.decode()
            except (av.error.FFmpegError, ValueError):
                return False
            frames += len(decoded)
            if any(frame.is_corrupt or (frame.width, frame.height) != size for frame in decoded):
                return False
            if not whole and frames >= CHECKED_FRAMES:
                return True
    return frames >= packets
