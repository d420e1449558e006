"""Recordings: open and check, cut into segments, and hand out pictures and sound with flat memory."""

import logging
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path

import av
import av.error
import numpy as np

from kuaihl.errors import RecordingError
from kuaihl.media.audio import SAMPLE_RATE_HZ, read_sound
from kuaihl.media.containers import (
    Faults,
    Kind,
    Reading,
    chosen_streams,
    ends_midway,
    opened,
    packets_of,
    recognise,
    timed_packets,
)
from kuaihl.media.decord_worker import DecordError, DecordWorker, is_installed
from kuaihl.media.frames import PICTURE_SIZE, FrameIndex, choose, decode, seek, upright
from kuaihl.media.remux import plays_as_is, remux
from kuaihl.records import MIN_SEGMENT_S, PICTURES_PER_SEGMENT, RecordingInfo, Segment, Skipped, segments_of

__all__ = [
    "PICTURE_SIZE",
    "SAMPLE_RATE_HZ",
    "Reading",
    "Recording",
    "open_recording",
    "playable",
    "thumbnail",
]
log = logging.getLogger(__name__)

MAX_DURATION_S = 24 * 3600.0
"""Longer than this no recording is, only a wrong time stamp."""
SEGMENTS_PER_BATCH = 8
"""Pictures of so many segments are held and decoded together."""
DECORD_KINDS = {"mov", "matroska", "flv"}
"""Where Decord finds the right frame; in MPEG-TS, which has no index, it silently returns others."""
TRIAL_PACKETS = 300
"""A stream that shows no picture within so many packets cannot be decoded."""
PACKETS_PER_REPORT, DECODED_PER_REPORT = 500, 20
LOST_S = 2.0
"""An end that comes earlier than the container promises by more than this is a cut."""


@dataclass(frozen=True)
class Recording:
    """A recording that can be read, as `open_recording` found it.

    Each reading opens the file for itself, so that several can run at once. ``kind``, ``frames`` and ``turn``
    (quarter turns to the left that make pictures upright) are for reading it again.
    """

    path: Path
    info: RecordingInfo
    segments: tuple[Segment, ...]
    skipped: tuple[Skipped, ...]
    kind: Kind = field(repr=False, compare=False)
    frames: FrameIndex | None = field(repr=False, compare=False)
    turn: int = field(repr=False, compare=False)

    @property
    def has_pictures(self) -> bool:
        """Whether it has moving pictures that can be decoded."""
        return self.frames is not None

    @property
    def has_sound(self) -> bool:
        """Whether it has sound that can be decoded."""
        return self.info.audio_codec is not None

    def pictures(self, *, size: int = PICTURE_SIZE, waiting: Callable[[], None] | None = None) -> Reading:
        """Read the pictures of each segment: (3, size, size, 3) uint8 RGB, the whole frame scaled to a square.

        They are those at 1/6, 1/2 and 5/6 of the segment, by the keyframe nearest where one is near, never from
        outside the segment. A picture that cannot be had is the nearest other one of its segment, or black.
        A recording without pictures yields nothing. ``waiting`` is called several times a second while pictures are
        decoded; what it raises stops the reading.
        """
        faults = Faults()
        return Reading(_pictures(self, size, faults, waiting or _patient), faults)

    def sound(self) -> Reading:
        """Read the sound of each segment: (samples,) float32, mono, ``SAMPLE_RATE_HZ``; silence where there is none."""
        faults = Faults()
        return Reading(_sound(self, faults), faults)


def open_recording(path: str | Path, *, progress: Callable[[float], None] | None = None) -> Recording:
    """Recognise a recording by its content, read through its packets once, and cut it into segments.

    ``progress`` reports the fraction of the file that was read; an exception that it raises stops the reading.

    Raises
    ------
    RecordingError
        It is no recording, cannot be read, holds nothing that can be decoded, or is shorter than 5 s.
    """
    path = Path(path)
    kind = recognise(path)
    faults = Faults()
    with opened(path, kind) as container:
        video, audio = chosen_streams(container)
        if video is None and audio is None:
            raise RecordingError(f"{path} has neither pictures nor sound that can be decoded.")
        frames, heard, duration_s = _scan(container, video, audio, faults, progress)
        promised_s = ((container.duration or 0) - (container.start_time or 0)) / av.time_base
        info = RecordingInfo(
            name=path.name,
            duration_s=duration_s,
            container=kind.name,
            video_codec=None if frames is None else video.codec_context.codec.canonical_name,
            audio_codec=None if not heard else audio.codec_context.codec.canonical_name,
            width=None,
            height=None,
        )
    if duration_s < MIN_SEGMENT_S:
        raise RecordingError(f"{path} holds {duration_s:.1f} s: at least {MIN_SEGMENT_S:g} s are needed.")
    if duration_s > MAX_DURATION_S:
        raise RecordingError(
            f"{path} claims to last {duration_s / 3600:.0f} h: at most {MAX_DURATION_S / 3600:g} h are read. "
            "Cut it, or write its time stamps anew."
        )
    if promised_s > duration_s + LOST_S or ends_midway(path, kind):
        faults.add("the end is missing: the recording was cut off", duration_s)
    turn = 0
    if frames is not None:
        picture = _trial(path, kind, frames)
        if picture is None:
            faults.add("pictures that cannot be decoded: the recording is read without them")
            frames, info = None, replace(info, video_codec=None)
        else:
            turn = round(picture.rotation / 90) % 4
            width, height = (picture.height, picture.width) if turn % 2 else (picture.width, picture.height)
            info = replace(info, width=width, height=height)
    if frames is None and not heard:
        raise RecordingError(f"{path} has no sound, and its pictures cannot be decoded.")
    return Recording(path, info, tuple(segments_of(duration_s)), faults.skipped, kind, frames, turn)


