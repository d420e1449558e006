"""Recordings: open and check them, cut them into segments, read frames and audio with flat memory."""

import logging
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Literal

import av
import av.error
import numpy as np
from av.container import InputContainer

from kuaihl.errors import RecordingError
from kuaihl.media import decord_reader
from kuaihl.media.audio import read_audio
from kuaihl.media.containers import (
    ContainerFormat,
    SegmentReader,
    SkipCounter,
    detect_format,
    is_truncated,
    open_container,
    packets_of,
    select_streams,
    timed_packets,
)
from kuaihl.media.frames import FRAME_SIZE, FrameIndex, decode, seek, select_frames, to_rgb
from kuaihl.media.worker import WorkerError, iterate
from kuaihl.progress import SILENT, Progress
from kuaihl.records import MIN_SEGMENT_S, PICTURES_PER_SEGMENT, RecordingInfo, Segment, Skipped, segments_of

log = logging.getLogger(__name__)

Reader = Literal["pyav", "decord"]
"""Library that reads frames. Decord reads MP4, MOV, MKV, WebM and FLV; what it cannot read is read with PyAV."""

MAX_DURATION_S = 24 * 3600.0
"""A longer duration is a wrong timestamp."""
SEGMENTS_PER_BATCH = 8
"""Segments whose frames Decord decodes together."""
TRIAL_PACKETS = 300
"""A stream without a frame in its first packets cannot be decoded."""
PACKETS_PER_REPORT, DECODED_PER_REPORT = 500, 20
LOST_S = 2.0
"""A recording that ends earlier than its container says by more than this was cut off."""
BYTES_PER_CPU_S = 100_000
"""Decord may use a second of CPU time for so many bytes."""


@dataclass(frozen=True)
class Recording:
    """A recording that can be read, as `open_recording` returns it.

    Every reader opens the file for itself, so that several can run at once. ``turn`` is the number of counterclockwise
    quarter turns that make frames upright.
    """

    path: Path
    info: RecordingInfo
    segments: tuple[Segment, ...]
    skipped: tuple[Skipped, ...]
    format: ContainerFormat = field(repr=False, compare=False)
    frame_index: FrameIndex | None = field(repr=False, compare=False)
    turn: int = field(repr=False, compare=False)
    reader: Reader = "pyav"

    @property
    def has_video(self) -> bool:
        """Whether it has video that can be decoded."""
        return self.frame_index is not None

    @property
    def has_audio(self) -> bool:
        """Whether it has audio that can be decoded."""
        return self.info.audio_codec is not None

    def read_frames(self, *, size: int = FRAME_SIZE, poll: Callable[[], None] = lambda: None) -> SegmentReader:
        """Read the frames of each segment: (3, size, size, 3) uint8 RGB, each frame scaled to a square.

        They are the frames at 1/6, 1/2 and 5/6 of the segment, or the nearest keyframe if it is near enough. For a
        frame that cannot be decoded, the nearest other frame of the segment is used, or black. A recording without
        video yields nothing. ``poll`` is called several times a second; an exception that it raises stops the reader.
        """
        skips = SkipCounter()
        return SegmentReader(_read_frames(self, size, skips, poll), skips)

    def read_audio(self) -> SegmentReader:
        """Read the audio of each segment: (samples,) float32, mono, 16 kHz; silence where there is none."""
        skips = SkipCounter()
        return SegmentReader(_read_audio(self, skips), skips)


def open_recording(path: str | Path, *, reader: Reader = "pyav", progress: Progress = SILENT) -> Recording:
    """Detect the format of a recording, read all its packets once, and cut it into segments.

    Parameters
    ----------
    reader
        Library that reads frames.
    progress
        Receives the share of the file that was read; an exception that it raises stops the reading.

    Raises
    ------
    RecordingError
        The file is no recording, cannot be read, holds nothing that can be decoded, or is shorter than 5 s.
    """
    path = Path(path)
    format_ = detect_format(path)
    skips = SkipCounter()
    if reader == "decord" and not decord_reader.is_installed():
        raise RecordingError("Decord is not installed. Install it with pip install decord, or use the reader pyav.")
    with open_container(path, format_) as container:
        video, audio = select_streams(container)
        if video is None and audio is None:
            raise RecordingError(f"{path} has neither video nor audio that can be decoded.")
        index, has_audio, duration_s = _scan(container, video, audio, skips, progress)
        promised_s = ((container.duration or 0) - (container.start_time or 0)) / av.time_base
        info = RecordingInfo(
            name=path.name,
            duration_s=duration_s,
            container=format_.name,
            video_codec=video.codec_context.codec.canonical_name if video and index else None,
            audio_codec=audio.codec_context.codec.canonical_name if audio and has_audio else None,
            width=None,
            height=None,
        )
    if duration_s < MIN_SEGMENT_S:
        raise RecordingError(f"{path} lasts {duration_s:.1f} s: at least {MIN_SEGMENT_S:g} s are needed.")
    if duration_s > MAX_DURATION_S:
        raise RecordingError(
            f"{path} claims to last {duration_s / 3600:.0f} h: at most {MAX_DURATION_S / 3600:g} h are supported. "
            "Cut it, or rewrite its timestamps with ffmpeg."
        )
    if promised_s > duration_s + LOST_S or is_truncated(path, format_):
        skips.add("the end is missing: the recording was cut off", duration_s)
    turn = 0
    if index is not None:
        frame = _decode_first(path, format_, index)
        if frame is None:
            skips.add("video cannot be decoded: it is ignored")
            index, info = None, replace(info, video_codec=None)
        else:
            turn = round(frame.rotation / 90) % 4
            width, height = (frame.height, frame.width) if turn % 2 else (frame.width, frame.height)
            info = replace(info, width=width, height=height)
    if index is None and not has_audio:
        raise RecordingError(f"{path} has no audio, and its video cannot be decoded.")
    return Recording(path, info, tuple(segments_of(duration_s)), skips.skipped, format_, index, turn, reader)


