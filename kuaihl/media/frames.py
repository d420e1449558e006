"""Pictures of a recording: which frames stand for a segment, and how they are decoded without decoding the rest."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import av
import av.error
import numpy as np

from kuaihl.media.containers import Faults, packets_of
from kuaihl.records import PICTURES_PER_SEGMENT, Segment

log = logging.getLogger(__name__)

PICTURE_SIZE = 224
KEYFRAME_REACH = 1 / 12
"""A keyframe stands in for the frame wanted within this part of the segment: 2.5 s of 30 s."""

SKIPPING = {"h264", "hevc"}
"""Codecs whose decoders can skip, packet by packet, a frame that no other depends on."""


@dataclass(frozen=True)
class FrameIndex:
    """Every frame of the pictures as the packets tell, in the order they are stored; arrays are (frames,).

    ``stamps`` are the file's own time stamps, ``times_s`` seconds of the recording. ``hidden`` frames are not to be
    shown: incomplete, or cut away by an edit list.
    """

    stamps: np.ndarray
    times_s: np.ndarray
    key: np.ndarray
    hidden: np.ndarray

    @cached_property
    def shown(self) -> np.ndarray:
        """Frame numbers in the order they are shown, without hidden ones."""
        order = np.argsort(self.times_s, kind="stable")
        return order[~self.hidden[order]]

    @cached_property
    def shown_s(self) -> np.ndarray:
        """When the frames of `shown` are shown, in seconds of the recording."""
        return self.times_s[self.shown]

    @cached_property
    def entries(self) -> np.ndarray:
        """Frame numbers of keyframes, where decoding can begin."""
        return np.flatnonzero(self.key)

    def entry(self, frame: int) -> int:
        """Return the keyframe to decode from to get ``frame``; the frame itself where there is none before it.

        A frame stored after a keyframe but shown before it (open group of pictures) needs the keyframe before that.
        """
        before = self.entries[: np.searchsorted(self.entries, frame, side="right")]
        for key in before[:-3:-1]:
            if self.times_s[key] <= self.times_s[frame]:
                return int(key)
        return int(before[0]) if len(before) else frame

    @cached_property
    def is_plain(self) -> bool:
        """Whether the order of frames is beyond doubt: every group closed, nothing hidden, every time stamp once."""
        if self.hidden.any() or not len(self.entries) or self.entries[0] != 0:
            return False
        newest_key = self.times_s[self.entries[np.searchsorted(self.entries, np.arange(len(self.key)), "right") - 1]]
        return bool((self.times_s >= newest_key).all()) and len(np.unique(self.stamps)) == len(self.stamps)


def choose(index: FrameIndex, segment: Segment) -> tuple[int, ...]:
    """Pick the frames that stand for a segment: at 1/6, 1/2 and 5/6 of it; none where it has no frame of its own.

    The keyframe nearest to each time where one lies near enough, otherwise the frame shown at that time. Frames from
    outside the segment are never picked, so that nothing is known too early.
    """
    inside = slice(*np.searchsorted(index.shown_s, (segment.start_s, segment.end_s)))
    frames, times_s = index.shown[inside], index.shown_s[inside]
    if not len(frames):
        return ()
    length_s = segment.end_s - segment.start_s
    keys = np.flatnonzero(index.key[frames])
    chosen = []
    for part in range(PICTURES_PER_SEGMENT):
        wanted_s = segment.start_s + length_s * (2 * part + 1) / (2 * PICTURES_PER_SEGMENT)
        at = max(int(np.searchsorted(times_s, wanted_s + 1e-6)) - 1, 0)
        if len(keys):
            key = keys[np.abs(times_s[keys] - wanted_s).argmin()]
            if abs(times_s[key] - wanted_s) <= length_s * KEYFRAME_REACH:
                at = key
        chosen.append(int(frames[at]))
    return tuple(chosen)


def decode(
    packets: Iterable[av.Packet],
    stream: av.video.stream.VideoStream,
    index: FrameIndex,
    wanted: Sequence[int],
    faults: Faults,
    *,
    first: int = 0,
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Decode the ``wanted`` frames, and of the others only those that they build on. Frames come as they are ready.

    ``packets`` are those of ``stream`` alone, from frame number ``first`` on. Each group is decoded up to its last
    wanted frame and the decoder emptied, so that the result does not depend on where reading began.
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
                faults.add("pictures that cannot be decoded", float(index.times_s[number]))
                continue
            for frame in decoded:
                if frame.pts in frames.values():
                    if frame.is_corrupt:
                        faults.add("a picture is damaged", float(index.times_s[number]))
                    yield next(n for n, stamp in frames.items() if stamp == frame.pts), frame
        if number == end:
            decoder.flush_buffers()


def _stretches(index: FrameIndex, wanted: Sequence[int]) -> Iterator[tuple[int, int, Mapping[int, int]]]:
    """Join wanted frames whose way from a keyframe overlaps: first and last frame to decode, stamps of those wanted."""
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


def upright(frame: av.VideoFrame, width: int, height: int, turn: int) -> np.ndarray:
    """Scale a decoded frame and turn it by ``turn`` quarters to the left: (height, width, 3) uint8 RGB."""
    if turn % 2:
        width, height = height, width
    scaled = frame.reformat(width=width, height=height, format="rgb24", interpolation="BICUBIC")
    return np.ascontiguousarray(np.rot90(scaled.to_ndarray(), turn))


def seek(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream, index: FrameIndex, number: int
) -> tuple[int, Iterable[av.Packet]] | None:
    """Go to frame ``number`` or a little before: the number of the first frame to come, and the packets from there.

    None where the container cannot tell, so that reading has to begin at its start.
    """
    try:
        container.seek(int(index.stamps[number]), stream=stream)
    except av.error.FFmpegError:
        return None
    packets = packets_of(container, stream)
    head = next(packets, None)
    if head is None:
        return None
    found = np.flatnonzero(index.stamps == (head.dts if head.pts is None else head.pts))
    return (int(found[0]), chain([head], packets)) if len(found) == 1 and found[0] <= number else None