def _scan(
    container: av.container.InputContainer,
    video: av.video.stream.VideoStream | None,
    audio: av.audio.stream.AudioStream | None,
    faults: Faults,
    progress: Callable[[float], None] | None,
) -> tuple[FrameIndex | None, bool, float]:
    """Read all packets: the index of the pictures, whether there is sound, and where the last ends, in seconds."""
    stamps, times_s, key, hidden = array("q"), array("d"), array("B"), array("B")
    ticks_s = {stream.index: float(stream.time_base) for stream in (video, audio) if stream is not None}
    heard, end_s, read, size = False, 0.0, 0, max(container.size, 1)
    packets = timed_packets(container, [s for s in (video, audio) if s is not None], faults)
    for number, (packet, offset_s) in enumerate(packets):
        read = max(read, packet.pos or 0)
        if progress is not None and number % PACKETS_PER_REPORT == 0:
            progress(min(read / size, 1.0))
        tick_s = ticks_s[packet.stream_index]
        stamp = packet.dts if packet.pts is None else packet.pts
        time_s = stamp * tick_s + offset_s
        end_s = max(end_s, time_s + (packet.duration or 0) * tick_s)
        if packet.is_corrupt:
            faults.add("a packet is damaged or incomplete", time_s)
        if video is not None and packet.stream_index == video.index:
            stamps.append(stamp)
            times_s.append(time_s)
            key.append(packet.is_keyframe)
            hidden.append(packet.is_corrupt or packet.is_discard)
        else:
            heard = True
    if not stamps:
        return None, heard, end_s
    index = FrameIndex(np.array(stamps), np.array(times_s), np.array(key, bool), np.array(hidden, bool))
    shown_from_s, shown_last_s = index.times_s.min(), index.times_s.max()
    interval_s = (shown_last_s - shown_from_s) / max(
        len(stamps) - 1, 1
    )  # some containers do not say how long the last is
    return index, heard, max(end_s, float(shown_last_s + interval_s))


def _trial(path: Path, kind: Kind, index: FrameIndex) -> av.VideoFrame | None:
    """Return the first picture that can be decoded: it tells size and rotation."""
    first = int(index.entries[0]) if len(index.entries) else 0
    with opened(path, kind) as container:
        video, _ = chosen_streams(container)
        for packet in chain(islice(packets_of(container, video), first, first + TRIAL_PACKETS), [None]):
            try:
                pictures = video.codec_context.decode(packet)
            except (av.error.FFmpegError, ValueError):
                continue
            if pictures:
                return pictures[0]
    return None


def _sound(recording: Recording, faults: Faults) -> Iterator[tuple[Segment, np.ndarray]]:
    if not recording.has_sound:
        yield from read_sound([], None, recording.segments, faults)
        return
    with opened(recording.path, recording.kind) as container:
        video, audio = chosen_streams(container)
        streams = [stream for stream in (video, audio) if stream is not None]
        packets = timed_packets(container, streams, Faults())  # its faults were found at opening
        yield from read_sound(packets, audio, recording.segments, faults)


def _patient() -> None:
    """Go on."""


def _pictures(
    recording: Recording, size: int, faults: Faults, waiting: Callable[[], None]
) -> Iterator[tuple[Segment, np.ndarray]]:
    if recording.frames is None:
        return
    chosen = [(segment, choose(recording.frames, segment)) for segment in recording.segments]
    done = 0
    if is_installed() and recording.kind.demuxer in DECORD_KINDS and recording.frames.is_plain and not recording.turn:
        try:
            for item in _by_decord(recording, chosen, size, faults, waiting):
                yield item
                done += 1
        except DecordError as error:
            log.info("%s: decord %s after %d segments, PyAV goes on", recording.path, error, done)
    if done < len(chosen):
        yield from _by_av(recording, chosen[done:], size, faults, waiting)


