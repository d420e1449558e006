"""Sound of a recording, segment by segment, each sample at the time its time stamp says."""

from collections.abc import Iterable, Iterator

import av
import av.error
import numpy as np

from kuaihl.media.containers import Faults
from kuaihl.records import Segment

SAMPLE_RATE_HZ = 16_000
DRIFT_S = 0.05
"""Sound is placed anew where its time stamps differ by more than this from a continuous run; below, it is jitter."""

OVERLAP_S = 1.0
"""Sound that goes back by more than this is reported; what was there before is kept."""


def read_sound(
    packets: Iterable[tuple[av.Packet, float]],
    stream: av.audio.stream.AudioStream,
    segments: Iterable[Segment],
    faults: Faults,
) -> Iterator[tuple[Segment, np.ndarray]]:
    """Yield each segment with its sound, (samples,) float32, mono, ``SAMPLE_RATE_HZ``.

    Silence fills what has no sound: a late start, gaps, an early end. At most one segment and one decoded frame are
    held. ``packets`` come with what to add to their time stamps, as from `timed_packets`.
    """
    pieces = _placed(_frames(packets, stream, faults), faults)
    piece = next(pieces, None)
    for segment in segments:
        first, last = (round(time_s * SAMPLE_RATE_HZ) for time_s in (segment.start_s, segment.end_s))
        sound = np.zeros(last - first, np.float32)
        while piece is not None and piece[0] < last:
            at, samples = piece
            inside = samples[max(first - at, 0) : last - at]
            begin = max(at - first, 0)
            sound[begin : begin + len(inside)] = inside
            piece = (last, samples[last - at :]) if at + len(samples) > last else next(pieces, None)
        yield segment, np.nan_to_num(sound, copy=False)  # float codecs can carry NaN and infinity


def _frames(
    packets: Iterable[tuple[av.Packet, float]], stream: av.audio.stream.AudioStream, faults: Faults
) -> Iterator[tuple[av.AudioFrame, float | None]]:
    """Decode, giving each frame its time in seconds (None where the stream does not say)."""
    for packet, offset_s in packets:
        if packet.stream_index != stream.index:
            continue
        try:
            frames = packet.decode()
        except (av.error.FFmpegError, ValueError):
            faults.add("sound that cannot be decoded", float((packet.pts or 0) * packet.time_base) + offset_s)
            continue
        for frame in frames:
            yield frame, None if frame.time is None else frame.time + offset_s


def _placed(frames: Iterable[tuple[av.AudioFrame, float | None]], faults: Faults) -> Iterator[tuple[int, np.ndarray]]:
    """Resample, giving each piece the number of its first sample; pieces only go forward and never overlap."""
    run: _Run | None = None
    until: int | None = None  # the sample after the last one given out

    def ahead(pieces: Iterator[tuple[int, np.ndarray]]) -> Iterator[tuple[int, np.ndarray]]:
        nonlocal until
        for at, samples in pieces:
            late = 0 if until is None else max(until - at, 0)
            if late < len(samples):
                until = at + len(samples)
                yield at + late, samples[late:]

    for frame, time_s in frames:
        if run is None or not run.continues(frame, time_s):
            if run is not None:
                yield from ahead(run.convert(None))
            begin_s = time_s if time_s is not None else (until or 0) / SAMPLE_RATE_HZ
            if until is not None and begin_s < until / SAMPLE_RATE_HZ - OVERLAP_S:
                faults.add("sound that overlaps what came before it", begin_s)
            run = _Run(frame, begin_s, faults)
        yield from ahead(run.convert(frame))
    if run is not None:
        yield from ahead(run.convert(None))


class _Run:
    """A stretch of sound without a gap and in one format, converted from where it begins."""

    def __init__(self, frame: av.AudioFrame, begin_s: float, faults: Faults) -> None:
        self._format = _format(frame)
        self._resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE_HZ)
        self._heard_until_s = begin_s
        self._at = round(begin_s * SAMPLE_RATE_HZ)
        self._faults = faults

    def continues(self, frame: av.AudioFrame, time_s: float | None) -> bool:
        """Whether ``frame`` follows what was heard so far."""
        return _format(frame) == self._format and (time_s is None or abs(time_s - self._heard_until_s) <= DRIFT_S)

    def convert(self, frame: av.AudioFrame | None) -> Iterator[tuple[int, np.ndarray]]:
        """Convert one more frame, or with None what the resampler still holds."""
        if frame is not None:
            self._heard_until_s += frame.samples / frame.sample_rate
        try:
            converted = self._resampler.resample(frame)
        except (av.error.FFmpegError, ValueError):
            self._faults.add("sound that cannot be converted", self._heard_until_s)
            return
        for piece in converted:
            yield self._at, np.frombuffer(piece.planes[0], np.float32, piece.samples)
            self._at += piece.samples


def _format(frame: av.AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate
