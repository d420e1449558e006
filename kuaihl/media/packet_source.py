"""The packets of a recording by number, whatever its file is made of: parts, streams that take turns, new headers."""

import mmap
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import SEEK_CUR, SEEK_END, SEEK_SET
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import av
import av.error
from av.container import InputContainer
from av.packet import PacketSideData
from av.stream import Stream

from kuaihl.media.containers import ContainerFormat, SkipCounter, mp4_boxes, open_container, read_packets
from kuaihl.media.frames import FrameIndex

SEEK_PACKETS = 2000
"""A seek has failed if none of so many packets is known."""
_NEW_EXTRADATA = 1  # AV_PKT_DATA_NEW_EXTRADATA
_PART_STARTS = {
    "flv": re.compile(rb"FLV\x01[\x00\x01\x04\x05]\x00\x00\x00\x09\x00\x00\x00\x00"),
    "matroska": re.compile(rb"\x1a\x45\xdf\xa3[^\x1a]{1,60}?(?:matroska|webm)", re.DOTALL),
    "wav": re.compile(rb"RIFF.{4}WAVEfmt ", re.DOTALL),
    "flac": re.compile(rb"fLaC\x00\x00\x00\x22"),
}
"""Headers with which another recording begins, for demuxers that stop or go wrong there."""


class NumberedPacket(NamedTuple):
    """A packet, its track, and its number in the index of that track."""

    track: int
    number: int
    packet: av.Packet


@dataclass(frozen=True)
class Source:
    """A file, and how to open it.

    ``parts`` are the bytes of recordings that were joined, empty for a single one. ``late`` files have streams that
    appear only where they begin: all of the file has to be probed for them.
    """

    path: Path
    format: ContainerFormat
    parts: tuple[tuple[int, int], ...] = ()
    late: bool = False

    @contextmanager
    def open(self, part: int = 0) -> Iterator[InputContainer]:
        """Open the file, or one of its parts.

        Raises
        ------
        RecordingError
            FFmpeg cannot open it.
        """
        if not self.parts:
            with open_container(self.path, self.format, late=self.late) as container:
                yield container
            return
        with self.path.open("rb") as file:
            piece = _Piece(file, *self.parts[part])
            with open_container(self.path, self.format, late=self.late, file=piece) as container:
                yield container

    def read(
        self, tracks: Sequence[FrameIndex], *, start: tuple[int, int] | None = None, skips: SkipCounter | None = None
    ) -> Iterator[NumberedPacket]:
        """Yield the packets of ``tracks``, from packet ``start`` (track, number) on or from a little before it.

        A packet after new headers, at which decoding can start, carries them.
        """
        skips = skips or SkipCounter()
        first_part = tracks[start[0]].epoch(start[1]).part if start else 0
        for part in range(first_part, len(self.parts) or 1):
            numbers = {t: first for t, index in enumerate(tracks) if (first := index.first_of(part)) is not None}
            if not numbers:
                continue
            found = False
            if start and part == first_part and start[1] > numbers.get(start[0], 0):
                with self.open(part) as container:
                    packets = self._seek(container, part, tracks, start)
                    if found := packets is not None:
                        yield from packets
            if not found:
                with self.open(part) as container:
                    packets = read_packets(container, _streams(container, part, tracks), skips)
                    yield from _number(packets, tracks, numbers, part)

    def _seek(
        self, container: InputContainer, part: int, tracks: Sequence[FrameIndex], start: tuple[int, int]
    ) -> Iterator[NumberedPacket] | None:
        """Seek to a packet or a little before it; return None where the position is unknown."""
        index = tracks[start[0]]
        try:
            if self.format.demuxer == "mpegts":  # its timestamps may occur twice
                container.seek(int(index.positions[start[1]]), unsupported_byte_offset=True)
            else:
                stream = container.streams[index.epoch(start[1]).stream]
                container.seek(int(index.stamps[start[1]]), stream=stream)
        except av.error.FFmpegError:
            return None
        packets = read_packets(container, _streams(container, part, tracks), SkipCounter())
        numbered = _number(packets, tracks, {}, part)
        ahead = []
        for item in numbered:
            ahead.append(item)
            if item.track == start[0]:
                return chain(ahead, numbered) if item.number <= start[1] else None
        return None


def _streams(container: InputContainer, part: int, tracks: Sequence[FrameIndex]) -> list[Stream]:
    used = {epoch.stream for index in tracks for epoch in index.epochs if epoch.part == part}
    return [container.streams[number] for number in sorted(used)]


def _number(
    packets: Iterator[av.Packet], tracks: Sequence[FrameIndex], numbers: dict[int, int], part: int
) -> Iterator[NumberedPacket]:
    """Number packets; those of tracks that are not in ``numbers`` are dropped until one of them is recognised."""
    track_of = {e.stream: track for track, index in enumerate(tracks) for e in index.epochs if e.part == part}
    fresh = set(track_of.values())
    dropped = 0
    for packet in packets:
        track = track_of[packet.stream_index]
        index = tracks[track]
        if track not in numbers:
            found = index.find(packet, part)
            if found is None:
                dropped += 1
                if dropped > SEEK_PACKETS:
                    return
                continue
            numbers[track] = found
        number = numbers[track]
        numbers[track] += 1
        if number >= len(index.stamps):
            return  # the file has grown since it was opened
        epoch = index.epoch(number)
        is_entry = track in fresh or (packet.stream.type == "video" and index.key[number])
        if epoch.extradata and is_entry and not packet.has_sidedata("new_extradata"):
            extradata = cast("Any", PacketSideData)(_NEW_EXTRADATA, len(epoch.extradata))
            extradata.update(epoch.extradata)
            packet.set_sidedata(extradata)
        fresh.discard(track)
        yield NumberedPacket(track, number, packet)


def find_parts(path: Path, format_: ContainerFormat) -> tuple[tuple[int, int], ...]:
    """Return the bytes of recordings that were joined to one file; empty for a single one."""
    if path.stat().st_size == 0:
        return ()
    if format_.demuxer == "mov":
        starts = [at for at, _, name in mp4_boxes(path) if name == b"ftyp"]
    elif format_.demuxer in _PART_STARTS:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            starts = [match.start() for match in _PART_STARTS[format_.demuxer].finditer(data)]
    else:
        return ()
    if len(starts) < 2:
        return ()
    return tuple(zip([0, *starts[1:]], [*starts[1:], path.stat().st_size], strict=True))


class _Piece:
    """A part of a file as a file."""

    def __init__(self, file: BinaryIO, start: int, stop: int) -> None:
        self._file, self._start, self._stop = file, start, stop
        file.seek(start)

    def read(self, size: int) -> bytes:
        return self._file.read(max(min(size, self._stop - self._file.tell()), 0))

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        base = {SEEK_SET: self._start, SEEK_CUR: self._file.tell(), SEEK_END: self._stop}[whence]
        return self._file.seek(max(base + offset, self._start)) - self._start

    def tell(self) -> int:
        return self._file.tell() - self._start
