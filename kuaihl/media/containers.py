"""Container formats: detect a format by its content, open a file with its demuxer alone, read timed packets."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
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
BACK_S = 10.0
"""Timestamps that go back by more than this have restarted (FFmpeg's own threshold)."""
AHEAD_S = 3600.0
"""Timestamps that go forward by more than this are wrong; by less, the recording has a pause."""
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

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """All reasons so far, in order of first occurrence."""
        return tuple(Skipped(reason, count, where) for reason, (count, where) in self._counts.items())


class SegmentReader(Iterator[tuple[Segment, np.ndarray]]):
    """Iterator over segments with their frames or audio, read on demand."""

    def __init__(self, items: Iterator[tuple[Segment, np.ndarray]], skips: SkipCounter) -> None:
        self._items = items
        self._skips = skips

    def __next__(self) -> tuple[Segment, np.ndarray]:
        return next(self._items)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What was skipped so far: complete when the iterator is exhausted."""
        return self._skips.skipped


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
    """Return whether the file holds a complete moov box. Only box headers are read."""
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
            if header[4:8] == b"moov":
                return at + length <= size
            if length < 8:
                return False
            at += length
    return False


def is_truncated(path: Path, format_: ContainerFormat) -> bool:
    """Return whether an MPEG-TS ends within a packet, and so was cut off."""
    size = path.stat().st_size
    return format_.demuxer == "mpegts" and all(size % packet for packet in _PACKET_BYTES)


@contextmanager
def open_container(path: Path, format_: ContainerFormat) -> Iterator[InputContainer]:
    """Open a file with the demuxer of its format and no other.

    Raises
    ------
    RecordingError
        FFmpeg cannot open the file.
    """
    try:
        container = av.open(
            str(path.absolute()),  # a bare name could be taken for a protocol
            format=format_.demuxer,
            options=_OPTIONS,
            metadata_errors="replace",
            timeout=STALL_S,
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise RecordingError(
            f"{path} looks like {format_.name} but cannot be opened ({getattr(error, 'strerror', None) or error}): "
            "it is damaged or incomplete."
        ) from error
    with container:
        yield container


def select_streams(
    container: InputContainer,
) -> tuple[av.VideoStream | None, av.AudioStream | None]:
    """Return the default video and audio stream, without cover art and streams that have no decoder."""
    art = Disposition.attached_pic | Disposition.timed_thumbnails
    best = container.streams.best("video")
    videos = [s for s in container.streams.video if s.codec_context is not None and not s.disposition & art]
    video = best if best in videos else next(iter(videos), None)
    audio = container.streams.best("audio")
    return video, audio if audio is not None and audio.codec_context is not None else None


def timed_packets(
    container: InputContainer, streams: Sequence[Stream], skips: SkipCounter
) -> Iterator[tuple[av.Packet, float]]:
    """Yield the packets of ``streams``, each with the offset from its timestamps to seconds of the recording.

    Timestamps may start anywhere, and may restart or jump after a reconnection: from there on the offset changes so
    that the recording continues without a break. All passes over a file must read the same streams to get the same
    offsets. Places that cannot be read are skipped and counted.
    """
    start_s = max((container.start_time or 0) / av.time_base, 0.0)
    offset_s, latest_s, failures = -start_s, 0.0, 0
    ticks_s = {stream.index: float(stream.time_base) for stream in streams}
    source = container.demux(streams)
    while True:
        try:
            packet = next(source)
        except (StopIteration, IndexError):
            return  # PyAV raises IndexError where a stream appeared midway
        except av.error.FFmpegError as error:
            failures += 1
            skips.add("a part of the file cannot be read", latest_s)
            log.info("reading failed near %.1f s: %s", latest_s, error)
            if failures >= MAX_FAILURES or isinstance(error, av.error.ExitError):
                return
            source = container.demux(streams)
            continue
        stamp = packet.pts if packet.dts is None else packet.dts
        if stamp is None or not packet.size:
            continue  # the empty packets at the end
        time_s = stamp * ticks_s[packet.stream_index] + offset_s
        if not latest_s - BACK_S < time_s < latest_s + AHEAD_S:
            skips.add("timestamps jump: the recording is read without a break", latest_s)
            offset_s += latest_s - time_s
            time_s = latest_s
        latest_s = max(latest_s, time_s)
        yield packet, offset_s


def packets_of(container: InputContainer, stream: Stream) -> Iterator[av.Packet]:
    """Yield the packets of one stream from the current position; what cannot be read is skipped."""
    return (packet for packet, _ in timed_packets(container, [stream], SkipCounter()))
