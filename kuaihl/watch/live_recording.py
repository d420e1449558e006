"""A recording under way: its segments, with pictures and sound, as soon as they are complete."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count

import av
import av.error
import numpy as np

from kuaihl.errors import RecordingError
from kuaihl.media.audio import SAMPLE_RATE_HZ, read_sound
from kuaihl.media.containers import Faults, chosen_streams, timed_packets
from kuaihl.media.frames import PICTURE_SIZE, SKIPPING, FrameIndex, choose, upright
from kuaihl.records import MIN_SEGMENT_S, PICTURES_PER_SEGMENT, SEGMENT_S, Segment
from kuaihl.watch.tail import Tail

PATIENCE_S = 10.0
"""A segment does not wait for pictures or sound any longer once the other is so far beyond its end."""
REORDERED_S = 1.0
"""So far beyond a segment's end no picture is stored that is to be shown in it."""
MAX_HELD_PACKETS, MAX_HELD_BYTES = 36_000, 256 * 2**20
"""Pictures, not yet decoded, that are held at most: ten minutes of 60 a second."""

_OPTIONS = {
    "format_whitelist": "matroska,flv,mpegts,mov",
    "protocol_whitelist": "",  # a recording may not make the demuxer reach for the network or files
    # As whole recordings are opened, so that the same streams are found.
    "probesize": str(32 * 1024 * 1024),
    "analyzeduration": str(30 * 1_000_000),
}
_MP4_STARTS = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"}
_MAX_INDEX_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """A segment that is complete.

    ``pictures`` (3, size, size, 3) uint8 RGB and ``sound`` (samples,) float32, mono, 16 kHz, as `kuaihl.media.recording`
    hands them out; None where the recording has none.
    """

    segment: Segment
    pictures: np.ndarray | None
    sound: np.ndarray | None


def follow(tail: Tail, faults: Faults, *, first: int = 0) -> Iterator[Arrival]:
    """Yield segments from number ``first`` on, each once it is complete, the last when the recording ends.

    What arrives is read once, from the beginning, and held no longer than needed. Segments are those that
    `kuaihl.media.recording` finds in the whole recording, as long as pictures and sound are not stored more than
    ``PATIENCE_S`` apart; sound is declared to be there before the first of it comes.

    Raises
    ------
    RecordingError
        It is no recording that can be followed, cannot be decoded, or ended before its first 5 s.
    """
    _refuse_unfinished_mp4(tail)
    with _opened(tail) as container:
        incoming = _Incoming(container, faults, tail.name)
        for index in count():
            segment = Segment(index, index * SEGMENT_S, (index + 1) * SEGMENT_S)
            sound = incoming.sound(segment)
            tail.check()
            if incoming.ended and not tail.ended:
                raise RecordingError(f"{tail.name} cannot be read beyond {incoming.duration_s:.0f} s: it is damaged.")
            if incoming.ended and incoming.duration_s < segment.end_s:
                if incoming.duration_s < MIN_SEGMENT_S:
                    held = f"{tail.name} holds {incoming.duration_s:.1f} s"
                    raise RecordingError(f"{held}: at least {MIN_SEGMENT_S:g} s are needed ({tail.ended}).")
                if incoming.duration_s - segment.start_s < MIN_SEGMENT_S:
                    return
                segment = replace(segment, end_s=incoming.duration_s)
                if sound is not None:
                    first_sample, last = (round(s * SAMPLE_RATE_HZ) for s in (segment.start_s, segment.end_s))
                    sound = sound[: last - first_sample]
            if index >= first:
                yield Arrival(segment, incoming.pictures(segment), sound)
            incoming.forget(segment.end_s)


def _refuse_unfinished_mp4(tail: Tail) -> None:
    """An MP4 can be followed only if it is fragmented: otherwise what tells its contents is written at the end."""
    at = 0
    while at < _MAX_INDEX_BYTES:
        header = tail.peek(at + 8)[at:]
        length, name = int.from_bytes(header[:4], "big"), header[4:]
        if len(header) < 8 or (at == 0 and name not in _MP4_STARTS):
            return
        if name == b"moov" and b"mvex" in tail.peek(at + length)[at:]:
            return
        if name in {b"moov", b"mdat"}:
            raise RecordingError(
                f"{tail.name} is an MP4 that is not fragmented: it cannot be read before it is finished. Record to MKV,"
                " MPEG-TS, FLV or fragmented MP4 (ffmpeg -movflags frag_keyframe+empty_moov) to watch it under way; a"
                " finished one is for kuaihl predict."
            )
        at += max(length, 8)


