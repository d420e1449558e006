"""Container formats: detect a format by its content, open a file with its demuxer alone, read timed packets."""

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import av
import av.error
import av.logging
import numpy as np
from av.container import InputContainer
from av.stream import Disposition, Stream

from kuaihl.errors import RecordingError
from kuaihl.records import Segment, Skipped

log = logging.getLogger(__name__)

HEAD_BYTES = 64 * 1024
"""Bytes that are read to detect the format."""
STALL_S = 60.0
"""A read that takes longer is aborted."""
MAX_FAILURES = 100
"""Reading stops after this number of failed reads."""

ACCEPTED = "MP4, MOV, MKV, WebM, FLV and MPEG-TS, and sound in M4A, MP3, AAC, Ogg, WAV and FLAC"
_IMAGE_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis", b"crx ", b"jpx ", b"jp2 "}
_QUICKTIME_STARTS = {b"moov", b"mdat", b"wide", b"free", b"skip"}
_PACKET_BYTES = (188, 192, 204)
"""Packet lengths of MPEG-TS: plain, with a timestamp (Blu-ray), with error correction."""
_OPTIONS = {
    "protocol_whitelist": "file",  # a recording must not make the demuxer open the network or other files
    "enable_drefs": "0",
    "use_absolute_path": "0",
    "probesize": str(32 * 1024 * 1024),  # enough to find sound that starts seconds after the video
    "analyzeduration": str(30 * 1_000_000),
}

_PROBE_ALL = {"probesize": str(2**62), "analyzeduration": str(2**62), "fflags": "nobuffer"}


@dataclass(frozen=True, slots=True)
class ContainerFormat:
    """A container format: its usual name, and the name of FFmpeg's demuxer."""

    name: str
    demuxer: str


class SkipCounter:
    """Count what is skipped while a recording is read, by reason, with the place of the first."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, str]] = {}

    def add(self, reason: str, time_s: float | None = None) -> None:
        """Count one more of ``reason`` at ``time_s``."""
        count, where = self._counts.get(reason, (0, "" if time_s is None else f"at {format_time(time_s)}"))
        self._counts[reason] = (count + 1, where)

    def merge(self, other: "SkipCounter") -> None:
        """Add the counts of another counter."""
        for reason, (count, where) in other._counts.items():
            before, first = self._counts.get(reason, (0, where))
            self._counts[reason] = (before + count, first)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """All reasons so far, in order of first occurrence."""
        return tuple(Skipped(reason, count, where) for reason, (count, where) in self._counts.items())


class SegmentReader(Iterator[tuple[Segment, np.ndarray]]):
    """Iterator over segments with their frames or audio, read on demand."""

    def __init__(self, items: Iterator[tuple[Segment, np.ndarray, tuple[Skipped, ...]]]) -> None:
        self._items = items
        self.skipped: tuple[Skipped, ...] = ()
        """What was skipped so far: complete when the iterator is exhausted."""

    def __next__(self) -> tuple[Segment, np.ndarray]:
        segment, array, self.skipped = next(self._items)
        return segment, array


def format_time(time_s: float) -> str:
    """Format a time as h:mm:ss."""
    minutes, seconds = divmod(int(max(time_s, 0)), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


def detect_format(path: Path) -> ContainerFormat:
    """Detect the container format of a file by its content alone.

    Raises
    ------
    RecordingError
        The file does not exist, is empty, has no supported format, or is an MP4 without an index.
    """
    if path.is_dir():
        raise RecordingError(f"{path} is a folder: name a recording.")
    if not path.exists():
        raise RecordingError(f"There is no file {path}.")
    if not path.is_file():
        raise RecordingError(f"{path} is not a regular file: save the stream to a file first.")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise RecordingError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not head:
        raise RecordingError(f"{path} is empty.")
    format_ = next((format_ for matches, format_ in _FORMATS if matches(head)), None)
    if format_ is None:
        if head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"#EXTM3U"):
            raise RecordingError(f"{path} is a playlist, not a recording: download the stream that it points to.")
        raise RecordingError(f"{path} is not a supported recording. Supported are {ACCEPTED}.")
    if format_.demuxer == "mov" and not _has_index(path):
        raise RecordingError(
            f"{path} has no index (moov box): the recorder stopped before it wrote one, and an MP4 cannot be read "
            "without. Repair it with a tool such as untrunc and an intact recording of the same recorder. Record to "
            "MKV or fragmented MP4, which stay readable when they are cut off."
        )
    return format_


def _is_mpeg_audio(head: bytes) -> bool:
    return len(head) > 4 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2 and head[2] >> 4 != 15 and head[2] & 12 != 12


def _is_transport_stream(head: bytes) -> bool:
    """Return whether there are at least five packets with a sync byte and a valid header."""
    data = np.frombuffer(head, np.uint8)
    for size in _PACKET_BYTES:
        for first in range(size):
            sync, control = data[first::size], data[first + 3 :: size]
            if len(sync) < 5:
                break
            if (sync == 0x47).all() and (control & 0x30).all():  # adaptation field control 0 is reserved
                return True
    return False


_FORMATS: tuple[tuple[Callable[[bytes], bool], ContainerFormat], ...] = (
    (lambda head: head[4:12] == b"ftypqt  " or head[4:8] in _QUICKTIME_STARTS, ContainerFormat("MOV", "mov")),
    (lambda head: head[4:8] == b"ftyp" and head[8:12] not in _IMAGE_BRANDS, ContainerFormat("MP4", "mov")),
    (lambda head: head.startswith(b"\x1aE\xdf\xa3") and b"webm" in head[:4096], ContainerFormat("WebM", "matroska")),
    (lambda head: head.startswith(b"\x1aE\xdf\xa3") and b"matroska" in head[:4096], ContainerFormat("MKV", "matroska")),
    (lambda head: head.startswith(b"FLV\x01") and head[5:9] == b"\0\0\0\x09", ContainerFormat("FLV", "flv")),
    (lambda head: head.startswith(b"OggS\0"), ContainerFormat("Ogg", "ogg")),
    (lambda head: head[:4] in {b"RIFF", b"RF64"} and head[8:12] == b"WAVE", ContainerFormat("WAV", "wav")),
    (lambda head: head.startswith(b"fLaC"), ContainerFormat("FLAC", "flac")),
    (lambda head: head.startswith(b"ID3") or _is_mpeg_audio(head), ContainerFormat("MP3", "mp3")),
    (lambda head: len(head) > 7 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0, ContainerFormat("AAC", "aac")),
    (_is_transport_stream, ContainerFormat("MPEG-TS", "mpegts")),
)


def _has_index(path: Path) -> bool:
    """Return whether the file holds a complete moov box."""
    size = path.stat().st_size
    return any(name == b"moov" and start + length <= size for start, length, name in mp4_boxes(path))


def mp4_boxes(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yield start, length and name of the top-level boxes of an MP4. Only their headers are read."""
    size = path.stat().st_size
    at = 0
    with path.open("rb") as file:
        while at + 8 <= size:
            file.seek(at)
            header = file.read(16)
            length = int.from_bytes(header[:4], "big")
            if length == 1 and len(header) == 16:
                length = int.from_bytes(header[8:16], "big")
            elif length == 0:
                length = size - at
            if length < 8:
                return
            yield at, length, header[4:8]
            at += length


