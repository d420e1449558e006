"""Read all packets of a recording once: its tracks, their times, and what is wrong with them."""

from array import array
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import av
import numpy as np
from av.container import InputContainer

from kuaihl.errors import RecordingError
from kuaihl.media.clock import FIRST_PACKETS, JUMP_S, Packets, place
from kuaihl.media.containers import (
    SkipCounter,
    has_late_streams,
    is_truncated,
    read_packets,
    select_streams,
    stamp_of,
    video_streams,
)
from kuaihl.media.frames import Epoch, FrameIndex
from kuaihl.media.source import Source, find_parts

MAX_STREAMS = 64
PACKETS_PER_REPORT = 500
TURNS = 0.05
"""Streams take turns if at most this share of the packets of one lies among those of the other."""
_KEY, _HIDDEN, _CORRUPT = 1, 2, 4
UNREAD_BYTES, UNREAD_SHARE = 4096, 0.01
"""Data after the last packet is unusual if it is larger than both."""
LOST_S = 2.0
"""A recording that ends earlier than its container says by more than this was cut off."""


@dataclass(frozen=True)
class Track:
    """A track of a recording: its packets, and properties of its first stream."""

    index: FrameIndex
    codec: str
    metadata: dict[str, str]
    pixel_aspect: Fraction | None = None
    pixel_format: str | None = None


@dataclass(frozen=True)
class Scan:
    """Result of `scan`. The first track of ``audio`` is the default one."""

    source: Source
    video: Track | None
    audio: tuple[Track, ...]
    duration_s: float
    start_timecode: str | None


class _Column:
    """Packets of a stream in storage order, and properties of the stream."""

    def __init__(self, stream: av.VideoStream | av.AudioStream, part: int) -> None:
        self.stream, self.part, self.kind = stream.index, part, stream.type
        self.codec, self.metadata = stream.codec_context.codec.canonical_name, dict(stream.metadata)
        self.pixel_aspect = self.pixel_format = None
        if isinstance(stream, av.VideoStream):
            self.pixel_aspect, self.pixel_format = stream.sample_aspect_ratio, stream.codec_context.pix_fmt
        self.order, self.stamps, self.positions = array("q"), array("q"), array("q")
        self.decode_s, self.show_s, self.duration_s = array("d"), array("d"), array("d")
        self.flags = array("B")
        self.extradata: dict[int, bytes] = {}
        self._latest = stream.codec_context.extradata

    def add(self, packet: av.Packet, order: int, tick_s: float) -> None:
        """Append a packet."""
        stamp = stamp_of(packet) or 0
        show_s = stamp * tick_s
        if packet.has_sidedata("new_extradata"):
            extradata = bytes(packet.get_sidedata("new_extradata"))
            if extradata != self._latest:
                self._latest = self.extradata[order] = extradata
        self.order.append(order)
        self.stamps.append(stamp)
        self.positions.append(-1 if packet.pos is None else packet.pos)
        self.decode_s.append(np.nan if packet.dts is None else packet.dts * tick_s)
        self.show_s.append(show_s)
        self.duration_s.append(min(max((packet.duration or 0) * tick_s, 0.0), JUMP_S))
        hidden = packet.is_corrupt or packet.is_discard
        self.flags.append(_KEY * packet.is_keyframe | _HIDDEN * hidden | _CORRUPT * packet.is_corrupt)


