"""Frames of a recording: which ones represent a segment, and how to decode them without decoding the rest."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import av
import av.error
import numpy as np
from av.container import InputContainer

from kuaihl.media.containers import SkipCounter, packets_of
from kuaihl.records import PICTURES_PER_SEGMENT, Segment

log = logging.getLogger(__name__)

FRAME_SIZE = 224
KEYFRAME_REACH = 1 / 12
"""A keyframe replaces the wanted frame within this share of the segment: 2.5 s of 30 s."""

SKIPPING = {"h264", "hevc"}
"""Codecs whose decoders can skip single non-reference frames."""


@dataclass(frozen=True)
class FrameIndex:
    """All frames of a video stream in storage order, read from its packets; arrays are (frames,).

    ``stamps`` are the timestamps of the file, ``times_s`` seconds of the recording. ``hidden`` frames are not shown:
    incomplete, or removed by an edit list.
    """

    stamps: np.ndarray
    times_s: np.ndarray
    key: np.ndarray
    hidden: np.ndarray

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
    packets: Iterable[av.Packet],
    stream: av.VideoStream,
    index: FrameIndex,
    wanted: Sequence[int],
    skips: SkipCounter,
    *,
    first: int = 0,
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yield the ``wanted`` frames with their numbers; other frames are decoded only as references.

    ``packets`` are those of ``stream`` alone, from frame number ``first`` on. Each GOP is decoded up to its last wanted
    frame, then the decoder is flushed, so that the result does not depend on where reading starts.
    """
    decoder = stream.codec_context
    decoder.thread_type = "AUTO"
    stretches = _stretches(index, wanted)
    stretch = next(stretches, None)
    for number, packet in enumerate(packets, first):
        while stretch is not None and number > stretch[1]:
            stretch = next(stretches, None)
        if stretch is None:
            return
        begin, end, frames = stretch
        if number < begin:
            continue
        if decoder.codec.canonical_name in SKIPPING:
            decoder.skip_frame = "DEFAULT" if number in frames else "NONREF"
        for source in (packet, None) if number == end else (packet,):
            try:
                decoded = decoder.decode(source)
            except (av.error.FFmpegError, ValueError):
                skips.add("frames that cannot be decoded", float(index.times_s[number]))
                continue
            for frame in decoded:
                if frame.pts in frames.values():
                    if frame.is_corrupt:
                        skips.add("a frame is damaged", float(index.times_s[number]))
                    yield next(n for n, stamp in frames.items() if stamp == frame.pts), frame
        if number == end:
            decoder.flush_buffers()


def _stretches(index: FrameIndex, wanted: Sequence[int]) -> Iterator[tuple[int, int, Mapping[int, int]]]:
    """Merge wanted frames that share a GOP: first and last frame to decode, and the timestamps of the wanted ones."""
    begin = end = -1
    frames: dict[int, int] = {}
    for entry, frame in sorted((index.entry(frame), frame) for frame in set(wanted)):
        if entry > end:
            if frames:
                yield begin, end, frames
            begin, frames = entry, {}
        end = max(end, frame)
        frames[frame] = int(index.stamps[frame])
    if frames:
        yield begin, end, frames


def to_rgb(frame: av.VideoFrame, width: int, height: int, turn: int) -> np.ndarray:
    """Scale a decoded frame and rotate it counterclockwise by ``turn`` quarters: (height, width, 3) uint8 RGB."""
    if turn % 2:
        width, height = height, width
    scaled = frame.reformat(width=width, height=height, format="rgb24", interpolation="BILINEAR")
    return np.ascontiguousarray(np.rot90(scaled.to_ndarray(), turn))


def seek(
    container: InputContainer, stream: av.VideoStream, index: FrameIndex, number: int
) -> tuple[int, Iterable[av.Packet]] | None:
    """Seek to frame ``number`` or a little before it: return the number of the next frame, and the packets from there.

    Return None where the position is unknown; then read from the start.
    """
    try:
        container.seek(int(index.stamps[number]), stream=stream)
    except av.error.FFmpegError:
        return None
    packets = packets_of(container, stream)
    head = next(packets, None)
    if head is None:
        return None
    numbers = np.flatnonzero(index.stamps == (head.dts if head.pts is None else head.pts))
    return (int(numbers[0]), chain([head], packets)) if len(numbers) == 1 and numbers[0] <= number else None