def _by_decord(
    recording: Recording,
    chosen: list[tuple[Segment, tuple[int, ...]]],
    size: int,
    faults: Faults,
    waiting: Callable[[], None],
) -> Iterator[tuple[Segment, np.ndarray]]:
    index = recording.frames
    rank = np.empty(len(index.shown), np.int64)
    rank[index.shown] = np.arange(len(rank))
    with closing(DecordWorker(recording.path, size=size, waiting=waiting)) as worker:
        mine_s = index.shown_s - index.shown_s[0]
        theirs_s = worker.starts_s - worker.starts_s[:1]
        if len(mine_s) != len(theirs_s) or not np.allclose(mine_s, theirs_s, rtol=1e-6, atol=1e-3):
            raise DecordError("sees other frames")
        for first in range(0, len(chosen), SEGMENTS_PER_BATCH):
            batch = chosen[first : first + SEGMENTS_PER_BATCH]
            numbers = sorted({number for _, numbers in batch for number in numbers}, key=lambda number: rank[number])
            got = dict(zip(numbers, worker.pictures(rank[numbers]), strict=True)) if numbers else {}
            for segment, wanted in batch:
                yield segment, _complete(segment, wanted, got, size, faults)


def _by_av(
    recording: Recording,
    chosen: list[tuple[Segment, tuple[int, ...]]],
    size: int,
    faults: Faults,
    waiting: Callable[[], None],
) -> Iterator[tuple[Segment, np.ndarray]]:
    left = deque(chosen)
    got: dict[int, np.ndarray] = {}
    with opened(recording.path, recording.kind) as container:
        video, _ = chosen_streams(container)
        wanted = [number for _, numbers in chosen for number in numbers]
        packets = _with_waits(packets_of(container, video), waiting)
        for number, frame in decode(packets, video, recording.frames, wanted, faults):
            while left and max(left[0][1], default=-1) < number:
                segment, numbers = left.popleft()
                yield segment, _complete(segment, numbers, got, size, faults)
                got.clear()
            got[number] = upright(frame, size, size, recording.turn)
    while left:
        segment, numbers = left.popleft()
        yield segment, _complete(segment, numbers, got, size, faults)


def _with_waits(packets: Iterator[av.Packet], waiting: Callable[[], None]) -> Iterator[av.Packet]:
    """Call ``waiting`` now and then between packets."""
    for number, packet in enumerate(packets):
        if number % DECODED_PER_REPORT == 0:
            waiting()
        yield packet


def _complete(
    segment: Segment, wanted: tuple[int, ...], got: dict[int, np.ndarray], size: int, faults: Faults
) -> np.ndarray:
    """Stack the pictures of a segment (3, size, size, 3); the nearest one stands in for one that is missing."""
    pictures = np.zeros((PICTURES_PER_SEGMENT, size, size, 3), np.uint8)
    if not wanted:
        faults.add("a segment has no pictures: black ones stand in", segment.start_s)
    have = [place for place, number in enumerate(wanted) if number in got]
    for place, number in enumerate(wanted):
        if number not in got:
            faults.add("a picture cannot be decoded: another of its segment or black stands in", segment.start_s)
        if have:
            pictures[place] = got[wanted[min(have, key=lambda other: abs(other - place))]]
    return pictures


def thumbnail(recording: Recording, time_s: float, *, width: int = 320) -> np.ndarray:
    """Return the picture shown at ``time_s`` in its own proportions: (height, width, 3) uint8 RGB.

    Black where it cannot be decoded.

    Raises
    ------
    RecordingError
        The recording has no pictures.
    """
    index = recording.frames
    if index is None or not len(index.shown):
        raise RecordingError(f"{recording.path} has no pictures.")
    number = int(index.shown[max(int(np.searchsorted(index.shown_s, time_s + 1e-6)) - 1, 0)])
    height = max(round(width * recording.info.height / recording.info.width), 1)
    for jump in (True, False):
        with opened(recording.path, recording.kind) as container:
            video, _ = chosen_streams(container)
            place = seek(container, video, index, index.entry(number)) if jump else (0, packets_of(container, video))
            if place is None:
                continue
            first, packets = place
            for _, frame in decode(packets, video, index, [number], Faults(), first=first):
                return upright(frame, width, height, recording.turn)
    return np.zeros((height, width, 3), np.uint8)


def playable(recording: Recording, out_dir: Path, *, progress: Callable[[float], None] | None = None) -> Path | None:
    """Return a file that browsers play: the recording itself, or a copy rewrapped as MP4 in ``out_dir``.

    Nothing is encoded anew: None where that would be needed (HEVC, say). ``progress`` reports the share of a copy.
    """
    path = recording.path
    if plays_as_is(path, recording.kind):
        return path
    target = out_dir / f"{path.stem}.mp4"
    if target.resolve() == path.resolve():
        target = target.with_stem(f"{path.stem}-playable")
    return target if remux(path, recording.kind, target, progress=progress) else None