def scan(source: Source, skips: SkipCounter) -> Generator[float, None, Scan]:
    """Read all packets: yield shares done, return the result.

    Raises
    ------
    RecordingError
        The file cannot be opened, or holds nothing that can be decoded.
    """
    if source.format.demuxer == "mov":
        source = replace(source, parts=find_parts(source.path, source.format))
    while True:
        reading = _Reading()
        yield from _read_parts(source, reading)
        better = _reconsider(source, reading)
        if better == source:
            break
        source = better
    skips.merge(reading.skips)
    columns = [column for column in reading.columns if column.order]
    if not columns:
        raise RecordingError(f"{source.path} has neither video nor audio that can be decoded.")
    if source.format.demuxer in {"flv", "wav", "flac"} and reading.unread > UNREAD_SHARE * source.path.stat().st_size:
        skips.add(f"the last {reading.unread / 2**20:.1f} MB of the file are not read")
    groups = [_merge(group) for group in _group(columns, len(source.parts) or 1, skips)]
    last_s = max(float(packets.decode_s.max()) for _, packets, _ in groups)
    packets = [replace(packets, last_s=last_s) for _, packets, _ in groups]
    times_s = place(packets, max(reading.start_s, 0.0), skips)
    moved = bool(skips.skipped)
    tracks = []
    for (track, _, corrupt), track_s in zip(groups, times_s, strict=True):
        tracks.append(replace(track, index=replace(track.index, times_s=track_s)))
        for time_s in track_s[corrupt].tolist():
            skips.add("a packet is damaged or incomplete", time_s)
    duration_s = max(float((t + p.duration_s).max()) for t, p in zip(times_s, packets, strict=True))
    if (reading.promised_s > duration_s + LOST_S and not moved) or is_truncated(source.path, source.format):
        skips.add("the end is missing: the recording was cut off", duration_s)
    has_video = max(columns, key=lambda c: c.kind).kind == "video"
    return Scan(source, tracks[0] if has_video else None, tuple(tracks[has_video:]), duration_s, reading.timecode)


@dataclass
class _Reading:
    """What one pass over the file has read."""

    columns: list[_Column] = field(default_factory=list)
    skips: SkipCounter = field(default_factory=SkipCounter)
    late: bool = False
    start_s: float = 0.0
    promised_s: float = 0.0
    timecode: str | None = None
    unread: int = 0


def _read_parts(source: Source, reading: _Reading) -> Iterator[float]:
    for part in range(len(source.parts) or 1):
        try:
            with source.open(part) as container:
                yield from _read(container, source, part, reading)
                reading.late = reading.late or has_late_streams(container)
                if part == 0:
                    reading.start_s = (container.start_time or 0) / av.time_base
                    reading.promised_s = (container.duration or 0) / av.time_base - reading.start_s
                    reading.timecode = _start_timecode(container)
                ends = [c.positions[-1] for c in reading.columns if c.part == part and c.positions]
                reading.unread = max(container.size - max(ends, default=0), 0)
        except RecordingError:  # noqa: PERF203 - a few parts
            if part == 0:
                raise
            reading.skips.add("a joined part cannot be read")


def _reconsider(source: Source, reading: _Reading) -> Source:
    """Return a source that reads more of the file, or the same one."""
    if reading.late and not source.late:
        return replace(source, late=True)
    if source.parts or source.format.demuxer == "mov":
        return source
    restarts = any(np.nanmin(np.diff(np.frombuffer(c.decode_s)), initial=0.0) < -1 for c in reading.columns)
    if restarts or reading.unread > max(UNREAD_BYTES, UNREAD_SHARE * source.path.stat().st_size):
        return replace(source, parts=find_parts(source.path, source.format))
    return source


def _read(container: InputContainer, source: Source, part: int, reading: _Reading) -> Iterator[float]:
    """Read a part of the file into new columns, those of the default streams first."""
    if len(container.streams) > MAX_STREAMS:
        raise RecordingError(f"{source.path} claims {len(container.streams)} streams: at most {MAX_STREAMS} are read.")
    others = [s for s in [*video_streams(container), *container.streams.audio] if s.codec_context is not None]
    streams = list(dict.fromkeys(s for s in (*select_streams(container), *others) if s is not None))
    columns = {stream.index: _Column(stream, part) for stream in streams}
    ticks_s = {stream.index: float(stream.time_base or 0) for stream in streams}
    order = max((c.order[-1] for c in reading.columns if c.order), default=-1) + 1
    reading.columns.extend(columns.values())
    size, parts = max(container.size, 1), len(source.parts) or 1
    for number, packet in enumerate(read_packets(container, streams, reading.skips)):
        columns[packet.stream_index].add(packet, order + number, ticks_s[packet.stream_index])
        if number % PACKETS_PER_REPORT == 0:
            yield (part + min(max(packet.pos or 0, 0) / size, 1.0)) / parts