@contextmanager
def _opened(tail: Tail) -> Iterator[av.container.InputContainer]:
    if not tail.peek(1):
        tail.check()
        raise RecordingError(f"{tail.name} is empty: the recorder wrote nothing to it ({tail.ended}).")
    try:
        container = av.open(tail, options=_OPTIONS, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError) as error:
        tail.check()
        raise RecordingError(
            f"{tail.name} is not a recording that can be followed: it must be MKV, WebM, MPEG-TS, FLV or fragmented MP4"
            f" ({getattr(error, 'strerror', None) or error})."
        ) from error
    with container:
        yield container


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """A packet of the pictures that may still be decoded, with its time stamp in the file and in the recording."""

    packet: av.Packet
    stamp: int
    time_s: float


class _Incoming:
    """What was read of a recording and is still needed."""

    def __init__(self, container: av.container.InputContainer, faults: Faults, name: str) -> None:
        self._video, self._audio = chosen_streams(container)
        streams = [stream for stream in (self._video, self._audio) if stream is not None]
        if not streams:
            raise RecordingError(f"{name} has neither pictures nor sound that can be decoded.")
        self._packets = timed_packets(container, streams, faults)
        self._faults = faults
        self._ticks_s = {stream.index: float(stream.time_base) for stream in streams}
        self._come_s = dict.fromkeys(self._ticks_s, 0.0)
        self._missed_s = dict.fromkeys(self._ticks_s, 0.0)  # how much came of the other since the last of this
        self._until_s = 0.0
        self._end_s = 0.0
        self._frames, self._shown_from_s, self._shown_last_s = 0, np.inf, -np.inf
        self._held: deque[_Held] = deque()
        self._held_bytes = 0
        self._unheard: deque[tuple[av.Packet, float]] = deque()
        self._sounds: Iterator[tuple[Segment, np.ndarray]] | None = None
        self._can_see: bool | None = None  # None as long as no picture was tried
        self.ended = False

    @property
    def duration_s(self) -> float:
        """How long the recording is so far, as `kuaihl.media.recording` measures it."""
        if not self._frames:
            return self._end_s
        interval_s = (self._shown_last_s - self._shown_from_s) / max(self._frames - 1, 1)
        return max(self._end_s, self._shown_last_s + interval_s)

    def sound(self, segment: Segment) -> np.ndarray | None:
        """Read on until a segment is complete, and return its sound (samples,)."""
        self._until_s = segment.end_s
        if self._video is not None:
            number = self._video.index
            while self._come_s[number] < self._until_s + REORDERED_S and self._is_worth_waiting(number):
                if not self._pull():
                    break
        if self._audio is None:
            return None
        if self._sounds is None:
            places = (Segment(i, i * SEGMENT_S, (i + 1) * SEGMENT_S) for i in count(segment.index))
            self._sounds = read_sound(self._heard(), self._audio, places, self._faults)
        _, sound = next(self._sounds)
        if not self._is_worth_waiting(self._audio.index):
            self._sounds = None  # it has ended; when there is sound again it begins anew, as behind any gap
        return sound

    def pictures(self, segment: Segment) -> np.ndarray | None:
        """Decode the pictures of a complete segment, (3, size, size, 3); None where none can ever be decoded."""
        if self._video is None or self._can_see is False:
            return None
        held = list(self._held)
        index = FrameIndex(
            np.array([one.stamp for one in held], np.int64),
            np.array([one.time_s for one in held], np.float64),
            np.array([one.packet.is_keyframe for one in held], bool),
            np.array([one.packet.is_corrupt or one.packet.is_discard for one in held], bool),
        )
        wanted = choose(index, segment)
        got = {number: image for number in set(wanted) if (image := self._decoded(held, index, number)) is not None}
        if wanted and self._can_see is None:
            self._can_see = bool(got)
            if not got:
                self._faults.add("pictures that cannot be decoded: the recording is read without them")
                return None
        if not wanted:
            self._faults.add("a segment has no pictures: black ones stand in", segment.start_s)
        pictures = np.zeros((PICTURES_PER_SEGMENT, PICTURE_SIZE, PICTURE_SIZE, 3), np.uint8)
        have = [place for place, number in enumerate(wanted) if number in got]
        for place, number in enumerate(wanted):
            if number not in got:
                reason = "a picture cannot be decoded: another of its segment or black stands in"
                self._faults.add(reason, segment.start_s)
            if have:
                pictures[place] = got[wanted[min(have, key=lambda other: abs(other - place))]]
        return pictures

    def forget(self, before_s: float) -> None:
        """Drop the pictures that nothing shown from ``before_s`` on builds on."""
        later = next((i for i, one in enumerate(self._held) if one.time_s >= before_s), len(self._held))
        keys = [i for i, one in enumerate(self._held) if i <= later and one.packet.is_keyframe]
        for _ in range(keys[-2] if len(keys) > 1 else 0):  # the last may come before a frame that is shown before it
            self._drop()

    def _decoded(self, held: list[_Held], index: FrameIndex, number: int) -> np.ndarray | None:
        """Decode one frame, and of those before it only what it builds on: (size, size, 3), None where that fails.

        Begins at a keyframe and ends with an empty decoder, so that the result depends on nothing else.
        """
        decoder, image = self._video.codec_context, None
        for at in range(index.entry(number), number + 1):
            if decoder.codec.canonical_name in SKIPPING:
                decoder.skip_frame = "DEFAULT" if at == number else "NONREF"
            for source in (held[at].packet, None) if at == number else (held[at].packet,):
                try:
                    frames = decoder.decode(source)
                except (av.error.FFmpegError, ValueError):
                    self._faults.add("pictures that cannot be decoded", held[at].time_s)
                    continue
                for frame in frames:
                    if frame.pts == held[number].stamp:
                        image = upright(frame, PICTURE_SIZE, PICTURE_SIZE, round(frame.rotation / 90) % 4)
        decoder.flush_buffers()
        return image

    def _heard(self) -> Iterator[tuple[av.Packet, float]]:
        """Yield the packets of the sound, as long as it is worth waiting for them."""
        while True:
            while self._unheard:
                yield self._unheard.popleft()
            if not self._is_worth_waiting(self._audio.index) or not self._pull():
                return

    def _is_worth_waiting(self, stream: int) -> bool:
        return self._missed_s[stream] < PATIENCE_S

    def _pull(self) -> bool:
        """Read one more packet, and note when it is; False at the end."""
        found = next(self._packets, None)
        if found is None:
            self.ended = True
            return False
        packet, offset_s = found
        stream = packet.stream_index
        tick_s = self._ticks_s[stream]
        stamp = packet.dts if packet.pts is None else packet.pts
        time_s = stamp * tick_s + offset_s
        self._end_s = max(self._end_s, time_s + (packet.duration or 0) * tick_s)
        self._note(stream, (stamp if packet.dts is None else packet.dts) * tick_s + offset_s)
        if packet.is_corrupt:
            self._faults.add("a packet is damaged or incomplete", time_s)
        if self._video is None or stream != self._video.index:
            self._unheard.append((packet, offset_s))
            return True
        self._frames += 1
        self._shown_from_s, self._shown_last_s = min(self._shown_from_s, time_s), max(self._shown_last_s, time_s)
        self._held.append(_Held(packet, stamp, time_s))
        self._held_bytes += packet.size
        while len(self._held) > MAX_HELD_PACKETS or self._held_bytes > MAX_HELD_BYTES:
            self._faults.add("pictures without a keyframe for too long", self._held[0].time_s)
            self._drop()
        return True

    def _note(self, stream: int, time_s: float) -> None:
        """Note how far a stream has come, and that the others have not. A pause in both counts for a second only."""
        furthest_s = max(*self._come_s.values(), self._until_s)
        for other in self._missed_s:
            self._missed_s[other] += min(max(time_s - furthest_s, 0.0), 1.0)
        self._missed_s[stream] = 0.0
        self._come_s[stream] = max(self._come_s[stream], time_s)

    def _drop(self) -> None:
        self._held_bytes -= self._held.popleft().packet.size