def _scan(
    container: InputContainer,
    video: av.VideoStream | None,
    audio: av.AudioStream | None,
    skips: SkipCounter,
    progress: Progress,
) -> tuple[FrameIndex | None, bool, float]:
    """Read all packets: return the index of the frames, whether there is audio, and the end of the last packet in s."""
    stamps, times_s, key, hidden = array("q"), array("d"), array("B"), array("B")
    ticks_s = {stream.index: float(stream.time_base) for stream in (video, audio) if stream is not None}
    has_audio, end_s, read, size = False, 0.0, 0, max(container.size, 1)
    packets = timed_packets(container, [s for s in (video, audio) if s is not None], skips)
    for number, (packet, offset_s) in enumerate(packets):
        read = max(read, packet.pos or 0)
        if number % PACKETS_PER_REPORT == 0:
            progress(min(read / size, 1.0))
        tick_s = ticks_s[packet.stream_index]
        stamp = packet.dts if packet.pts is None else packet.pts
        time_s = stamp * tick_s + offset_s
        end_s = max(end_s, time_s + (packet.duration or 0) * tick_s)
        if packet.is_corrupt:
            skips.add("a packet is damaged or incomplete", time_s)
        if video is not None and packet.stream_index == video.index:
            stamps.append(stamp)
            times_s.append(time_s)
            key.append(packet.is_keyframe)
            hidden.append(packet.is_corrupt or packet.is_discard)
        else:
            has_audio = True
    if not stamps:
        return None, has_audio, end_s
    index = FrameIndex(np.array(stamps), np.array(times_s), np.array(key, bool), np.array(hidden, bool))
    first_s, last_s = index.times_s.min(), index.times_s.max()
    interval_s = (last_s - first_s) / max(len(stamps) - 1, 1)  # some containers do not store the last duration
    return index, has_audio, max(end_s, float(last_s + interval_s))


def _decode_first(path: Path, format_: ContainerFormat, index: FrameIndex) -> av.VideoFrame | None:
    """Return the first frame that can be decoded, for its size and rotation."""
    first = int(index.entries[0]) if len(index.entries) else 0
    with open_container(path, format_) as container:
        video, _ = select_streams(container)
        if video is None:
            return None
        for packet in chain(islice(packets_of(container, video), first, first + TRIAL_PACKETS), [None]):
            try:
                frames = video.codec_context.decode(packet)
            except (av.error.FFmpegError, ValueError):
                continue
            if frames:
                return frames[0]
    return None


def _read_audio(recording: Recording, skips: SkipCounter) -> Iterator[tuple[Segment, np.ndarray]]:
    if not recording.has_audio:
        yield from read_audio([], None, recording.segments, skips)
        return
    with open_container(recording.path, recording.format) as container:
        video, audio = select_streams(container)
        streams = [stream for stream in (video, audio) if stream is not None]
        packets = timed_packets(container, streams, SkipCounter())  # counted when the recording was opened
        yield from read_audio(packets, audio, recording.segments, skips)


def _read_frames(
    recording: Recording, size: int, skips: SkipCounter, poll: Callable[[], None]
) -> Iterator[tuple[Segment, np.ndarray]]:
    index = recording.frame_index
    if index is None:
        return
    wanted = deque((segment, select_frames(index, segment)) for segment in recording.segments)
    if recording.reader == "decord":
        if recording.format.demuxer in decord_reader.FORMATS and index.is_plain and not recording.turn:
            yield from _read_with_decord(recording, index, wanted, size, skips, poll)
        if wanted:
            skips.add("Decord cannot read these frames: PyAV reads them", wanted[0][0].start_s)
    if wanted:
        yield from _read_with_pyav(recording, index, wanted, size, skips, poll)


