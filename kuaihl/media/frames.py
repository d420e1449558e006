"""Frames of a recording: which ones represent a segment, and how to decode them without decoding the rest."""

import logging
import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import av
import av.error
import numpy as np

from kuaihl.media.containers import SkipCounter, stamp_of
from kuaihl.records import PICTURES_PER_SEGMENT, Segment

log = logging.getLogger(__name__)

FRAME_SIZE = 224
KEYFRAME_REACH = 1 / 12
"""A keyframe replaces the wanted frame within this share of the segment: 2.5 s of 30 s."""

MAX_PIXELS = 8192 * 4320
"""Larger frames are not decoded."""
THREAD_PIXELS = 2**26
"""Threads of a decoder hold a frame each: together at most so many pixels."""
SKIPPING = {"h264", "hevc"}
"""Codecs whose decoders can skip single non-reference frames."""


@dataclass(frozen=True)
class Epoch:
    """Packets of a track, from number ``first`` on, of one stream with the same headers.

    ``part`` is the number of the part of the file, ``extradata`` the headers if they differ from those of the stream.
    """

    first: int
    part: int
    stream: int
    extradata: bytes | None = None


@dataclass(frozen=True)
class FrameIndex:
    """All packets of a track in storage order; arrays are (packets,). A packet of video holds one frame.

    ``stamps`` are the timestamps of the file, ``times_s`` seconds of the recording, ``positions`` bytes in the file.
    Decoding can start at ``key`` packets. ``hidden`` frames are not shown: incomplete, or removed by an edit list.
    """

    stamps: np.ndarray
    times_s: np.ndarray
    key: np.ndarray
    hidden: np.ndarray
    positions: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    epochs: tuple[Epoch, ...] = ()

    def epoch(self, number: int) -> Epoch:
        """Return the epoch of a packet."""
        return self.epochs[bisect_right(self.epochs, number, key=lambda epoch: epoch.first) - 1]

    def first_of(self, part: int) -> int | None:
        """Return the first packet of a part of the file."""
        return next((epoch.first for epoch in self.epochs if epoch.part == part), None)

    def find(self, packet: av.Packet, part: int) -> int | None:
        """Return the number of a packet that was read after a seek, or None if it cannot be identified."""
        first, stop = self.first_of(part), self.first_of(part + 1)
        inside = slice(first, stop)
        same_stamp = self.stamps[inside] == stamp_of(packet)
        same_position = self.positions[inside] == (packet.pos if packet.pos is not None else -1)
        for same in (same_position & same_stamp, same_position, same_stamp):
            numbers = np.flatnonzero(same)
            if len(numbers) == 1:
                return (first or 0) + int(numbers[0])
        return None

    @cached_property
    def shown(self) -> np.ndarray:
        """Frame numbers in display order, without hidden frames."""
        order = np.argsort(self.times_s, kind="stable")
        return order[~self.hidden[order]]

    @cached_property
    def shown_s(self) -> np.ndarray:
        """Display times of the frames of `shown`, in seconds of the recording."""
        return self.times_s[self.shown]

    @cached_property
    def entries(self) -> np.ndarray:
        """Numbers of keyframes, where decoding can start."""
        return np.flatnonzero(self.key)

    def entry(self, frame: int) -> int:
        """Return the keyframe from which to decode ``frame``, or the first keyframe.

        A frame stored after a keyframe but shown before it (open GOP) needs the keyframe before that.
        """
        before = self.entries[: np.searchsorted(self.entries, frame, side="right")]
        for key in before[:-3:-1]:
            if self.times_s[key] <= self.times_s[frame]:
                return int(key)
        return int(before[0]) if len(before) else frame

    @cached_property
    def is_plain(self) -> bool:
        """Whether display order is unambiguous: closed GOPs, no hidden frames, unique timestamps."""
        if self.hidden.any() or not len(self.entries) or self.entries[0] != 0:
            return False
        newest_key = self.times_s[self.entries[np.searchsorted(self.entries, np.arange(len(self.key)), "right") - 1]]
        return bool((self.times_s >= newest_key).all()) and len(np.unique(self.stamps)) == len(self.stamps)


