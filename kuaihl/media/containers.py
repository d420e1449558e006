"""Container formats: recognise a recording by its content, open it shut off from other files, time its packets."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
import numpy as np

from kuaihl.errors import RecordingError
from kuaihl.records import Segment, Skipped

log = logging.getLogger(__name__)

HEAD_BYTES = 64 * 1024
"""How much of a file is looked at to recognise it."""
STALL_S = 60.0
"""A read that takes longer than this has hung."""
BACK_S = 10.0
"""Time stamps that fall back further than this began anew (FFmpeg's own threshold)."""
AHEAD_S = 3600.0
"""Time stamps that leap ahead further than this are wrong, not a pause."""
MAX_FAULTS = 100
"""Reading stops after so many unreadable places."""

ACCEPTED = "MP4, MOV, MKV, WebM, FLV and MPEG-TS, and sound in M4A, MP3, AAC, Ogg, WAV and FLAC"
_IMAGE_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis", b"crx ", b"jpx ", b"jp2 "}
_QUICKTIME_STARTS = {b"moov", b"mdat", b"wide", b"free", b"skip"}
_PACKET_BYTES = (188, 192, 204)
"""Of MPEG-TS: plain, with a time stamp (Blu-ray), with error correction."""
_OPTIONS = {
    "protocol_whitelist": "file",  # a recording may not make the demuxer reach for the network or other files
    "enable_drefs": "0",
    "use_absolute_path": "0",
    "probesize": str(32 * 1024 * 1024),  # far enough to meet sound that starts seconds after the pictures
    "analyzeduration": str(30 * 1_000_000),
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A container format: what people call it, and what FFmpeg calls its demuxer."""

    name: str
    demuxer: str


class Faults:
    """Counts what had to be passed over while a recording is read, by reason, with the place of the first."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, reason: str, time_s: float | None = None) -> None:
        """Count one more of ``reason``, found at ``time_s``."""
        count, where = self._found.get(reason, (0, "" if time_s is None else f"at {_clock(time_s)}"))
        self._found[reason] = (count + 1, where)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """All reasons so far, in order of their first appearance."""
        return tuple(Skipped(reason, count, where) for reason, (count, where) in self._found.items())


class Reading(Iterator[tuple[Segment, np.ndarray]]):
    """Segments with their pictures or sound, read as they are asked for; `skipped` grows with the reading."""

    def __init__(self, items: Iterator[tuple[Segment, np.ndarray]], faults: Faults) -> None:
        self._items = items
        self._faults = faults

    def __next__(self) -> tuple[Segment, np.ndarray]:
        return next(self._items)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What was passed over so far: whole once the reading is at its end."""
        return self._faults.skipped


def _clock(time_s: float) -> str:
    minutes, seconds = divmod(int(max(time_s, 0)), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


def recognise(path: Path) -> Kind:
    """Tell the container format of a file by its content alone.

    Raises
    ------
    RecordingError
        No such file, not a file, empty, not one of the formats read here, or an MP4 whose index was never written.
    """
    if path.is_dir():
        raise RecordingError(f"{path} is a folder: give the recording itself.")
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
        raise RecordingError(f"{path} is empty: the recorder wrote nothing to it.")
    kind = next((kind for matches, kind in _KINDS if matches(head)), None)
    if kind is None:
        if head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"#EXTM3U"):
            raise RecordingError(f"{path} is a playlist, not a recording: download the stream that it points to.")
        raise RecordingError(f"{path} is not a recording that can be read here. These can: {ACCEPTED}.")
    if kind.demuxer == "mov" and not _has_index(path):
        raise RecordingError(
            f"{path} has no index (moov box): the recorder was cut off before it could write one, and an MP4 cannot be "
            "read without. Repair it with a tool such as untrunc and an intact recording of the same recorder, and "
            "record to MKV or fragmented MP4, which survive being cut off."
        )
    return kind


def _is_mpeg_sound(head: bytes) -> bool:
    return len(head) > 4 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2 and head[2] >> 4 != 15 and head[2] & 12 != 12


def _is_transport_stream(head: bytes) -> bool:
    """At least five packets of 188, 192 or 204 bytes, each with a sync byte and a header that the standard allows."""
    data = np.frombuffer(head, np.uint8)
    for size in _PACKET_BYTES:
        for first in range(size):
            sync, control = data[first::size], data[first + 3 :: size]
            if len(sync) < 5:
                break
            if (sync == 0x47).all() and (control & 0x30).all():  # adaptation field control 0 is reserved
                return True
    return False


_KINDS: tuple[tuple[Callable[[bytes], bool], Kind], ...] = (
    (lambda head: head[4:12] == b"ftypqt  " or head[4:8] in _QUICKTIME_STARTS, Kind("MOV", "mov")),
    (lambda head: head[4:8] == b"ftyp" and head[8:12] not in _IMAGE_BRANDS, Kind("MP4", "mov")),
    (lambda head: head.startswith(b"\x1aE\xdf\xa3") and b"webm" in head[:4096], Kind("WebM", "matroska")),
    (lambda head: head.startswith(b"\x1aE\xdf\xa3") and b"matroska" in head[:4096], Kind("MKV", "matroska")),
    (lambda head: head.startswith(b"FLV\x01") and head[5:9] == b"\0\0\0\x09", Kind("FLV", "flv")),
    (lambda head: head.startswith(b"OggS\0"), Kind("Ogg", "ogg")),
    (lambda head: head[:4] in {b"RIFF", b"RF64"} and head[8:12] == b"WAVE", Kind("WAV", "wav")),
    (lambda head: head.startswith(b"fLaC"), Kind("FLAC", "flac")),
    (lambda head: head.startswith(b"ID3") or _is_mpeg_sound(head), Kind("MP3", "mp3")),
    (lambda head: len(head) > 7 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0, Kind("AAC", "aac")),
    (_is_transport_stream, Kind("MPEG-TS", "mpegts")),
)


def _has_index(path: Path) -> bool:
    """Whether a whole moov box is there. Only box headers are read, so size does not matter."""
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


def ends_midway(path: Path, kind: Kind) -> bool:
    """Whether an MPEG-TS ends within a packet: it was cut, though it has no field that would promise more."""
    size = path.stat().st_size
    return kind.demuxer == "mpegts" and all(size % packet for packet in _PACKET_BYTES)


@contextmanager
def opened(path: Path, kind: Kind) -> Iterator[av.container.InputContainer]:
    """Open a recognised recording with the demuxer of its kind and no other.

    Raises
    ------
    RecordingError
        FFmpeg cannot make sense of the file.
    """
    try:
        container = av.open(
            str(path.absolute()),  # never a bare name, which could read as a protocol
            format=kind.demuxer,
            options=_OPTIONS,
            metadata_errors="replace",
            timeout=STALL_S,
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise RecordingError(
            f"{path} looks like {kind.name} but cannot be opened ({getattr(error, 'strerror', None) or error}): "
            "it is damaged or incomplete."
        ) from error
    with container:
        yield container


def chosen_streams(
    container: av.container.InputContainer,
) -> tuple[av.video.stream.VideoStream | None, av.audio.stream.AudioStream | None]:
    """Return the default streams of pictures and of sound; cover art is no pictures, unknown codecs no stream."""
    art = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    best = container.streams.best("video")
    moving = [s for s in container.streams.video if s.codec_context is not None and not s.disposition & art]
    video = best if best in moving else next(iter(moving), None)
    audio = container.streams.best("audio")
    return video, audio if audio is not None and audio.codec_context is not None else None


def timed_packets(
    container: av.container.InputContainer, streams: list[av.stream.Stream], faults: Faults
) -> Iterator[tuple[av.Packet, float]]:
    """Read the packets of ``streams``, each with what to add to its time stamps to get seconds of the recording.

    Recordings of live streams may start at any time, and after a reconnection begin anew or leap: from there on times
    are shifted so that the recording goes on where it was. All passes over a file must read the same streams, so that
    they shift alike. Places that cannot be read are passed over and counted.
    """
    start_s = max((container.start_time or 0) / av.time_base, 0.0)
    offset_s, latest_s, failures = -start_s, 0.0, 0
    ticks_s = {stream.index: float(stream.time_base) for stream in streams}
    source = container.demux(streams)
    while True:
        try:
            packet = next(source)
        except (StopIteration, IndexError):
            return  # IndexError is how PyAV ends where damage made a stream appear midway
        except av.error.FFmpegError as error:
            failures += 1
            faults.add("a part of the file cannot be read", latest_s)
            log.info("reading failed near %.1f s: %s", latest_s, error)
            if failures >= MAX_FAULTS or isinstance(error, av.error.ExitError):
                return
            source = container.demux(streams)
            continue
        stamp = packet.pts if packet.dts is None else packet.dts
        if stamp is None or not packet.size:
            continue  # the empty packets that PyAV ends with
        time_s = stamp * ticks_s[packet.stream_index] + offset_s
        if not latest_s - BACK_S < time_s < latest_s + AHEAD_S:
            faults.add("time stamps jump; the recording was read as if it went on without a break", latest_s)
            offset_s += latest_s - time_s
            time_s = latest_s
        latest_s = max(latest_s, time_s)
        yield packet, offset_s


def packets_of(container: av.container.InputContainer, stream: av.stream.Stream) -> Iterator[av.Packet]:
    """Read the packets of one stream, from where the container stands; what cannot be read is passed over."""
    return (packet for packet, _ in timed_packets(container, [stream], Faults()))