def _read_with_decord(
    recording: Recording,
    index: FrameIndex,
    wanted: deque[tuple[Segment, tuple[int, ...]]],
    size: int,
    skips: SkipCounter,
    poll: Callable[[], None],
) -> Iterator[tuple[Segment, np.ndarray]]:
    """Yield frames and remove them from ``wanted``, as far as Decord goes."""
    rank = np.empty(len(index.shown), np.int64)
    rank[index.shown] = np.arange(len(rank))
    segments = list(wanted)
    groups = [segments[at : at + SEGMENTS_PER_BATCH] for at in range(0, len(segments), SEGMENTS_PER_BATCH)]
    numbers = [sorted({n for _, frames in group for n in frames}, key=lambda n: rank[n]) for group in groups]
    batches = [[int(rank[n]) for n in batch] for batch in numbers]
    cpu_s = 60 + recording.path.stat().st_size / BYTES_PER_CPU_S
    images = iterate(
        decord_reader.read_frames, recording.path.absolute(), index.shown_s, batches, size, cpu_s=cpu_s, poll=poll
    )
    try:
        for group, batch, decoded in zip(groups, numbers, images, strict=True):
            by_number = dict(zip(batch, decoded, strict=True))
            for segment, frames in group:
                wanted.popleft()
                yield segment, _stack(segment, frames, by_number, size, skips)
    except (decord_reader.DecordError, WorkerError, MemoryError) as error:
        log.info("%s: Decord stopped: %s", recording.path, error)


def _read_with_pyav(
    recording: Recording,
    index: FrameIndex,
    wanted: deque[tuple[Segment, tuple[int, ...]]],
    size: int,
    skips: SkipCounter,
    poll: Callable[[], None],
) -> Iterator[tuple[Segment, np.ndarray]]:
    images: dict[int, np.ndarray] = {}
    with open_container(recording.path, recording.format) as container:
        video, _ = select_streams(container)
        if video is None:
            raise RecordingError(f"{recording.path} has changed: its video is gone.")
        numbers = [number for _, frames in wanted for number in frames]
        packets = _polled(packets_of(container, video), poll)
        for number, frame in decode(packets, video, index, numbers, skips):
            while wanted and max(wanted[0][1], default=-1) < number:
                segment, frames = wanted.popleft()
                yield segment, _stack(segment, frames, images, size, skips)
                images.clear()
            images[number] = to_rgb(frame, size, size, recording.turn)
    for segment, frames in wanted:
        yield segment, _stack(segment, frames, images, size, skips)


def _polled(packets: Iterator[av.Packet], poll: Callable[[], None]) -> Iterator[av.Packet]:
    """Call ``poll`` between packets, now and then."""
    for number, packet in enumerate(packets):
        if number % DECODED_PER_REPORT == 0:
            poll()
        yield packet


def _stack(
    segment: Segment, numbers: tuple[int, ...], images: dict[int, np.ndarray], size: int, skips: SkipCounter
) -> np.ndarray:
    """Stack the frames of a segment, (3, size, size, 3); the nearest one replaces one that is missing."""
    stacked = np.zeros((PICTURES_PER_SEGMENT, size, size, 3), np.uint8)
    if not numbers:
        skips.add("a segment has no frames: black frames are used", segment.start_s)
    decoded = [place for place, number in enumerate(numbers) if number in images]
    for place, number in enumerate(numbers):
        if number not in images:
            skips.add("a frame cannot be decoded: the nearest one of its segment is used", segment.start_s)
        if decoded:
            stacked[place] = images[numbers[min(decoded, key=lambda other: abs(other - place))]]
    return stacked


def thumbnail(recording: Recording, time_s: float, *, width: int = 320) -> np.ndarray:
    """Return the frame shown at ``time_s`` in its own proportions: (height, width, 3) uint8 RGB.

    It is black where the frame cannot be decoded.

    Raises
    ------
    RecordingError
        The recording has no video.
    """
    index = recording.frame_index
    if index is None or not len(index.shown) or not recording.info.width or not recording.info.height:
        raise RecordingError(f"{recording.path} has no video.")
    number = int(index.shown[max(int(np.searchsorted(index.shown_s, time_s + 1e-6)) - 1, 0)])
    height = max(round(width * recording.info.height / recording.info.width), 1)
    for jump in (True, False):
        with open_container(recording.path, recording.format) as container:
            video, _ = select_streams(container)
            if video is None:
                continue
            place = seek(container, video, index, index.entry(number)) if jump else (0, packets_of(container, video))
            if place is None:
                continue
            first, packets = place
            for _, frame in decode(packets, video, index, [number], SkipCounter(), first=first):
                return to_rgb(frame, width, height, recording.turn)
    return np.zeros((height, width, 3), np.uint8)
