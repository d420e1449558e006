"""A stretch of a recording as packets, each with its place in the recording, read without reading what comes before."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain, islice

import av
import av.error
import numpy as np

from kuaihl.media.containers import SkipCounter, open_container, select_streams, timed_packets
from kuaihl.media.frames import FrameIndex
from kuaihl.media.recording import Recording

log = logging.getLogger(__name__)

SKEW_S = 2.0
"""Recorders store sound and pictures of one time this far apart at most."""
_NOW_S = 1e-6
_SEARCHED = 2000
"""A seek has gone astray where none of so many packets is a picture that is known."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A packet with what to add to its time stamps for seconds of the recording; ``frame`` counts pictures, else -1."""

    packet: av.Packet
    offset_s: float
    frame: int

    @property
    def start_s(self) -> float:
        """When it is shown or heard, in seconds of the recording."""
        stamp = self.packet.dts if self.packet.pts is None else self.packet.pts
        return float(stamp * self.packet.time_base) + self.offset_s

    @property
    def end_s(self) -> float:
        """When the next one follows, as far as the container tells."""
        return self.start_s + float((self.packet.duration or 0) * self.packet.time_base)


@dataclass(frozen=True, slots=True)
class Stretch:
    """An opened recording, standing before a stretch: its streams (``None`` where it has none), and what comes."""

    video: av.VideoStream | None
    audio: av.AudioStream | None
    pieces: Iterator[Piece]


def frames_of(index: FrameIndex | None, start_s: float, end_s: float) -> tuple[int, int] | None:
    """First and last stored frame that showing ``start_s`` to ``end_s`` takes; None where no frame begins in there.

    The first is the keyframe to decode from.
    """
    if index is None:
        return None
    end = int(np.searchsorted(index.shown_s, end_s))
    if not end or index.shown_s[end - 1] < start_s - _NOW_S:
        return None
    begin = max(int(np.searchsorted(index.shown_s, start_s + _NOW_S)) - 1, 0)
    shown = index.shown[begin:end]
    return index.entry(int(shown[0])), int(shown.max())


@contextmanager
def stretch(recording: Recording, *, start_s: float, end_s: float) -> Iterator[Stretch]:
    """Open a recording and go to a stretch of it.

    The pieces begin with the keyframe that shows ``start_s``, or before, and sound a little earlier; they go on until
    all of both that begins before ``end_s`` has come.

    Raises
    ------
    RecordingError
        The file cannot be opened any more.
    """
    span = frames_of(recording.frame_index, start_s, end_s)
    with ExitStack() as stack:
        container = stack.enter_context(open_container(recording.path, recording.format))
        pieces = _sought(container, recording, span, start_s)
        if pieces is None:
            log.info("%s cannot be sought: it is read from its start", recording.path)
            container = stack.enter_context(open_container(recording.path, recording.format))
            pieces = _numbered(container, 0, 0.0)
        video, audio = select_streams(container)
        yield Stretch(video if span else None, audio, _until(pieces, end_s, last=span[1] if span else -1))


def _until(pieces: Iterator[Piece], end_s: float, *, last: int) -> Iterator[Piece]:
    """Stop where neither a frame up to ``last`` nor sound before ``end_s`` can follow."""
    newest = -1
    for piece in pieces:
        newest = max(newest, piece.frame)
        if newest >= last and piece.start_s > end_s + SKEW_S:
            return
        yield piece


def _sought(
    container: av.container.InputContainer, recording: Recording, span: tuple[int, int] | None, start_s: float
) -> Iterator[Piece] | None:
    """Seek to a little before the stretch; return None if the place that was reached is unknown."""
    video, audio = select_streams(container)
    if span is None or video is None:
        return _sought_by_clock(container, recording, start_s)
    index = recording.frame_index
    first = span[0]
    earlier = index.entries[index.times_s[index.entries] <= index.times_s[first] - SKEW_S]
    goal = earlier[-1] if len(earlier) else min(first, *index.entries[:1])
    try:
        container.seek(int(index.stamps[goal]), stream=video)
    except av.error.FFmpegError:
        return None
    packets = timed_packets(container, [s for s in (video, audio) if s is not None], SkipCounter())
    before = []
    for packet, offset_s in islice(packets, _SEARCHED):
        before.append((packet, offset_s))
        if packet.stream_index != video.index:
            continue
        stamp = packet.dts if packet.pts is None else packet.pts
        found = np.flatnonzero(index.stamps == stamp)
        if len(found) != 1 or found[0] > first:
            return None
        here_s = float(stamp * packet.time_base) + offset_s
        return _numbered(container, int(found[0]), float(index.times_s[found[0]]) - here_s, chain(before, packets))
    return None


def _sought_by_clock(
    container: av.container.InputContainer, recording: Recording, start_s: float
) -> Iterator[Piece] | None:
    """Go to a time where only sound is to be had; None where its time stamps are not to be trusted."""
    if any(skipped.reason.startswith("time stamps jump") for skipped in recording.skipped):
        return None
    begin_s = max((container.start_time or 0) / av.time_base, 0.0)
    try:
        container.seek(round((max(start_s - SKEW_S, 0.0) + begin_s) * av.time_base))
    except av.error.FFmpegError:
        return None
    packets = timed_packets(container, [s for s in select_streams(container) if s is not None], SkipCounter())
    head = next(packets, None)
    if head is None:
        return None
    pieces = _numbered(container, 0, -begin_s - head[1], chain([head], packets))
    first = next(pieces)
    return chain([first], pieces) if first.start_s <= max(start_s, 1.0) else None


def _numbered(
    container: av.container.InputContainer,
    frame: int,
    shift_s: float,
    packets: Iterator[tuple[av.Packet, float]] | None = None,
) -> Iterator[Piece]:
    """Count the pictures from ``frame`` on, and shift all packets by ``shift_s``."""
    video, audio = select_streams(container)
    if packets is None:
        packets = timed_packets(container, [s for s in (video, audio) if s is not None], SkipCounter())
    for packet, offset_s in packets:
        is_picture = video is not None and packet.stream_index == video.index
        yield Piece(packet, offset_s + shift_s, frame if is_picture else -1)
        frame += is_picture
