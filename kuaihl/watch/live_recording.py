"""Read the segments of a growing recording, with pictures and sound, as soon as each is complete."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count

import av
import av.container
import av.error
import numpy as np

from kuaihl.errors import RecordingError
from kuaihl.media.audio import SAMPLE_RATE_HZ, read_audio
from kuaihl.media.clock import timed_packets
from kuaihl.media.containers import SkipCounter, select_streams
from kuaihl.media.frames import FRAME_SIZE, SKIPPING, FrameIndex, select_frames, to_rgb
from kuaihl.records import MIN_SEGMENT_S, PICTURES_PER_SEGMENT, SEGMENT_S, Segment
from kuaihl.watch.tail import Tail

PATIENCE_S = 10.0
"""A segment does not wait for one stream when the other is so far ahead of it."""
REORDERED_S = 1.0
"""Frames are stored at most so long after later ones."""
MAX_HELD_PACKETS, MAX_HELD_BYTES = 36_000, 256 * 2**20
"""Limits of the encoded frames in memory: ten minutes at 60 frames per second."""

_OPTIONS = {
    "format_whitelist": "matroska,flv,mpegts,mov",
    "protocol_whitelist": "",  # a recording must not make the demuxer open other files or URLs
    # As for finished recordings, so that the same streams are found.
    "probesize": str(32 * 1024 * 1024),
    "analyzeduration": str(30 * 1_000_000),
}
_MP4_BOXES = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"}
_MAX_INDEX_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """A complete segment.

    ``pictures`` (3, size, size, 3) uint8 RGB and ``sound`` (samples,) float32, mono, 16 kHz, as
    `kuaihl.media.recording` reads them; None if the recording has none.
    """

    segment: Segment
    pictures: np.ndarray | None
    sound: np.ndarray | None


def follow(tail: Tail, faults: SkipCounter, *, first: int = 0) -> Iterator[Arrival]:
    """Yield segments from number ``first`` on, each when it is complete, the last when the recording ends.

    The recording is read once, from its beginning. Segments, pictures and sound are those that `kuaihl.media.recording`
    reads from the finished recording, if pictures and sound are not stored more than ``PATIENCE_S`` apart. Sound that
    begins late is silent before.

    Raises
    ------
    RecordingError
        It is not a recording that can be followed, cannot be decoded, or ended within its first 5 s.
    """
    _refuse_unfragmented_mp4(tail)
    with _open(tail) as container:
        buffer = _Buffer(container, faults, tail.name)
        for index in count():
            segment = Segment(index, index * SEGMENT_S, (index + 1) * SEGMENT_S)
            sound = buffer.read_segment(segment)
            tail.check()
            if buffer.ended and not tail.ended:
                raise RecordingError(f"{tail.name} is damaged: it cannot be read beyond {buffer.duration_s:.0f} s.")
            if buffer.ended and buffer.duration_s < segment.end_s:
                if buffer.duration_s < MIN_SEGMENT_S:
                    raise RecordingError(
                        f"{tail.name} holds {buffer.duration_s:.1f} s: at least {MIN_SEGMENT_S:g} s are needed "
                        f"({tail.ended})."
                    )
                if buffer.duration_s - segment.start_s < MIN_SEGMENT_S:
                    return
                segment = replace(segment, end_s=buffer.duration_s)
                if sound is not None:
                    start, stop = (round(s * SAMPLE_RATE_HZ) for s in (segment.start_s, segment.end_s))
                    sound = sound[: stop - start]
            if index >= first:
                yield Arrival(segment, buffer.pictures(segment), sound)
            buffer.drop_before(segment.end_s)


def _refuse_unfragmented_mp4(tail: Tail) -> None:
    """Raise an error for an MP4 that is not fragmented: its index is written at the end."""
    at = 0
    while at < _MAX_INDEX_BYTES:
        header = tail.peek(at + 8)[at:]
        length, name = int.from_bytes(header[:4], "big"), header[4:]
        if len(header) < 8 or (at == 0 and name not in _MP4_BOXES):
            return
        if name == b"moov" and b"mvex" in tail.peek(at + length)[at:]:
            return
        if name in {b"moov", b"mdat"}:
            raise RecordingError(
                f"{tail.name} is an MP4 that is not fragmented: it cannot be read before it is finished. Record to MKV,"
                " MPEG-TS, FLV or fragmented MP4 (ffmpeg -movflags frag_keyframe+empty_moov), or use kuaihl predict "
                "when it is finished."
            )
        at += max(length, 8)


@contextmanager
def _open(tail: Tail) -> Iterator[av.container.InputContainer]:
    if not tail.peek(1):
        tail.check()
        raise RecordingError(f"{tail.name} is empty: the recorder wrote nothing to it ({tail.ended}).")
    try:
        container = av.open(tail, "r", options=_OPTIONS, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError) as error:
        tail.check()
        raise RecordingError(
            f"{tail.name} is not a recording that can be followed: it must be MKV, WebM, MPEG-TS, FLV or fragmented MP4"
            f" ({getattr(error, 'strerror', None) or error})."
        ) from error
    with container:
        yield container


@dataclass(frozen=True, slots=True, eq=False)
class _HeldPacket:
    """An encoded frame, with its time stamp in the file and its time in the recording."""

    packet: av.Packet
    stamp: int
    time_s: float


class _Buffer:
    """The part of a recording that was read and is still needed."""

    def __init__(self, container: av.container.InputContainer, faults: SkipCounter, name: str) -> None:
        self._video, self._audio = select_streams(container)
        streams = [stream for stream in (self._video, self._audio) if stream is not None]
        if not streams:
            raise RecordingError(f"{name} has neither pictures nor sound that can be decoded.")
        self._packets = timed_packets(container, streams, faults)
        self._faults = faults
        self._tick_s = {stream.index: float(stream.time_base or 0) for stream in streams}
        self._read_until_s = dict.fromkeys(self._tick_s, 0.0)
        self._lag_s = dict.fromkeys(self._tick_s, 0.0)  # how far the other stream was read since its last packet
        self._needed_until_s = self._end_s = 0.0
        self._frame_count, self._first_frame_s, self._last_frame_s = 0, np.inf, -np.inf
        self._held: deque[_HeldPacket] = deque()
        self._held_bytes = 0
        self._audio_packets: deque[tuple[av.Packet, float]] = deque()
        self._sounds: Iterator[tuple[Segment, np.ndarray]] | None = None
        self._can_decode: bool | None = None  # None before the first picture
        self.ended = False

    @property
    def duration_s(self) -> float:
        """Duration so far, as `kuaihl.media.recording` measures it."""
        if not self._frame_count:
            return self._end_s
        interval_s = (self._last_frame_s - self._first_frame_s) / max(self._frame_count - 1, 1)
        return max(self._end_s, self._last_frame_s + interval_s)

    def read_segment(self, segment: Segment) -> np.ndarray | None:
        """Read until a segment is complete, and return its sound (samples,)."""
        self._needed_until_s = segment.end_s
        if self._video is not None:
            stream = self._video.index
            while self._read_until_s[stream] < segment.end_s + REORDERED_S and not self._is_stalled(stream):
                if not self._read_packet():
                    break
        if self._audio is None:
            return None
        if self._sounds is None:
            segments = (Segment(i, i * SEGMENT_S, (i + 1) * SEGMENT_S) for i in count(segment.index))
            self._sounds = read_audio(self._read_audio_packets(self._audio.index), segments, self._faults)
        _, sound = next(self._sounds)
        if self._is_stalled(self._audio.index):
            self._sounds = None  # the iterator has ended; later sound needs a new one
        return sound

    def pictures(self, segment: Segment) -> np.ndarray | None:
        """Decode the pictures of a complete segment, (3, size, size, 3); None if the codec cannot be decoded."""
        if self._video is None or self._can_decode is False:
            return None
        held = list(self._held)
        index = FrameIndex(
            np.array([frame.stamp for frame in held], np.int64),
            np.array([frame.time_s for frame in held], np.float64),
            np.array([frame.packet.is_keyframe for frame in held], bool),
            np.array([frame.packet.is_corrupt or frame.packet.is_discard for frame in held], bool),
        )
        numbers = select_frames(index, segment)
        images = {number: self._decode(self._video.codec_context, held, index, number) for number in set(numbers)}
        decoded = {number: image for number, image in images.items() if image is not None}
        if numbers and self._can_decode is None:
            self._can_decode = bool(decoded)
            if not decoded:
                self._faults.add("pictures that cannot be decoded: the recording is read without them")
                return None
        if not numbers:
            self._faults.add("a segment has no pictures: black ones replace them", segment.start_s)
        pictures = np.zeros((PICTURES_PER_SEGMENT, FRAME_SIZE, FRAME_SIZE, 3), np.uint8)
        available = [place for place, number in enumerate(numbers) if number in decoded]
        for place, number in enumerate(numbers):
            if number not in decoded:
                reason = "a picture cannot be decoded: another of its segment or black replaces it"
                self._faults.add(reason, segment.start_s)
            if available:
                pictures[place] = decoded[numbers[min(available, key=lambda other: abs(other - place))]]
        return pictures

    def drop_before(self, time_s: float) -> None:
        """Drop the frames that are not needed to decode those from ``time_s`` on."""
        later = next((i for i, frame in enumerate(self._held) if frame.time_s >= time_s), len(self._held))
        keyframes = [i for i, frame in enumerate(self._held) if i <= later and frame.packet.is_keyframe]
        # Frames shown before the last keyframe may be stored after it.
        for _ in range(keyframes[-2] if len(keyframes) > 1 else 0):
            self._drop_first()

    def _decode(
        self, decoder: av.VideoCodecContext, held: list[_HeldPacket], index: FrameIndex, number: int
    ) -> np.ndarray | None:
        """Decode one frame, and of those before it only its references: (size, size, 3); None on failure.

        The decoder is empty before and after, so that the result depends on nothing else.
        """
        image = None
        for at in range(index.entry(number), number + 1):
            if decoder.codec.canonical_name in SKIPPING:
                decoder.skip_frame = "DEFAULT" if at == number else "NONREF"
            for packet in (held[at].packet, None) if at == number else (held[at].packet,):
                try:
                    frames = decoder.decode(packet)
                except (av.error.FFmpegError, ValueError):
                    self._faults.add("pictures that cannot be decoded", held[at].time_s)
                    continue
                for frame in frames:
                    if frame.pts == held[number].stamp:
                        image = to_rgb(frame, FRAME_SIZE, FRAME_SIZE)
        decoder.flush_buffers()
        return image

    def _read_audio_packets(self, stream: int) -> Iterator[tuple[av.Packet, float]]:
        """Yield the packets of the sound until it stalls or ends."""
        while True:
            while self._audio_packets:
                yield self._audio_packets.popleft()
            if self._is_stalled(stream) or not self._read_packet():
                return

    def _is_stalled(self, stream: int) -> bool:
        return self._lag_s[stream] >= PATIENCE_S

    def _read_packet(self) -> bool:
        """Read one packet; return False at the end."""
        packet, offset_s = next(self._packets, (None, 0.0))
        if packet is None:
            self.ended = True
            return False
        stream = packet.stream_index
        tick_s = self._tick_s[stream]
        # `timed_packets` yields no packets without a time stamp.
        shown = packet.pts if packet.pts is not None else packet.dts or 0
        decoded = packet.dts if packet.dts is not None else shown
        time_s = shown * tick_s + offset_s
        self._end_s = max(self._end_s, time_s + (packet.duration or 0) * tick_s)
        self._update_lag(stream, decoded * tick_s + offset_s)
        if packet.is_corrupt:
            self._faults.add("a packet is damaged or incomplete", time_s)
        if self._video is None or stream != self._video.index:
            self._audio_packets.append((packet, offset_s))
            return True
        if not packet.duration:
            self._frame_count += 1
            self._first_frame_s, self._last_frame_s = min(self._first_frame_s, time_s), max(self._last_frame_s, time_s)
        self._held.append(_HeldPacket(packet, shown, time_s))
        self._held_bytes += packet.size
        while len(self._held) > MAX_HELD_PACKETS or self._held_bytes > MAX_HELD_BYTES:
            self._faults.add("pictures without a keyframe for too long", self._held[0].time_s)
            self._drop_first()
        return True

    def _update_lag(self, stream: int, time_s: float) -> None:
        """Note how far a stream was read, and how far the other lags. A pause in both counts for at most a second."""
        ahead_s = max(*self._read_until_s.values(), self._needed_until_s)
        for other in self._lag_s:
            self._lag_s[other] += min(max(time_s - ahead_s, 0.0), 1.0)
        self._lag_s[stream] = 0.0
        self._read_until_s[stream] = max(self._read_until_s[stream], time_s)

    def _drop_first(self) -> None:
        self._held_bytes -= self._held.popleft().packet.size