def select_frames(index: FrameIndex, segment: Segment) -> tuple[int, ...]:
    """Return the frames that represent a segment, at 1/6, 1/2 and 5/6 of it; none if it has no frames.

    Each is the nearest keyframe if it is near enough, otherwise the frame shown at that time. Frames of other segments
    are never selected, so that a prediction knows nothing of the future.
    """
    inside = slice(*np.searchsorted(index.shown_s, (segment.start_s, segment.end_s)))
    frames, times_s = index.shown[inside], index.shown_s[inside]
    if not len(frames):
        return ()
    length_s = segment.end_s - segment.start_s
    keys = np.flatnonzero(index.key[frames])
    selected = []
    for number in range(PICTURES_PER_SEGMENT):
        wanted_s = segment.start_s + length_s * (2 * number + 1) / (2 * PICTURES_PER_SEGMENT)
        at = max(int(np.searchsorted(times_s, wanted_s + 1e-6)) - 1, 0)
        if len(keys):
            key = keys[np.abs(times_s[keys] - wanted_s).argmin()]
            if abs(times_s[key] - wanted_s) <= length_s * KEYFRAME_REACH:
                at = key
        selected.append(int(frames[at]))
    return tuple(selected)


def decode(
    packets: Iterable[tuple[int, av.Packet]], index: FrameIndex, wanted: Sequence[int], skips: SkipCounter
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yield the ``wanted`` frames with their numbers; other frames are decoded only as references.

    Each GOP is decoded up to its last wanted frame, then the decoder is flushed, so that the result does not depend on
    where reading starts. Frames that the decoder reports as corrupt are skipped.
    """
    stretches = _stretches(index, wanted)
    stretch = next(stretches, None)
    pending: dict[int, int] = {}
    for number, packet in packets:
        while stretch is not None and number > stretch[1]:
            stretch = next(stretches, None)
        if stretch is None:
            return
        begin, end, frames = stretch
        if number < begin:
            continue
        decoder = packet.stream.codec_context
        prepare(decoder)
        if number in frames and packet.pts is not None:
            pending[packet.pts] = number
        if decoder.codec.canonical_name in SKIPPING:
            decoder.skip_frame = "DEFAULT" if number in frames else "NONREF"
        for source in (packet, None) if number == end else (packet,):
            for frame in decode_packet(decoder, source, skips, float(index.times_s[number])):
                if frame.pts in pending:
                    yield pending[frame.pts], frame
        if number == end:
            decoder.flush_buffers()
            pending.clear()


def decode_packet(
    decoder: av.VideoCodecContext, packet: av.Packet | None, skips: SkipCounter, time_s: float
) -> list[av.VideoFrame]:
    """Return the intact frames that a decoder has after one more packet, or with None at the end."""
    try:
        frames = decoder.decode(packet)
    except (av.error.FFmpegError, ValueError):
        skips.add("frames that cannot be decoded", time_s)
        return []
    for _ in filter(lambda frame: frame.is_corrupt, frames):
        skips.add("a frame is corrupt", time_s)
    return [frame for frame in frames if not frame.is_corrupt]


def prepare(decoder: av.VideoCodecContext) -> None:
    """Limit what a decoder that is not open yet may allocate."""
    if decoder.is_open:
        return
    decoder.options = {"max_pixels": str(MAX_PIXELS)}
    pixels = max(decoder.width * decoder.height, 1)
    decoder.thread_type = "AUTO"
    decoder.thread_count = max(1, min(os.cpu_count() or 1, 16, THREAD_PIXELS // pixels))


def _stretches(index: FrameIndex, wanted: Sequence[int]) -> Iterator[tuple[int, int, set[int]]]:
    """Merge wanted frames that share a GOP: first and last frame to decode, and the wanted ones."""
    begin = end = -1
    frames: set[int] = set()
    for entry, frame in sorted((index.entry(frame), frame) for frame in set(wanted)):
        if entry > end:
            if frames:
                yield begin, end, frames
            begin, frames = entry, set()
        end = max(end, frame)
        frames.add(frame)
    if frames:
        yield begin, end, frames


def to_rgb(frame: av.VideoFrame, width: int, height: int) -> np.ndarray:
    """Scale a decoded frame and rotate it upright: (height, width, 3) uint8 RGB.

    Raises
    ------
    ValueError
        FFmpeg cannot scale the frame.
    """
    turn = round(frame.rotation / 90) % 4
    if turn % 2:
        width, height = height, width
    scaled = frame.reformat(width=width, height=height, format="rgb24", interpolation="BILINEAR")
    return np.ascontiguousarray(np.rot90(scaled.to_ndarray(), turn))
