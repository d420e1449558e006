"""Recordings: open and check them, cut them into segments, read frames and audio with flat memory.

Files are decoded in a child process: damaged or hostile ones cannot crash or hang the caller.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

import av
import av.error
import numpy as np

from kuaihl.errors import RecordingError
from kuaihl.media import decord_reader
from kuaihl.media.audio import read_audio
from kuaihl.media.containers import SegmentReader, SkipCounter, detect_format, stamp_of
from kuaihl.media.frames import FRAME_SIZE, FrameIndex, decode, prepare, select_frames, to_rgb
from kuaihl.media.packet_source import Source
from kuaihl.media.scan import Track, scan
from kuaihl.media.worker import MEMORY_BYTES, WorkerError, iterate
from kuaihl.progress import SILENT, Progress
from kuaihl.records import MIN_SEGMENT_S, PICTURES_PER_SEGMENT, RecordingInfo, Segment, Skipped, segments_of

log = logging.getLogger(__name__)

Reader = Literal["pyav", "decord"]
"""Library that reads frames. Decord reads MP4, MOV, MKV, WebM and FLV; what it cannot read is read with PyAV."""

MAX_DURATION_S = 24 * 3600.0
"""A longer duration is a wrong timestamp."""
SPARSE_S, SPARSE_BYTES_PER_S = 1800.0, 2
"""A recording that is longer than this has at least so many bytes per second."""
SEGMENTS_PER_BATCH = 8
"""Segments whose frames Decord decodes together."""
TRIAL_PACKETS = 300
"""Video without a frame in its first packets cannot be decoded."""
PACKETS_PER_POLL = 20
CPU_S, BYTES_PER_CPU_S = 20.0, 100_000
"""One pass over a file may use so much CPU time, and a second more for so many bytes."""
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Recording:
    """A recording that can be read, as `open_recording` returns it.

    Every reader opens the file for itself, so that several can run at once.

    Attributes
    ----------
    video, audio
        Tracks; the first one of ``audio`` is the default, which `read_audio` reads.
    turn
        Counterclockwise quarter turns that make the first frame upright.
    aspect
        Width of a frame divided by its height, as it is displayed.
    start_timecode
        Timecode of the first frame, as ``"10:00:00:00"`` or, drop-frame, ``"10:00:00;00"``; None if there is none.
    """

    info: RecordingInfo
    segments: tuple[Segment, ...]
    skipped: tuple[Skipped, ...]
    source: Source = field(repr=False, compare=False)
    video: Track | None = field(repr=False, compare=False)
    audio: tuple[Track, ...] = field(repr=False, compare=False)
    turn: int = field(repr=False, compare=False)
    aspect: float | None = None
    start_timecode: str | None = None
    reader: Reader = "pyav"

    @property
    def path(self) -> Path:
        """The file."""
        return self.source.path

    @property
    def frame_index(self) -> FrameIndex | None:
        """The frames of the video, None if there is none."""
        return self.video and self.video.index

    @property
    def has_video(self) -> bool:
        """Whether it has video that can be decoded."""
        return self.video is not None

    @property
    def has_audio(self) -> bool:
        """Whether it has audio that can be decoded."""
        return bool(self.audio)

    def read_frames(self, *, size: int = FRAME_SIZE, poll: Callable[[], None] = lambda: None) -> SegmentReader:
        """Read the frames of each segment: (3, size, size, 3) uint8 RGB, each frame scaled to a square.

        They are the frames at 1/6, 1/2 and 5/6 of the segment, or the nearest keyframe if it is near enough. For a
        frame that cannot be decoded, the nearest other frame of the segment is used, or black. A recording without
        video yields nothing. ``poll`` is called several times a second; an exception that it raises stops the reader.
        """
        return SegmentReader(_read_frames(self, size, poll))

    def read_audio(self) -> SegmentReader:
        """Read the audio of each segment: (samples,) float32, mono, 16 kHz; silence where there is none."""
        return SegmentReader(run_apart(self.path, decode_audio, self))


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
    source = Source(path.absolute(), detect_format(path))
    if reader == "decord" and not decord_reader.is_installed():
        raise RecordingError("Decord is not installed. Install it with pip install decord, or use the reader pyav.")
    for item in run_apart(path, examine, source, reader):
        if isinstance(item, Recording):
            return item
        progress(item)
    raise AssertionError("no result")


def run_apart(
    path: Path,
    function: Callable[..., Iterator[_Item]],
    *args: Any,
    poll: Callable[[], None] = lambda: None,
    cpu_s: float | None = None,
    memory_bytes: int = MEMORY_BYTES,
) -> Iterator[_Item]:
    """Yield what ``function(*args)``, which decodes ``path``, yields in a child process.

    The limit of CPU time is by default in proportion to the size of the file.

    Raises
    ------
    RecordingError
        The decoder crashed, or used too much memory or time.
    """
    try:
        cpu_s = cpu_s or CPU_S + path.stat().st_size / BYTES_PER_CPU_S
        yield from iterate(function, *args, cpu_s=cpu_s, memory_bytes=memory_bytes, poll=poll)
    except (WorkerError, MemoryError) as error:
        raise RecordingError(
            f"{path} cannot be read: its decoder {error or 'ran out of memory'}. The file is damaged or malicious."
        ) from error
    except FileNotFoundError as error:
        raise RecordingError(f"There is no file {path}.") from error
    except (LookupError, ArithmeticError) as error:
        log.warning("%s cannot be read", path, exc_info=True)
        raise RecordingError(
            f"{path} cannot be read ({type(error).__name__}: {error}). The file is damaged."
        ) from error


def examine(source: Source, reader: Reader) -> Iterator["float | Recording"]:
    """Scan a file: yield shares done, then the recording."""
    skips = SkipCounter()
    path, size = source.path, source.path.stat().st_size
    result = yield from scan(source, skips)
    duration_s = result.duration_s
    if duration_s < MIN_SEGMENT_S:
        raise RecordingError(f"{path} lasts {duration_s:.1f} s: at least {MIN_SEGMENT_S:g} s are needed.")
    if duration_s > MAX_DURATION_S:
        raise RecordingError(
            f"{path} claims to last {duration_s / 3600:.0f} h: at most {MAX_DURATION_S / 3600:g} h are supported. "
            "Cut it, or rewrite its timestamps with ffmpeg."
        )
    if duration_s > SPARSE_S and size < SPARSE_BYTES_PER_S * duration_s:
        raise RecordingError(
            f"{path} claims to last {duration_s / 3600:.1f} h, but holds only {size / 1024:.0f} KB. "
            "Rewrite its timestamps with ffmpeg."
        )
    video, turn, width, height, aspect = result.video, 0, None, None, None
    if video is not None:
        frame = _decode_first(result.source, video.index)
        if frame is None:
            skips.add("video cannot be decoded: it is ignored")
            video = None
        else:
            turn = round(frame.rotation / 90) % 4
            aspect = float((video.pixel_aspect or 1) * frame.width) / frame.height
            width, height = (frame.height, frame.width) if turn % 2 else (frame.width, frame.height)
            aspect = 1 / aspect if turn % 2 else aspect
    if video is None and not result.audio:
        raise RecordingError(f"{path} has no audio, and its video cannot be decoded.")
    info = RecordingInfo(
        name=path.name,
        duration_s=duration_s,
        container=source.format.name,
        video_codec=video and video.codec,
        audio_codec=result.audio[0].codec if result.audio else None,
        width=width,
        height=height,
    )
    yield Recording(
        info,
        tuple(segments_of(duration_s)),
        skips.skipped,
        result.source,
        video,
        result.audio,
        turn,
        aspect,
        result.start_timecode,
        reader,
    )


def _decode_first(source: Source, index: FrameIndex) -> av.VideoFrame | None:
    """Return the first frame that can be decoded, for its size and rotation."""
    first = int(index.entries[0]) if len(index.entries) else 0
    for _, _, packet in islice(source.read([index]), first, first + TRIAL_PACKETS):
        decoder = packet.stream.codec_context
        prepare(decoder)
        try:
            frames = decoder.decode(packet)
        except (av.error.FFmpegError, ValueError):
            continue
        if frames:
            return frames[0]
    return None


def decode_audio(recording: Recording) -> Iterator[tuple[Segment, np.ndarray, tuple[Skipped, ...]]]:
    """Yield segments with their audio, and what was skipped so far."""
    skips = SkipCounter()
    index = recording.audio[0].index if recording.audio else None
    timed = iter(())
    if index is not None:
        timed = (
            (packet, float(index.times_s[n]) - float((stamp_of(packet) or 0) * (packet.time_base or 0)))
            for _, n, packet in recording.source.read([index])
        )
    for segment, samples in read_audio(timed, recording.segments, skips):
        yield segment, samples, skips.skipped


def _read_frames(
    recording: Recording, size: int, poll: Callable[[], None]
) -> Iterator[tuple[Segment, np.ndarray, tuple[Skipped, ...]]]:
    index = recording.frame_index
    if index is None:
        return
    skips = SkipCounter()
    wanted = deque((segment, select_frames(index, segment)) for segment in recording.segments)
    if recording.reader == "decord":
        plain = index.is_plain and not recording.turn and len(index.epochs) == 1
        if recording.source.format.demuxer in decord_reader.FORMATS and plain:
            yield from _read_with_decord(recording, index, wanted, size, skips, poll)
        if wanted:
            skips.add("Decord cannot read these frames: PyAV reads them", wanted[0][0].start_s)
    for segment, images, skipped in run_apart(recording.path, decode_frames, recording, [*wanted], size, poll=poll):
        yield segment, images, skips.skipped + skipped


def _read_with_decord(
    recording: Recording,
    index: FrameIndex,
    wanted: deque[tuple[Segment, tuple[int, ...]]],
    size: int,
    skips: SkipCounter,
    poll: Callable[[], None],
) -> Iterator[tuple[Segment, np.ndarray, tuple[Skipped, ...]]]:
    """Yield frames and remove them from ``wanted``, as far as Decord goes."""
    rank = np.empty(len(index.stamps), np.int64)
    rank[index.shown] = np.arange(len(index.shown))
    segments = list(wanted)
    groups = [segments[at : at + SEGMENTS_PER_BATCH] for at in range(0, len(segments), SEGMENTS_PER_BATCH)]
    numbers = [sorted({n for _, frames in group for n in frames}, key=lambda n: rank[n]) for group in groups]
    batches = [[int(rank[n]) for n in batch] for batch in numbers]
    cpu_s = CPU_S + recording.path.stat().st_size / BYTES_PER_CPU_S
    images = iterate(
        decord_reader.read_frames, recording.path.absolute(), index.shown_s, batches, size, cpu_s=cpu_s, poll=poll
    )
    try:
        for group, batch, decoded in zip(groups, numbers, images, strict=True):
            by_number = dict(zip(batch, decoded, strict=True))
            for segment, frames in group:
                wanted.popleft()
                yield segment, _stack(segment, frames, by_number, size, skips), skips.skipped
    except (decord_reader.DecordError, WorkerError, MemoryError) as error:
        log.info("%s: Decord stopped: %s", recording.path, error)


def decode_frames(
    recording: Recording, wanted: list[tuple[Segment, tuple[int, ...]]], size: int
) -> Iterator[tuple[Segment, np.ndarray, tuple[Skipped, ...]]]:
    """Yield segments with their frames of the numbers ``wanted``, and what was skipped so far."""
    index, skips = recording.frame_index, SkipCounter()
    if index is None:
        return
    left, images = deque(wanted), {}
    numbers = [number for _, frames in wanted for number in frames]
    packets = ((number, packet) for _, number, packet in recording.source.read([index]))
    for number, frame in decode(packets, index, numbers, skips):
        while left and max(left[0][1], default=-1) < number:
            segment, frames = left.popleft()
            yield segment, _stack(segment, frames, images, size, skips), skips.skipped
            for shown in frames:  # not those of later segments, which may be stored before
                images.pop(shown, None)
        try:
            images[number] = to_rgb(frame, size, size)
        except (av.error.FFmpegError, ValueError):
            skips.add("a frame cannot be scaled", float(index.times_s[number]))
    for segment, frames in left:
        yield segment, _stack(segment, frames, images, size, skips), skips.skipped


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
    """Return the frame shown at ``time_s`` as it is displayed: (height, width, 3) uint8 RGB.

    It is black where the frame cannot be decoded, and narrower than ``width`` if it is more than four times as high.

    Raises
    ------
    RecordingError
        The recording has no video.
    """
    index = recording.frame_index
    if index is None or not len(index.shown) or not recording.aspect:
        raise RecordingError(f"{recording.path} has no video.")
    number = int(index.shown[max(int(np.searchsorted(index.shown_s, time_s + 1e-6)) - 1, 0)])
    height = min(max(round(width / recording.aspect), 1), 4 * width)
    width = min(width, max(round(height * recording.aspect), 1))
    images = list(run_apart(recording.path, decode_still, recording.source, index, number, width, height))
    return images[0] if images else np.zeros((height, width, 3), np.uint8)


def decode_still(source: Source, index: FrameIndex, number: int, width: int, height: int) -> Iterator[np.ndarray]:
    """Yield one frame, or nothing if it cannot be decoded."""
    packets = ((n, packet) for _, n, packet in source.read([index], start=(0, index.entry(number))))
    with suppress(av.error.FFmpegError, ValueError):
        for _, frame in decode(packets, index, [number], SkipCounter()):
            yield to_rgb(frame, width, height)