def _group(columns: Sequence[_Column], parts: int, skips: SkipCounter) -> list[list[_Column]]:
    """Join columns to tracks, video first: streams that take turns, and the n-th of each part."""
    tracks: dict[str, list[list[_Column]]] = {"video": [], "audio": []}
    for part in range(parts):
        here: dict[str, list[list[_Column]]] = {"video": [], "audio": []}
        for column in columns:
            if column.part != part:
                continue
            same = here[column.kind]
            group = next((group for group in same if all(_take_turns(c, column) for c in group)), None)
            if group is None:
                same.append([column])
            else:
                group.append(column)
        for kind, groups in here.items():
            for number, group in enumerate(groups):
                if number < len(tracks[kind]):
                    tracks[kind][number] += group
                else:
                    tracks[kind].append(group)
    for _ in tracks["video"][1:]:
        skips.add("another video stream is not read")
    return tracks["video"][:1] + tracks["audio"]


def _take_turns(a: _Column, b: _Column) -> bool:
    if len(a.order) > len(b.order):
        a, b = b, a
    first, stop = np.searchsorted(np.frombuffer(b.order, np.int64), [a.order[0], a.order[-1]])
    return stop - first <= TURNS * len(a.order)


def _merge(group: Sequence[_Column]) -> tuple[Track, Packets, np.ndarray]:
    """Join the columns of a track in storage order; return it without times, its packets, and which are corrupt."""
    order = np.concatenate([np.frombuffer(c.order, np.int64) for c in group])
    by_order = np.argsort(order, kind="stable")

    def join(name: str, dtype: type) -> np.ndarray:
        return np.concatenate([np.frombuffer(getattr(c, name), dtype) for c in group])[by_order]

    order, flags = order[by_order], join("flags", np.uint8)
    column_of = np.repeat(np.arange(len(group)), [len(c.order) for c in group])[by_order]
    extradata = {at: data for column in group for at, data in column.extradata.items()}
    changes = {0, *(np.flatnonzero(np.diff(column_of)) + 1).tolist(), *np.searchsorted(order, list(extradata)).tolist()}
    latest: dict[int, bytes] = {}
    epochs = []
    for first in sorted(changes):
        number = int(column_of[first])
        if (data := extradata.get(int(order[first]))) is not None:
            latest[number] = data
        epochs.append(Epoch(first, group[number].part, group[number].stream, latest.get(number)))
    key, hidden, corrupt = ((flags & flag).astype(bool) for flag in (_KEY, _HIDDEN, _CORRUPT))
    index = FrameIndex(join("stamps", np.int64), order, key, hidden, join("positions", np.int64), tuple(epochs))
    decode_s, show_s, duration_s = (join(name, np.float64) for name in ("decode_s", "show_s", "duration_s"))
    without = np.flatnonzero(np.isnan(decode_s))
    decode_s[without] = [show_s[at : at + FIRST_PACKETS].min() for at in without]
    steps_s = np.diff(decode_s)
    steps_s = steps_s[(steps_s > 0) & (steps_s < JUMP_S)]
    duration_s[duration_s == 0] = np.median(steps_s) if len(steps_s) else 0.0  # not all containers store it
    track = Track(index, group[0].codec, group[0].metadata, group[0].pixel_aspect, group[0].pixel_format)
    return track, Packets(decode_s, show_s, duration_s, order, last_s=0.0), corrupt


def _start_timecode(container: InputContainer) -> str | None:
    """Return the timecode of the first frame, as ``hh:mm:ss:ff`` or, for drop-frame, ``hh:mm:ss;ff``."""
    for metadata in (container.metadata, *(stream.metadata for stream in container.streams)):
        for key, value in metadata.items():
            if key.lower() == "timecode":
                return value
    return None