def is_truncated(path: Path, format_: ContainerFormat) -> bool:
    """Return whether an MPEG-TS ends within a packet, and so was cut off."""
    size = path.stat().st_size
    return format_.demuxer == "mpegts" and all(size % packet for packet in _PACKET_BYTES)


@contextmanager
def open_container(
    path: Path, format_: ContainerFormat, *, late: bool = False, file: object = None
) -> Iterator[InputContainer]:
    """Open a file with the demuxer of its format and no other.

    Parameters
    ----------
    late
        Probe the whole file for streams, without holding its packets.
    file
        File object to read instead of ``path``.

    Raises
    ------
    RecordingError
        FFmpeg cannot open the file.
    """
    try:
        opened = av.open(
            file or str(path.absolute()),  # a bare name could be taken for a protocol
            format=format_.demuxer,
            options=_OPTIONS | (_PROBE_ALL if late else {}),
            buffer_size=2**20,
            metadata_errors="replace",
            timeout=STALL_S,
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise RecordingError(
            f"{path} looks like {format_.name} but cannot be opened ({getattr(error, 'strerror', None) or error}): "
            "it is damaged or incomplete."
        ) from error
    container = cast("InputContainer", opened)
    with container:
        if late:
            container.seek(0, unsupported_byte_offset=True)
        yield container


def has_late_streams(container: InputContainer) -> bool:
    """Return whether streams appeared since the container was opened, which PyAV cannot read."""
    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)  # or FFmpeg lists nothing
    try:
        return len(re.findall(r"^ *Stream #", cast("Any", container).dumps_format(), re.MULTILINE)) > len(
            container.streams
        )
    finally:
        av.logging.set_level(level)


def select_streams(
    container: InputContainer,
) -> tuple[av.VideoStream | None, av.AudioStream | None]:
    """Return the default video and audio stream, without cover art and streams that have no decoder."""
    best, videos = container.streams.best("video"), video_streams(container)
    video = next((s for s in videos if s is best), next(iter(videos), None))
    best = container.streams.best("audio")
    return video, next((s for s in container.streams.audio if s is best and s.codec_context is not None), None)


def video_streams(container: InputContainer) -> list[av.VideoStream]:
    """Return the video streams that can be decoded, without cover art."""
    art = Disposition.attached_pic | Disposition.timed_thumbnails
    return [s for s in container.streams.video if s.codec_context is not None and not s.disposition & art]


def read_packets(container: InputContainer, streams: Sequence[Stream], skips: SkipCounter) -> Iterator[av.Packet]:
    """Yield the packets of ``streams`` that have a timestamp; places that cannot be read are skipped and counted."""
    if not streams:
        return  # PyAV would read all
    failures, time_s = 0, 0.0
    source = container.demux(streams)
    while True:
        try:
            packet = next(source)
        except (StopIteration, IndexError):
            return  # PyAV raises IndexError where a stream appeared midway
        except av.error.FFmpegError as error:
            failures += 1
            skips.add("a part of the file cannot be read", time_s)
            log.info("reading failed near %.1f s: %s", time_s, error)
            if failures >= MAX_FAILURES or isinstance(error, av.error.ExitError):
                return
            source = container.demux(streams)
            continue
        stamp = stamp_of(packet)
        if stamp is not None and packet.size:  # the last packets are empty
            time_s = float(stamp * packet.time_base)
            yield packet


def stamp_of(packet: av.Packet) -> int | None:
    """Return the presentation timestamp, or the decoding timestamp of a packet without one."""
    return packet.dts if packet.pts is None else packet.pts
